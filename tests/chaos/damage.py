"""State directories to be damaged, and what may become of one: found, refused, or harmless; never read otherwise.

`python -m tests.chaos.damage --flips 5000 --seed 1` flips many bits, and prints what became of that.
"""

import argparse
import asyncio
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from loomd.errors import LoomdError
from loomd.store.check import check
from loomd.store.records import (
    Capability,
    Commit,
    Learned,
    ObjectRecord,
    RevisionRecord,
    Row,
    SourceRecord,
    StoredFile,
    TaskRecord,
)
from loomd.store.sqlite import SqliteStore, open_store

STEPS = 30
"""Steps of each task of a state."""
WRITER = """
import asyncio, sys
from pathlib import Path
from tests.chaos.damage import fill, step
from loomd.store.sqlite import open_store

async def main():
    async with open_store(Path(sys.argv[1])) as store:
        await fill(store)
        for number in range(1000000):
            print(await step(store, number), flush=True)

asyncio.run(main())
"""


async def fill(store: SqliteStore) -> None:
    """Store a little of everything."""
    for number in range(4):
        body = b'{"id":"t%d","goal":"what is it?","revision":"r1"}' % number
        await store.put_task(TaskRecord(f"t{number}", "default", "team", "Running", body, created=float(number)))
        for at in range(STEPS):
            store.note(Row(f"t{number}", "step.completed", b'{"ts":1,"value":"' + b"y" * 200 + b'"}', f"step/{at}"))
            store.note(Row("", "config.loaded", b'{"ts":1}'))
    store.note(Row("t0", "step.completed", b'{"value":"' + b"z" * 110_000 + b'"}', "step/large"))
    files = [StoredFile("a", "/r", f"{at}.yaml", b"text %d\n" % at * 40) for at in range(10)]
    known = ObjectRecord("Agent", "default", "ada", "uid", 1, 1, 0.0, "digest", "a", "me")
    record = RevisionRecord(1, "r1", 1.0, "apply", "a", ("Agent/ada",))
    await store.commit(Commit(record=record, files=files, objects=[known], sources=[SourceRecord("a", b"{}")]))
    await store.put_signal("t0", "go", b"{}", 1.0)
    await store.learn("t0", Learned(scores=[Capability("ada", "spec", "math", 0.5, 0.1, 1, 10.0)]))
    done = b'{"id":"t1","goal":"what is it?","revision":"r1"}'
    await store.put_task(TaskRecord("t1", "default", "team", "Succeeded", done, b'{"output":"42"}', 1.0))
    store.note(Row("t1", "feedback.given", b'{"ts":2}', "feedback"))


async def step(store: SqliteStore, number: int) -> int:
    """Store one more step and return its number once it is on disk."""
    row = Row("t2", "step.completed", b'{"value":%d}' % number, f"more/{number}")
    seq = store.note(row)
    await store.durable(seq)
    return seq


async def closed(folder: Path) -> None:
    """Make a state directory that was closed in order."""
    async with open_store(folder) as store:
        await fill(store)


def killed(folder: Path, steps: int = 40) -> int:
    """Make a state directory whose process was killed; return the last number that it acknowledged."""
    command = [sys.executable, "-c", WRITER, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:  # noqa: S603  # our own script
        assert child.stdout is not None
        last = [int(child.stdout.readline()) for _ in range(steps)][-1]
        child.send_signal(signal.SIGKILL)
        rest = child.stdout.read().split()
    return max([last, *(int(line) for line in rest)])


async def contents(folder: Path) -> str:
    """Return everything that a store hands out, as text."""
    async with open_store(folder) as store:
        parts = [
            await store.read(limit=1_000_000),
            await store.list_tasks(),
            await store.get_signal("t0", "go"),
            await store.capabilities(),
            await store.revisions(),
            await store.files(1),
            await store.objects(),
            await store.sources(),
            [await store.learn(f"t{number}", Learned()) for number in range(4)],
        ]
    return repr(parts)


def outcome(folder: Path, expected: str) -> str:
    """Return what a look at a state directory finds, or how it is refused, or `harmless`, or `unnoticed`."""
    try:
        report = check(folder)
    except LoomdError as error:
        return type(error).__name__
    if report.findings:
        return report.findings[0].code
    try:
        return "harmless" if asyncio.run(contents(folder)) == expected else "unnoticed"
    except LoomdError as error:
        return f"open: {type(error).__name__}"


def flips(
    source: Path, name: str, work: Path, expected: str, draw: random.Random, count: int
) -> Iterator[tuple[int, str]]:
    """Flip one bit of a file at a time, and yield where and what became of that.

    Args:
        source: an undamaged state directory.
        name: the file in it.
        work: where it may be damaged.
        expected: the contents that the undamaged one has.
        draw: where.
        count: how often.
    """
    data = (source / name).read_bytes()
    for _ in range(count):
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(source, work)
        at = draw.randrange(4096 if draw.random() < 0.2 else len(data))
        harmed = bytearray(data)
        harmed[at] ^= 1 << draw.randrange(8)
        (work / name).write_bytes(harmed)
        yield at, outcome(work, expected)


def expected_of(source: Path, work: Path) -> str:
    """Return the contents of a state directory, which stays as it is."""
    shutil.copytree(source, work)
    return asyncio.run(contents(work))


def main() -> None:
    """Flip bits and print what became of that; exit with 1 when one was not noticed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flips", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    unnoticed = 0
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        asyncio.run(closed(top / "closed"))
        killed(top / "killed")
        for state, name in (("closed", "loomd.db"), ("killed", "loomd.db-wal")):
            expected = expected_of(top / state, top / f"{state}-copy")
            draw = random.Random(given.seed)
            found = list(flips(top / state, name, top / "work", expected, draw, given.flips))
            print(name, dict(Counter(what for _, what in found)), [at for at, what in found if what == "unnoticed"])  # noqa: T201  # a report
            unnoticed += sum(what == "unnoticed" for _, what in found)
    sys.exit(1 if unnoticed else 0)


if __name__ == "__main__":
    main()
