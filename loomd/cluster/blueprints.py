"""The agents that a cluster made itself, or gave other instructions: their blueprints, and what is made of them.

Kept up to date by events, so that all revisions of a cluster that are open agree. Called by `cluster`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
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

    def __init__(self, cluster: str, declared: Iterable[Agent], records: Sequence[BlueprintRecord] = ()) -> None:
        """Take over what is stored.

        Args:
            cluster: its name; blueprints of others are left alone, but for their numbers.
            declared: the members that people declared.
            records: the versions that are stored, the earlier ones first.
        """
        self._cluster = cluster
        self._declared = {agent.name: agent for agent in declared}
        self._versions: dict[str, list[Version]] = {}
        self._last: dict[str, int] = {}
        for one in records:
            how = cast("Turn", one.state)  # written by `learn` alone
            self._take(one.name, Version(one.version, one.parent, how, decode(one.body), one.created))

    @property
    def declared(self) -> Mapping[str, Agent]:
        """Return the members that people declared, as they declared them."""
        return self._declared

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
        """Return the version that holds; None for an agent that is as it was declared, or is no more."""
        versions = self._versions.get(name)
        return versions[-1] if versions and versions[-1].how != "pruned" else None

    def before(self, name: str, version: Version) -> Agent | None:
        """Return the agent as it was before a version; None when there was none, or it cannot be made."""
        parent = next((one for one in self.versions(name) if one.number == version.parent), None)
        if parent is None:
            return None if version.parent else self._declared.get(name)
        creator = self._declared.get(parent.blueprint.creator)
        return None if creator is None else parent.blueprint.make(name, creator)

    def outdated(self, shaping: Shaping) -> str:
        """Return why what was proposed cannot be carried out any more, or an empty string."""
        current, creator = self.current(shaping.agent), self._declared.get(shaping.blueprint.creator)
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

    def behaving(self, name: str, digest: str) -> Agent | None:
        """Return the agent of a name as it behaved with a digest; None when no version that is kept makes it so."""
        declared = self._declared.get(name)
        if declared is not None and declared.digest == digest:
            return declared
        for version in reversed(self.versions(name)):
            creator = self._declared.get(version.blueprint.creator)
            if creator is not None and (made := version.blueprint.make(name, creator)).digest == digest:
                return made
        return None

    def members(self) -> list[Agent]:
        """Return all agents as they are to be now, those first that people declared."""
        names = dict.fromkeys([*self._declared, *self._versions])
        return [agent for name in names if (agent := self.agent(name)) is not None]

    def agent(self, name: str) -> Agent | None:
        """Return the agent of a name, as it is to be now; None when there is to be none.

        What a person declared holds against a specialist of the same name; without its creator there is no specialist.
        """
        version, declared = self.current(name), self._declared.get(name)
        if version is None:
            return declared
        creator = self._declared.get(version.blueprint.creator)
        if creator is None or (declared is not None and version.blueprint.creator != name):
            return declared
        return version.blueprint.make(name, creator)
