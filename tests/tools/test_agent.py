"""Tools of type agent: what a model is told, and what becomes of a goal. Delegation itself: tests/engine."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from loomd.errors import ToolFailed
from loomd.manifest.object import Ref
from loomd.messages import JsonObject
from loomd.testing import open_spec


@dataclass
class Worker:
    """An agent, as far as the tool knows it."""

    name: str = "worker"
    description: str = "Does the work."


@dataclass
class Context:
    """A call whose goals are kept."""

    asked: list[tuple[object, str, int, float]] = field(default_factory=list)

    async def delegate(self, agent: object, goal: str, *, most: int, seconds: float) -> str:
        """Keep what is asked."""
        self.asked.append((agent, goal, most, seconds))
        return "done"


WORKER = Worker()
LIVE = {Ref("Agent", "worker"): WORKER}
SPEC = {"type": "agent", "agent": "worker"}


async def test_what_a_model_is_told(tmp_path: Path) -> None:
    """By default who is asked and what they are good at; a description of the tool says it otherwise."""
    async with open_spec("Tool", SPEC, tmp_path, live=LIVE) as tool:
        assert tool.schema.description == "Asks another agent, worker. Does the work."
        assert (tool.effects, list(tool.schema.parameters["properties"])) == ("read", ["goal"])
    async with open_spec("Tool", {**SPEC, "description": "Ask!"}, tmp_path, live=LIVE) as tool:
        assert tool.schema.description == "Ask!"


async def test_a_goal_is_handed_on(tmp_path: Path) -> None:
    """With the limits of the tool."""
    context = Context()
    async with open_spec("Tool", {**SPEC, "maxDepth": 2, "timeout": "10s"}, tmp_path, live=LIVE) as tool:
        assert await tool.call({"goal": " work "}, context) == "done"
    assert context.asked == [(WORKER, "work", 2, 10.0)]


@pytest.mark.parametrize(
    "arguments", [{}, {"goal": ""}, {"goal": " "}, {"goal": 1}, {"goal": "x", "more": 1}, {"g": "x"}]
)
async def test_bad_arguments_are_refused(tmp_path: Path, arguments: JsonObject) -> None:
    """Nobody is asked."""
    context = Context()
    async with open_spec("Tool", SPEC, tmp_path, live=LIVE) as tool:
        with pytest.raises(ToolFailed, match='expected "goal" with what is wanted'):
            await tool.call(arguments, context)
    assert context.asked == []


async def test_outside_of_a_task_nobody_is_asked(tmp_path: Path) -> None:
    """There is no account to draw on."""
    async with open_spec("Tool", SPEC, tmp_path, live=LIVE) as tool:
        with pytest.raises(ToolFailed, match="no task to work in"):
            await tool.call({"goal": "work"})
