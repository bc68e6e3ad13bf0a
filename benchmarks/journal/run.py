"""Rows per second of the journal at concurrency 1 and 100, beside one INSERT+COMMIT per row.

Run: python benchmarks/journal/run.py
"""

import asyncio
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


def show(name: str, rows: int, took: tuple[float, float]) -> None:
    """Print one line."""
    print(f"{name:32} {rows / took[0]:>9,.0f} rows/s  {took[1] / rows * 1e6:>7.1f} us CPU/row")


if __name__ == "__main__":
    show("bare INSERT+COMMIT", 1000, bare(1000))
    show("journal, concurrency 1", 1000, asyncio.run(grouped(1, 1000)))
    show("journal, concurrency 100", 40_000, asyncio.run(grouped(100, 40_000)))
