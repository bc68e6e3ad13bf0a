import itertools

import pytest

from loomd.memory.window import fit_window
from loomd.messages import Message, ToolCall

SYSTEM, GOAL = Message("system", "s" * 40), Message("user", "g" * 40)


def turn(number: int, size: int = 40) -> tuple[Message, Message]:
    """Return a call and its result."""
    call = ToolCall(f"c{number}", "look", {})
    return (Message("assistant", tool_calls=(call,)), Message("tool", "r" * size, call_id=call.id))


TALK = (SYSTEM, GOAL, *itertools.chain.from_iterable(turn(n) for n in range(10)))


def test_what_fits_stays() -> None:
    """A conversation that fits is the same object."""
    assert fit_window(TALK, 10_000) is TALK


@pytest.mark.parametrize("tokens", [1, 50, 80, 120, 200])
def test_the_latest_turns_stay(tokens: int) -> None:
    """System, goal and the latest turns stay in order; no result stands without its call, and the last never goes."""
    kept = fit_window(TALK, tokens)
    assert kept[:2] == (SYSTEM, GOAL)
    assert kept[2:] == TALK[-len(kept[2:]) :]
    assert kept[-2:] == TALK[-2:]
    assert kept[2].role == "assistant"


def test_the_budget_holds() -> None:
    """A larger window keeps more, and what is kept is within it."""
    sizes = [len(fit_window(TALK, tokens)) for tokens in range(1, 400, 10)]
    assert sizes == sorted(sizes)
    assert sizes[0] == 4
    assert sizes[-1] == len(TALK)


def test_parallel_results_stay_together() -> None:
    """All results of one turn are kept or dropped with it."""
    calls = tuple(ToolCall(f"c{n}", "look", {}) for n in range(3))
    group = (Message("assistant", tool_calls=calls), *(Message("tool", "r" * 400, call_id=c.id) for c in calls))
    talk = (SYSTEM, GOAL, *group, Message("assistant", "well"), Message("user", "Stop here."))
    assert fit_window(talk, 100) == (SYSTEM, GOAL, *talk[-2:])


def test_without_system_and_goal() -> None:
    """A conversation of anything else keeps its latest turns."""
    talk = tuple(Message("assistant", "x" * 400) for _ in range(5))
    assert fit_window(talk, 250) == talk[-2:]
    assert fit_window((), 10) == ()
