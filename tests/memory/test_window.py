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


def test_earlier_turns_leave_first_each_question_with_its_answer() -> None:
    """Turns before the goal make room for it and for all that came after it."""
    before = tuple(
        message for n in range(4) for message in (Message("user", f"q{n} " * 10), Message("assistant", f"a{n} " * 10))
    )
    after = (Message("assistant", "", (ToolCall("c", "t", {}),)), Message("tool", "result " * 10, call_id="c"))
    talk = (SYSTEM, *before, GOAL, *after)
    for tokens in range(10, 300):
        kept = fit_window(talk, tokens, goal=9)
        assert kept[0] is SYSTEM
        assert kept[-3:] == (GOAL, *after)
        earlier = kept[1:-3]
        assert earlier == before[len(before) - len(earlier) :]
        assert len(earlier) % 2 == 0
    assert len(fit_window(talk, 300, goal=9)) == len(talk)
