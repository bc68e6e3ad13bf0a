"""The parts of a cluster that its forge works with. Called by `cluster`."""

from collections.abc import Callable
from dataclasses import dataclass

from loomd.agents.agent import Agent
from loomd.cluster.blueprints import Blueprints
from loomd.cluster.condition import Conditions
from loomd.cluster.learn import Teaching
from loomd.cluster.likeness import Embedder
from loomd.cluster.roster import Roster
from loomd.manifest.object import Ref


@dataclass(frozen=True)
class House:
    """The parts of a cluster that its forge works with.

    Attributes:
        ref: the cluster.
        blueprints: how its members are made.
        roster: its members.
        conditions: how they do.
        teaching: returns as whose decisions those of a task are carried out.
        embedder: by which tasks are compared with specialists; by words when None.
    """

    ref: Ref
    blueprints: Blueprints
    roster: Roster
    conditions: Conditions
    teaching: Callable[[str], Teaching]
    embedder: Embedder | None = None

    def specialists(self) -> list[Agent]:
        """Return the members that no person declared as such."""
        declared, members = self.blueprints.declared, self.roster.agents
        if members.keys() <= declared.keys():
            return []
        return [agent for agent in members.values() if agent.name not in declared]
