"""The agents that a cluster made itself, or gave other instructions: their blueprints, and what is made of them.

Kept up to date by events, so that all revisions of a cluster that are open agree. Called by `cluster`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

from loomd.agents.agent import Agent
from loomd.amoeba.blueprint import Blueprint, decode
from loomd.amoeba.decision import Shaping, Turn
from loomd.store.records import BlueprintRecord


@dataclass(frozen=True)
class Version:
    """One version of an agent's blueprint.

    Attributes:
        number: counted from 1 below the agent's name.
        parent: the version that it took the place of, or goes back to.
        how: how it came about; `pruned` when the agent went with it.
        blueprint: what it says.
        at: when, in wall-clock seconds.
    """

    number: int
    parent: int
    how: Turn
    blueprint: Blueprint
    at: float


class Blueprints:
    """The blueprints of one cluster, by name of the agent; the last version of each holds."""

    def __init__(
        self,
        cluster: str,
        declared: Iterable[Agent],
        records: Sequence[BlueprintRecord] = (),
        reserve: Iterable[Agent] = (),
    ) -> None:
        """Take over what is stored.

        Args:
            cluster: its name; blueprints of others are left alone, but for their numbers.
            declared: the members that people declared.
            records: the versions that are stored, the earlier ones first.
            reserve: those whom people declared to join when they are needed.
        """
        self._cluster = cluster
        self._declared = {agent.name: agent for agent in declared}
        self._reserve = {agent.name: agent for agent in reserve if agent.name not in self._declared}
        self._versions: dict[str, list[Version]] = {}
        self._last: dict[str, int] = {}
        for one in records:
            how = cast("Turn", one.state)  # written by `learn` alone
            self._take(one.name, Version(one.version, one.parent, how, decode(one.body), one.created))

    @property
    def declared(self) -> Mapping[str, Agent]:
        """Return the members that people declared, as they declared them."""
        return self._declared

    @property
    def reserve(self) -> Mapping[str, Agent]:
        """Return those whom people declared to join when they are needed, members or not."""
        return self._reserve

    def base(self, name: str) -> Agent | None:
        """Return an agent as a person declared it, of which others may be made; None when nobody did."""
        return self._declared.get(name) or self._reserve.get(name)

    def former(self) -> dict[str, Agent]:
        """Return those who were members and went, as they were last, by name."""
        found: dict[str, Agent] = {}
        for name, versions in self._versions.items():
            creator = self.base(versions[-1].blueprint.creator)
            if versions[-1].how == "pruned" and creator is not None and name not in self._declared:
                found[name] = versions[-1].blueprint.make(name, creator)
        return found

    def since(self, name: str) -> float:
        """Return when an agent became a member the last time, in wall-clock seconds; 0 for one that always was."""
        return max((one.at for one in self.versions(name) if one.how == "forged"), default=0.0)

    def names(self) -> list[str]:
        """Return the names of all agents of which there is a blueprint, and of those that may join."""
        return sorted({*self._versions, *self._reserve})

    @property
    def made(self) -> list[str]:
        """Return the names of the agents that are made from a blueprint now, or have instructions of one."""
        return [name for name in self._versions if self.current(name) is not None]

    def take(self, shaping: Shaping, at: float) -> None:
        """Take over what was decided."""
        one = shaping
        self._take(one.agent, Version(one.version, one.parent, one.how, one.blueprint, at))

    def _take(self, name: str, version: Version) -> None:
        self._last[name] = max(version.number, self._last.get(name, 0))
        if version.blueprint.cluster == self._cluster:
            known = [one for one in self._versions.get(name, []) if one.number != version.number]
            self._versions[name] = sorted([*known, version], key=lambda one: one.number)

    def next(self, name: str) -> int:
        """Return the number of the next version below a name."""
        return self._last.get(name, 0) + 1

    def versions(self, name: str) -> Sequence[Version]:
        """Return all versions below a name, the earliest first."""
        return self._versions.get(name, ())

    def current(self, name: str) -> Version | None:
        """Return the version that holds; None for an agent that is as it was declared, or is no more.

        What a person declared holds against a specialist of the same name.
        """
        versions = self._versions.get(name)
        if not versions or versions[-1].how == "pruned":
            return None
        return None if name in self._declared and versions[-1].blueprint.creator != name else versions[-1]

    def taken_back(self, name: str) -> set[str]:
        """Return instructions of an agent that were taken back, and not wanted again since."""
        found: set[str] = set()
        for old, new in pairwise(self.versions(name)):
            if new.how == "reverted":
                found.add(old.blueprint.instructions)
            found.discard(new.blueprint.instructions)
        return found

    def before(self, name: str, version: Version) -> Agent | None:
        """Return the agent as it was before a version; None when there was none, or it cannot be made."""
        parent = next((one for one in self.versions(name) if one.number == version.parent), None)
        if parent is None:
            return None if version.parent else self._declared.get(name)
        creator = self.base(parent.blueprint.creator)
        return None if creator is None else parent.blueprint.make(name, creator)

    def outdated(self, shaping: Shaping) -> str:
        """Return why what was proposed cannot be carried out any more, or an empty string."""
        current, creator = self.current(shaping.agent), self.base(shaping.blueprint.creator)
        if creator is None:
            return f"Agent/{shaping.blueprint.creator}, from which it is made, is no member any more"
        if shaping.how == "forged" and (current is not None or shaping.agent in self._declared):
            return "there is an agent of that name"
        now = self.agent(shaping.agent)
        if shaping.how != "forged" and (now is None or now.digest != shaping.spec):
            return "it is another one now than when that was proposed"
        if shaping.how == "promoted" and now is not None and "instructions" in now.locked:
            return "`locked` of its manifest says so"
        return ""

    def members(self) -> list[Agent]:
        """Return all agents as they are to be now, those first that people declared."""
        names = dict.fromkeys([*self._declared, *self._versions])
        return [agent for name in names if (agent := self.agent(name)) is not None]

    def agent(self, name: str) -> Agent | None:
        """Return the agent of a name, as it is to be now; None when there is to be none.

        Without its creator there is no specialist.
        """
        version, declared = self.current(name), self._declared.get(name)
        creator = None if version is None else self.base(version.blueprint.creator)
        return declared if version is None or creator is None else version.blueprint.make(name, creator)
