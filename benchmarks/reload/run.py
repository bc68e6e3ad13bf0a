"""A thousand reloads while tasks run: does any task fail, how much stays open, does memory grow.

    python benchmarks/reload/run.py [--quick] [--json FILE]

Each reload changes an agent and a tool of a system in which twenty tasks run at a time, each with two model calls of
20 ms and a tool call. Wall milliseconds of a reload include waiting for room among the revisions that tasks still hold.
Memory is that of the whole process, after a tenth of the reloads and at the end.
"""

import argparse
import asyncio
import json
import logging
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from loomd.daemon import Settings, open_system
from tests.reconcile.storm import storm

LIVE = 8


async def measure(reloads: int) -> dict[str, float]:
    """Return all figures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = Settings(folder / "state", folder / "models", folder / "socket", live_snapshots=LIVE)
        async with open_system(settings) as system:
            seen = await storm(system, folder, reloads, lanes=20, delay="20ms")
            after = system.reconciler.live
    cuts = statistics.quantiles([one * 1000 for one in seen.reloads], n=20, method="inclusive")
    return {
        "reloads": len(seen.reloads),
        "tasks": seen.tasks,
        "tasks that failed": len(seen.failures),
        "reload, p50 ms": statistics.median(seen.reloads) * 1000,
        "reload, p95 ms": cuts[-1],
        "most revisions open": seen.live,
        "revisions open at the end": after,
        "memory after a tenth, MiB": seen.memory[1] / 1024,
        "memory at the end, MiB": seen.memory[-1] / 1024,
        "growth, MiB": (seen.memory[-1] - seen.memory[1]) / 1024,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    found = asyncio.run(measure(100 if given.quick else 1000))
    for key, value in found.items():
        print(f"{key:32}{value:10.1f}")
    if given.json:
        given.json.write_text(json.dumps(found, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
