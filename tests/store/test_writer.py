"""What comes together is written together: once for each group, in order, and one that is at fault harms no other."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncGenerator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loomd.errors import Damaged, Temporary
from loomd.store import seal
from loomd.store.check import check
from loomd.store.records import (
    ApprovalRecord,
    Average,
    Capability,
    Learned,
    Lesson,
    Movement,
    Row,
    TaskRecord,
)
from loomd.store.sqlite import SqliteStore, open_store
from loomd.store.writer import Writer


@pytest.fixture
async def store(tmp_path: Path) -> AsyncGenerator[SqliteStore, None]:
    """Yield a store in a fresh directory."""
    async with open_store(tmp_path / "state") as opened:
        yield opened


class Groups:
    """Two groups and an operation that say what they were given, beside a writer of their own."""

    def __init__(self) -> None:
        db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self.told: list[object] = []
        self.writer: Writer[str] = Writer(db, "here", 0, self.rows, self.odd, lambda: self.told.append("undone"))

    def rows(self, values: Sequence[str]) -> None:
        """Take records."""
        self.told.append(("rows", *values))

    def odd(self, values: Sequence[Any]) -> list[Any]:
        """Take numbers that are odd, or records."""
        self.told.append(("odd", *[tuple(one) if isinstance(one, list) else one for one in values]))
        if 13 in values:
            raise sqlite3.IntegrityError("no")
        return [one if isinstance(one, list) else -one for one in values]

    def even(self, values: Sequence[int]) -> list[int]:
        """Take numbers that are even."""
        self.told.append(("even", *values))
        return [-one for one in values]

    def operation(self) -> str:
        """Do something else."""
        self.told.append("operation")
        return "done"


@pytest.fixture
async def groups() -> AsyncGenerator[Groups, None]:
    """Yield groups, and close their writer."""
    made = Groups()
    yield made
    await made.writer.close(lambda: None)


async def test_groups_are_written_at_once_and_operations_in_their_place(groups: Groups) -> None:
    """Of each group all values, in their order, up to an operation; records before all, and in their place as well."""
    writer, odd, even = groups.writer, groups.odd, groups.even

    async def records() -> None:
        writer.ride("a", 1)
        writer.follow("b")

    first = [writer.share(odd, 1), writer.share(even, 2), records(), writer.insist(odd, 3), writer.share(even, 4)]
    after = [writer.write(groups.operation), writer.share(even, 6), writer.share(odd, 5)]
    assert await asyncio.gather(*first, *after) == [-1, -2, None, -3, -4, "done", -6, -5]
    before = [("rows", "a", "b"), ("odd", 1, ("a", "b"), 3), ("even", 2, 4)]
    assert groups.told == [*before, "operation", ("even", 6), ("odd", 5)]


async def test_one_at_fault_harms_no_other_of_its_group(groups: Groups) -> None:
    """All are undone, and each is tried by itself: whoever waits for the faulty one is told."""
    shared = [groups.writer.share(groups.odd, number) for number in (1, 13, 3)]
    one, faulty, three = await asyncio.gather(*shared, return_exceptions=True)
    assert (one, three) == (-1, -3)
    assert isinstance(faulty, Damaged)
    assert groups.told == [("odd", 1, 13, 3), "undone", ("odd", 1), ("odd", 13), "undone", ("odd", 3)]


async def test_what_must_not_be_lost_is_written_with_the_next(groups: Groups, monkeypatch: pytest.MonkeyPatch) -> None:
    """A value whose transaction failed stays in front of those that come later, and its caller was told."""
    commit = groups.writer._commit

    def full(*_: object) -> None:
        monkeypatch.setattr(groups.writer, "_commit", commit)
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    monkeypatch.setattr(groups.writer, "_commit", full)
    with pytest.raises(Temporary):
        await groups.writer.insist(groups.odd, 1)
    assert await groups.writer.share(groups.odd, 3) == -3
    assert groups.told == [("odd", 1, 3)]


async def test_much_that_waits_is_not_written_on_the_event_loop(
    groups: Groups, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is as much after a failed commit as it was before."""
    writer, commit = groups.writer, groups.writer._commit

    def full(*_: object) -> None:
        monkeypatch.setattr(writer, "_commit", commit)
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR
        raise error

    def rows(_: Sequence[str]) -> None:
        groups.told.append(threading.current_thread() is threading.main_thread())

    monkeypatch.setattr(writer, "_commit", full)
    monkeypatch.setattr(writer, "_insert", rows)
    number = writer.ride("much", 1 << 20)
    with pytest.raises(Temporary):
        await writer.durable(number)
    writer._took = 0.0
    await writer.durable(number)
    assert groups.told[0] is False


async def test_what_many_tasks_taught_is_stored_together(store: SqliteStore) -> None:
    """Each once, and of a score that several moved the last value, with all its movements in their order."""

    def change(number: int) -> Learned:
        moved = Movement(
            agent="ada",
            spec="s",
            domain="maths",
            before=0,
            after=number,
            variance=0,
            count=number,
            reward=1,
            task=f"t{number}",
            at=number,
        )
        return Learned(
            scores=[Capability("ada", "s", "maths", number, 0, number, number)],
            movements=[moved],
            lessons=[Lesson("default", "ada", "s", f"t{number}", -0.0, number)],
            averages=[Average("model", "seconds", number, number, number)],
        )

    learned = [store.learn(f"t{number % 7}", change(number)) for number in range(10)]
    assert await asyncio.gather(*learned) == [True] * 7 + [False] * 3
    assert [one.score for one in await store.capabilities()] == [6]
    assert [(one.seq, one.after) for one in await store.learning.movements()] == [(at + 1, at) for at in range(7)]
    assert [one.task for one in await store.learning.lessons("default", "ada", "s")] == [
        f"t{6 - at}" for at in range(7)
    ]
    assert await store.averages() == [Average("model", "seconds", 6, 6, 6)]
    assert check(store.directory).findings == ()


async def test_what_many_tasks_become_is_stored_together(store: SqliteStore) -> None:
    """Those that are new, that go on and that end; questions of the last are closed, and all is sealed as it is."""
    old = TaskRecord("old", "default", "team", "Running", b"{}", created=1)
    await store.create_task(old)
    for name in ("old", "other"):
        await store.ask(ApprovalRecord(f"a-{name}", name, "default", b"{}", 1, 9))
    store.note(Row("old", "task.completed", b"{}"))
    ended = msgspec.structs.replace(old, phase="Failed", result=b"[]")
    new = TaskRecord("it's", "default", "team", "Running", b"{}", created=2)
    large = TaskRecord("large", "default", "team", "Running", b'{"goal":"%s"}' % (b"o" * 20_000), created=3)
    kept = [
        store.create_task(old),
        store.put_task(ended),
        store.put_task(msgspec.structs.replace(old, phase="Pending")),
        store.create_task(new),
        store.create_task(new),
        store.put_task(msgspec.structs.replace(new, phase="Pending", created=2.5)),
        store.create_task(large),
        store.put_task(msgspec.structs.replace(large, reason="waits")),
    ]
    assert await asyncio.gather(*kept) == [False, True, False, True, False, True, True, True]
    assert await store.get_task("old") == ended
    assert [(one.phase, one.created) for one in await store.list_tasks(unfinished=True)] == [
        ("Running", 3),
        ("Pending", 2.5),
    ]
    assert [one.task for one in await store.list_approvals(pending=True)] == ["other"]
    assert check(store.directory).findings == ()


async def test_a_record_is_not_read_before_it_is_replaced(store: SqliteStore) -> None:
    """What this process wrote last of a task is what must be there, and nothing else is replaced."""
    record = TaskRecord("t1", "default", "team", "Running", b"{}", created=1)
    await store.create_task(record)
    said: list[str] = []
    store._db.set_trace_callback(said.append)
    record = msgspec.structs.replace(record, phase="Pending", reason="waits")
    assert await store.put_task(record)
    assert not [one for one in said if one.startswith("SELECT")]
    with closing(sqlite3.connect(store.directory / "loomd.db", isolation_level=None)) as other:
        assert other.execute("UPDATE tasks SET reason = 'mine'").rowcount == 1
    with pytest.raises(Damaged, match="Task/t1 is not what was stored"):
        await store.put_task(msgspec.structs.replace(record, phase="Succeeded", result=b"{}"))


async def test_seals_are_made_as_sqlite_makes_them(tmp_path: Path) -> None:
    """Rows that are sealed as they are written have the seals that they get when all are made anew."""
    async with open_store(tmp_path / "state") as store:
        for number, name in enumerate(("plain", "it's", "nul\0here", "")):
            moved = Movement(
                agent=name,
                spec=name,
                domain=name,
                before=1,
                after=-0.0,
                variance=1e300,
                count=1,
                reward=1,
                task="",
                at=1,
            )
            change = Learned(
                scores=[Capability(name, name, name, 0, -0.0, number, 5)],
                movements=[moved],
                lessons=[Lesson(name, name, name, name, 1, number)],
                averages=[Average(name, name, 3, 3, 3)],
            )
            assert await store.learn(f"t{name}", change)
            assert await store.put_task(TaskRecord(f"t{name}", name, name, "Failed", b"{}", b"{}", number))
    with closing(sqlite3.connect(tmp_path / "state" / "loomd.db", isolation_level=None)) as db:
        query = "SELECT * FROM seals ORDER BY name, key"
        made = db.execute(query).fetchall()
        seal.seal_all(db)
        assert {name for name, *_ in made} >= set(seal._WHOLE)
        assert made == db.execute(query).fetchall()


async def test_rows_of_the_journal_that_are_inserted_together_are_all_there(store: SqliteStore) -> None:
    """However many they are, with a large one among them, and one that is there already."""
    bodies = {f"k{number}": b"%d" % number * (60_000 if number == 14 else 1) for number in range(27)}
    for key, body in bodies.items():
        store.note(Row("t1", "step.completed", body, key))
    store.note(Row("t1", "step.completed", b"again", "k3"))
    await store.durable(store._writer.last)
    assert {one.key: one.body for one in await store.read()} == bodies
    assert await store.verify() == 27
