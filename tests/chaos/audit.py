"""What must hold of a state directory between two daemons, whatever was done to the first one.

Reads the database, the file of effects, and what the daemons promised; changes nothing.
"""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from loomd.agents.approval import Decision
from loomd.amoeba.task import Executed, Result, Scaled, Subtask, Task
from loomd.errors import Permanent
from loomd.events.event import Event, PhaseCompleted, StepCompleted
from loomd.store.check import check, reading
from loomd.store.records import TaskRecord
from tests.chaos.system import NAP, PARTS, Wish, sort_of

_event = msgspec.json.Decoder(Event).decode
_STEPS: dict[str, tuple[str, ...]] = {
    "mark": ("tool/0/0", "tool/0/1", "tool/1/0"),
    "fixed": ("tool/0/0", "tool/0/1"),
    "nap": ("tool/0/0",),
    "post": ("tool/0/0",),
    "guard": ("tool/0/0",),
}
"""Keys of the calls that a task of a sort makes, below `execute`."""


@dataclass
class Promises:
    """What was acknowledged, and what was seen before.

    Attributes:
        accepted: tasks by id.
        decided: verdicts by approval.
        sent: signals by task.
        cancelled: tasks that were cancelled.
        results: digests of the results that were there at the last audit.
    """

    accepted: dict[str, Wish] = field(default_factory=dict[str, Wish])
    decided: dict[str, str] = field(default_factory=dict[str, str])
    sent: dict[str, int] = field(default_factory=dict[str, int])
    cancelled: set[str] = field(default_factory=set[str])
    results: dict[str, int] = field(default_factory=dict[str, int])


@dataclass
class State:
    """A state directory as it was read."""

    tasks: dict[str, TaskRecord]
    steps: dict[tuple[str, str], Event]
    approvals: dict[str, tuple[str, bytes]]
    learned: set[str]
    counts: dict[tuple[str, str, str], int]
    effects: dict[str, list[float]]


def audit(home: Path, promises: Promises, *, last: bool = False) -> Counter[str]:
    """Check everything; return how the tasks from outside ended.

    Raises:
        AssertionError: something was lost, done twice, or does not fit.
    """
    if not (home / "state" / "loomd.db").exists():
        assert not promises.accepted
        return Counter()
    try:
        report = check(home / "state")
    except Permanent:  # killed before there was a table
        assert not promises.accepted
        return Counter()
    assert not report.findings, report.findings
    state = _read(home)
    _check_promises(state, promises)
    _check_effects(state)
    _check_rewards(state, last=last)
    for name, record in state.tasks.items():
        _check_parts(state, name, record)
    if not last:
        return Counter()
    results = {name: msgspec.json.decode(one.result, type=Result) for name, one in state.tasks.items()}
    for name, result in results.items():
        _check_end(state, promises, name, result)
    return Counter(_end(result) for result in results.values() if not result.task.parent)


def _read(home: Path) -> State:
    with reading(home / "state" / "loomd.db", held=False) as db:
        columns = "id, namespace, cluster, phase, body, result, created, reason"
        tasks = {row[0]: TaskRecord(*row) for row in db.execute(f"SELECT {columns} FROM tasks")}  # noqa: S608  # constant text
        rows = db.execute("SELECT task, key, body FROM journal WHERE key != '' AND task != ''")
        steps = {(task, key): _event(body) for task, key, body in rows}
        approvals = {name: (task, bytes(said)) for name, task, said in db.execute(_APPROVALS)}
        learned = {task for (task,) in db.execute("SELECT task FROM learned")}
        counts = {(a, s, d): n for a, s, d, n in db.execute("SELECT agent, spec, domain, count FROM capabilities")}
    effects: dict[str, list[float]] = {}
    path = home / "effects"
    for line in path.read_text().splitlines() if path.exists() else ():
        key, _, at = line.split(" ")
        effects.setdefault(key, []).append(float(at))
    return State(tasks, steps, approvals, learned, counts, effects)


_APPROVALS = "SELECT id, task, decision FROM approvals"


def _check_promises(state: State, promises: Promises) -> None:
    """What was acknowledged is there, and what has ended stays as it ended."""
    missing = promises.accepted.keys() - state.tasks.keys()
    assert not missing, f"acknowledged tasks are lost: {missing}"
    for name, wish in promises.accepted.items():
        assert msgspec.json.decode(state.tasks[name].body, type=Task).goal == wish.goal, name
    for name, verdict in promises.decided.items():
        said = msgspec.json.decode(state.approvals[name][1], type=Decision)
        assert said.verdict == verdict, f"{name} was {verdict}, is {said}"
    for name in promises.cancelled:
        assert state.tasks[name].phase == "Cancelled", f"{name} was cancelled, is {state.tasks[name].phase}"
    for name, seen in promises.results.items():
        assert hash(state.tasks[name].result) == seen, f"{name} had ended, and its result is another"
    promises.results |= {name: hash(record.result) for name, record in state.tasks.items() if record.result}


def _check_effects(state: State) -> None:
    """A write happened once at most, and nothing happened again after it was recorded."""
    for key, times in state.effects.items():
        task, _, step = key.partition("/")
        record = state.tasks.get(task)
        assert record is not None, f"{key} had an effect, and its task is not there"
        done = state.steps.get((task, f"step/{step}"))
        intended = (task, f"intent/{step}") in state.steps
        if intended:
            assert len(times) == 1, f"{key} may not happen twice, and happened {len(times)} times"
        if done is not None:
            assert max(times) <= done.ts, f"{key} was recorded at {done.ts}, and happened at {times}"
            assert intended or "fixed" in getattr(done.data, "name", ""), key


def _check_rewards(state: State, *, last: bool) -> None:
    """As much was learned as there are tasks that were learned from: each counts once, in its one domain.

    Who only puts together what parts brought is not credited with it, and nobody with an end that others caused.
    """
    total = sum(state.counts.values())
    alone = [name for name in state.learned if not _is_split(state, name) and not _is_mute(state, name)]
    assert total == len(alone), f"{len(alone)} tasks were learned from, the scores count {total}"
    if last:
        expected: Counter[tuple[str, str, str]] = Counter()
        for record in state.tasks.values():
            result = msgspec.json.decode(record.result, type=Result)
            decisions = result.adapted.moves if result.adapted else ()
            assert len(decisions) <= 1, result.task.id
            expected.update((one.agent, one.spec, one.domain) for one in decisions)
        assert expected == Counter(state.counts), (expected, state.counts)


def _is_split(state: State, name: str) -> bool:
    scaled = state.steps.get((name, "phase/scale"))
    return scaled is not None and bool(_planned(scaled))


def _is_mute(state: State, name: str) -> bool:
    executed = state.steps[name, "phase/execute"]
    assert isinstance(executed.data, PhaseCompleted)
    return msgspec.json.decode(executed.data.value, type=Executed).outcome.mute


def _planned(scaled: Event) -> tuple[Subtask, ...]:
    assert isinstance(scaled.data, PhaseCompleted)
    return msgspec.json.decode(scaled.data.value, type=Scaled).subtasks


def _check_parts(state: State, name: str, record: TaskRecord) -> None:
    """The parts of a task are those of its plan, once each."""
    task = msgspec.json.decode(record.body, type=Task)
    parts = {one: state.tasks[one] for one in state.tasks if one.startswith(f"{name}.") and one.count(".") == 1}
    scaled = state.steps.get((name, "phase/scale"))
    if task.parent or scaled is None:
        assert not parts or task.parent, f"{name} has parts and no plan: {sorted(parts)}"
        return
    planned = _planned(scaled)
    assert [one.goal for one in planned] == list(PARTS if sort_of(task.goal) == "split" else ()), name
    names = [f"{name}.{at + 1}" for at in range(len(planned))]
    assert parts.keys() <= set(names), f"{name} has parts that nobody planned: {sorted(parts)}"
    for at, (part, subtask) in enumerate(zip(names, planned, strict=True)):
        if part in parts:
            body = msgspec.json.decode(parts[part].body, type=Task)
            assert (body.goal, body.parent, body.seed) == (subtask.goal, name, task.seed + at + 1), part
    if record.phase == "Succeeded":
        assert parts.keys() == set(names), f"{name} is done, and has only the parts {sorted(parts)}"


def _check_end(state: State, promises: Promises, name: str, result: Result) -> None:
    """A task ended as it had to, with all its effects."""
    assert result.task.id == name
    sort, end = _sort(result.task), _end(result)
    allowed = {"completed"}
    if sort in {"mark", "left"}:
        allowed = {"completed", "uncertain"}
    elif sort == "guard":
        allowed = {"completed", "uncertain", "approval_denied"}
    elif sort == "slow":
        allowed = {"cancelled"}
    assert end in allowed, f"{name} ({result.task.goal}) ended as {end}: {result.error}"
    keys = [f"{name}/execute/{step}" for step in _STEPS.get(sort, ())]
    if sort in {"mark", "fixed", "guard"}:
        had = [key for key in keys if key in state.effects]
        if end == "completed":
            assert had == keys, f"{name} is done, and only these happened: {had}"
        if end == "approval_denied":
            assert not had, f"{name} was denied, and yet: {had}"
    if sort == "guard":
        _check_question(state, name, end)
    if sort == "nap":
        times = [state.steps[name, key].ts for key in ("step/execute/tool/0/0/timer/1/began", "step/execute/tool/0/0")]
        assert times[1] - times[0] >= NAP * 0.99, f"{name} slept for {times[1] - times[0]} s"
    if name in promises.sent:
        assert _value(state, name, "step/execute/tool/0/0")["text"] == str(promises.sent[name]), name


def _check_question(state: State, name: str, end: str) -> None:
    """One question was asked, and the answer was heeded."""
    (said,) = [said for task, said in state.approvals.values() if task == name]
    verdict = msgspec.json.decode(said, type=Decision).verdict
    assert (verdict == "denied") == (end == "approval_denied"), f"{name} was {verdict} and ended as {end}"


def _value(state: State, task: str, key: str) -> Any:
    fact = state.steps[task, key].data
    assert isinstance(fact, StepCompleted)
    return msgspec.json.decode(fact.value)


def _sort(task: Task) -> str:
    """Return what a task does; parts of a split are sorts of their own."""
    return {"left mark": "left", "right fixed": "right"}.get(task.goal) or sort_of(task.goal)


def _end(result: Result) -> str:
    """Return how a task ended, in one word."""
    if result.phase == "Cancelled":
        return "cancelled"
    return result.executed.outcome.stop_reason if result.executed else "error"
