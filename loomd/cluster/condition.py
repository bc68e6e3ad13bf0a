"""What a cluster knows of how its members do, kept up to date by events: their health, and who is retired.

Told to MATCH as far as the cluster's mode for health goes, and to people as the condition `Degraded` of an agent.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from loomd.agents.agent import Agent
from loomd.amoeba.decision import Decision, Retirement
from loomd.amoeba.learning import Learning
from loomd.amoeba.world import Health
from loomd.cluster.health import UNKNOWN, Vitals, Watch
from loomd.cluster.learn import decision_of, proposed
from loomd.cluster.retirement import Record, Retired, Ward, cool_down
from loomd.cluster.roster import Roster
from loomd.events.cluster import (
    AgentRetired,
    AgentRevived,
    BlueprintForged,
    BlueprintPruned,
    CapabilityMerged,
    CapabilityUpdated,
    ChangeObserved,
    HistoryForgotten,
    ProposalDecided,
    ProposalMade,
    SkillPromoted,
    SkillReverted,
)
from loomd.events.event import Event
from loomd.manifest.object import Ref
from loomd.store.records import BlueprintRecord, Capability, Descent, Lesson, ProposalRecord
from loomd.topology import Health as Observed

SHAPED = (BlueprintForged, BlueprintPruned, SkillPromoted, SkillReverted)
"""The facts that change who the members are."""
HEARD = (
    CapabilityUpdated,
    CapabilityMerged,
    AgentRetired,
    AgentRevived,
    ChangeObserved,
    ProposalMade,
    ProposalDecided,
    HistoryForgotten,
    *SHAPED,
)
"""The facts that change who the members are, how they do, and what is known of past tasks."""


@dataclass(frozen=True)
class Past:
    """What was stored of the members' doing.

    Attributes:
        scores: learned scores of all agents.
        lessons: rewards of each member as it behaves, the newest first.
        lineage: who was retired and revived, oldest first.
        proposals: what waits for people.
        behaviours: digests of how each agent behaved before.
        blueprints: versions of the agents that clusters made themselves, the earlier ones first.
    """

    scores: Sequence[Capability] = ()
    lessons: Sequence[Lesson] = ()
    lineage: Sequence[Descent] = ()
    proposals: Sequence[ProposalRecord] = ()
    behaviours: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    blueprints: Sequence[BlueprintRecord] = ()


NOTHING = Past()


class Conditions:
    """How the members of a cluster do."""

    def __init__(
        self, ref: Ref, roster: Roster, learning: Learning, past: Past = NOTHING, declared: Collection[str] = ()
    ) -> None:
        """Take over what is stored; every member of the roster is watched.

        Args:
            ref: the cluster.
            roster: its members; who is retired takes no new work.
            learning: by which numbers health and retirement go.
            past: what is stored.
            declared: names of the members that people declared.
        """
        self._ref = ref
        self._name = str(ref)
        self._roster = roster
        self._learning = learning
        self._reading = learning.reading_of("health")
        self._watch = Watch(learning.health)
        self._retired = Retired(ref.name, past.lineage)
        self._declared = frozenset(declared)
        for one in past.proposals:
            self._silence(one)
        for agent in list(roster.agents.values()):
            mine = [one for one in past.lessons if (one.agent, one.spec) == (agent.name, agent.digest)]
            self.admit(agent, mine)

    def admit(self, agent: Agent, lessons: Sequence[Lesson] = ()) -> None:
        """Watch an agent that is or becomes a member; its rewards come the newest first."""
        record = self.record(agent)
        self._retired.admit(agent.name, agent.digest)
        self._watch.admit(agent.name, agent.digest, lessons, record.revived)
        if record.active:
            self._roster.drain(agent.name)
        self._observe(agent)

    def remember(self, agent: Agent, lessons: Sequence[Lesson]) -> None:
        """Take over how an agent did that is no member any more."""
        mine = [one for one in lessons if (one.agent, one.spec) == (agent.name, agent.digest)]
        self._watch.admit(agent.name, agent.digest, mine)

    def dismiss(self, agent: Agent) -> None:
        """Say nothing of an agent any more that is no member."""
        agent.conditions.pop(self._name, None)

    def close(self) -> None:
        """Say nothing of the members any more."""
        for agent in self._roster.agents.values():
            agent.conditions.pop(self._name, None)

    def vitals(self, agent: Agent, reward: float | None = None) -> Vitals:
        """Return how a member does, or how it will once it gets one more reward."""
        if reward is not None:
            return self._watch.foretold(agent.name, agent.digest, reward)
        return self._watch.vitals(agent.name, agent.digest)

    def record(self, agent: Agent) -> Record:
        """Return what is known of a member's retirements."""
        return self._retired.of(agent.name, agent.digest)

    def until(self, agent: Agent) -> float:
        """Return until when a member is retired, in wall-clock seconds; 0 when it is not."""
        record = self.record(agent)
        return record.until(self._learning.retire) if record.active else 0.0

    def word(self, agent: Agent) -> str:
        """Return in one word how a member does: its health, or that it is retired."""
        return "retired" if self.until(agent) else self.vitals(agent).health

    def needed(self, agent: Agent) -> str:
        """Return why a member cannot be retired now although a person agrees, or an empty string."""
        wards = list(self._wards())
        one = next(ward for ward in wards if ward.agent == agent.name)
        if self.record(agent).active:
            return "it is retired already"
        rules = self._learning.retire.model_copy(update={"declared": True, "samples": 0})
        return self._retired.kept(rules, one, wards)

    def ends(self, agent: Agent, now: float) -> float:
        """Return when the retirement of a member would end that begins now."""
        return now + cool_down(self._learning.retire, self.record(agent).times + 1)

    def healths(self, agents: Sequence[Agent], now: float) -> list[Health]:
        """Return what MATCH hears of how members do.

        Who is dying and not retired gets a chance again when its last task is as long ago as a retirement would last.
        One whose health a person locked is left out by nobody.
        """
        if self._reading != "auto":
            return ["unknown"] * len(agents)
        vitals = self._watch.known.get
        known = [vitals((agent.name, agent.digest), UNKNOWN) for agent in agents]
        if not self._watch.anyone_dying:
            return [one.health for one in known]
        rest = now - self._learning.retire.cool_down
        return [
            "warning" if one.health == "dying" and (one.last <= rest or "health" in agent.locked) else one.health
            for agent, one in zip(agents, known, strict=True)
        ]

    @property
    def anyone(self) -> bool:
        """Return whether somebody may be to be retired, or to get tasks again."""
        return self._reading != "off" and (self._watch.anyone_dying or self._retired.anyone)

    def upkeep(self, now: float, free: Collection[str] = (), *, serves: bool = True) -> list[Decision]:
        """Return who is to be retired, and who gets tasks again.

        Args:
            now: wall-clock seconds.
            free: names of those who are let go and not retired.
            serves: whether the cluster serves; only then an edit ends a retirement.
        """
        if not self.anyone:
            return []
        return self._retired.due(self._learning.retire, list(self._wards(free)), now, serves=serves)

    def hear(self, event: Event) -> None:
        """Take over what happened; a handler for the bus."""
        fact = event.data
        member = self._watch.hear(event)
        if member is not None and (agent := self._roster.agents.get(member[0])) is not None:
            self._observe(agent)
        if event.namespace == self._ref.namespace and getattr(fact, "cluster", "") == self._ref.name:
            self._turn(event)

    def _turn(self, event: Event) -> None:
        """Take over that a member was retired or revived, or that it was only observed or proposed."""
        match event.data:
            case AgentRetired() as fact:
                self._retired.retire(fact.owner, fact.spec, event.ts)
                if (agent := self._mine(fact.owner, fact.spec)) is not None:
                    self._roster.drain(agent.name)
                    self._observe(agent)
            case AgentRevived() as fact:
                self._retired.revive(fact.owner, fact.spec, event.ts)
                if (agent := self._mine(fact.owner, fact.spec)) is not None:
                    self._watch.admit(agent.name, agent.digest)
                    self._roster.add(agent)
                    self._observe(agent)
            case ChangeObserved() | ProposalMade() as fact:
                decision = decision_of(fact)
                if isinstance(decision, Retirement):
                    until = fact.expires if isinstance(fact, ProposalMade) else decision.until
                    self._retired.hush(decision.agent, decision.spec, until)
            case _:
                pass

    def _silence(self, proposal: ProposalRecord) -> None:
        _, _, decision = proposed(proposal)
        if proposal.cluster == self._ref.name and isinstance(decision, Retirement):
            self._retired.hush(decision.agent, decision.spec, proposal.expires)

    def _mine(self, agent: str, spec: str) -> Agent | None:
        found = self._roster.agents.get(agent)
        return found if found is not None and found.digest == spec else None

    def _wards(self, free: Collection[str] = ()) -> Iterable[Ward]:
        for agent in self._roster.agents.values():
            declared = agent.name in self._declared
            yield Ward(
                agent.name,
                agent.digest,
                declared,
                frozenset(agent.domains),
                self.vitals(agent),
                "health" in agent.locked,
                agent.name in free,
            )

    def _observe(self, agent: Agent) -> None:
        """Let the agent say how it does."""
        if self._reading == "off":
            return
        vitals, record, name = self.vitals(agent), self.record(agent), self._name
        agent.conditions.pop(name, None)
        if record.active:
            text = f"it gets no new tasks of {name}: {vitals.reason}"
            agent.conditions[name] = Observed("Degraded", "True", "Retired", text, record.retired)
        elif vitals.health == "dying":
            agent.conditions[name] = Observed("Degraded", "True", "Dying", vitals.reason, vitals.since)
        elif vitals.health == "warning":
            agent.conditions[name] = Observed("Degraded", "True", "DoingBadly", vitals.reason, vitals.since)
