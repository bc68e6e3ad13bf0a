"""Tools by the names that models see."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from loomd.agents.agent import Agent, Latest
from loomd.agents.approval import Approval
from loomd.agents.base import Effects, OnUncertain, Tool
from loomd.agents.budget import Limits
from loomd.agents.toolbox import Toolbox
from loomd.clock import SystemClock
from loomd.errors import Permanent
from loomd.messages import JsonObject, ToolSchema


class Named:
    """A tool that has a name, and may be withdrawn."""

    effects: Effects = "read"
    idempotent = True
    on_uncertain: OnUncertain = "fail"
    approval: Approval | None = None
    max_output = 64 << 10

    def __init__(self, name: str, withdrawn: str = "") -> None:
        self.schema = ToolSchema(name, name, {"type": "object"})
        self.withdrawn = withdrawn

    async def call(self, arguments: JsonObject, context: object = None) -> str:
        """Return nothing."""
        del arguments, context
        return ""


@dataclass
class Many:
    """A set."""

    tools: Sequence[Tool]


def many(*names: str) -> Many:
    """Return a set of tools with these names."""
    return Many([Named(name) for name in names])


def agent(box: Toolbox, latest: Latest | None) -> Agent:
    """Return an agent with these tools; no model is asked."""
    model: object = None
    return Agent(
        "ada", "default", "d1", "", {}, model, "", Limits(), SystemClock(),  # type: ignore[arg-type]  # never asked
        tools=box, owner=box.owner, latest=lambda: latest,
    )  # fmt: skip


def test_sets_and_single_tools() -> None:
    """Names come in the order of the agent's list, and each tool knows its object."""
    box = Toolbox({"disk": many("disk_read", "disk_write"), "add": Named("add")})
    assert list(box) == ["disk_read", "disk_write", "add"]
    assert [box.owner(name) for name in (*box, "none")] == ["disk", "disk", "add", "none"]
    assert len(box) == 3
    assert "none" not in box
    box.check()


def test_a_set_that_changes() -> None:
    """What a set has since is there at once."""
    disk = many("disk_read")
    box = Toolbox({"disk": disk})
    assert list(box) == ["disk_read"]
    disk.tools = many("disk_read", "disk_list").tools
    assert list(box) == ["disk_read", "disk_list"]


def test_no_tools() -> None:
    """An agent may have none, and a set may be empty for now."""
    assert list(Toolbox({})) == list(Toolbox({"disk": many()})) == []


def test_two_of_one_name() -> None:
    """The message names the tool, both objects and what to do; without the check the first one counts."""
    box = Toolbox({"disk": many("read"), "tape": many("read", "wind")})
    with pytest.raises(Permanent, match=r'got "read" from Tool/disk and from Tool/tape: set spec\.prefix'):
        box.check()
    assert box.owner("read") == "disk"
    assert list(box) == ["read", "wind"]


@pytest.mark.parametrize("name", ["", "a b", "a.b", "x" * 65, "ä"])
def test_names_that_no_model_service_takes(name: str) -> None:
    """A name that a request would be refused for is refused when the agent opens."""
    with pytest.raises(Permanent, match="expected 1 to 64 letters"):
        Toolbox({"disk": many(name)}).check()


def test_what_is_offered() -> None:
    """A set that a newer revision takes away is gone with all its tools; one that is withdrawn itself is gone alone."""
    disk = Many([Named("disk_read"), Named("disk_write", "it changed")])
    box = Toolbox({"disk": disk, "add": Named("add")})
    now, then = agent(box, None), agent(box, Latest("r2", Limits(), ["add"]))
    assert [tool.schema.name for tool in now.offered()] == ["disk_read", "add"]
    assert [tool.schema.name for tool in then.offered()] == ["add"]
    assert now.refusal("disk_write") == "it changed"
    assert "available: disk_read, add" in now.refusal("disk")
    assert 'the tool "disk_read" was withdrawn from this agent at revision r2' in then.refusal("disk_read")
