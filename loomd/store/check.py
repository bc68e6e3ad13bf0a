"""Verifies a state directory without opening it as a store: reads, changes nothing, and says what to do.

Everything is read in one transaction, so that a daemon may hold the directory and go on writing. Called by `loomd
check`; the daemon itself never does all of this, because it reads every byte.
"""

import sqlite3
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path

import msgspec

from loomd.errors import Damaged, NotFound, Permanent
from loomd.store import schema, seal
from loomd.store.blob import digest_of
from loomd.store.chain import breaks, counted, cut
from loomd.store.directory import DATABASE, compare, emptied, holder, is_held, is_marked, is_ours, loss

MOST = 20
"""Findings of one sort that are told; of more, how many there are at least."""
RESTORE = "stop the daemon and restore a backup of the state directory"
_FINISHED = {"Succeeded", "Failed", "Cancelled"}


class Finding(msgspec.Struct, frozen=True):
    """Something that is wrong.

    Attributes:
        code: what sort: `lost`, `identity`, `schema`, `corrupt`, `chain`, `seal`, `contents`, `task`, `index`.
        where: the row, the task or the file.
        what: what is wrong with it.
        act: what to do.
    """

    code: str
    where: str
    what: str
    act: str


class Report(msgspec.Struct, frozen=True):
    """What was looked at, and what was found.

    Attributes:
        directory: the state directory.
        holder: the process that holds it, or empty.
        tasks: how many tasks there are.
        rows: how many rows the journal has.
        revisions: how many revisions there are.
        contents: how many contents are kept by their digest.
        findings: everything that is wrong.
    """

    directory: str
    holder: str = ""
    tasks: int = 0
    rows: int = 0
    revisions: int = 0
    contents: int = 0
    findings: tuple[Finding, ...] = ()


_Look = Callable[[sqlite3.Connection], Iterator[Finding]]


class _Pinned(msgspec.Struct, frozen=True):
    """The part of a task's body that matters here."""

    revision: str = ""
    parent: str = ""


def check(path: Path) -> Report:
    """Verify a state directory.

    Raises:
        NotFound: there is none.
        Conflict: a newer loomd wrote it.
        Permanent: an older loomd wrote it, or it may not be read.
    """
    path = path.absolute()
    if not path.is_dir() or not is_ours(path):
        raise NotFound(f"{path}: no state directory of loomd: say where it is with --state")
    try:
        held = is_held(path)
        report = _check(path, held=held)
        if not held and is_held(path):  # a daemon started meanwhile, and may have written while it was read
            report = _check(path, held=True)
    except OSError as error:
        raise Permanent(f"{error.filename or path}: cannot be read: {error.strerror}") from error
    return report


def _check(path: Path, *, held: bool) -> Report:
    database = path / DATABASE
    told = holder(path) if held else ""
    if not database.exists():
        what = Finding("lost", str(database), "is missing", RESTORE + ", or remove the directory to start anew")
        return Report(str(path), told, findings=(what,))
    lost = "" if held else loss(path)
    findings = [Finding("lost", *_split(lost, str(path)))] if lost else []
    if not database.stat().st_size:
        return Report(str(path), told, findings=tuple(findings))
    with reading(database, held=held, log=not lost) as db:
        try:
            counts = _open(db, path)
        except Damaged as error:
            code = "lost" if str(error) == emptied(path) else "identity"
            found = Finding(code, *_split(str(error), str(database)))
            return Report(str(path), told, findings=(*findings, found))
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            found = _explain(error, database)
            return Report(str(path), told, findings=(*findings, found))
        for look in _LOOKS:
            findings += _guarded(db, look, database)
    return Report(str(path), told, **counts, findings=tuple(dict.fromkeys(findings)))


@contextmanager
def reading(database: Path, *, held: bool, log: bool = True) -> Generator[sqlite3.Connection]:
    """Open a database of which nothing is changed, and no file is made beside it unless a process holds it.

    Without its `log` nothing is done to that either: SQLite would make it one that ends earlier.
    """
    beside = database.with_name(f"{database.name}-wal")
    plain = not log or (not held and (not beside.exists() or not beside.stat().st_size))
    uri = f"{database.as_uri()}?mode=ro{'&immutable=1' if plain else ''}"
    with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as db:
        db.text_factory = _text
        yield db


def integrity(db: sqlite3.Connection) -> Iterator[str]:
    """Yield what SQLite finds wrong with the structure of a database."""
    for (said,) in db.execute(f"PRAGMA integrity_check({MOST + 1})"):
        if said != "ok":
            yield str(said)


def _open(db: sqlite3.Connection, path: Path) -> dict[str, int]:
    """Begin to read, and return how much there is.

    Raises:
        Conflict: a newer loomd wrote it.
        Permanent: an older loomd wrote it.
        Damaged: it is another program's, or the database of another directory.
        sqlite3.DatabaseError: it cannot be read at all.
    """
    db.execute("BEGIN")
    version = schema.version_of(db, path / DATABASE)
    if not version:
        raise Damaged(emptied(path))
    if version < schema.VERSION:
        raise Permanent(
            f"{path} has schema {version}, this loomd reads {schema.VERSION}: `loomd serve` brings it to that, and "
            "keeps a copy; or check it with the loomd that wrote it"
        )
    tables = {"tasks": "tasks", "rows": "journal", "revisions": "revisions", "contents": "blobs"}
    counts = {name: int(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]) for name, table in tables.items()}  # noqa: S608  # names of ours
    if is_marked(path) or any(counts.values()):  # or else it was killed at its first start: nothing was kept yet
        compare(path, schema.identity(db))
    return counts


def _guarded(db: sqlite3.Connection, look: _Look, path: Path) -> list[Finding]:
    """Return the first findings of one sort; what cannot be read is one too."""
    found: list[Finding] = []
    try:
        found += islice(look(db), MOST + 1)
    except sqlite3.DatabaseError as error:
        return [*found, _explain(error, path)]
    except (ValueError, TypeError) as error:
        return [*found, Finding("corrupt", str(path), f"holds what loomd never writes: {error}", RESTORE)]
    if len(found) > MOST:
        found[MOST] = Finding(found[MOST].code, str(path), f"more than {MOST} like this", RESTORE)
    return found


def _schema(db: sqlite3.Connection) -> Iterator[Finding]:
    """Find tables and indexes that are not as this loomd makes them."""
    query = "SELECT type, name, tbl_name, sql FROM sqlite_schema"
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as fresh:
        schema.migrate(fresh, Path(":memory:"), 0)
        differing = set(db.execute(query)) ^ set(fresh.execute(query))
    for kind, name in sorted({(str(kind), str(name)) for kind, name, _, _ in differing}):
        yield Finding("schema", f"{kind} {name}", "is not as loomd makes it", RESTORE)


def _integrity(db: sqlite3.Connection) -> Iterator[Finding]:
    for said in integrity(db):
        yield Finding("corrupt", "the database", said, RESTORE)


def _chains(db: sqlite3.Connection) -> Iterator[Finding]:
    for seq, task in breaks(db):
        what = "does not match its hash: it was changed, or a row before it is missing"
        yield Finding("chain", f"journal row {seq} of {_of(task)}", what, RESTORE)
    for task in cut(db):
        yield Finding("chain", _of(task), "has ended, and its last rows are not there", RESTORE)
    there, written = counted(db)
    if there != written:
        yield Finding("chain", "the journal", f"has {there} rows, and {written} were written", RESTORE)
    query = "SELECT task, key, count(*) FROM journal WHERE key != '' GROUP BY task, key HAVING count(*) > 1"
    for task, key, count in db.execute(query):
        yield Finding("chain", f"{key} of {_of(task)}", f"is recorded {count} times", RESTORE)


def _seals(db: sqlite3.Connection) -> Iterator[Finding]:
    for table, key, what in seal.broken(db):
        yield Finding("seal", f"{table} {key}", what, RESTORE)


def _contents(db: sqlite3.Connection) -> Iterator[Finding]:
    for digest, data in db.execute("SELECT digest, data FROM blobs"):
        if digest_of(data) != digest:
            yield Finding("contents", f"sha256:{digest}", "are not what was stored", _mend(db, digest))
    query = "SELECT since, path, source FROM files WHERE digest NOT IN (SELECT digest FROM blobs)"
    for since, name, source in db.execute(query):
        where = f"{name} ({source}) of revision {since}"
        yield Finding("contents", where, "is missing", "apply it again, or restore a backup")
    for seq, task in db.execute(
        "SELECT seq, task FROM journal WHERE blob IS NOT NULL AND blob NOT IN (SELECT digest FROM blobs)"
    ):
        yield Finding("contents", f"journal row {seq} of {_of(task)}", "its value is missing", RESTORE)


def _mend(db: sqlite3.Connection, digest: str) -> str:
    """Return what to do about damaged contents: files can be applied again."""
    row = db.execute("SELECT path, source FROM files WHERE digest = ?", (digest,)).fetchone()
    return f"apply {row[0]} ({row[1]}) again, or restore a backup" if row else RESTORE


def _tasks(db: sqlite3.Connection) -> Iterator[Finding]:
    """Find tasks that cannot be read, have lost their rows, or run on a revision that is not there."""
    revisions = {revision for (revision,) in db.execute("SELECT revision FROM revisions")}
    known = {name for (name,) in db.execute("SELECT id FROM tasks")}
    going = {task for (task,) in db.execute("SELECT task FROM removals")}
    query = "SELECT id, phase, body, result != x'', (SELECT 1 FROM journal WHERE task = id LIMIT 1) FROM tasks"
    for name, phase, body, ended, has_rows in db.execute(query):
        if _root_of(name) in going:
            continue
        try:
            pinned = msgspec.json.decode(body, type=_Pinned)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            yield Finding("task", f"Task/{name}", f"cannot be read: {error}", RESTORE)
            continue
        if bool(ended) != (phase in _FINISHED):
            what = f"is {phase} and has a result" if ended else f"is {phase} and has no result"
            yield Finding("task", f"Task/{name}", what, RESTORE)
        if ended and not has_rows:
            yield Finding("task", f"Task/{name}", "has ended, and none of its rows is there", RESTORE)
        if pinned.parent and pinned.parent not in known:
            yield Finding("task", f"Task/{name}", f"is a part of Task/{pinned.parent}, which is not there", RESTORE)
        if not ended and pinned.revision and pinned.revision not in revisions:
            what = f"runs on revision {pinned.revision}, which is not stored"
            yield Finding("task", f"Task/{name}", what, f"loomd cancel {name}, or restore a backup")
    lost = "SELECT DISTINCT task FROM journal WHERE task != '' AND task NOT IN (SELECT id FROM tasks)"
    for (name,) in db.execute(lost):
        if _root_of(name) not in going:
            yield Finding("task", f"Task/{name}", "has rows in the journal and is not there itself", RESTORE)


_LOOKS = (_integrity, _schema, _chains, _seals, _contents, _tasks)


def _root_of(task: str) -> str:
    """Return the task from outside that a task belongs to."""
    return task.split(".", 1)[0]


def _explain(error: Exception, path: Path) -> Finding:
    return Finding(
        "corrupt", str(path), f"cannot be read: {error}", f"{RESTORE}, or remove the directory to start anew"
    )


def _split(text: str, where: str) -> tuple[str, str, str]:
    """Return place, fault and remedy of a message of the form `fault: remedy`."""
    what, _, act = text.rpartition(": ")
    return where, what, act


def _of(task: str) -> str:
    return f"Task/{task}" if task else "the system"


def _text(data: bytes) -> str:
    """Return text, also where a damaged byte makes it none."""
    return data.decode("utf-8", "backslashreplace")
