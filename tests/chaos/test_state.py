"""Faults of the state directory, on real files: each is found or refused by name, and nothing acknowledged is lost."""

import asyncio
import json
import os
import random
import resource
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from loomd.cli.main import run
from loomd.errors import Conflict, Damaged, LoomdError, Permanent, Temporary
from loomd.store import sqlite as sqlite_store
from loomd.store import writer as sqlite_writer
from loomd.store.check import check
from loomd.store.records import Row, TaskRecord
from loomd.store.sqlite import open_store
from tests.chaos.damage import closed, contents, expected_of, fill, flips, killed, step
from tests.daemon.process import Daemon

NOBODY = 65534
FLIPS = 25
"""Bits that are flipped in a normal run; `python -m tests.chaos.damage` flips more."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a state directory that was closed in order."""
    folder = tmp_path_factory.mktemp("whole") / "state"
    asyncio.run(closed(folder))
    return folder


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """Return a state directory whose process was killed, and the last number that it acknowledged."""
    folder = tmp_path_factory.mktemp("left") / "state"
    return folder, killed(folder)


@pytest.fixture
def daemon(tmp_path: Path) -> Generator[Daemon, None, None]:
    """Yield a daemon that is not started yet; it is killed at the end."""
    made = Daemon(tmp_path)
    made.write()
    yield made
    made.kill()


def copy(source: Path, folder: Path) -> Path:
    """Return a copy of a state directory."""
    shutil.copytree(source, folder)
    return folder


def flip(path: Path, at: int) -> None:
    """Flip a bit; a negative place counts from the end."""
    data = bytearray(path.read_bytes())
    data[at] ^= 4
    path.write_bytes(data)


def pragma(path: Path, text: str) -> None:
    """Change something in a database behind the store's back."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(text)


async def refused(folder: Path) -> LoomdError:
    """Return how a store refuses to open."""
    try:
        async with open_store(folder):
            pytest.fail("it opened")
    except LoomdError as error:
        return error


HARMS: dict[str, tuple[Callable[[Path, Path], object], type[LoomdError], str, str]] = {
    "emptied": (lambda path, _: path.write_bytes(b""), Damaged, "is empty", "lost"),
    "cut in half": (lambda path, _: os.truncate(path, path.stat().st_size // 2), Damaged, "malformed", "corrupt"),
    "cut to a page": (lambda path, _: os.truncate(path, 4096), Damaged, "malformed", "corrupt"),
    "cut to a piece": (lambda path, _: os.truncate(path, 50), Damaged, "malformed", "corrupt"),
    "garbage": (lambda path, _: path.write_bytes(b"garbage" * 1000), Damaged, "not a database", "corrupt"),
    "removed": (lambda path, _: path.unlink(), Damaged, "lost its loomd.db", "lost"),
    "swapped": (lambda path, other: shutil.copy(other, path), Damaged, "was swapped", "identity"),
    "of another program": (lambda path, _: pragma(path, "PRAGMA application_id = 7"), Damaged, "another", "identity"),
}


@pytest.mark.parametrize("name", HARMS)
async def test_a_lost_database_is_no_fresh_one(whole: Path, tmp_path: Path, name: str) -> None:
    """What cannot be the database of this directory is refused and left alone; put right, it is all there again."""
    harm, kind, text, code = HARMS[name]
    folder = copy(whole, tmp_path / "state")
    other = tmp_path / "other"
    async with open_store(other):
        pass
    database = folder / "loomd.db"
    harm(database, other / "loomd.db")
    harmed = database.read_bytes() if database.exists() else b""
    assert code in {finding.code for finding in check(folder).findings}
    error = await refused(folder)
    assert type(error) is kind
    assert text in str(error)
    assert "restore" in str(error) or "choose another" in str(error)
    assert (database.read_bytes() if database.exists() else b"") == harmed
    shutil.copy(whole / "loomd.db", database)
    assert check(folder).findings == ()
    assert await contents(folder) == await contents(copy(whole, tmp_path / "again"))


LOG_HARMS: dict[str, Callable[[Path], object]] = {
    "removed": lambda log: log.unlink(),
    "emptied": lambda log: log.write_bytes(b""),
    "header": lambda log: flip(log, 17),
    "first frame": lambda log: flip(log, 100),
    "a checksum": lambda log: flip(log, 32 + 20 * 4120 + 20),
    "middle": lambda log: flip(log, log.stat().st_size // 2),
    "last frame": lambda log: flip(log, last_commit(log) + 100),
}


def last_commit(log: Path) -> int:
    """Return where the last frame of a write-ahead log begins that ends a transaction; the kill may have cut another.

    The format is that of https://www.sqlite.org/fileformat2.html#the_write_ahead_log.
    """
    data = log.read_bytes()
    size = 24 + int.from_bytes(data[8:12])
    ours = [at for at in range(32, len(data) - size + 1, size) if data[at + 8 : at + 16] == data[16:24]]
    return max(at for at in ours if int.from_bytes(data[at + 4 : at + 8]))


def last_told(log: Path) -> int:
    """Return where the last frame begins that the index of the log knows: a kill may come before it is told there."""
    data, index = log.read_bytes(), log.with_name(f"{log.name.removesuffix('-wal')}-shm").read_bytes()
    size = 24 + int.from_bytes(data[8:12])
    return 32 + (int.from_bytes(index[16:20], sys.byteorder) - 1) * size


@pytest.mark.parametrize("name", LOG_HARMS)
async def test_a_damaged_log_is_no_shorter_one(left: tuple[Path, int], tmp_path: Path, name: str) -> None:
    """After a kill all that was acknowledged is in the log; what is lost of it is told, never passed over."""
    source, last = left
    folder = copy(source, tmp_path / "state")
    log = folder / "loomd.db-wal"
    LOG_HARMS[name](log)
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".db-shm"}
    assert "lost" in {finding.code for finding in check(folder).findings}
    error = await refused(folder)
    assert type(error) is Damaged
    assert "open.json to go on with what is left" in str(error)
    after = {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".db-shm"}
    assert {**after, "lock": b""} == {**before, "lock": b""}, "nothing was changed"
    shutil.copy(source / log.name, log)
    async with open_store(folder) as store:
        assert (await store.extent()).last >= last
        assert {row.seq for row in await store.read(limit=1_000_000)} >= set(range(1, last + 1))
    assert check(folder).findings == ()


async def test_a_log_that_is_cut_anywhere_is_no_shorter_one(left: tuple[Path, int], tmp_path: Path) -> None:
    """As long as the machine runs on, a log that ends before what was committed last is told, at whatever byte."""
    folder = copy(left[0], tmp_path / "state")
    log = folder / "loomd.db-wal"
    data, end = log.read_bytes(), last_told(log)
    rng = random.Random(7)
    for size in (1, 31, 32, 33, 32 + 4120, end, *(rng.randrange(end) for _ in range(50))):
        log.write_bytes(data[:size])
        for _ in range(2):
            assert "lost" in {finding.code for finding in check(folder).findings}, size
    assert "it ends after frame" in str(await refused(folder))
    log.write_bytes(data)
    async with open_store(folder) as store:
        await store.verify()
    assert check(folder).findings == ()


async def test_one_may_go_on_without_a_damaged_log(left: tuple[Path, int], tmp_path: Path) -> None:
    """Whoever removes what the message names goes on with what is in the database, which verifies."""
    folder = copy(left[0], tmp_path / "state")
    (folder / "loomd.db-wal").unlink()
    (folder / "open.json").unlink()
    async with open_store(folder) as store:
        await store.verify()
    assert check(folder).findings == ()


async def test_a_torn_end_of_the_log_is_no_damage_after_a_power_cut(left: tuple[Path, int], tmp_path: Path) -> None:
    """When the machine was started anew, the last transaction may be half written: nobody was told that it was done."""
    folder = copy(left[0], tmp_path / "state")
    flip(folder / "loomd.db-wal", -100)
    (folder / "open.json").write_text(json.dumps({"pid": 1, "boot": "another"}))
    async with open_store(folder) as store:
        await store.verify()
    folder = copy(left[0], tmp_path / "other")
    flip(folder / "loomd.db-wal", 32 + 4120 * 20 + 500)
    (folder / "open.json").write_text(json.dumps({"pid": 1, "boot": "another"}))
    assert "is damaged: frame 21" in str(await refused(folder))


@pytest.mark.parametrize("name", ["loomd.db", "loomd.db-wal"])
def test_every_flipped_bit_is_found_or_harmless(whole: Path, left: tuple[Path, int], tmp_path: Path, name: str) -> None:
    """Whatever bit is flipped: it is found, or refused at the start, or changes nothing that anybody reads."""
    source = whole if name == "loomd.db" else left[0]
    expected = expected_of(source, tmp_path / "expected")
    found = dict(flips(source, name, tmp_path / "work", expected, random.Random(5), FLIPS))
    assert [at for at, what in found.items() if what == "unnoticed"] == []
    assert set(found.values()) & {"lost", "chain", "contents", "corrupt"}


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("tasks", "UPDATE tasks SET body = replace(body, 'what', 'that') WHERE id = 't3'"),
        ("tasks", "DELETE FROM tasks WHERE id = 't3'"),
        ("capabilities", "UPDATE capabilities SET score = 0.9"),
        ("learned", "INSERT INTO learned VALUES ('t3', 1)"),
        ("objects", "UPDATE objects SET generation = 7"),
        ("files", "UPDATE files SET until = 1 WHERE path = '3.yaml'"),
        ("signals", "DELETE FROM signals"),
    ],
    ids=["task", "no-task", "score", "learned", "object", "file", "signal"],
)
def test_what_another_program_writes_is_found(whole: Path, tmp_path: Path, table: str, change: str) -> None:
    """Rows outside the journal are sealed: a change that is valid in itself is no less a finding."""
    folder = copy(whole, tmp_path / "state")
    pragma(folder / "loomd.db", change)
    assert any(one.code == "seal" and one.where.startswith(table) for one in check(folder).findings)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ("UPDATE blobs SET data = x'00' WHERE length(data) > 100000", "contents"),
        ("DELETE FROM blobs WHERE length(data) > 100000", "contents"),
        ("DELETE FROM blobs WHERE length(data) < 1000", "contents"),
        ("DELETE FROM revisions", "task"),
        ("UPDATE journal SET key = 'step/1' WHERE key = 'step/2'", "chain"),
        ("DELETE FROM journal WHERE seq = 20", "chain"),
        ("DELETE FROM journal WHERE task = 't1'", "task"),
        ("DELETE FROM tasks WHERE id = 't3'", "task"),
        ("CREATE INDEX mine ON tasks (phase)", "schema"),
    ],
    ids=["value", "no-value", "no-file", "no-revision", "key-twice", "no-row", "no-rows", "no-task", "schema"],
)
def test_what_is_missing_is_found(whole: Path, tmp_path: Path, change: str, where: str) -> None:
    """Each thing that belongs to another is looked for, and the finding says what to do."""
    folder = copy(whole, tmp_path / "state")
    pragma(folder / "loomd.db", change)
    found = [one for one in check(folder).findings if one.code == where]
    assert found
    assert all(one.act for one in found)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (
            "DELETE FROM journal WHERE task = 't1' AND seq > (SELECT min(seq) + 9 FROM journal WHERE task = 't1')",
            "Task/t1",
        ),
        ("DELETE FROM journal WHERE task = 't1' AND key = 'feedback'", "Task/t1"),
        ("DELETE FROM journal WHERE seq = (SELECT max(seq) FROM journal WHERE task = 't0')", "the journal"),
        ("DELETE FROM journal WHERE seq = (SELECT max(seq) FROM journal WHERE task = '')", "the journal"),
        ("DELETE FROM journal WHERE seq > (SELECT max(seq) - 5 FROM journal)", "the journal"),
        ("DELETE FROM ends", "Task/t1"),
        ("DELETE FROM counts", "the journal"),
    ],
    ids=["ended", "late", "running", "system", "all", "ends", "count"],
)
def test_the_end_of_a_chain_is_not_cut_off(whole: Path, tmp_path: Path, change: str, where: str) -> None:
    """Of the newest rows none can go unnoticed: of a task that has ended, of one that runs, of the system."""
    folder = copy(whole, tmp_path / "state")
    pragma(folder / "loomd.db", change)
    assert where in {one.where for one in check(folder).findings}


def test_the_index_of_a_knowledge_base_is_checked(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An index file that is not what was saved is found, with its path and with what to do; in JSON too."""
    state = copy(whole, tmp_path / "state")
    folder = state / "knowledgebase" / "default" / "handbook"
    folder.mkdir(parents=True)
    (folder / "recipe.base").write_bytes(b"loomd-base-1\n" + b"0" * 100)
    (folder / "recipe.words").mkdir()
    (folder / "recipe.words" / "meta.json").write_text('{"segments": [{"segment_id": "a-0"}]}')
    (folder / "recipe.words" / "a0.idx").write_bytes(b"0" * 100)
    (folder / "recipe.db").write_bytes(b"garbage" * 1000)
    assert run(["check", "--state", str(state), "-o", "json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["clean"] is False
    assert [(one["code"], Path(one["where"]).name) for one in told["findings"]] == [
        ("index", "recipe.base"),
        ("index", "a0.idx"),
        ("index", "recipe.db"),
    ]
    index, _, store = (one["act"] for one in told["findings"])
    assert "remove it: it is made anew from the documents" in index
    assert "start the daemon: it takes over the vectors that can be read" in store, (
        "removed, all would be embedded again"
    )


def test_check_changes_nothing(whole: Path, left: tuple[Path, int], tmp_path: Path) -> None:
    """Neither of a state that was closed nor of one whose process was killed does it change a byte that matters."""
    for name, source in (("whole", whole), ("left", left[0])):
        folder = copy(source, tmp_path / name)
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        assert check(folder).findings == ()
        after = {path.name: path.read_bytes() for path in folder.iterdir()}
        assert {**after, "loomd.db-shm": b""} == {**before, "loomd.db-shm": b""}


def test_the_exit_codes_of_check(daemon: Daemon, whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """0 when all is well, 1 when something was found, 2 when it cannot look; serve refuses what check finds."""
    state = daemon.home / "state"
    arguments = ["check", "--state", str(state)]
    assert run(arguments) == 2
    assert "no state directory of loomd: say where it is with --state" in capsys.readouterr().err
    copy(whole, state)
    assert run(arguments) == 0
    assert capsys.readouterr().out == f"{state}: all is well in 4 tasks, 242 rows, 1 revisions, 11 contents\n"
    (state / "loomd.db").write_bytes(b"")
    assert run(arguments) == 1
    assert "loomd.db is empty\n    restore it from a backup" in capsys.readouterr().out
    assert daemon.loomd("serve").returncode == 1
    shutil.copy(whole / "loomd.db", state / "loomd.db")
    pragma(state / "loomd.db", "PRAGMA user_version = 99")
    assert run(arguments) == 2
    assert "has schema 99" in capsys.readouterr().err
    serve = daemon.loomd("serve")
    assert serve.returncode == 1
    assert "has schema 99" in serve.stderr


def test_a_state_that_is_held_is_checked_too(daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    """Beside a running daemon it reads one moment, names the holder, and does the daemon no harm.

    The daemon removes old tasks by itself, as its settings say.
    """
    arguments = ["check", "--state", str(daemon.home / "state")]
    daemon.start("--config", daemon.configure(retention={"age": "1s"}))
    assert daemon.loomd("submit", "what is it?", "--wait").returncode == 0
    assert run(arguments) == 0
    assert f"process {daemon.process.pid} holds it, this is one moment of it" in capsys.readouterr().out
    daemon.until_logged("1 old tasks removed")
    assert daemon.client.get("namespaces", "default", "tasks")["items"] == []
    assert run(arguments) == 0
    assert ": all is well in 0 tasks" in capsys.readouterr().out
    assert daemon.stop() == 0
    assert run(arguments) == 0


_LEAF = 0x0D
"""First byte of a page that holds rows of a table."""


async def test_nothing_is_written_to_what_is_known_to_be_damaged(whole: Path, tmp_path: Path) -> None:
    """Once a reader met damage no task is taken and no row is written: both could hide what can still be saved."""
    folder = copy(whole, tmp_path / "state")
    database = folder / "loomd.db"
    data = bytearray(database.read_bytes())
    pages = [data[at : at + 4096] for at in range(0, len(data), 4096)]
    rows = [at for at, page in enumerate(pages) if page[0] == _LEAF and b"step.completed" in page]
    at = rows[len(rows) // 2]
    data[4096 * at : 4096 * (at + 1)] = b"\xff" * 4096
    database.write_bytes(data)
    async with open_store(folder) as store:
        assert store.broken == ""
        with pytest.raises(Damaged, match="malformed: stop the daemon and restore a backup"):
            await store.read(limit=10_000)
        assert "malformed" in store.broken
        store.note(Row("t9", "step.completed", b'{"ts":1}', "step/1"))
        with pytest.raises(Damaged, match="malformed"):
            await store.put_task(TaskRecord("t9", "default", "team", "Running", b"{}"))
    assert "corrupt" in {one.code for one in check(folder).findings}


async def test_a_database_locked_by_another_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the start and while it runs: it may work later, nothing is lost, and what waits is stored when it is free."""
    for module in (sqlite_store, sqlite_writer):
        monkeypatch.setattr(module, "PATIENCE", 0.1)
    folder = tmp_path / "state"
    await closed(folder)
    with closing(sqlite3.connect(folder / "loomd.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        error = await refused(folder)
        assert type(error) is Temporary
        assert "locked: another program works on it" in str(error)
        other.execute("ROLLBACK")
        async with open_store(folder) as store:
            last = await step(store, 1)
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(Temporary, match=r"locked: another program works on it, .* end that program"):
                await step(store, 2)
            assert len(await store.read(after=last)) == 0
            other.execute("ROLLBACK")
            assert await step(store, 3) == last + 2
            assert len(await store.read(after=last)) == 2
    assert check(folder).findings == ()


@contextmanager
def small(folder: Path) -> Generator[Path]:
    """Mount a small file system on a folder, and yield a file in it that fills it when it grows."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, check=False)  # noqa: S603  # a system command
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.decode().strip()}")
    try:
        yield folder / "filler"
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)  # noqa: S603, S607  # a system command


def fill_up(filler: Path) -> None:
    """Take all the space that is left."""
    with suppress(OSError), filler.open("ab", buffering=0) as file:
        while file.write(b"x" * 4096):
            pass


def test_a_full_disk_while_it_runs(daemon: Daemon) -> None:
    """New work is refused as something that may work later, reads go on, and all goes on when there is space."""
    with small(daemon.home / "small") as filler:
        daemon.environment["LOOMD_STATE"] = str(filler.parent / "state")
        daemon.start()
        assert daemon.loomd("submit", "what is it?", "--wait").stdout == "The answer is 42.\n"
        fill_up(filler)
        accepted = 1
        while not (refused := daemon.loomd("submit", "what is it?")).returncode:
            accepted += 1
            fill_up(filler)
        assert refused.returncode == 2
        assert "free space and try again" in refused.stderr
        assert daemon.is_alive()
        status, said = daemon.ask("/readyz?verbose")
        assert (status, "[-]store" in said, "free space and try again" in said) == (503, True, True)
        assert len(daemon.client.get("namespaces", "default", "tasks")["items"]) == accepted
        filler.unlink()
        status, said = daemon.ask("/readyz?verbose")
        assert (status, "[+]store ok" in said) == (200, True)
        assert daemon.loomd("submit", "what is it?", "--wait").stdout == "The answer is 42.\n"
        assert daemon.stop() == 0
        report = check(filler.parent / "state")
        assert (report.findings, report.tasks) == ((), accepted + 1)


async def test_a_full_disk_at_the_start(daemon: Daemon, whole: Path, tmp_path: Path) -> None:
    """The start ends with 2 and says what to do; with space it starts, and what was there is there."""
    with small(daemon.home / "small") as filler:
        state = copy(whole, filler.parent / "state")
        fill_up(filler)
        error = await refused(state)
        assert type(error) is Temporary
        assert "free space" in str(error)
        daemon.environment["LOOMD_STATE"] = str(filler.parent / "fresh")
        done = await asyncio.to_thread(daemon.loomd, "serve")
        assert done.returncode == 2
        assert "No space left on device: free space" in done.stderr
        filler.unlink()
        assert await contents(state) == await contents(copy(whole, tmp_path / "again"))
        assert check(state).findings == ()
        async with open_store(filler.parent / "fresh") as store:
            assert await step(store, 1) == 1


def test_no_room_for_a_copy_before_a_migration(tmp_path: Path) -> None:
    """Where the copy cannot be written nothing is migrated, and no half of a copy is left."""
    from tests.store.test_migration import make, text_of  # noqa: PLC0415  # one test of many

    folder = tmp_path / "state"
    before = make(folder, 2)
    code = (
        "import asyncio, resource, sys; from pathlib import Path; from loomd.store.sqlite import open_store\n"
        "from loomd.errors import LoomdError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (40960, resource.RLIM_INFINITY))\n"
        "async def main():\n"
        "    async with open_store(Path(sys.argv[1])): pass\n"
        "try: asyncio.run(main())\n"
        "except LoomdError as error: print(type(error).__name__, error)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)  # noqa: S603  # our own command
    assert done.stdout.startswith("Temporary")
    assert text_of(folder / "loomd.db") == before
    assert [path.name for path in folder.glob("*schema*")] == []
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


def test_a_read_only_state_is_refused_and_can_be_checked(whole: Path, tmp_path: Path) -> None:
    """Who may only read is told so at the start, and may look whether all is well."""
    folder = copy(whole, tmp_path / "state")
    for path in folder.iterdir():
        path.chmod(0o444)
    folder.chmod(0o555)
    for parent in folder.parents:
        if parent != Path("/") and parent.stat().st_uid == os.geteuid():
            parent.chmod(parent.stat().st_mode | 0o111)
    leave = f"os.setgid({NOBODY}); os.setuid({NOBODY})" if os.geteuid() == 0 else ""
    code = (
        "import asyncio, os, sys, urllib.parse; from pathlib import Path; from loomd.store.sqlite import open_store\n"
        f"from loomd.store.check import check; from loomd.errors import LoomdError\n{leave}\n"
        "async def main():\n"
        "    async with open_store(Path(sys.argv[1])): pass\n"
        "print(len(check(Path(sys.argv[1])).findings))\n"
        "try: asyncio.run(main())\n"
        "except LoomdError as error: print(type(error).__name__, error)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=False)  # noqa: S603  # our own command
    assert done.returncode == 0, done.stderr
    clean, refusal = done.stdout.splitlines()
    assert clean == "0"
    assert refusal.startswith(f"{Permanent.__name__} state directory {folder}: ")
    assert "lock: Permission denied" in refusal


async def test_a_conflict_is_no_damage(tmp_path: Path) -> None:
    """A state that is open is refused to a second store, and its marker is that of the first one still."""
    folder = tmp_path / "state"
    async with open_store(folder) as store:
        await fill(store)
        marker = (folder / "open.json").read_bytes()
        assert type(await refused(folder)) is Conflict
        assert (folder / "open.json").read_bytes() == marker
    assert not (folder / "open.json").exists()
