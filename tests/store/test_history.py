"""The history in the store: what a revision had, whatever else is shared, forgotten, damaged or killed on the way."""

import asyncio
import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from loomd.errors import Damaged, Temporary
from loomd.store.records import Commit, ObjectRecord, RevisionRecord, SourceRecord, StoredFile
from loomd.store.schema import _FIRST
from loomd.store.sqlite import SqliteStore, open_store


@pytest.fixture
async def store(tmp_path: Path) -> AsyncGenerator[SqliteStore, None]:
    """Yield a store in a fresh directory."""
    async with open_store(tmp_path / "state") as opened:
        yield opened


def file(path: str, data: bytes, source: str = "a") -> StoredFile:
    """Return a file."""
    return StoredFile(source, "/r", path, data)


def revision(number: int) -> RevisionRecord:
    """Return an entry."""
    return RevisionRecord(number, f"digest-{number}", float(number), "apply", "a", (f"change {number}",))


def known(name: str, version: int) -> ObjectRecord:
    """Return what is known of an object."""
    return ObjectRecord("Agent", "default", name, f"uid-{name}", 1, version, 0.0, "d", "a", "ann")


def count(store: SqliteStore, table: str) -> int:
    """Return the number of rows of a table."""
    return int(store._db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608  # a table of ours


async def test_a_revision_has_what_was_there_then(store: SqliteStore) -> None:
    """Whatever is added, replaced and dropped later, every revision gives the files that it had, by source and path."""
    rng = random.Random(7)
    now: dict[tuple[str, str], StoredFile] = {}
    had: list[list[StoredFile]] = []
    for number in range(1, 41):
        touched = rng.sample([(s, p) for s in "abc" for p in "uvwxyz"], rng.randint(0, 5))
        gone = [key for key in touched if key in now and rng.random() < 0.4]
        fresh = [
            file(path, b"%d" % rng.randint(0, 9), source) for source, path in touched if (source, path) not in gone
        ]
        now = {key: one for key, one in now.items() if key not in gone} | {(one.source, one.path): one for one in fresh}
        change = Commit(record=revision(number), files=fresh, dropped=[(s, "/r", p) for s, p in gone], keep=30)
        await store.commit(change)
        had.append([now[key] for key in sorted(now)])
    kept = await store.revisions()
    assert [one.number for one in kept] == list(range(40, 10, -1))
    for one in kept:
        assert await store.files(one.number) == had[one.number - 1]
        assert await store.holders(one.number) == sorted({held.source for held in had[one.number - 1]})
    assert await store.files(40, "b") == [one for one in had[-1] if one.source == "b"]
    await store.verify()


async def test_contents_are_stored_once(store: SqliteStore) -> None:
    """A revision costs what changed in it; equal contents are kept once, and leave with the last who has them."""
    await store.commit(Commit(record=revision(1), files=[file(f"{n}.yaml", b"same") for n in range(100)], keep=3))
    assert (count(store, "files"), count(store, "blobs")) == (100, 1)
    for number in range(2, 12):
        await store.commit(Commit(record=revision(number), files=[file("0.yaml", b"text %d" % number)], keep=3))
    assert (count(store, "files"), count(store, "blobs")) == (102, 4)
    assert count(store, "revisions") == 3
    assert len(await store.files(9)) == 100


async def test_other_bytes_of_the_same_revision(store: SqliteStore) -> None:
    """Without a new revision the newest one has the new bytes, the ones before keep theirs, and nothing piles up."""
    await store.commit(Commit(record=revision(1), files=[file("1.yaml", b"one")]))
    await store.commit(Commit(record=revision(2), files=[file("2.yaml", b"two")]))
    for number in range(5):
        await store.commit(Commit(files=[file("1.yaml", b"# %d\none" % number)]))
    assert [one.data for one in await store.files(1)] == [b"one"]
    assert [one.data for one in await store.files(2)] == [b"# 4\none", b"two"]
    assert (count(store, "files"), count(store, "blobs")) == (3, 3)
    await store.commit(Commit(dropped=[("a", "/r", "1.yaml")]))
    assert [one.path for one in await store.files(2)] == ["2.yaml"]


async def test_a_source_may_begin_anew(store: SqliteStore) -> None:
    """Of a source whose files are not known any more nothing is in the next revision but what is stored with it."""
    first = [file("1.yaml", b"1"), file("2.yaml", b"2"), file("1.yaml", b"b", "b")]
    await store.commit(Commit(record=revision(1), files=first))
    await store.commit(Commit(record=revision(2), files=[file("3.yaml", b"3")], anew=["a"]))
    assert await store.files(1) == sorted(first, key=lambda one: (one.source, one.path))
    assert await store.files(2) == [file("3.yaml", b"3"), file("1.yaml", b"b", "b")]


async def test_all_of_a_change_or_nothing(store: SqliteStore) -> None:
    """When one part of a change cannot be stored, none of it is; nor when the disk is full."""
    source = SourceRecord("a", b"{}")
    good = Commit(record=revision(1), files=[file("1.yaml", b"1")], objects=[known("ada", 1)], sources=[source])
    await store.commit(good)
    twice = file("2.yaml", b"2")
    bad = Commit(
        record=revision(2),
        files=[twice, twice],
        dropped=[("a", "/r", "1.yaml")],
        objects=[known("bob", 2)],
        gone=[("Agent", "default", "ada")],
        sources=[SourceRecord("b", b"{}")],
        forgotten=["a"],
    )
    with pytest.raises(Damaged, match="UNIQUE"):
        await store.commit(bad)
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(Temporary, match="full"):
        await store.commit(msgspec.structs.replace(bad, files=[file("2.yaml", os.urandom(1_000_000))]))
    store._db.execute("PRAGMA max_page_count = 1000000")
    assert [one.number for one in await store.revisions()] == [1]
    assert await store.files(1) == [file("1.yaml", b"1")]
    assert await store.objects() == [known("ada", 1)]
    assert await store.sources() == [source]


async def test_objects_and_sources_come_and_go(store: SqliteStore) -> None:
    """Records are replaced by name and removed by name, with a revision or without one."""
    await store.commit(Commit(record=revision(1), objects=[known("ada", 1), known("bob", 1)]))
    await store.commit(Commit(objects=[known("ada", 2)], sources=[SourceRecord("b", b"1"), SourceRecord("a", b"1")]))
    assert await store.objects() == [known("ada", 2), known("bob", 1)]
    assert [one.name for one in await store.sources()] == ["a", "b"]
    await store.commit(Commit(gone=[("Agent", "default", "bob")], forgotten=["b"], sources=[SourceRecord("a", b"2")]))
    assert await store.objects() == [known("ada", 2)]
    assert await store.sources() == [SourceRecord("a", b"2")]


@pytest.mark.parametrize(
    "harm",
    ["UPDATE blobs SET data = x'00'", "DELETE FROM blobs", "UPDATE files SET digest = 'x'"],
    ids=["changed", "missing", "swapped"],
)
async def test_damaged_contents_are_found(store: SqliteStore, harm: str) -> None:
    """Contents that are not what was stored are never handed out; storing them again mends that."""
    await store.commit(Commit(record=revision(1), files=[file("1.yaml", b"one"), file("1.yaml", b"two", "b")]))
    await store.read()
    store._db.execute(harm)
    with pytest.raises(Damaged, match=r"revision 1: the stored contents of 1\.yaml \(a\) are damaged"):
        await store.files(1)
    with pytest.raises(Damaged, match="revision 1"):
        await store.verify()
    assert await store.holders(1) == ["a", "b"]
    await store.commit(Commit(record=revision(2), files=[file("1.yaml", b"one")], anew=["a", "b"], keep=1))
    assert [one.data for one in await store.files(2)] == [b"one"]
    await store.verify()


async def test_a_damaged_list_of_changes_says_so(store: SqliteStore) -> None:
    """An entry whose list of changes cannot be read is listed, and says what is wrong with it."""
    await store.commit(Commit(record=revision(1)))
    store._db.execute("UPDATE revisions SET changes = x'ff'")
    (one,) = await store.revisions()
    assert (one.number, one.revision) == (1, "digest-1")
    assert one.changes[0].startswith("the list of changes is damaged")


async def test_an_older_store_becomes_a_history(tmp_path: Path) -> None:
    """The set that an older loomd kept is the first entry; its contents are checked like all others from then on."""
    folder = tmp_path / "state"
    async with open_store(folder):
        pass
    path = folder / "loomd.db"
    with closing(sqlite3.connect(path)) as new:
        identity = new.execute("SELECT value FROM meta").fetchone()[0]
    path.unlink()
    old = sqlite3.connect(path, isolation_level=None)
    old.executescript(_FIRST)
    old.execute("INSERT INTO meta VALUES ('id', ?)", (identity,))
    old.executemany("INSERT INTO sources VALUES (?, ?)", [("a", "r1"), ("b", "r1")])
    rows = [("a", "/r", "1.yaml", b"1"), ("a", "/r", "2.yaml", b"same"), ("b", "/r", "1.yaml", b"same")]
    old.executemany("INSERT INTO files VALUES (?, ?, ?, ?)", rows)
    old.execute("PRAGMA user_version = 1")
    old.execute(f"PRAGMA application_id = {0x6C6F6F6D}")
    old.close()
    async with open_store(folder) as store:
        assert [(one.number, one.revision, one.cause) for one in await store.revisions()] == [(1, "r1", "migrate")]
        assert [(one.source, one.path, one.data) for one in await store.files(1)] == [
            ("a", "1.yaml", b"1"),
            ("a", "2.yaml", b"same"),
            ("b", "1.yaml", b"same"),
        ]
        assert (await store.objects(), await store.sources()) == ([], [])
        assert count(store, "blobs") == 2
        await store.verify()
        await store.commit(Commit(record=revision(2), files=[file("1.yaml", b"new")]))
        assert (await store.files(1))[0].data == b"1"


async def test_an_empty_older_store_has_no_history(tmp_path: Path) -> None:
    """A store in which nothing served begins with no entry."""
    async with open_store(tmp_path / "state") as store:
        assert await store.revisions() == []
        assert await store.files(0) == []


KILLED = """
import asyncio, os, sys
from pathlib import Path
from loomd.store.records import Commit, ObjectRecord, RevisionRecord, SourceRecord, StoredFile
from loomd.store.sqlite import open_store

async def main():
    async with open_store(Path(sys.argv[1])) as store:
        kept = await store.revisions()
        number = kept[0].number if kept else 0
        while True:
            number += 1
            files = [StoredFile("a", "/r", f"{n}.yaml", b"%d" % number * 500) for n in range(20)]
            objects = [ObjectRecord("Agent", "default", f"a{n}", "u", 1, number, 0.0, "d", "a", "m") for n in range(20)]
            record = RevisionRecord(number, f"digest-{number}", float(number), "apply", "a")
            source = SourceRecord("a", b"%d" % number)
            await store.commit(Commit(record=record, files=files, objects=objects, sources=[source], keep=5))
            print(number, flush=True)

asyncio.run(main())
"""


async def test_killed_while_it_commits(tmp_path: Path) -> None:
    """Kill -9 at any moment: what was acknowledged is there, and a revision is there with all that belongs to it."""
    folder, rng = tmp_path / "state", random.Random(11)
    for _ in range(6):
        child = await asyncio.create_subprocess_exec(sys.executable, "-c", KILLED, str(folder), stdout=subprocess.PIPE)
        assert child.stdout is not None
        last = 0
        for _ in range(rng.randint(1, 30)):
            last = int(await child.stdout.readline())
        await asyncio.sleep(rng.random() / 100)  # not at an acknowledgement, but anywhere in the next commits
        child.send_signal(signal.SIGKILL)
        rest = (await child.stdout.read()).split()
        await child.wait()
        acknowledged = max([last, *(int(line) for line in rest)])
        async with open_store(folder) as store:
            records = await store.revisions()
            newest = records[0].number
            assert newest >= acknowledged
            assert [one.number for one in records] == list(range(newest, max(0, newest - 5), -1))
            for one in records:
                assert [held.data for held in await store.files(one.number)] == [b"%d" % one.number * 500] * 20
            assert {one.version for one in await store.objects()} == {newest}
            assert await store.sources() == [SourceRecord("a", b"%d" % newest)]
            assert count(store, "blobs") == len(records)
            await store.verify()
