"""Facts of turns that have left the window within one piece of work, shown with the goal."""

from dataclasses import replace

import pytest

from loomd.agents.agent import Agent
from loomd.agents.context import Context, fit
from loomd.agents.measure import Measure
from loomd.agents.reminding import shown
from loomd.memory.window import fit_window
from loomd.messages import Message, ToolCall
from tests.agents.test_context import Remembering, agent

WINDOW = 400
GOAL = "Read all pages and tell the code of gate 2."


class Reminding(Remembering):
    """A memory with a window, and room for facts of what has left it."""

    reminder = 60

    def fit(self, messages: tuple[Message, ...], goal: int = 1) -> tuple[Message, ...]:
        """Return the turns that fit the window."""
        return fit_window(messages, WINDOW, goal)


def talk(pages: int) -> list[Message]:
    """Return a conversation in which pages were read one after another."""
    turns = [Message("system", "You are ada."), Message("user", GOAL)]
    for number in range(1, pages + 1):
        call = ToolCall(f"c{number}", "page", {"number": number})
        said = f"The code of gate {number} is {number}00. " + "It is a long page and says little. " * 10
        turns += [Message("assistant", "", (call,)), Message("tool", said, call_id=call.id)]
    return turns


def show(asked: Agent, turns: list[Message]) -> tuple[Message, ...]:
    """Return what a model is shown."""
    size = sum(len(one.text) for one in turns)
    return shown(Context(measure=Measure(), window=10_000), asked, turns, 1, 0, size)


def test_a_fact_that_left_stands_with_the_goal() -> None:
    """The facts that fit the goal best are there, the turns that left are not, and all of it fits the window."""
    turns = talk(8)
    seen = show(agent(memory=Reminding()), turns)
    goal = seen[1].text
    assert goal.startswith(f"{GOAL}\n\nFrom turns that are not shown any more:\n- ")
    assert "- The code of gate 2 is 200." in goal
    assert goal.count("It is a long page") <= 1
    assert seen[-1] is turns[-1]
    assert len(seen) < len(turns)
    assert fit_window(seen, WINDOW) == seen


def test_the_same_conversation_is_shown_alike() -> None:
    """What is shown hangs on the conversation alone."""
    assert show(agent(memory=Reminding()), talk(8)) == show(agent(memory=Reminding()), talk(8))


@pytest.mark.parametrize("pages", [0, 2])
def test_what_fits_is_left_as_it_is(pages: int) -> None:
    """As long as nothing has left the window, the goal is what it is."""
    turns = talk(pages)
    assert show(agent(memory=Reminding()), turns) == tuple(turns)


def test_without_room_for_facts_nothing_is_added() -> None:
    """Without a memory that remembers, turns leave as before."""
    plain, turns = agent(memory=Remembering()), talk(80)
    context = Context(measure=Measure(), window=300)
    size = sum(len(one.text) for one in turns)
    for asked in (plain, replace(plain, memory=None)):
        assert shown(context, asked, turns, 1, 0, size) == fit(context, asked, turns, 1, 0, size)
