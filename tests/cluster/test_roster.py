"""Members come and go; what the cluster is compared with follows them."""

import pytest

from loomd.agents.agent import Agent
from loomd.agents.budget import Limits
from loomd.clock import SystemClock
from loomd.cluster.roster import Roster
from loomd.errors import NotFound
from loomd.providers.scripted import ScriptedModel


def agent(name: str, description: str, *domains: str) -> Agent:
    """Return an agent."""
    return Agent(
        name=name,
        namespace="default",
        digest=f"{name}-{description}",
        description=description,
        domains=dict.fromkeys(domains, 0.6),
        model=ScriptedModel("m", []),
        prompt="",
        limits=Limits(),
        clock=SystemClock(),
    )


@pytest.fixture
def roster() -> Roster:
    """Return a roster of two."""
    return Roster([agent("ada", "Proves theorems.", "maths"), agent("bob", "Writes verses.", "poetry")], None)


async def test_a_new_member_brings_its_domains(roster: Roster) -> None:
    """It comes last; one of the same name takes the place of the old one."""
    roster.add(agent("cyd", "Drafts contracts.", "law"))
    domains, tools = await roster.fits("who drafts a contract?")
    assert list(domains) == ["maths", "poetry", "law"]
    assert domains["law"] > 0 == domains["poetry"]
    assert tools == {}
    roster.add(agent("ada", "Solves equations.", "algebra"))
    assert list(roster.agents) == ["ada", "bob", "cyd"]
    assert list((await roster.fits("x"))[0]) == ["algebra", "poetry", "law"]


async def test_a_drained_member_takes_no_new_work(roster: Roster) -> None:
    """It is still there for what it does, until it is removed or added again."""
    roster.drain("ada")
    assert [one.name for one in roster.open] == ["bob"]
    assert roster.agent("ada").name == "ada"
    assert list((await roster.fits("prove it"))[0]) == ["poetry"]
    roster.add(roster.agent("ada"))
    assert [one.name for one in roster.open] == ["ada", "bob"]


def test_a_removed_member_is_gone(roster: Roster) -> None:
    """Nobody is asked who is not there; the message names who is."""
    roster.drain("ada")
    roster.remove("ada")
    assert [one.name for one in roster.open] == ["bob"]
    for act in (roster.agent, roster.drain, roster.remove):
        with pytest.raises(NotFound, match=r"Agent/ada is not a member of the cluster; members: bob"):
            act("ada")
