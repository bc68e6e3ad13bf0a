"""Durable steps per second at concurrency 1 and 100, beside one INSERT+COMMIT per step and beside other engines.

    python benchmarks/journal/run.py [--quick] [--json FILE]

A step is what the engine does: an event is encoded, journaled under its key, and awaited until it is on disk. All sides
write to the same disk with `synchronous=FULL`, take turns round by round, and do the same number of steps; the best
round of each counts. What is told in times of a bare INSERT+COMMIT is the median of the rounds, each over the bare one
of the same round: a shared disk is quick at one time and slow at another. Peers run in an environment of their own, and
are skipped where there is none:

    python -m venv benchmarks/journal/.venv
    benchmarks/journal/.venv/bin/pip install -r benchmarks/journal/requirements.txt
"""

import argparse
import asyncio
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from loomd.clock import SystemClock
from loomd.events.bus import Bus, Scope
from loomd.events.event import StepCompleted
from loomd.events.journal import Journal
from loomd.store.base import Store
from loomd.store.sqlite import open_store

HERE = Path(__file__).resolve().parent
PYTHON = Path(os.environ.get("JOURNAL_PEERS", HERE / ".venv" / "bin" / "python"))
VALUE = msgspec.Raw(b'{"text":"' + b"x" * 300 + b'"}')
BODY = b'{"data":{"type":"step.completed","name":"tool:mark","value":{"text":"' + b"x" * 300 + b'"}},"ts":1.0}'
PEERS = {"LangGraph AsyncSqliteSaver": "langgraph", "DBOS on SQLite": "dbos"}

Took = tuple[float, float]
"""Seconds of wall time and of CPU."""


def bare(folder: str, steps: int) -> Took:
    """One transaction per step on the same settings."""
    db = sqlite3.connect(f"{folder}/bare.db", isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("CREATE TABLE journal (seq INTEGER PRIMARY KEY, task TEXT, key TEXT, type TEXT, body BLOB)")
    wall, cpu = time.perf_counter(), time.process_time()
    for number in range(steps):
        db.execute("BEGIN IMMEDIATE")
        db.execute("INSERT INTO journal (task, key, type, body) VALUES (?, ?, ?, ?)", ("t", str(number), "p", BODY))
        db.execute("COMMIT")
    took = time.perf_counter() - wall, time.process_time() - cpu
    db.close()
    return took


async def task(bus: Bus, store: Store, number: int, steps: int) -> None:
    """One task that waits for each of its steps."""
    scope = Scope(bus, f"t{number}")
    for ordinal in range(steps):
        event = scope.emit(StepCompleted("tool:mark", VALUE), key=f"step/execute/{ordinal}")
        await store.durable(event.seq)


async def journal(folder: str, concurrency: int, steps: int) -> Took:
    """Many tasks, each waiting for its own steps."""
    async with open_store(Path(folder) / "state") as store:
        bus = Bus(SystemClock(), Journal(store).record)
        wall, cpu = time.perf_counter(), time.process_time()
        async with asyncio.TaskGroup() as group:
            for number in range(concurrency):
                group.create_task(task(bus, store, number, steps // concurrency))
        took = time.perf_counter() - wall, time.process_time() - cpu
        assert len(await store.read(limit=steps + 1)) == steps
        return took


def peer(name: str) -> Callable[[str, int, int], Took] | None:
    """Return what measures a peer in the peers' environment, or None when that is not there."""
    if not PYTHON.exists():
        return None

    def run(folder: str, concurrency: int, steps: int) -> Took:
        command = [str(PYTHON), str(HERE / "peer.py"), name, folder, str(concurrency), str(steps)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        wall, cpu = json.loads(done.stdout.splitlines()[-1])
        return wall, cpu

    return run


def turns(rounds: int, sides: dict[str, tuple[int, Callable[[str], Took]]]) -> dict[str, tuple[int, list[Took]]]:
    """Measure all sides in turns; return the steps of each and its times by round."""
    found: dict[str, list[Took]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, (_, measure) in sides.items():
            with tempfile.TemporaryDirectory(prefix="journal-", dir=HERE) as folder:
                found[name].append(measure(folder))
    return {name: (steps, found[name]) for name, (steps, _) in sides.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    few, many, some, rounds = (1000, 10_000, 200, 3) if given.quick else (1000, 40_000, 1000, 15)
    alone: dict[str, tuple[int, Callable[[str], Took]]] = {
        "bare INSERT+COMMIT": (few, lambda folder: bare(folder, few)),
        "journal, concurrency 1": (few, lambda folder: asyncio.run(journal(folder, 1, few))),
        "journal, concurrency 100": (many, lambda folder: asyncio.run(journal(folder, 100, many))),
    }
    found = turns(rounds, alone)
    beside: dict[str, tuple[int, Callable[[str], Took]]] = {
        f"journal, {some} steps, concurrency {lanes}": (
            some,
            lambda folder, lanes=lanes: asyncio.run(journal(folder, lanes, some)),
        )
        for lanes in (1, 100)
    }
    for title, name in PEERS.items():
        measure = peer(name)
        if measure is None:
            print(f"skipped {title}: install benchmarks/journal/requirements.txt into benchmarks/journal/.venv")
            continue
        for lanes in (1, 100):
            beside[f"{title}, concurrency {lanes}"] = (
                some,
                lambda folder, measure=measure, lanes=lanes: measure(folder, lanes, some),
            )
    if len(beside) > 2:
        found |= turns(1 if given.quick else 2, beside)
    figures: dict[str, float] = {}
    for name, (steps, took) in found.items():
        wall, cpu = min(wall for wall, _ in took), min(cpu for _, cpu in took)
        each = {"steps/s": steps / wall, "wall us": wall / steps * 1e6, "cpu us": cpu / steps * 1e6}
        figures |= {f"{name}, {what}": value for what, value in each.items()}
        print(f"{name:48} {steps / wall:>9,.0f} steps/s  {cpu / steps * 1e6:>8.1f} us CPU/step", flush=True)
    base = [wall / few for wall, _ in found["bare INSERT+COMMIT"][1]]
    for lanes in (1, 100):
        name = f"journal, concurrency {lanes}"
        steps, took = found[name]
        ratio = statistics.median(wall / steps / once for (wall, _), once in zip(took, base, strict=True))
        figures[f"{name}, time x bare"] = ratio
        print(f"{lanes} at once: {ratio:.3f} times a bare INSERT+COMMIT")
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    sys.exit(main())
