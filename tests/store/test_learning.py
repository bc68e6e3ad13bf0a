"""What was learned is stored once per task, outlives a crash, is bounded by retention, and is sealed."""

import asyncio
import os
import signal
import sqlite3
import sys
from collections.abc import AsyncGenerator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from loomd.store import retention
from loomd.store.check import check
from loomd.store.experience import apply
from loomd.store.records import (
    Average,
    BlueprintRecord,
    Capability,
    Descent,
    Experience,
    Learned,
    Lesson,
    Movement,
    ProposalRecord,
    Row,
    TaskRecord,
)
from loomd.store.sqlite import SqliteStore, open_store

ROOT = Path(__file__).parents[2]


def experience(task: str, at: float = 100, cluster: str = "team", tenant: str = "", user: str = "") -> Experience:
    """Return a task that was learned from."""
    return Experience(
        task=task,
        namespace="default",
        cluster=cluster,
        tenant=tenant,
        user=user,
        goal=f"do {task}",
        embedder="words",
        vector=b"\x00\x00\x80\x3f",
        domains={"maths": 0.75, "prose": 0.25},
        complexity=0.4,
        tokens=1200,
        seconds=2.5,
        steps=3,
        children=0,
        reward=0.8,
        created=at,
    )


def movement(task: str, after: float, at: float = 100, agent: str = "ada") -> Movement:
    """Return how a score moved."""
    return Movement(
        agent=agent,
        spec="s1",
        domain="maths",
        before=0.5,
        after=after,
        variance=0.01,
        count=1,
        reward=0.8,
        task=task,
        at=at,
    )


def taught(task: str, at: float = 100) -> Learned:
    """Return all that a task can teach."""
    return Learned(
        scores=[Capability("ada", "s1", "maths", 0.6, 0.01, 1, at)],
        movements=[movement(task, 0.6, at)],
        experience=[experience(task, at)],
        lessons=[Lesson("default", "ada", "s1", task, 0.8, at)],
        blueprints=[BlueprintRecord("default", "poet", 1, b"{}", 0, at, "probation")],
        proposals=[ProposalRecord(f"p-{task}", "default", "team", "apoptosis", b"{}", at, at + 50)],
        lineage=[Descent("default", "poet", "ada", "forged", task, at)],
    )


@pytest.fixture
async def store(tmp_path: Path) -> AsyncGenerator[SqliteStore, None]:
    """Yield a store in a fresh directory."""
    async with open_store(tmp_path / "state") as opened:
        yield opened


async def everything(store: SqliteStore) -> list[object]:
    """Return all that was learned."""
    known = store.learning
    return [
        await store.capabilities(),
        await known.movements(),
        await known.experience("default", "team"),
        await known.lessons("default", "ada", "s1"),
        await known.blueprints(),
        await known.proposals(),
        await known.lineage(),
    ]


async def test_what_a_task_taught_is_stored_once(store: SqliteStore) -> None:
    """All of it together, and a second time nothing, whatever it is."""
    assert await store.learn("t1", taught("t1"))
    assert await store.learned_from("t1")
    first = await everything(store)
    assert first == [
        [Capability("ada", "s1", "maths", 0.6, 0.01, 1, 100)],
        [msgspec.structs.replace(movement("t1", 0.6), seq=1)],
        [experience("t1")],
        [Lesson("default", "ada", "s1", "t1", 0.8, 100)],
        [BlueprintRecord("default", "poet", 1, b"{}", 0, 100, "probation")],
        [ProposalRecord("p-t1", "default", "team", "apoptosis", b"{}", 100, 150)],
        [Descent("default", "poet", "ada", "forged", "t1", 100)],
    ]
    assert not await store.learn("t1", taught("t2", 200))
    assert await everything(store) == first


async def test_what_no_task_taught_is_stored_alike(store: SqliteStore) -> None:
    """It may be stored again, and replaces what it names."""
    await store.learn("t1", taught("t1"))
    decayed = Learned(
        scores=[Capability("ada", "s1", "maths", 0.55, 0.01, 1, 300)], movements=[movement("", 0.55, 300)]
    )
    await store.learning.change(decayed)
    assert [one.score for one in await store.capabilities()] == [0.55]
    assert [one.seq for one in await store.learning.movements()] == [1, 2]


@pytest.mark.parametrize("lesson", [1, 2, 3])
async def test_of_an_average_the_last_value_is_stored_whoever_moved_it(store: SqliteStore, lesson: int) -> None:
    """A task that teaches it and steps that move it go into one transaction, in the order in which they came."""
    moved = [Average("judge ada", "bias", count / 10, count, 100.0 + count) for count in (1, 2, 3)]
    async with asyncio.TaskGroup() as group:
        for one in moved:
            if one.count == lesson:
                group.create_task(store.learn("t1", Learned(averages=[one])))
                await asyncio.sleep(0)  # it waits now, and nothing is written yet
            else:
                store.average(one)
    assert await store.averages() == [moved[-1]]


async def test_what_was_handed_over_before_is_settled(store: SqliteStore) -> None:
    """Whoever did not hand it over itself can wait for it."""
    async with asyncio.TaskGroup() as group:
        group.create_task(store.learn("t1", taught("t1")))
        await asyncio.sleep(0)  # it waits now, and nothing is written yet
        await store.settled()
        assert await store.learned_from("t1")


async def test_nothing_of_a_change_is_stored_that_fails(store: SqliteStore) -> None:
    """It is one transaction: what comes before a record that cannot be stored is not there either."""
    broken = msgspec.structs.replace(experience("t1"), tokens=None)
    with pytest.raises(Exception, match="NOT NULL"):
        await store.learning.change(Learned(scores=taught("t1").scores, experience=[broken]))
    assert await store.capabilities() == []


async def test_movements_are_read_in_pages(store: SqliteStore) -> None:
    """By agent, from a number on, and no more than asked for."""
    moves = [movement(f"t{n}", n / 10, agent=agent) for n in range(3) for agent in ("ada", "bob")]
    await store.learning.change(Learned(movements=moves))
    assert [one.seq for one in await store.learning.movements("ada")] == [1, 3, 5]
    assert [one.seq for one in await store.learning.movements(after=2, limit=3)] == [3, 4, 5]
    with closing(sqlite3.connect(store.directory / "loomd.db")) as db:
        query = "EXPLAIN QUERY PLAN SELECT * FROM movements WHERE agent = 'ada' AND seq > 1 ORDER BY seq LIMIT 9"
        plan = [step for *_, step in db.execute(query)]
    assert plan == ["SEARCH movements USING INDEX movements_by_agent (agent=? AND rowid>?)"]


async def test_experience_is_of_one_cluster_and_embedder(store: SqliteStore) -> None:
    """Newest first; vectors of another embedder are not asked for, and a task is there once."""
    other = msgspec.structs.replace(experience("t3", 300), embedder="other")
    tasks = [experience("t1", 100), experience("t2", 200), other, experience("t4", cluster="others")]
    await store.learning.change(Learned(experience=[*tasks, msgspec.structs.replace(tasks[0], reward=0.1)]))
    found = await store.learning.experience("default", "team")
    assert [(one.task, one.reward) for one in found] == [("t3", 0.8), ("t2", 0.8), ("t1", 0.1)]
    assert [one.task for one in await store.learning.experience("default", "team", "words", limit=1)] == ["t2"]
    assert await store.learning.experience("elsewhere", "team") == []


async def test_a_tenant_is_forgotten(store: SqliteStore) -> None:
    """All its tasks, or those of one user; nobody else's, and scores stay."""
    tasks = [experience("t1", tenant="acme", user="ann"), experience("t2", tenant="acme", user="bob"), experience("t3")]
    await store.learning.change(Learned(scores=taught("t1").scores, experience=tasks))
    assert await store.learning.forget("elsewhere", "acme") == 0
    assert await store.learning.forget("default", "acme", "ann") == 1
    assert await store.learning.forget("default", "acme") == 1
    assert [one.task for one in await store.learning.experience("default", "team")] == ["t3"]
    assert await store.capabilities() != []


async def test_the_last_lessons_come_first(store: SqliteStore) -> None:
    """Those of one agent as it behaves now."""
    lessons = [Lesson("default", "ada", spec, f"t{n}", n / 10, n) for n in range(4) for spec in ("s1", "s2")]
    await store.learning.change(Learned(lessons=lessons))
    found = await store.learning.lessons("default", "ada", "s2", limit=2)
    assert [(one.task, one.reward) for one in found] == [("t3", 0.3), ("t2", 0.2)]


async def test_blueprints_have_versions(store: SqliteStore) -> None:
    """Each is kept, may change its state, and goes with the others when the blueprint is pruned."""
    first = BlueprintRecord("default", "poet", 1, b"1", 0, 10, "probation")
    second = BlueprintRecord("default", "poet", 2, b"2", 1, 20, "probation")
    other = BlueprintRecord("else", "poet", 1, b"1", 0, 10, "active")
    await store.learning.change(Learned(blueprints=[first, second, other]))
    active = msgspec.structs.replace(second, state="active")
    await store.learning.change(Learned(blueprints=[active]))
    assert await store.learning.blueprints("default") == [first, active]
    await store.learning.change(Learned(pruned=[("default", "poet")]))
    assert await store.learning.blueprints() == [other]


async def test_a_proposal_is_decided_once(store: SqliteStore) -> None:
    """It may change until then; the first decision holds, one that comes too late does not, and nothing changes it."""
    early, late = (ProposalRecord(f"p{n}", "default", "team", "evolve", b"{}", n, 100 * n) for n in (1, 2))
    await store.learning.change(Learned(proposals=[early, late]))
    late = msgspec.structs.replace(late, body=b"more was learned")
    await store.learning.change(Learned(proposals=[late]))
    assert await store.learning.proposal("p2") == late
    assert await store.learning.decide("p1", b"yes", lambda: 150.0) == early
    decided = await store.learning.decide("p2", b"yes", lambda: 150.0)
    assert decided == msgspec.structs.replace(late, decision=b"yes")
    await store.learning.change(Learned(proposals=[msgspec.structs.replace(late, body=b"other")]))
    assert await store.learning.decide("p2", b"no") == decided
    assert await store.learning.decide("p3", b"no") is None
    assert await store.learning.proposals("default") == [decided, early]
    assert await store.learning.proposals("default", pending=True) == [early]


async def test_lineage_is_followed_both_ways(store: SqliteStore) -> None:
    """As the child and as the parent, a step once."""
    forged = Descent("default", "poet", "ada", "forged", "t1", 1)
    steps = [forged, Descent("default", "bard", "poet", "evolved", "t2", 2)]
    await store.learning.change(Learned(lineage=[*steps, steps[0]]))
    assert await store.learning.lineage() == steps
    assert await store.learning.lineage("default", "poet") == steps
    assert await store.learning.lineage("default", "bard") == steps[1:]
    assert await store.learning.lineage("elsewhere") == []


async def test_what_is_old_goes(store: SqliteStore) -> None:
    """Experience goes with its task, and without one by its age; of each score the last movement stays."""
    for task, at in (("t1", 100.0), ("t2", 300.0)):
        await store.put_task(TaskRecord(task, "default", "team", "Succeeded", b"{}", b"{}", at))
        store.note(Row(task, "task.completed", b'{"ts":%f}' % at, "ended"))
        await store.learn(task, taught(task, at))
    await store.learning.change(Learned(experience=[experience("gone", 100), experience("new", 300)]))
    await store.learning.change(Learned(movements=[movement("t1", 0.3, 100, "bob")]))
    await store.learning.change(Learned(lessons=[Lesson("default", "bob", "s1", f"t{n}", 0.5, 1) for n in range(500)]))
    assert await store.sweep(before=200, keep=100) == 1
    known = store.learning
    assert sorted(one.task for one in await known.experience("default", "team")) == ["new", "t2"]
    assert [(one.agent, one.task) for one in await known.movements()] == [("ada", "t2"), ("bob", "t1")]
    assert [one.task for one in await known.lessons("default", "ada", "s1")] == ["t2"]
    assert await known.lessons("default", "bob", "s1") == []
    assert [one.id for one in await known.proposals()] == ["p-t2"]
    assert [one.name for one in await known.blueprints()] == ["poet"]
    assert len(await known.lineage()) == 2
    await store.close()
    assert check(store.directory).findings == ()


async def test_what_is_learned_anew_while_it_is_removed_stays(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is old is looked for beside the writer: it may be old no more when its turn comes."""
    remove = retention._forget_some
    await store.learning.change(Learned(lessons=[Lesson("default", "ada", "s1", f"t{n}", 0.5, 1) for n in range(3)]))

    def renewed(statement: str, keys: list[tuple[object, ...]], db: sqlite3.Connection) -> bool:
        apply(db, [Learned(lessons=[Lesson("default", "ada", "s1", "t1", 0.9, 300)])])
        return remove(statement, keys, db)

    monkeypatch.setattr(retention, "_forget_some", renewed)
    await store.sweep(before=200, keep=100)
    assert [(one.task, one.reward) for one in await store.learning.lessons("default", "ada", "s1")] == [("t1", 0.9)]


async def test_it_outlives_a_kill(tmp_path: Path) -> None:
    """What was stored when the call returned is there, once, after the process was killed."""
    command = [sys.executable, "-c", _DIE, str(tmp_path / "state")]
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT)
    assert await process.wait() == -signal.SIGKILL
    async with open_store(tmp_path / "state") as store:
        before = await everything(store)
        assert all(before)
        assert not await store.learn("t1", taught("t1", 500))
        assert await everything(store) == before
    assert check(tmp_path / "state").findings == ()


_DIE = """
import asyncio, sys
from pathlib import Path
from tests.store.test_learning import die
asyncio.run(die(Path(sys.argv[1])))
"""


async def die(state: Path) -> None:
    """Store what a task taught, and die."""
    async with open_store(state) as store:
        await store.learn("t1", taught("t1"))
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("table", ["movements", "experience", "lessons", "blueprints", "proposals", "lineage"])
async def test_what_another_program_changed_is_found(tmp_path: Path, table: str) -> None:
    """Every row is sealed."""
    async with open_store(tmp_path / "state") as store:
        await store.learn("t1", taught("t1"))
    assert check(tmp_path / "state").findings == ()
    with closing(sqlite3.connect(tmp_path / "state" / "loomd.db", isolation_level=None)) as db:
        assert db.execute(f"DELETE FROM {table}").rowcount == 1  # noqa: S608  # names of ours
    (finding,) = check(tmp_path / "state").findings
    assert (finding.code, finding.what) == ("seal", "is missing")
    assert finding.where.startswith(table)
