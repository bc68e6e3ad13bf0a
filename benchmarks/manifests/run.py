"""What a large set of manifests costs: 1,000 files of about 70 lines, read, validated, resolved and planned.

    python benchmarks/manifests/run.py [--quick] [--json FILE]

CPU milliseconds, the least of several rounds. `cold` is a new loader that has seen none of the files; the kinds and
their schemas are built before (that is in `startup`). `no change` reads all the files again and finds nothing new,
`one changed` reads them, checks the one that was edited, resolves and plans: what a watched folder costs.
"""

import argparse
import gc
import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from team import write

from loomd.manifest.load import Loader
from loomd.manifest.object import EMPTY, Snapshot
from loomd.manifest.source import read_folder
from loomd.reconcile.plan import diff


def timed(loader: Loader, folder: Path, expected: int, old: Snapshot | None = None) -> tuple[float, Snapshot]:
    """Load the folder, plan against an older snapshot if there is one, and return the CPU milliseconds of it."""
    before = time.process_time()
    snapshot = loader.load(read_folder(folder))
    if old is not None:
        diff(old, snapshot)
    used = time.process_time() - before
    if len(snapshot.objects) != expected:
        raise RuntimeError(f"{len(snapshot.objects)} objects instead of {expected}")
    return used * 1000, snapshot


def measure(rounds: int) -> dict[str, float]:
    """Return all figures."""
    taken: dict[str, list[float]] = {"1,000 files, cold": [], "no change": [], "one changed, planned": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        count, lines = write(folder, 100)
        timed(Loader(), folder, count, EMPTY)
        victim = folder / "agent-050-3.yaml"
        text = victim.read_text("utf-8")
        for number in range(rounds):
            gc.collect()
            loader = Loader()
            cold, old = timed(loader, folder, count)
            taken["1,000 files, cold"].append(cold)
            taken["no change"].append(timed(loader, folder, count)[0])
            victim.write_text(text.replace("exactly and briefly", f"exactly ({number}) and briefly"), "utf-8")
            taken["one changed, planned"].append(timed(loader, folder, count, old)[0])
        print(f"{count} files, {lines / count:.0f} lines each")
    return {f"{key}, cpu ms": min(values) for key, values in taken.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    found = measure(2 if given.quick else 6)
    for key, value in found.items():
        print(f"{key:32}{value:10.1f}")
    if given.json:
        given.json.write_text(json.dumps(found, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
