"""What was learned, in SQLite. Called by `sqlite`; writes are done on the writer's thread inside its transaction."""

import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import msgspec

from loomd.store import seal
from loomd.store.accounts import keep
from loomd.store.batch import run_each
from loomd.store.records import (
    BlueprintRecord,
    Capability,
    Descent,
    Experience,
    Learned,
    Lesson,
    Movement,
    ProposalRecord,
)
from loomd.store.writer import Writer

_EXPERIENCE = (
    "task, namespace, cluster, tenant, user, goal, embedder, vector, domains, complexity, tokens, seconds, steps, "
    "children, reward, created"
)
_MOVEMENT = "agent, spec, domain, before, after, variance, count, reward, task, at"
_PROPOSAL = "id, namespace, cluster, mechanism, body, created, expires, decision"
_LEARNED = "INSERT OR IGNORE INTO learned VALUES (?, ?)"
_MOVED = "SELECT coalesce(max(seq), 0) FROM movements"
_LIVE = "INSERT OR REPLACE INTO experience VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_SHAPE = "INSERT OR REPLACE INTO blueprints VALUES (?, ?, ?, ?, ?, ?, ?)"
_PRUNE = "DELETE FROM blueprints WHERE namespace = ? AND name = ?"
_DESCEND = "INSERT OR IGNORE INTO lineage VALUES (?, ?, ?, ?, ?, ?)"
_PROPOSE = """
INSERT INTO proposals VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET body = excluded.body, expires = excluded.expires WHERE decision = x''
"""
"""What is proposed again takes the place of what was, unless somebody decided."""
_CHUNK = 200
"""Tasks that one transaction removes."""
_encode = msgspec.json.Encoder().encode
_domains = msgspec.json.Decoder(dict[str, float]).decode
_plain = msgspec.structs.astuple
T = TypeVar("T")


class Read(Protocol):
    """Runs a query on a reader's thread."""

    def __call__(self, ask: Callable[[sqlite3.Connection], T], /) -> Awaitable[T]:
        """Run it."""
        ...


class SqliteLearning:
    """What was learned beside the scores; fits `loomd.store.learning.Learning`, where its methods are explained."""

    def __init__(self, db: sqlite3.Connection, writer: Writer[Any], read: Read) -> None:
        """Take the writer with its connection, and what runs queries."""
        self._db = db
        self._writer = writer
        self._write = writer.write
        self._read = read

    async def change(self, change: Learned) -> None:
        """Store what no task taught."""
        await self._write(lambda: apply(self._db, [change]))

    async def movements(self, agent: str = "", after: int = 0, limit: int = 1000) -> list[Movement]:
        """Return how scores moved, oldest first."""
        return await self._read(lambda db: movements(db, agent, after, limit))

    async def experience(
        self,
        namespace: str,
        cluster: str,
        embedder: str = "",
        limit: int = 10_000,
        owner: tuple[str, str] | None = None,
    ) -> list[Experience]:
        """Return the tasks that a cluster learned from, newest first."""
        return await self._read(lambda db: experience(db, namespace, cluster, embedder, limit, owner))

    async def experienced(self, namespace: str, cluster: str) -> set[str]:
        """Return the ids of all tasks that a cluster learned from."""
        return await self._read(lambda db: experienced(db, namespace, cluster))

    async def trim(self, namespace: str, cluster: str, keep: int) -> int:
        """Remove all but the newest tasks of a cluster, some in each transaction; return how many."""
        removed = 0
        while some := await self._write(lambda: trim(self._db, namespace, cluster, keep)):
            removed += some
        return removed

    async def forget(self, namespace: str, tenant: str | None, user: str | None = None, cluster: str = "") -> int:
        """Remove the tasks of a tenant, or of one of its users, or all; return how many."""
        return await self._write(lambda: forget(self._db, namespace, tenant, user, cluster))

    async def lessons(self, namespace: str, agent: str, spec: str, limit: int = 100) -> list[Lesson]:
        """Return the last rewards of an agent, newest first."""
        return await self._read(lambda db: lessons(db, namespace, agent, spec, limit))

    async def blueprints(self, namespace: str = "") -> list[BlueprintRecord]:
        """Return all versions of blueprints."""
        return await self._read(lambda db: blueprints(db, namespace))

    async def proposal(self, name: str) -> ProposalRecord | None:
        """Return a proposal."""
        return await self._read(lambda db: proposal(db, name))

    async def proposals(self, namespace: str = "", pending: bool = False) -> list[ProposalRecord]:
        """Return proposals, newest first."""
        return await self._read(lambda db: proposals(db, namespace, pending))

    async def decide(
        self, name: str, decision: bytes, now: Callable[[], float] | None = None, change: Learned | None = None
    ) -> ProposalRecord | None:
        """Store a decision unless there is one, with what it changes; return the proposal as it is stored."""
        return await self._writer.insist(run_each, lambda: decide(self._db, name, decision, now, change))

    async def behaviours(self, namespace: str) -> dict[str, list[str]]:
        """Return how each agent behaved of which a reward is kept, the latest first."""
        return await self._read(lambda db: behaviours(db, namespace))

    async def lineage(self, namespace: str = "", agent: str = "") -> list[Descent]:
        """Return where agents came from, oldest first."""
        return await self._read(lambda db: lineage(db, namespace, agent))


class Taught(NamedTuple):
    """What is to be stored of what was learned: of a task that taught it once, or of no task."""

    change: Learned
    task: str = ""


def learn(db: sqlite3.Connection, lessons: Sequence[Taught]) -> list[bool]:
    """Store what tasks taught, in its order; return of each whether it was not done before, or else nothing changed."""
    new: list[tuple[str, float]] = []
    found: list[bool] = []
    for change, task in lessons:
        at = _moment(change) if task else 0.0
        found.append(not task or db.execute(_LEARNED, (task, at)).rowcount > 0)
        if task and found[-1]:
            new.append((task, at))
    seal.note(db, "learned", new)
    apply(db, [one.change for one, fresh in zip(lessons, found, strict=True) if fresh])
    return found


def _moment(change: Learned) -> float:
    """Return when something was learned."""
    moments = [one.updated for some in (change.scores, change.averages) for one in some]
    moments += [one.at for some in (change.movements, change.lessons, change.lineage) for one in some]
    moments += [one.created for some in (change.experience, change.blueprints, change.proposals) for one in some]
    return max(moments, default=0.0)


def apply(db: sqlite3.Connection, changes: Sequence[Learned]) -> None:
    """Change what was learned, one change after the other; of a value that moves several times the last counts."""
    scores = {(one.agent, one.spec, one.domain): one for change in changes for one in change.scores}
    seal.put(db, "capabilities", [_plain(one) for one in scores.values()])
    if moves := [one for change in changes for one in change.movements]:
        (last,) = db.execute(_MOVED).fetchone()
        seal.put(db, "movements", [(seq, *_plain(one)[:-1]) for seq, one in enumerate(moves, last + 1)])
    seal.put(db, "lessons", [_plain(one) for change in changes for one in change.lessons])
    keep(db, [one for change in changes for one in change.averages])
    for change in changes:
        _put(db, _LIVE, [_experience_row(one) for one in change.experience])
        _put(db, _SHAPE, [_plain(one) for one in change.blueprints])
        _put(db, _PRUNE, change.pruned)
        _put(db, _PROPOSE, [_plain(one) for one in change.proposals])
        _put(db, _DESCEND, [_plain(one) for one in change.lineage])


def _put(db: sqlite3.Connection, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
    if rows:
        db.executemany(statement, rows)


def _experience_row(one: Experience) -> tuple[object, ...]:
    values = msgspec.structs.asdict(one)
    return tuple({**values, "domains": _encode(one.domains)}.values())


def learned_from(db: sqlite3.Connection, task: str) -> bool:
    """Return whether something was stored of what a task taught."""
    return db.execute("SELECT 1 FROM learned WHERE task = ?", (task,)).fetchone() is not None


def capabilities(db: sqlite3.Connection) -> list[Capability]:
    """Return all scores."""
    query = "SELECT agent, spec, domain, score, variance, count, updated FROM capabilities ORDER BY 1, 2, 3"
    return [Capability(*row) for row in db.execute(query)]


def movements(db: sqlite3.Connection, agent: str, after: int, limit: int) -> list[Movement]:
    """Return how scores moved, oldest first."""
    only = "agent = :agent AND " if agent else ""
    query = f"SELECT {_MOVEMENT}, seq FROM movements WHERE {only}seq > :after ORDER BY seq LIMIT :limit"  # noqa: S608  # constant text
    names = Movement.__struct_fields__
    rows = db.execute(query, {"agent": agent, "after": after, "limit": limit})
    return [Movement(**dict(zip(names, row, strict=True))) for row in rows]


def experience(
    db: sqlite3.Connection,
    namespace: str,
    cluster: str,
    embedder: str,
    limit: int,
    owner: tuple[str, str] | None = None,
) -> list[Experience]:
    """Return the tasks that a cluster learned from, newest first."""
    query = f"""
    SELECT {_EXPERIENCE} FROM experience WHERE namespace = :namespace AND cluster = :cluster
    AND (:embedder = '' OR embedder = :embedder) AND (:all OR (tenant = :tenant AND user = :user))
    ORDER BY created DESC, task DESC LIMIT :limit
    """  # noqa: S608  # constant text
    tenant, user = owner or ("", "")
    asked = {"namespace": namespace, "cluster": cluster, "embedder": embedder, "limit": limit}
    rows = db.execute(query, {**asked, "all": owner is None, "tenant": tenant, "user": user})
    names = Experience.__struct_fields__
    found = [dict(zip(names, row, strict=True)) for row in rows]
    for row in found:
        row["domains"] = _domains(row["domains"])
    return [Experience(**row) for row in found]


def experienced(db: sqlite3.Connection, namespace: str, cluster: str) -> set[str]:
    """Return the ids of all tasks that a cluster learned from."""
    rows = db.execute("SELECT task FROM experience WHERE namespace = ? AND cluster = ?", (namespace, cluster))
    return {task for (task,) in rows}


def trim(db: sqlite3.Connection, namespace: str, cluster: str, keep: int) -> int:
    """Remove some of the oldest tasks of a cluster beyond so many; return how many."""
    old = """
    SELECT task FROM experience WHERE namespace = ? AND cluster = ? ORDER BY created DESC, task DESC LIMIT ? OFFSET ?
    """
    return db.execute(f"DELETE FROM experience WHERE task IN ({old})", (namespace, cluster, _CHUNK, keep)).rowcount  # noqa: S608  # constant text


def forget(db: sqlite3.Connection, namespace: str, tenant: str | None, user: str | None, cluster: str) -> int:
    """Remove the tasks of a tenant, or of one of its users, or all; return how many."""
    query = """
    DELETE FROM experience WHERE namespace = ?1 AND (?2 = '' OR cluster = ?2) AND (?3 IS NULL OR tenant = ?3)
    AND (?4 IS NULL OR user = ?4)
    """
    return db.execute(query, (namespace, cluster, tenant, user)).rowcount


def lessons(db: sqlite3.Connection, namespace: str, agent: str, spec: str, limit: int) -> list[Lesson]:
    """Return the last rewards of an agent, newest first."""
    query = """
    SELECT namespace, agent, spec, task, reward, at FROM lessons WHERE namespace = ? AND agent = ? AND spec = ?
    ORDER BY at DESC, task DESC LIMIT ?
    """
    return [Lesson(*row) for row in db.execute(query, (namespace, agent, spec, limit))]


def behaviours(db: sqlite3.Connection, namespace: str) -> dict[str, list[str]]:
    """Return the digests of each agent of which a reward is kept, the latest first."""
    query = "SELECT agent, spec FROM lessons WHERE namespace = ? GROUP BY agent, spec ORDER BY max(at) DESC, spec"
    found: dict[str, list[str]] = {}
    for agent, spec in db.execute(query, (namespace,)):
        found.setdefault(agent, []).append(spec)
    return found


def blueprints(db: sqlite3.Connection, namespace: str) -> list[BlueprintRecord]:
    """Return all versions of blueprints."""
    query = """
    SELECT namespace, name, version, body, parent, created, state FROM blueprints WHERE ? = '' OR namespace = ?
    ORDER BY 1, 2, 3
    """
    return [BlueprintRecord(*row) for row in db.execute(query, (namespace, namespace))]


def proposal(db: sqlite3.Connection, name: str) -> ProposalRecord | None:
    """Return a proposal."""
    row = db.execute(f"SELECT {_PROPOSAL} FROM proposals WHERE id = ?", (name,)).fetchone()  # noqa: S608  # constant text
    return ProposalRecord(*row) if row else None


def proposals(db: sqlite3.Connection, namespace: str, pending: bool) -> list[ProposalRecord]:
    """Return proposals, newest first."""
    open_ = "AND decision = x''" if pending else ""
    query = f"""
    SELECT {_PROPOSAL} FROM proposals WHERE (? = '' OR namespace = ?) {open_} ORDER BY created DESC, id DESC
    """  # noqa: S608  # constant text
    return [ProposalRecord(*row) for row in db.execute(query, (namespace, namespace))]


def decide(
    db: sqlite3.Connection,
    name: str,
    decision: bytes,
    now: Callable[[], float] | None,
    change: Learned | None = None,
) -> ProposalRecord | None:
    """Store a decision unless there is one, or it came too late, with what it changes; return the proposal."""
    after = float("-inf") if now is None else now()
    decided = "UPDATE proposals SET decision = ? WHERE id = ? AND decision = x'' AND expires > ?"
    if db.execute(decided, (decision, name, after)).rowcount and change is not None:
        apply(db, [change])
    return proposal(db, name)


def lineage(db: sqlite3.Connection, namespace: str, agent: str) -> list[Descent]:
    """Return where agents came from, oldest first."""
    query = """
    SELECT namespace, child, parent, how, task, at FROM lineage
    WHERE (?1 = '' OR namespace = ?1) AND (?2 = '' OR child = ?2 OR parent = ?2) ORDER BY at, child, parent
    """
    return [Descent(*row) for row in db.execute(query, (namespace, agent))]
