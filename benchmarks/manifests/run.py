"""What a large set of manifests costs: 1,000 objects in 100 files, read, validated, resolved and digested.

    python benchmarks/manifests/run.py [--quick] [--json FILE]

CPU milliseconds, the least of several rounds. `cold` is a new loader that has seen none of the files; the kinds and
their schemas are built before (that is in `startup`). `no change` looks at all the files again, `one changed` after one
of them was edited: what a watched folder costs.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

from loomd.manifest.load import Loader
from loomd.manifest.source import read_folder

FILES = 100
TEMPLATE = """# Team {n:03}
apiVersion: loomd.dev/v1
kind: Provider
metadata: {{name: model-{n:03}, labels: {{team: t{n:03}}}}}
spec:
  type: openai
  model: gpt-4o-mini
  baseUrl: http://127.0.0.1:8080/v1
  deadline: 30s
  pricing: {{input: 0.15, output: 0.60}}
"""
AGENT = """---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {{name: agent-{n:03}-{k}}}
spec:
  description: Answers questions about topic {k} of team {n:03}, briefly and with sources.
  provider: model-{n:03}
  prompt: |
    You are {{{{ agent }}}} of team {n:03}. Answer the request exactly and briefly, and name where you know it from.
  domains: {{topic-{k}: 0.7, general: 0.4}}
  temperature: 0.2
  limits: {{steps: 6, tokens: 20000, time: 60s}}
"""
CLUSTER = """---
apiVersion: loomd.dev/v1
kind: Cluster
metadata: {{name: team-{n:03}}}
spec:
  agents: [{agents}]
  match: {{type: auction, reserve: 0.25}}
"""


def write(folder: Path) -> int:
    """Write the files and return the number of objects in them."""
    for n in range(FILES):
        agents = ", ".join(f"agent-{n:03}-{k}" for k in range(8))
        text = TEMPLATE.format(n=n) + "".join(AGENT.format(n=n, k=k) for k in range(8))
        (folder / f"team-{n:03}.yaml").write_text(text + CLUSTER.format(n=n, agents=agents), "utf-8")
    return FILES * 10


def timed(loader: Loader, folder: Path, expected: int) -> float:
    """Load the folder and return the CPU milliseconds of it."""
    before = time.process_time()
    snapshot = loader.load(read_folder(folder))
    used = time.process_time() - before
    if len(snapshot.objects) != expected:
        raise RuntimeError(f"{len(snapshot.objects)} objects instead of {expected}")
    return used * 1000


def measure(rounds: int) -> dict[str, float]:
    """Return all figures."""
    taken: dict[str, list[float]] = {"1,000 objects, cold": [], "no change": [], "one changed": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        count = write(folder)
        timed(Loader(), folder, count)
        victim = folder / "team-050.yaml"
        text = victim.read_text("utf-8")
        for number in range(rounds):
            loader = Loader()
            taken["1,000 objects, cold"].append(timed(loader, folder, count))
            taken["no change"].append(timed(loader, folder, count))
            victim.write_text(text.replace("briefly and", f"briefly ({number}) and"), "utf-8")
            taken["one changed"].append(timed(loader, folder, count))
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
