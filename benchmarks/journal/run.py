"""Rows per second of the journal at concurrency 1 and 100, beside one INSERT+COMMIT per row.

python benchmarks/journal/run.py [--quick] [--json FILE]
"""

import argparse
import asyncio
import json
import sqlite3
import tempfile
import time
from pathlib import Path

from loomd.store.base import Row, Store
from loomd.store.sqlite import open_store

BODY = b'{"data":{"type":"phase.completed","phase":"sense","why":"' + b"x" * 300 + b'"},"ts":1.0}'


def bare(rows: int) -> tuple[float, float]:
    """One transaction per row on the same settings."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        db = sqlite3.connect(f"{folder}/bare.db", isolation_level=None)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("CREATE TABLE journal (seq INTEGER PRIMARY KEY, task TEXT, key TEXT, type TEXT, body BLOB)")
        wall, cpu = time.perf_counter(), time.process_time()
        for number in range(rows):
            db.execute("BEGIN IMMEDIATE")
            db.execute("INSERT INTO journal (task, key, type, body) VALUES (?, ?, ?, ?)", ("t", str(number), "p", BODY))
            db.execute("COMMIT")
        return time.perf_counter() - wall, time.process_time() - cpu


async def client(store: Store, number: int, rows: int) -> None:
    """One caller that waits for each of its rows."""
    for ordinal in range(rows):
        await store.durable(store.note(Row(f"t{number}", "phase.completed", BODY, f"step/{ordinal}")))


async def grouped(concurrency: int, rows: int) -> tuple[float, float]:
    """Many callers, each waiting for its own row."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        async with open_store(Path(folder) / "state") as store:
            wall, cpu = time.perf_counter(), time.process_time()
            async with asyncio.TaskGroup() as group:
                for number in range(concurrency):
                    group.create_task(client(store, number, rows // concurrency))
            return time.perf_counter() - wall, time.process_time() - cpu


def show(name: str, rows: int, took: tuple[float, float]) -> dict[str, float]:
    """Print one line and return its figures."""
    rate, cpu = rows / took[0], took[1] / rows * 1e6
    print(f"{name:32} {rate:>9,.0f} rows/s  {cpu:>7.1f} us CPU/row")
    return {f"{name}, rows/s": rate, f"{name}, cpu us": cpu}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    few, many = (300, 10_000) if given.quick else (1000, 40_000)
    found = show("bare INSERT+COMMIT", few, bare(few))
    found |= show("journal, concurrency 1", few, asyncio.run(grouped(1, few)))
    found |= show("journal, concurrency 100", many, asyncio.run(grouped(100, many)))
    if given.json:
        given.json.write_text(json.dumps(found, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
