"""The specialists that a cluster makes itself: for which tasks, and how many. Called by `cluster`.

How often designs were asked for and how many failed is kept as averages, so that a restart does not forget it.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace

import msgspec

from loomd.agents.agent import Agent
from loomd.agents.approval import Decision as Verdict
from loomd.amoeba.blueprint import Blueprint
from loomd.amoeba.decision import Done, Shaping
from loomd.amoeba.design import TEAM
from loomd.amoeba.forging import Forge, Plan
from loomd.amoeba.learning import Learning, Mode
from loomd.amoeba.task import Task
from loomd.cluster.blueprints import Version
from loomd.cluster.condition import Past
from loomd.cluster.departures import Departures
from loomd.cluster.house import House
from loomd.cluster.learn import decision_of, holds_back, learn, proposed, verdict_of
from loomd.cluster.likeness import Likeness
from loomd.cluster.rest import failures, mark_of
from loomd.errors import LoomdError
from loomd.events.bus import Scope
from loomd.events.cluster import BlueprintForged, ChangeObserved, ProposalDecided, ProposalMade
from loomd.events.event import Event
from loomd.events.journal import Journal
from loomd.manifest.wording import without_secrets
from loomd.store.finish import finish
from loomd.store.records import Average
from loomd.topology import Services

_DAY = 86_400.0
_DONE: dict[Mode, Done] = {"auto": "", "observe": "observed", "propose": "proposed"}
_WHY = {
    "join": "it was there for such tasks, and joined the cluster",
    "design": "it was made for this task",
}


@dataclass(frozen=True)
class _Wanted:
    """A specialist that is none: people are asked, or it was only recorded.

    Attributes:
        blueprint: what it would be.
        until: as long as nothing like it is designed, in wall-clock seconds.
        task: id of the task that it was designed for.
        proposal: id of the proposal; empty when nobody is asked.
        denied: what a person said who denied it: `proposal/P was denied by ann: too dear`; empty when nobody did.
    """

    blueprint: Blueprint
    until: float
    task: str
    proposal: str = ""
    denied: str = ""


class BlueprintForge:
    """Makes specialists; fits `amoeba.world.BlueprintForge`."""

    def __init__(self, house: House, terms: Forge, learning: Learning, services: Services, past: Past) -> None:
        """Take over what is stored.

        Args:
            house: the cluster.
            terms: when specialists are made, and when they go.
            learning: how far the cluster may go.
            services: what the daemon lends.
            past: what is stored.
        """
        self._house = house
        self._terms = terms
        self._learning = learning
        self._services = services
        self._turn = asyncio.Lock()
        self._subject = f"forge {house.ref.namespace}/{house.ref.name}"
        self._wanted: dict[str, _Wanted] = {}
        self._likeness = Likeness({}, house.embedder)
        self.departures = Departures(house, terms, learning, services, past)
        """Which specialists go and went."""
        for one in past.proposals:
            task, _, decision = proposed(one)
            if one.cluster == house.ref.name and isinstance(decision, Shaping) and holds_back(one, self.mode):
                verdict = verdict_of(one)
                denied = (
                    "" if verdict is None or verdict.verdict != "denied" else f"proposal/{one.id} was {verdict.said()}"
                )
                self._hush(decision, one.expires, task, one.id, denied)

    @property
    def terms(self) -> Forge:
        """Return when a specialist is made."""
        return self._terms

    @property
    def turn(self) -> AbstractAsyncContextManager[None]:
        """Return what lets one task at a time have a specialist made."""
        return self._turn

    @property
    def mode(self) -> Mode:
        """Return how far the cluster may go."""
        return self._learning.mode_of("forge")

    def specialists(self) -> list[Agent]:
        """Return the members that no person declared as such."""
        return self._house.specialists()

    def hear(self, event: Event) -> None:
        """Take over what happened; called for what the cluster hears."""
        fact = event.data
        self.departures.hear(event)
        if event.namespace == self._house.ref.namespace and getattr(fact, "cluster", "") == self._house.ref.name:
            if isinstance(fact, ProposalDecided):
                self._heed(fact)
            decision = decision_of(fact)
            if not isinstance(decision, Shaping):
                return
            if isinstance(fact, ProposalMade):
                self._hush(decision, fact.expires, event.task, fact.proposal)
            elif isinstance(fact, ChangeObserved):
                self._hush(decision, event.ts + self._learning.proposals, event.task)
            elif decision.how == "forged":
                self._wanted.pop(decision.agent, None)

    def _heed(self, fact: ProposalDecided) -> None:
        """Take over that a person denied a specialist."""
        for name, one in self._wanted.items():
            if one.proposal == fact.proposal and fact.verdict == "denied":
                said = Verdict("denied", fact.by, fact.reason).said()
                self._wanted[name] = replace(one, denied=f"proposal/{one.proposal} was {said}")

    def _hush(self, decision: Shaping, until: float, task: str, proposal: str = "", denied: str = "") -> None:
        """Want nothing of the kind until then: people are asked or denied it, or it was recorded and not done."""
        if decision.how == "forged":
            self._wanted[decision.agent] = _Wanted(decision.blueprint, until, task, proposal, denied)
        elif decision.how == "pruned":
            self.departures.hush(decision.agent, decision.spec, until)

    async def made(self, task: str) -> str:
        """Return who was made for a task and is on disk; an empty string for nobody."""
        if not await self._services.store.learned_from(_key(task)):
            return ""
        facts = (event.data for event in (await Journal(self._services.store).checkpoints(task)).values())
        names = [fact.owner for fact in facts if isinstance(fact, BlueprintForged)]
        return next((one for one in names if one in self._house.roster.agents), "")

    async def fitting(self, task: Task, refused: Mapping[str, str]) -> str:
        """Return the specialist that a task fits best, of those that may take it; an empty string for none."""
        able = self._able(task) - refused.keys()
        return (_best(await self._fits(task.goal), able) if able else None) or ""

    async def denied(self, task: Task) -> str:
        """Return that people denied the specialist that was designed for a task, or one that it fits; or nothing."""
        if not any(one.denied for one in self._wanted.values()):
            return ""
        fits = await self._fits(task.goal)
        found = {name: fits.get(name, 0.0) for name, one in self._wanted.items() if one.denied and one.task == task.id}
        found = found or {name: fit for name, fit in fits.items() if name in self._wanted and self._wanted[name].denied}
        return self._denial(name) if (name := _best(found, found)) is not None else ""

    def _denial(self, name: str) -> str:
        """Return that people denied a specialist, or an empty string."""
        denied = self._wanted[name].denied if name in self._wanted else ""
        return f"{name}, which fits, is not to join: {denied}" if denied else ""

    def _able(self, task: Task) -> set[str]:
        """Return the names of the specialists that may take a task."""
        members = {agent.name for agent in self._house.roster.open} - set(task.avoid)
        return {agent.name for agent in self.specialists()} & members

    def redacted(self, goal: str) -> str:
        """Return a goal without secrets and without what any member's interceptors redact."""
        return self._house.roster.redacted(without_secrets(goal))

    async def plan(self, task: Task, bidder: str, refused: Mapping[str, str]) -> Plan:
        """Return what is to be done for a task that nobody takes; a design that is to be asked for counts from now on.

        Args:
            task: the task.
            bidder: the best of those who may make a specialist, or empty.
            refused: who may not take the task now, and why.
        """
        if self.mode == "off":
            return Plan("none", why="learning.modes.forge is off, or `locked` has agents")
        fits = await self._fits(task.goal)
        if (name := _best(fits, self._able(task) - refused.keys())) is not None:
            return Plan("award", name, why=f"it is a specialist for such tasks (likeness {fits[name]:.2f})")
        held = ({one.name for one in self.specialists()} & refused.keys()) - self.departures.dying().keys()
        if (name := _best(fits, held)) is not None:
            return Plan("none", why=f"{name}, which fits, may not take it: {refused[name]}")
        if why := self._barred(fits):
            return Plan("none", why=why)
        if (name := _best(fits, self.departures.dormant())) is not None:
            version = self._last(name)
            return Plan("join", name, name if version is None else version.blueprint.creator, "it fits")
        if (task.tenant or task.user) and not self._terms.tenants:
            return Plan("none", why="none is designed from a task of a tenant or a user (forge.tenants)")
        return self._design(bidder)

    def _barred(self, fits: Mapping[str, float]) -> str:
        """Return why neither a specialist may join nor one be designed for a task, or an empty string."""
        now, roster = self._now(), self._house.roster
        retired = {one.name for one in self.specialists()} - {one.name for one in roster.open}
        if (name := _best(fits, retired)) is not None:
            return f"Agent/{name}, which fits, gets no new tasks for now"
        waits = {name for name, one in self._wanted.items() if one.until > now}
        if (name := _best(fits, waits - set(roster.agents))) is not None:
            return self._denial(name) or (
                f"{name}, which fits, was proposed before: `loomd get proposals`"
                if self.mode == "propose"
                else (f"{name}, which fits, was only observed")
            )
        bad = {name: until for name, until in (*self.departures.bad(), *self.departures.dying().items()) if until > now}
        if (name := _best(fits, bad)) is not None:
            return f"{name}, which fits, did badly; nothing like it is made for {bad[name] - now:.0f} s"
        if len(self.specialists()) >= self._terms.most:
            return f"the cluster has {self._terms.most} specialists, as many as it may (forge.most)"
        return ""

    def _design(self, bidder: str) -> Plan:
        """Return that a specialist is to be designed, which counts; or why not."""
        terms, now, blueprints = self._terms, self._now(), self._house.blueprints
        failed, asked = self._failed(), self._average("designs")
        day = now // _DAY
        count = asked.count if asked.value == day else 0
        if terms.creator is not None and terms.creator not in blueprints.declared:
            return Plan("none", why=f"Agent/{terms.creator}, its creator, is no member of the cluster")
        version = blueprints.current(bidder)
        creator = terms.creator or (version.blueprint.creator if version is not None else bidder)
        if (maker := blueprints.base(creator)) is None:
            return Plan("none", why="nobody may bid, so nobody can make a specialist")
        if (wait := failed.updated + terms.rest(failed.count) - now) > 0:
            last = "the last design" if failed.count == 1 else f"the last {failed.count} designs"
            return Plan("none", why=f"{last} failed; none is asked for for {wait:.0f} s")
        if (wait := asked.updated + terms.every - now) > 0:
            return Plan("none", why=f"a design was asked for just now; none is for {wait:.0f} s (forge.every)")
        if count >= terms.daily:
            return Plan("none", why=f"{count} designs were asked for today, as many as may be (forge.daily)")
        self._note(Average(self._subject, "designs", day, count + 1, now))
        team = {agent.name: agent.description for agent in self._house.roster.open[:TEAM]}
        tools = {one.schema.name: one.schema.description for one in maker.offered()}
        return Plan("design", creator=creator, team=team, tools=tools)

    async def judge(self, why: str) -> str:
        """Take over why no usable design came, or with an empty string that one did; return the same."""
        failed = self._failed()
        if why or failed.count:
            self._note(Average(self._subject, "failed", failed.value, failed.count + 1 if why else 0, self._now()))
        return why

    def _failed(self) -> Average:
        house, snapshot = self._house.ref, self._services.serving.snapshot
        return failures(self._average("failed"), mark_of(snapshot, house.namespace, self._terms))

    async def make(self, wanted: Shaping, way: str, task: str, scope: Scope) -> tuple[str, str]:
        """Let a specialist be made, as far as the cluster may go; return its name and why, or no name and why not.

        Args:
            wanted: the specialist, and what it is to be called.
            way: how it came about.
            task: id of the task that it is made for.
            scope: the envelope of the task's events.
        """
        stored = await self._services.store.learned_from(_key(task))
        blueprints, mode = self._house.blueprints, self.mode
        if mode == "off":
            return "", "learning.modes.forge is off"
        last = self._last(wanted.agent) if way == "join" else None
        blueprint = wanted.blueprint if last is None else last.blueprint
        name = wanted.agent if way == "join" else self._free(wanted.agent, task)
        if way == "join" and name in self._house.roster.agents:
            return name, "it is a specialist for such tasks"
        if stored and mode == "auto":
            made = await self.made(task)
            return (made, _WHY[way]) if made else ("", "what was made for this task is no member any more")
        if way == "design" and not stored and (alike := self._alike(blueprint)) is not None:
            return alike
        if len(self.specialists()) >= self._terms.most:
            return "", f"the cluster has {self._terms.most} specialists, as many as it may (forge.most)"
        parent = 0 if last is None else last.number
        one = msgspec.structs.replace(
            wanted, agent=name, blueprint=blueprint, version=blueprints.next(name), parent=parent, done=_DONE[mode]
        )
        if not stored:
            await finish(learn(self._services, [one], self._house.teaching(task), scope, _key(task)))
        if mode == "auto":
            return name, _WHY[way]
        if denied := next((self._denial(one) for one, known in self._wanted.items() if known.task == task), ""):
            return "", denied
        asked = "people are asked whether it may join: `loomd get proposals`"
        return "", f"{name} is designed, and {asked if mode == 'propose' else 'that was only observed'}"

    def _alike(self, blueprint: Blueprint) -> tuple[str, str] | None:
        """Return who takes a task for which another one like that is designed, and why; or nobody, and why not.

        What is like it shares half of all their domains. None when nothing is.
        """
        roster, now = self._house.roster, self._now()
        dying = self.departures.dying()
        known: dict[str, Agent | Blueprint] = {
            one.name: one for one in self.specialists() if dying.get(one.name, now + 1) > now
        }
        for name, one in self._wanted.items():
            if one.until > now:
                known.setdefault(name, one.blueprint)
        former = self._house.blueprints.former()
        known |= {name: former[name] for name, until in self.departures.bad() if until > now}
        least = self._terms.alike
        names = [name for name, one in known.items() if _overlap(one.domains, blueprint.domains) >= least]
        if open_ := [one.name for one in roster.open if one.name in names and one.name not in dying]:
            return open_[0], "what was designed for this task is like it"
        if not names:
            return None
        wanted = self._wanted.get(names[0])
        why = f": {wanted.denied}" if wanted is not None and wanted.denied else ", which is not to take tasks now"
        return "", f"what was designed is like {names[0]}{why}"

    def state(self, name: str) -> str:
        """Return how a blueprint stands: `probation`, `active`, `pruned`, or `dormant` until it is needed."""
        blueprints = self._house.blueprints
        agent = self._house.roster.agents.get(name)
        if agent is None:
            bad = {one for one, _ in self.departures.bad()}
            return "pruned" if name in bad or name not in self.departures.dormant() else "dormant"
        if blueprints.current(name) is not None and name not in blueprints.declared:
            samples = self._house.conditions.vitals(agent).samples
            return "probation" if samples < self._terms.probation else "active"
        return "active"

    async def _fits(self, goal: str) -> dict[str, float]:
        """Return how well a goal fits who is, was, could be or was wanted as a specialist, of those whom it fits."""
        now = self._now()
        self._wanted = {name: one for name, one in self._wanted.items() if one.until > now}
        known: dict[str, Agent | Blueprint] = {name: one.blueprint for name, one in self._wanted.items()}
        known |= self._house.blueprints.reserve
        known |= self._house.blueprints.former() | {one.name: one for one in self.specialists()}
        texts = {name: _text(name, one.description, one.domains) for name, one in known.items()}
        if self._likeness.texts != texts:
            self._likeness = Likeness(texts, self._house.embedder)
        likeness = self._likeness
        try:
            fits = await likeness.of(goal)
        except LoomdError:  # SENSE has told of it
            fits = likeness.by_words(goal)
        return {name: fit for name, fit in fits.items() if fit >= self._terms.likeness}

    def _free(self, name: str, task: str) -> str:
        """Return a name that nobody has, ever had or is wanted under for another task; if need be with a number."""
        namespace, serving = self._house.ref.namespace, self._services.serving.snapshot
        taken = {item.ref.name for item in serving.of_kind("Agent") if item.ref.namespace == namespace}
        taken |= {*self._house.blueprints.reserve, *self._house.roster.agents}
        taken |= {one for one, wanted in self._wanted.items() if wanted.task != task}
        free, number = name, 1
        while free in taken or self._house.blueprints.next(free) > 1:
            number += 1
            free = f"{name}-{number}"
        return free

    def _last(self, name: str) -> Version | None:
        versions = self._house.blueprints.versions(name)
        return versions[-1] if versions else None

    def _average(self, name: str) -> Average:
        return self._services.averages.get(self._subject, name) or Average(self._subject, name, 0.0, 0, 0.0)

    def _note(self, average: Average) -> None:
        """Keep an average; it is stored with what is noted next."""
        self._services.averages.take(average)
        self._services.store.average(average)

    def _now(self) -> float:
        return self._services.clock.now()


def _key(task: str) -> str:
    """Return under what is stored once what is made for a task."""
    return f"{task}#forge"


def _best(fits: Mapping[str, float], names: Iterable[str]) -> str | None:
    """Return who of some fits best; nobody when none does."""
    found = [(fits[name], name) for name in names if name in fits]
    return max(found)[1] if found else None


def _overlap(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    """Return the share of common domains in all domains of two (Jaccard, 1901)."""
    every = one.keys() | other.keys()
    return len(one.keys() & other.keys()) / len(every) if every else 0.0


def _text(name: str, description: str, domains: Mapping[str, float]) -> str:
    words: Sequence[str] = [name, *domains]
    return ". ".join([*(one.replace("-", " ") for one in words), description])
