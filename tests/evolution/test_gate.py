"""When instructions are taken: what a trial must show, how tasks are divided, how long an agent is left alone."""

import pytest

from loomd.amoeba.evolving import Evolve
from loomd.amoeba.task import Result, Task
from loomd.amoeba.trial import Pair, Trial
from loomd.evolution.past import Past, divide
from loomd.evolution.proposal import fault

SPEC = Evolve(min_tasks=3)


def trial(*pairs: tuple[float, float, float, float]) -> Trial:
    """Return a trial: rewards before and after, and what rules alone see before and after."""
    return Trial(tuple(Pair(f"t{number}", *one) for number, one in enumerate(pairs)))


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (trial(*[(0.2, 0.8, 0.5, 0.5)] * 3), ""),
        (trial(*[(0.2, 0.8, 0.5, 0.5)] * 2), "2 held-out tasks say too little, 3 are needed"),
        (trial(*[(1.0, 1.0, 1.0, 1.0)] * 3), "moves by +0.000"),
        (trial(*[(0.2, 0.21, 0.5, 0.5)] * 3), "moves by +0.010"),
        (trial(*[(0.2, 0.22, 0.5, 0.5)] * 3), ""),
        (trial(*[(0.2, 0.9, 0.5, 0.47)] * 3), "expectations alone see falls by 0.030"),
        (trial(*[(0.2, 0.9, 0.5, 0.48)] * 3), ""),
        (trial((0.8, 0.4, 1, 1), (0.1, 1.0, 0, 1), (0.1, 1.0, 0, 1)), "a task loses 0.400"),
        (trial((0.8, 0.5, 1, 1), (0.1, 1.0, 0, 1), (0.1, 1.0, 0, 1)), ""),
    ],
)
def test_the_gate(found: Trial, why: str) -> None:
    """Enough tasks, a gain, no single loss, and nothing that only a judge sees."""
    said = SPEC.fault(found)
    assert why in said
    assert bool(why) == bool(said)


def test_an_agent_that_flaps_is_tried_ever_more_seldom() -> None:
    """Each attempt at the same behaviour doubles the time, up to a limit, however many there were."""
    spec = Evolve.model_validate({"coolDown": "10s", "backoff": 2, "maxCoolDown": "60s"})
    assert [spec.waits(times) for times in (0, 1, 2, 3, 4, 5, 10_000)] == [10, 10, 20, 40, 60, 60, 60]


def past(number: int, goal: str, reward: float, tenant: str = "") -> Past:
    """Return a past task."""
    task = Task(f"t{number}", goal, tenant=tenant)
    return Past(task, Result(task, "Succeeded"), reward)


def test_tasks_are_shown_or_held_out() -> None:
    """The worst of the latest are shown; what has the same words is not tried, and tenants' tasks are not shown."""
    tasks = [
        past(0, "a", 0.3, tenant="acme"),
        past(1, "b", 0.2),
        past(2, "B ", 0.1),
        past(3, "c", 0.3),
        past(4, "d", 0.9),
        past(5, "e", 0.9),
        past(6, "E", 0.9),
        past(7, "b", 0.9),
    ]
    split = divide(tasks, Evolve(shown=2, tasks=3))
    assert [one.task.id for one in split.shown] == ["t2", "t3"]
    assert [one.task.id for one in split.held] == ["t0", "t4", "t5"]
    assert divide(tasks, Evolve(shown=2, tasks=1)).held == split.held[:1]
    assert [one.task.id for one in divide(tasks[:1], Evolve()).shown] == []
    assert [one.task.id for one in divide(tasks[:1], Evolve(tenants=True)).shown] == ["t0"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("Say the unit.\n- {{ goal }}", ""),
        ("  ", "got none"),
        ("x" * 101, "at most 100 characters, got 101"),
        ("a\x1b[31mb", "control characters"),
        ("Use sk-ant-api03-abcdefghijklmnopqrstuvwxyz0123456789.", "secrets"),
    ],
)
def test_what_instructions_may_be(text: str, why: str) -> None:
    """Plain text of some length without secrets."""
    assert why in fault(text, 100)
    assert bool(why) == bool(fault(text, 100))
