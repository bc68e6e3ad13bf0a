"""How long it takes from saving a file, or pushing a commit, until that is delivered and until it serves.

    python benchmarks/sources/run.py [--quick] [--json FILE]

Wall milliseconds, the middle and the 95th of a hundred. For folders the quiet window is taken off, because it is waited
for on purpose: what is left is hearing, looking twice, and handing over. `delivered` ends when the reconciler is
called, `serves` when the new revision does. Pushes are looked for at once, as by `loomd reconcile`, at
a `git daemon` on loopback.
"""

import argparse
import asyncio
import json
import logging
import os
import statistics
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "manifests"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from team import write

from tests.sources.remotes import Repository, git_daemon
from tests.sources.serving import Serving, git_source, serving

QUIET = 0.3
TEAMS = 100


def describe(name: str, seconds: list[float], off: float = 0.0) -> dict[str, float]:
    """Return the figures of one case."""
    taken = [(one - off) * 1000 for one in seconds]
    cuts = statistics.quantiles(taken, n=20, method="inclusive")
    return {f"{name}, p50 ms": statistics.median(taken), f"{name}, p95 ms": cuts[-1]}


class Watcher:
    """Notes when the reconciler is called and when it is done."""

    def __init__(self, now: Serving) -> None:
        self.called = self.done = 0.0
        self._over = asyncio.Event()
        plain = now.reconciler.apply

        async def apply(*given: object, **named: object) -> object:
            self.called = time.perf_counter()
            result = await plain(*given, **named)
            self.done = time.perf_counter()
            self._over.set()
            return result

        now.reconciler.apply = apply

    async def wait(self) -> None:
        async with asyncio.timeout(60):
            await self._over.wait()
        self._over.clear()


def edit(file: Path, number: int) -> None:
    """Change what an agent says of itself, as an editor does: a new file in place of the old one."""
    text = file.read_text("utf-8")
    fresh = file.with_name(f".{file.name}.new")
    fresh.write_text(text.replace("briefly", f"briefly ({number})", 1), "utf-8")
    fresh.replace(file)


def prepare(manifests: Path, teams: int) -> tuple[int, int]:
    """Make the folder of manifests."""
    manifests.mkdir()
    return write(manifests, teams)


async def folder(teams: int, rounds: int) -> dict[str, float]:
    """Save files of a folder that is watched."""
    delivered: list[float] = []
    serves: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        manifests = Path(name, "manifests")
        count, _ = prepare(manifests, teams)
        async with serving(Path(name, "state"), [manifests], QUIET) as now:
            watcher = Watcher(now)
            await asyncio.sleep(3)  # what was written just now is read twice
            for number in range(rounds):
                victim = manifests / f"agent-{number % teams:03}-3.yaml"
                edit(victim, number)
                saved = time.perf_counter()
                await watcher.wait()
                delivered.append(watcher.called - saved)
                serves.append(watcher.done - saved)
                await asyncio.sleep(0.1)
    what = f"{count:,} files, saved to"
    return describe(f"{what} delivered", delivered, QUIET) | describe(f"{what} serves", serves, QUIET)


async def push(teams: int, rounds: int) -> dict[str, float]:
    """Push commits to a repository that is followed."""
    serves: list[float] = []
    async with AsyncExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        repository = Repository(place / "remote")
        count, _ = write(repository.work, teams)
        repository.publish()
        url = stack.enter_context(git_daemon(repository.served))
        now = await stack.enter_async_context(serving(place / "state"))
        watcher = Watcher(now)
        await now.apply(git_source("team", url).replace("50ms", "1h"))
        await watcher.wait()
        await watcher.wait()
        for number in range(rounds):
            edit(repository.work / f"agent-{number % teams:03}-3.yaml", number)
            repository.publish()
            pushed = time.perf_counter()
            now.sources.poke("git/default/team")
            await watcher.wait()
            serves.append(watcher.done - pushed)
    return describe(f"{count:,} files, pushed to serves", serves)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    for number in range(TEAMS):
        os.environ[f"MODEL_KEY_{number:03}"] = "made up"
    rounds = 10 if given.quick else 100
    found: dict[str, float] = {}
    for teams in (1, TEAMS):
        found |= asyncio.run(folder(teams, rounds))
    found |= asyncio.run(push(TEAMS, rounds // 5))
    for key, value in found.items():
        print(f"{key:44}{value:10.1f}")
    if given.json:
        given.json.write_text(json.dumps(found, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
