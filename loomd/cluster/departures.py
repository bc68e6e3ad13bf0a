"""Which specialists of a cluster go, and who went because it did badly. Called by `forge` and `cluster`."""

from collections.abc import Iterator

import msgspec

from loomd.agents.agent import Agent
from loomd.amoeba.decision import Shaping
from loomd.amoeba.forging import Forge
from loomd.amoeba.learning import Learning
from loomd.cluster.blueprints import Version
from loomd.cluster.condition import SHAPED, Past
from loomd.cluster.health import Vitals, rewarded
from loomd.cluster.house import House
from loomd.events.event import Event
from loomd.topology import Services


class Departures:
    """The specialists that go and went, of one cluster."""

    def __init__(self, house: House, terms: Forge, learning: Learning, services: Services, past: Past) -> None:
        """Take over what is stored.

        Args:
            house: the cluster.
            terms: when specialists go.
            learning: how far the cluster may go.
            services: what the daemon lends.
            past: what is stored.
        """
        self._house = house
        self._terms = terms
        self._learning = learning
        self._services = services
        self._used: dict[str, float] = {}
        self._silent: dict[tuple[str, str], float] = {}
        self._leaving: set[str] = set()
        self._bad: set[str] = set()
        """Those that went or are to go because they did badly."""
        for lesson in past.lessons:
            self._used[lesson.agent] = max(lesson.at, self._used.get(lesson.agent, 0.0))

    def hear(self, event: Event) -> None:
        """Take over what happened; called for what the cluster hears."""
        fact, house = event.data, self._house.ref
        if (reward := rewarded(event)) is not None:
            self._used[reward[0]] = max(event.ts, self._used.get(reward[0], 0.0))
        elif isinstance(fact, SHAPED) and event.namespace == house.namespace and fact.cluster == house.name:
            self._leaving.discard(fact.owner)
            self._silent = {member: until for member, until in self._silent.items() if member[0] != fact.owner}

    def hush(self, agent: str, spec: str, until: float) -> None:
        """Let an agent stay until then: people are asked, or it was recorded and not done."""
        self._silent[agent, spec] = until

    def due(self, ending: str, reward: float | None = None) -> Iterator[Shaping]:
        """Yield which specialists go: those that do badly or nothing, and have nothing in hand.

        Args:
            ending: whose task is about to end; it does not count as work in hand.
            reward: what it is about to be rewarded with for that; None for nothing.
        """
        mode = self._learning.mode_of("forge")
        if mode == "off":
            return
        now, house = self._services.clock.now(), self._house
        for agent in house.specialists():
            version = house.blueprints.current(agent.name)
            if "health" in agent.locked:
                continue
            if version is None or self._silent.get((agent.name, agent.digest), 0.0) > now:
                continue
            reason = self._reason(agent, version, now, reward if agent.name == ending else None)
            busy = self._services.loads.of(house.ref.namespace, agent.name) - (agent.name == ending)
            if reason and busy <= 0:
                next_ = house.blueprints.next(agent.name)
                yield Shaping(agent.name, "pruned", version.blueprint, reason, next_, version.number, agent.digest)
            elif reason and mode == "auto":
                self._leaving.add(agent.name)
                house.roster.drain(agent.name)
            elif not reason and agent.name in self._leaving:
                self._leaving.discard(agent.name)
                if not house.conditions.record(agent).active:
                    house.roster.add(agent)

    def _reason(self, agent: Agent, version: Version, now: float, reward: float | None) -> str:
        """Return why a specialist is to go, with the reward that it is about to get, or an empty string."""
        known, vitals = self._house.conditions.vitals(agent), self._house.conditions.vitals(agent, reward)
        since = known.since if known.health == "dying" else now
        if reason := self._failing(msgspec.structs.replace(vitals, since=since), now):
            self._bad.add(agent.name)
            return reason
        self._bad.discard(agent.name)
        idle = now - max(version.at, self._used.get(agent.name, 0.0))
        if reward is None and self._terms.idle_timeout and idle > self._terms.idle_timeout:
            return f"no task for {idle:.0f} s"
        return ""

    def _failing(self, vitals: Vitals, at: float) -> str:
        """Return why a specialist that does so badly goes at a moment, in wall-clock seconds; an empty string for not.

        Who is dying and not bad enough to go at once stays for as long as none succeeds it: other instructions may
        still help it. Where nobody is retired it stays for good.
        """
        terms, learning, lasts = self._terms, self._learning, at - vitals.since
        if vitals.samples >= terms.probation and vitals.mean < terms.prune:
            return f"mean reward {vitals.mean:.2f} after {vitals.samples} tasks, below {terms.prune:g}"
        retires = learning.reading_of("health") != "off" and learning.mode_of("retire") != "off"
        ill = vitals.health == "dying" and vitals.samples >= learning.retire.samples
        return f"dying for {lasts:.0f} s: {vitals.reason}" if retires and ill and lasts >= terms.rest(1) else ""

    def free(self) -> set[str]:
        """Return the names of those who go, and are not retired, when they do badly: nobody has to be asked."""
        auto = self._learning.mode_of("forge") == "auto"
        return {one.name for one in self._house.specialists()} if auto else set()

    def failed(self, agent: str) -> bool:
        """Return whether a specialist is to go, or went, because it did badly, as far as that was looked at."""
        return agent in self._bad

    def bad(self) -> Iterator[tuple[str, float]]:
        """Yield who went because it did badly, and until when nothing like it is made."""
        for name, agent in self._house.blueprints.former().items():
            vitals = self._house.conditions.vitals(agent)
            ends = [one.at for one in self._house.blueprints.versions(name) if one.how == "pruned"]
            if self._failing(vitals, ends[-1]):
                begun = vitals.since if vitals.health == "dying" else ends[-1]
                yield name, begun + self._terms.rest(len(ends))

    def dormant(self) -> set[str]:
        """Return the names of whom a person declared to join when needed, and of who went without having done badly."""
        blueprints, members = self._house.blueprints, self._house.roster.agents
        now = self._services.clock.now()
        bad = {name for name, until in self.bad() if until > now or name not in blueprints.reserve}
        return ({*blueprints.reserve, *blueprints.former()} - set(members)) - bad

    def dying(self) -> dict[str, float]:
        """Return which specialists are too bad for tasks and not bad enough to go, and until when none succeeds them.

        That is as long as for one that went.
        """
        conditions, known = self._house.conditions, self._house.specialists()
        healths = conditions.healths(known, self._services.clock.now())
        return {
            one.name: conditions.vitals(one).since + self._terms.rest(1)
            for one, health in zip(known, healths, strict=True)
            if health == "dying"
        }
