"""Static: a named agent does every task."""

from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from loomd.amoeba.crowd import names_of
from loomd.amoeba.policies.base import MatchPolicy
from loomd.amoeba.task import Matched, Sensed
from loomd.amoeba.world import Standing
from loomd.manifest.kind import RefTo

if TYPE_CHECKING:
    from loomd.amoeba.asking import Asking


class Static(MatchPolicy):
    """Always chooses the same agent."""

    type: Literal["static"] = "static"
    agent: Annotated[str, RefTo("Agent")] = Field(examples=["writer"])
    """The agent that does every task; it must be a member of the cluster."""

    async def choose(self, sensed: Sensed, agents: Sequence[Standing], draw: Random, asking: "Asking") -> Matched:
        """Return the named agent, or no winner when it is not a member."""
        del sensed, draw, asking
        if self.agent in names_of(agents):
            return Matched(self.agent, why="named by the policy")
        return Matched("", why=f'agent "{self.agent}" is not a member of the cluster')
