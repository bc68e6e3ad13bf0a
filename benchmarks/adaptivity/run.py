"""Whether a cluster learns who is good at what, without a model: `regret.py`; and what MATCH takes: `match.py`.

And how soon it has a specialist for a domain that nobody serves: `forge.py`.

    python benchmarks/adaptivity/run.py [--quick] [--json FILE] [--peer PYTHON]

Agents are scripted with hidden skill per domain. `--peer` is an interpreter with loom-agent (`perf_loom_agent` of
`benchmarks/peers/setup_venvs.sh`), by default the one in `.venvs`, when it is there.
"""

import argparse
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.adaptivity import forge, match, regret  # noqa: E402  # found by the line above
from loomd.garbage import collect_seldom  # noqa: E402  # the same


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--peer", default=str(ROOT / ".venvs" / "perf_loom_agent" / "bin" / "python"))
    given = parser.parse_args()
    collect_seldom()  # as the daemon does
    peer = given.peer if Path(given.peer).exists() else ""
    found = {**match.measure(100 if given.quick else 400), **regret.measure(4 if given.quick else 40, peer)}
    found |= forge.measure(1 if given.quick else 4)
    for key, value in found.items():
        if " at " not in key:
            print(f"{key:45}{value:10.3f}")
    if given.json:
        given.json.write_text(json.dumps(found, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
