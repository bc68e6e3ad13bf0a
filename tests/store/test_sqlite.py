"""The SQLite store: what was acknowledged is there, once, in order, and a changed byte is found."""

import asyncio
import os
import re
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loomd.errors import Conflict, Damaged, LoomdError, Permanent, Temporary
from loomd.store.check import check
from loomd.store.records import (
    ApprovalRecord,
    Capability,
    Charge,
    Commit,
    Learned,
    RevisionRecord,
    Row,
    StoredFile,
    TaskRecord,
)
from loomd.store.sqlite import SqliteStore, open_store


@pytest.fixture
async def store(tmp_path: Path) -> AsyncGenerator[SqliteStore, None]:
    """Yield a store in a fresh directory."""
    async with open_store(tmp_path / "state") as opened:
        yield opened


def row(task: str, number: int, key: str = "") -> Row:
    """Return a row with a recognisable body."""
    return Row(task, "phase.completed", f'{{"n":{number}}}'.encode(), key)


def read_statements(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that gets every statement with which the store reads from now on."""
    said: list[str] = []
    reader = store._reader

    def traced() -> sqlite3.Connection:
        db = reader()
        db.set_trace_callback(said.append)
        return db

    monkeypatch.setattr(store, "_reader", traced)
    return said


async def append(store: SqliteStore, *rows: Row) -> int:
    """Note rows, wait until they are on disk, and return the last number."""
    seq = 0
    for item in rows:
        seq = store.note(item)
    await store.durable(seq)
    return seq


async def save(
    store: SqliteStore, number: int, *files: StoredFile, dropped: Sequence[tuple[str, str, str]] = (), keep: int = 100
) -> None:
    """Store a revision with some new files."""
    record = RevisionRecord(number, f"r{number}", float(number), "apply", "a")
    await store.commit(Commit(record=record, files=files, dropped=dropped, keep=keep))


async def test_rows_come_back_in_order(store: SqliteStore) -> None:
    """Rows are numbered from 1 in the order of their appends and can be read from any place."""
    assert await append(store, row("a", 1), row("b", 2)) == 2
    assert await append(store, row("a", 3)) == 3
    assert [(r.seq, r.task) for r in await store.read()] == [(1, "a"), (2, "b"), (3, "a")]
    assert [r.seq for r in await store.read(after=1, task="a")] == [3]
    assert [r.seq for r in await store.read(limit=2)] == [1, 2]


async def test_ended_tasks_take_no_memory(store: SqliteStore) -> None:
    """What is remembered of a chain goes with the end of its task; a row that comes late still has its place, once."""
    for number in range(100):
        await append(store, row(f"t{number}", 1, "once"), row(f"t{number}", 2))
        await store.put_task(TaskRecord(f"t{number}", "default", "default", "Succeeded", b"{}", b"{}", 1.0))
    assert not store._chain._tails
    assert not store._chain._keys
    await append(store, row("t7", 3, "once"), row("t7", 4))
    assert [r.body for r in await store.read(task="t7")] == [b'{"n":1}', b'{"n":2}', b'{"n":4}']
    assert await store.verify() == 201


async def test_notes_keep_their_place(store: SqliteStore) -> None:
    """A note made before an append is stored before it, one made after it behind."""
    store.note(row("a", 1))
    saved = asyncio.ensure_future(save(store, 1))
    await asyncio.sleep(0)
    await append(store, row("a", 2))
    store.note(row("a", 3))
    await saved
    assert [r.body for r in await store.read()] == [b'{"n":1}', b'{"n":2}', b'{"n":3}']


async def test_a_read_sees_notes(store: SqliteStore) -> None:
    """A read returns what was noted before it, without any append."""
    store.note(row("a", 1))
    assert len(await store.read()) == 1


async def test_a_key_is_stored_once(store: SqliteStore) -> None:
    """A second row with the same task and key is skipped; another task may use the key."""
    await append(store, row("a", 1, "phase/sense"), row("a", 2, "phase/sense"), row("b", 3, "phase/sense"))
    await append(store, row("a", 4, "phase/sense"))
    assert [r.body for r in await store.read()] == [b'{"n":1}', b'{"n":3}']
    assert await store.verify() == 2


async def test_many_callers_share_commits(store: SqliteStore) -> None:
    """Concurrent callers each find their rows stored, in their own order."""

    async def caller(name: str) -> None:
        for number in range(50):
            seq = await append(store, row(name, number))
            assert seq > 0

    async with asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(caller(f"t{number}"))
    rows = await store.read(limit=10_000)
    assert [r.seq for r in rows] == list(range(1, 1001))
    for number in range(20):
        mine = [r.body for r in rows if r.task == f"t{number}"]
        assert mine == [f'{{"n":{n}}}'.encode() for n in range(50)]
    assert await store.verify() == 1000


async def test_rows_of_a_transaction_are_written_together(store: SqliteStore) -> None:
    """Rows that stand between other operations of a transaction are counted once, and an end knows the last of them."""
    said: list[str] = []
    store._db.set_trace_callback(said.append)

    async def end(task: str) -> None:
        store.note(row(task, 1))
        store.note(row(task, 2))
        await store.put_task(TaskRecord(task, "default", "c", "Succeeded", b"{}", b"{}"))

    await asyncio.gather(*(end(f"t{number}") for number in range(20)))
    store._db.set_trace_callback(None)
    assert len([one for one in said if one.startswith("UPDATE counts")]) == 1
    rows = await store.read()
    assert [one.task for one in rows] == [f"t{at // 2}" for at in range(40)]
    assert await store.verify() == 40


async def test_a_tree_is_a_task_and_its_descendants(store: SqliteStore) -> None:
    """A tree holds the rows of a task and what it split into, and of no other task."""
    await append(store, row("t1", 1), row("t1.0", 2), row("t10", 3), row("t1.0.1", 4), row("t0", 5))
    assert [r.task for r in await store.read(task="t1", tree=True)] == ["t1", "t1.0", "t1.0.1"]
    assert [r.task for r in await store.read(task="t1")] == ["t1"]


async def test_verify_finds_a_flipped_byte(tmp_path: Path) -> None:
    """A changed body is found and the row named."""
    async with open_store(tmp_path / "state") as store:
        await append(store, *(row("a", number) for number in range(5)))
        assert await store.verify() == 5
    with closing(sqlite3.connect(tmp_path / "state" / "loomd.db")) as db, db:
        db.execute("UPDATE journal SET body = ? WHERE seq = 3", (b'{"n":9}',))
    db.close()
    async with open_store(tmp_path / "state") as store:
        with pytest.raises(Damaged, match="row 3 of task a"):
            await store.verify()


async def test_learning_happens_once(store: SqliteStore) -> None:
    """The same task cannot move a score twice."""
    first = Capability("ada", "abc", "math", 0.5, 0.1, 1, 10.0)
    assert await store.learn("t1", Learned(scores=[first]))
    assert not await store.learn("t1", Learned(scores=[Capability("ada", "abc", "math", 0.9, 0.1, 2, 11.0)]))
    assert await store.capabilities() == [first]


async def test_tasks_are_kept(store: SqliteStore) -> None:
    """Records are replaced by id, listed newest first, and unfinished ones alone on request."""
    old = TaskRecord("t1", "default", "team", "Running", b"{}", created=1.0)
    new = TaskRecord("t2", "default", "team", "Running", b"{}", created=2.0)
    await store.put_task(old)
    await store.put_task(new)
    done = TaskRecord("t1", "default", "team", "Succeeded", b"{}", b'{"x":1}', created=1.0)
    await store.put_task(done)
    assert await store.get_task("t1") == done
    assert await store.get_task("t9") is None
    assert await store.list_tasks() == [new, done]
    assert await store.list_tasks(unfinished=True) == [new]


async def test_tasks_are_listed_in_parts(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """By namespace, tree and end, page after page in one order, each time by an index and never by a sort of all."""
    said = read_statements(store, monkeypatch)
    for number in range(12):
        space, result = ("lab", b"{}") if number % 3 == 0 else ("default", b"")
        name = f"t{number % 4}" if number < 4 else f"t{number % 4}.{number}"
        await store.put_task(TaskRecord(name, space, "team", "Running", b"{}", result, float(number // 2)))
    everything = [one.id for one in await store.list_tasks()]
    assert everything[:3] == ["t3.11", "t2.10", "t1.9"]
    pages: list[str] = []
    before = None
    while page := await store.list_tasks(limit=5, before=before):
        assert len(page) <= 5
        pages += [one.id for one in page]
        before = page[-1].created, page[-1].id
    assert pages == everything
    assert [one.id for one in await store.list_tasks(namespace="lab", limit=2)] == ["t1.9", "t2.6"]
    assert [one.id for one in await store.list_tasks(namespace="lab", before=(3.0, "t2.6"))] == ["t3", "t0"]
    assert [one.id for one in await store.list_tasks(tree="t1")] == ["t1.9", "t1.5"]
    assert [one.id for one in await store.list_tasks(tree="t1", unfinished=True)] == ["t1.5"]
    assert len(await store.list_tasks(unfinished=True, namespace="default")) == 8
    with closing(sqlite3.connect(store.directory / "loomd.db")) as db, db:
        for query in {one for one in said if "FROM tasks" in one}:
            plan = [step for *_, step in db.execute(f"EXPLAIN QUERY PLAN {query}")]
            steps = [
                step for step in plan if "SCALAR SUBQUERY" not in step and "SEARCH seals USING PRIMARY" not in step
            ]
            if "'t1.'" in query:
                assert steps[0].startswith("SEARCH tasks USING PRIMARY KEY (id>? AND id<?)"), steps
            else:
                assert len(steps) == 1, steps
                assert "USING INDEX tasks_" in steps[0], steps
    db.close()


async def test_an_end_is_kept(store: SqliteStore) -> None:
    """A task that has a result keeps it, whatever is put later; whoever puts it is told."""
    began = TaskRecord("t1", "default", "team", "Running", b"{}", created=1.0)
    done = msgspec.structs.replace(began, phase="Succeeded", result=b'{"x":1}')
    assert await store.put_task(began)
    assert await store.put_task(msgspec.structs.replace(began, reason="waits"))
    assert await store.put_task(done)
    for late in (began, msgspec.structs.replace(done, phase="Cancelled", result=b'{"x":2}')):
        assert not await store.put_task(late)
    assert await store.get_task("t1") == done
    await append(store, row("t1", 1))
    await store.close()
    assert check(store.directory).findings == ()


async def test_an_end_closes_questions(store: SqliteStore) -> None:
    """With the end of a task its open questions are closed, others and those of other tasks are not."""
    for name, task in (("a-1", "t1"), ("a-2", "t1"), ("a-3", "t1.0")):
        await store.ask(ApprovalRecord(name, task, "default", b"{}", 1.0, 2.0))
    await store.decide("a-1", b'{"verdict":"denied"}')
    began = TaskRecord("t1", "default", "team", "Running", b"{}", created=1.0)
    await store.put_task(began)
    assert len(await store.list_approvals(pending=True)) == 2
    await store.put_task(msgspec.structs.replace(began, phase="Cancelled", result=b"{}"))
    assert {one.id: one.decision for one in await store.list_approvals()} == {
        "a-1": b'{"verdict":"denied"}',
        "a-2": b'{"verdict":"expired","reason":"its task has ended"}',
        "a-3": b"",
    }


async def test_a_decision_is_in_time_when_it_is_stored(store: SqliteStore) -> None:
    """The clock is asked when the decision is written, not when it was given."""
    asked = ApprovalRecord("a-1", "t1", "default", b"{}", 1.0, 2.0)
    await store.ask(asked)
    assert await store.decide("a-1", b"{}", lambda: 2.0) == asked
    decided = await store.decide("a-1", b"{}", lambda: 1.9)
    assert decided is not None
    assert decided.decision == b"{}"


async def test_a_task_is_created_once(store: SqliteStore) -> None:
    """Of two tasks with one id the first counts; an id that is still being removed is taken."""
    first = TaskRecord("t1", "default", "team", "Running", b"{}", created=1.0)
    second = msgspec.structs.replace(first, cluster="other")
    assert [await store.create_task(one) for one in (first, second)] == [True, False]
    assert await store.get_task("t1") == first
    await store._writer.write(lambda: store._db.execute("INSERT INTO removals VALUES ('t2')"))
    assert not await store.create_task(msgspec.structs.replace(first, id="t2"))


async def test_files_are_replaced_per_source(store: SqliteStore) -> None:
    """Saving one source's set leaves the other's alone."""
    a1, a2 = StoredFile("a", "/r", "1.yaml", b"1"), StoredFile("a", "/r", "2.yaml", b"2")
    b1 = StoredFile("b", "/r", "1.yaml", b"x")
    await save(store, 1, a1, a2)
    await save(store, 2, b1)
    await save(store, 3, dropped=[("a", "/r", "1.yaml")])
    assert await store.files(3) == [a2, b1]
    assert await store.files(2) == [a1, a2, b1]


async def test_a_full_disk_is_a_typed_error_and_passes(store: SqliteStore, caplog: pytest.LogCaptureFixture) -> None:
    """While there is no space every waiting caller is told so, notes are kept, and later writes work again."""
    await append(store, row("a", 0))
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count = {pages}")
    store.note(row("a", 1))
    big = Row("a", "phase.completed", b"x" * 1_000_000)
    with pytest.raises(Temporary, match="full"):
        await append(store, big)
    with pytest.raises(Temporary, match="full"):
        await save(store, 1, StoredFile("a", "/r", "1.yaml", b"x" * 1_000_000))
    assert "is full" in caplog.text
    assert len(await store.read()) == 1
    with pytest.raises(Temporary, match="full"):
        await store.read(strict=True)
    store._db.execute("PRAGMA max_page_count = 1000000")
    assert len(await store.read(strict=True)) == 3
    await append(store, row("a", 2))
    assert [len(r.body) for r in await store.read()] == [7, 7, 1_000_000, 7]
    assert await store.revisions() == []
    assert await store.verify() == 4


async def test_a_faulty_write_fails_alone(store: SqliteStore) -> None:
    """A caller whose write cannot work does not take those in the same transaction with it."""
    twice = StoredFile("a", "/r", "1.yaml", b"1")
    async with asyncio.TaskGroup() as group:
        good = group.create_task(append(store, row("a", 1)))

        async def bad() -> None:
            with pytest.raises(Damaged, match="UNIQUE"):
                await save(store, 1, twice, twice)

        group.create_task(bad())
    assert good.result() == 1
    assert await store.revisions() == []


async def test_nothing_is_written_after_a_record_that_is_lost(store: SqliteStore) -> None:
    """When a row cannot be stored, no write after it is, not even in the same transaction: the end of a task least."""
    done = TaskRecord("t1", "default", "team", "Succeeded", b"{}", b"{}", created=1.0)
    await append(store, row("t1", 1))
    store.note(Row("t1", None, b"{}", "ended"))  # type: ignore[arg-type]  # no type at all
    for _ in range(2):
        with pytest.raises(Damaged, match="a record could not be stored"):
            await store.put_task(done)
        with pytest.raises(Damaged, match="a record could not be stored"):
            await store.durable(2)
    assert await store.get_task("t1") is None


async def test_what_nobody_waits_for_goes_together(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records that come one after the other cost a commit now and then, and not one commit after the other."""
    commits: list[int] = []
    commit = store._writer._commit

    def counted(work: Any, values: Any) -> None:
        commits.append(len(work))
        commit(work, values)

    monkeypatch.setattr(store._writer, "_commit", counted)
    began = time.monotonic()
    for number in range(300):
        store.note(row("t1", number))
        await asyncio.sleep(0.0001)  # the thread that writes gets its turn
    last = await append(store, row("t1", 300))
    assert len(commits) <= 3 + (time.monotonic() - began) / 0.02
    assert len(await store.read(limit=1000)) == last == 301


@pytest.mark.parametrize(("task", "key"), [("t\ud800", ""), ("t1", "step/\ud800")])
async def test_a_name_that_cannot_be_written_is_refused_at_once(store: SqliteStore, task: str, key: str) -> None:
    """It would be found when it is written, and end all writing; a name in any script is none of these."""
    with pytest.raises(UnicodeEncodeError):
        store.note(Row(task, "step.completed", b"{}", key))
    seq = store.note(Row("tâche", "step.completed", b"{}", "étape/été"))
    await store.durable(seq)
    assert [(one.task, one.key, one.seq) for one in await store.read()] == [("tâche", "étape/été", seq)]
    assert await store.verify() == 1


async def test_a_full_disk_in_the_second_try(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full just when writes are tried one by one loses none of them, and stores none twice."""
    inserted = store._insert
    tries = 0

    def fills(entries: Sequence[tuple[int, Row]]) -> None:
        nonlocal tries
        tries += 1
        if tries == 3:
            raise sqlite3.OperationalError("database or disk is full")
        inserted(entries)

    def refused() -> None:
        raise sqlite3.IntegrityError("no")

    monkeypatch.setattr(store._writer, "_insert", fills)
    store.note(row("a", 1))
    outcomes = await asyncio.gather(
        store.put_signal("a", "go", b"1", 1.0),
        store._writer.write(refused),
        append(store, row("a", 2)),
        return_exceptions=True,
    )
    assert outcomes[0] is True
    assert isinstance(outcomes[1], Damaged)
    assert isinstance(outcomes[2], Temporary)
    await store.durable(2)
    assert [one.seq for one in await store.read()] == [1, 2]
    assert store._writer._next.count == 0
    assert await store.verify() == 2


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        pytest.param(sqlite3.SQLITE_CANTOPEN, Temporary, id="no-file-left"),
        pytest.param(sqlite3.SQLITE_IOERR_READ, Temporary, id="disk"),
        pytest.param(sqlite3.SQLITE_BUSY, Temporary, id="locked"),
        pytest.param(sqlite3.SQLITE_ERROR, Damaged, id="no-table"),
        pytest.param(sqlite3.SQLITE_CORRUPT, Damaged, id="corrupt"),
    ],
)
async def test_what_a_failed_read_means(store: SqliteStore, code: int, kind: type[LoomdError]) -> None:
    """What may pass is told so, with a time; only what is corrupt asks for a backup."""
    error = (sqlite3.DatabaseError if code == sqlite3.SQLITE_CORRUPT else sqlite3.OperationalError)("it fails")
    error.sqlite_errorcode = code

    def ask(_: sqlite3.Connection) -> None:
        raise error

    with pytest.raises(kind, match="it fails") as failed:
        await store._query(ask)
    assert getattr(failed.value, "retry_after", None) == (1.0 if kind is Temporary else None)


async def test_no_file_can_be_opened(store: SqliteStore) -> None:
    """A process that has no file left reads later, and is not told that its state is damaged."""
    soft, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, most))
    try:
        with pytest.raises(Temporary, match="unable to open"):
            await store.get_task("t1")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, most))
    assert await store.get_task("t1") is None


async def test_rows_of_a_task_are_found_by_its_index(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """No query for the rows of a task or a tree looks at rows of others, however large the journal is."""
    said = read_statements(store, monkeypatch)
    store._db.set_trace_callback(said.append)
    for name in ("t1", "t1.0", "t2"):
        await append(store, row(name, 1, "once"), row(name, 2))
        await store.put_task(TaskRecord(name, "default", "team", "Succeeded", b"{}", b"{}", 1.0))
    await append(store, row("t1", 3))
    for tree in (False, True):
        assert await store.read(task="t1", after=1, tree=tree) != []
    await store.sweep(before=1e9, keep=0)
    await store.close()
    queries = {one for one in said if one.lstrip().startswith("SELECT") and "journal" in one and "task" in one}
    with closing(sqlite3.connect(store.directory / "loomd.db")) as db, db:
        plans = {one: [step for *_, step in db.execute(f"EXPLAIN QUERY PLAN {one}")] for one in queries}
    db.close()
    by_task = (
        "USING INDEX journal_by_task",
        "USING COVERING INDEX journal_by_task",
        "USING INTEGER PRIMARY KEY (rowid=?)",
    )
    others = {
        one: step
        for one, steps in plans.items()
        for step in steps
        if "journal" in step and not any(way in step for way in by_task)
    }
    assert len(plans) > 6
    assert others == {}


async def test_a_second_open_names_the_holder(store: SqliteStore) -> None:
    """A held directory is refused with the id of the process that holds it."""
    with pytest.raises(Conflict, match=f"process {os.getpid()}"):
        async with open_store(store.directory):
            pass
    assert store.directory.stat().st_mode & 0o777 == 0o700


async def test_a_foreign_directory_is_refused(tmp_path: Path) -> None:
    """A directory with somebody else's files is left untouched."""
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(Conflict, match=r"thesis\.txt"):
        async with open_store(tmp_path):
            pass
    assert os.listdir(tmp_path) == ["thesis.txt"]  # noqa: PTH208  # a plain listing


async def test_a_swapped_or_lost_database_is_refused(tmp_path: Path) -> None:
    """A database from another directory, another program's, garbage or none at all is not opened as fresh."""
    for name in ("one", "two"):
        async with open_store(tmp_path / name) as store:
            await append(store, row("a", 1))
    database = tmp_path / "one" / "loomd.db"
    database.write_bytes((tmp_path / "two" / "loomd.db").read_bytes())
    with pytest.raises(Damaged, match="swapped"):
        async with open_store(tmp_path / "one"):
            pass
    database.write_bytes(b"garbage" * 1000)
    with pytest.raises(Damaged, match="not a database"):
        async with open_store(tmp_path / "one"):
            pass
    database.unlink()
    with pytest.raises(Damaged, match=r"lost its loomd\.db"):
        async with open_store(tmp_path / "one"):
            pass


async def test_a_database_without_its_marker_is_refused(tmp_path: Path) -> None:
    """Nothing says that a database belongs into a directory without a marker; a person may say so, and nobody else."""
    for name in ("one", "two"):
        async with open_store(tmp_path / name) as store:
            await append(store, row("", 1))
    folder = tmp_path / "one"
    (folder / "identity.json").unlink()
    (folder / "copies").mkdir()
    shutil.copy(tmp_path / "two" / "loomd.db", folder / "loomd.db")
    with pytest.raises(Damaged, match=r"identity\.json is missing") as refused:
        async with open_store(folder):
            pass
    assert sorted(path.name for path in folder.iterdir()) == ["copies", "lock", "loomd.db"]
    (found,) = check(folder).findings
    assert (found.code, found.act) == ("identity", str(refused.value).rpartition(": ")[2])
    (folder / "identity.json").write_text(re.findall(r"write (\{.*\}) into it", found.act)[0])
    async with open_store(folder) as store:
        assert len(await store.read()) == 1
    assert check(folder).findings == ()


async def test_a_first_start_that_was_killed_is_finished(tmp_path: Path) -> None:
    """A database in which nothing was kept yet gets its marker at the next start."""
    async with open_store(tmp_path / "state"):
        pass
    (tmp_path / "state" / "identity.json").unlink()
    async with open_store(tmp_path / "state") as store:
        await append(store, row("", 1))
    assert check(tmp_path / "state").findings == ()


async def test_a_changed_record_of_a_task_goes_nowhere(store: SqliteStore, caplog: pytest.LogCaptureFixture) -> None:
    """A record that another program wrote is not resumed, not replaced and not sealed anew; others go on."""
    for name in ("t1", "t2"):
        await store.create_task(TaskRecord(name, "default", "team", "Running", b'{"engine":1}', created=1.0))
    with closing(sqlite3.connect(store.directory / "loomd.db")) as other:
        other.execute("UPDATE tasks SET body = CAST('{\"engine\":9}' AS BLOB) WHERE id = 't1'")
        other.commit()
    assert [one.id for one in await store.list_tasks(unfinished=True)] == ["t2"]
    assert "the record of Task/t1 is not what was stored" in caplog.text
    assert [one.id for one in await store.list_tasks()] == ["t2", "t1"]
    with pytest.raises(Damaged, match="Task/t1 is not what was stored"):
        await store.get_task("t1")
    with pytest.raises(Damaged, match="Task/t1 is not what was stored"):
        await store.put_task(TaskRecord("t1", "default", "team", "Pending", b'{"engine":9}', created=1.0))
    assert await store.put_task(TaskRecord("t2", "default", "team", "Pending", b"{}", created=1.0))
    assert [(one.code, one.where) for one in check(store.directory).findings] == [("seal", "tasks 't1'")]


@pytest.mark.parametrize(
    ("name", "target"),
    [
        pytest.param("identity.json", "x" * 300, id="marker"),
        pytest.param("loomd.db", "x" * 300, id="database"),
        pytest.param("loomd.db", "", id="folder"),
    ],
)
async def test_what_the_system_refuses_is_told(name: str, target: str, tmp_path: Path) -> None:
    """A file that cannot be looked at is named, with what to do, and the directory is let go."""
    async with open_store(tmp_path / "state"):
        pass
    place, kept = tmp_path / "state" / name, tmp_path / "kept"
    place.rename(kept)
    place.symlink_to(target) if target else place.mkdir()
    with pytest.raises(Permanent, match=f"{name}: .*choose another"):
        async with open_store(tmp_path / "state"):
            pass
    place.unlink() if target else place.rmdir()
    kept.rename(place)
    async with open_store(tmp_path / "state"):
        pass


async def test_a_database_of_somebody_else(tmp_path: Path) -> None:
    """A database whose mode may not be set is refused, and named."""
    (tmp_path / "loomd.db").symlink_to("/proc/sys/kernel/ostype")  # even root may not change its mode
    with pytest.raises(Permanent, match=r"loomd\.db: (Operation not permitted|Read-only file system): choose another"):
        async with open_store(tmp_path):
            pass


async def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    """A store written by a newer version is not touched."""
    async with open_store(tmp_path / "state"):
        pass
    with closing(sqlite3.connect(tmp_path / "state" / "loomd.db")) as db, db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(Conflict, match="schema 99"):
        async with open_store(tmp_path / "state"):
            pass


_KILLED = """
import asyncio, sys
from datetime import UTC, datetime
from pathlib import Path
from loomd.store.records import Row
from loomd.store.sqlite import open_store

async def main():
    async with open_store(Path(sys.argv[1])) as store:
        for number in range(1000000):
            seq = store.note(Row("t", "phase.completed", b"{}", f"step/{number}"))
            await store.durable(seq)
            print(seq, flush=True)

asyncio.run(main())
"""


async def test_what_was_acknowledged_survives_kill(tmp_path: Path) -> None:
    """Every row that was acknowledged before kill -9 is there when the store opens again."""
    child = subprocess.Popen([sys.executable, "-c", _KILLED, str(tmp_path / "s")], stdout=subprocess.PIPE, text=True)  # noqa: ASYNC220, S603  # our own script
    assert child.stdout is not None
    last = 0
    for _ in range(200):
        last = int(child.stdout.readline())
    child.send_signal(signal.SIGKILL)
    rest = child.stdout.read().splitlines()
    child.stdout.close()
    child.wait()
    acknowledged = max([last, *(int(line) for line in rest if line)])
    async with open_store(tmp_path / "s") as store:
        rows = await store.read(limit=1_000_000)
        assert len(rows) >= acknowledged
        assert await store.verify() == len(rows)


async def test_what_is_used_is_added_up_by_day(tmp_path: Path) -> None:
    """In one transaction with the row before it, whatever comes in one commit; days that are over since long go."""
    async with open_store(tmp_path / "state") as store:
        for day in ("2026-11-29", "2026-11-30", "2026-11-30"):
            seq = store.note(Row("", "config.loaded", b"{}"))
            store.charge(Charge("default", "ada", day, input=10, output=5, cached=2, cost=0.25, calls=1, seconds=0.5))
        await store.durable(seq)
        assert await store.usage("2026-11-30") == [Charge("default", "ada", "2026-11-30", 20, 10, 4, 0.5, 2, 0, 1.0)]
        assert len(await store.usage("2026-11-29")) == 1
        await store.sweep(before=datetime(2026, 11, 30, 6, tzinfo=UTC).timestamp(), keep=100)
        assert await store.usage("2026-11-29") == []
        assert len(await store.usage("2026-11-30")) == 1
    assert check(tmp_path / "state").findings == ()
