"""A live cluster: its agents, what is believed of them, and the policies by which they share work."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager

from loomd.accounts.averages import Averages
from loomd.agents.agent import Agent
from loomd.agents.base import ChatModel
from loomd.agents.budget import Limits
from loomd.agents.work import UNCUT, Cut
from loomd.amoeba.blueprint import Blueprint
from loomd.amoeba.deciding import PolicyFailed
from loomd.amoeba.decision import Decision, Shaping
from loomd.amoeba.forging import Queue
from loomd.amoeba.leaning import Bias
from loomd.amoeba.learning import Learning
from loomd.amoeba.loop import run_task
from loomd.amoeba.policies.base import AdaptPolicy, EvaluatePolicy
from loomd.amoeba.task import GENERAL, Budget, Durability, Grant, Result, Task
from loomd.amoeba.world import Lived, Neighbour, Run, Signals, Standing, Uses
from loomd.cluster.behaviours import Behaviours
from loomd.cluster.blueprints import Blueprints
from loomd.cluster.capability import Ageing, Book, Priors, Stored
from loomd.cluster.condition import SHAPED, Conditions, Past
from loomd.cluster.forge import BlueprintForge
from loomd.cluster.history import TaskHistory
from loomd.cluster.house import House
from loomd.cluster.judges import Judges
from loomd.cluster.learn import Teaching, decision_of, learn, learned, subject_of
from loomd.cluster.likeness import Embedder
from loomd.cluster.merging import merges_of
from loomd.cluster.pending import Pending
from loomd.cluster.roster import Roster
from loomd.cluster.standings import Standings
from loomd.cluster.stirring import Stirring, stirring
from loomd.cluster.terms import Models, Terms
from loomd.errors import LoomdError, NotFound
from loomd.events.bus import Scope
from loomd.events.cluster import CapabilityUpdated, HistoryForgotten
from loomd.events.event import Event, Fallback
from loomd.manifest.object import Ref
from loomd.messages import Message
from loomd.store.records import Experience, SessionKey, Turn
from loomd.tools.check import Check, Checked
from loomd.tools.python_check import Checker
from loomd.topology import Services

_OWN = Models()


class Cluster:
    """Runs tasks with its agents; fits `amoeba.world.World`."""

    def __init__(
        self,
        ref: Ref,
        agents: Sequence[Agent],
        terms: Terms,
        services: Services,
        past: Past,
        models: Models = _OWN,
        embedder: Embedder | None = None,
    ) -> None:
        """Bring members together.

        Args:
            ref: the cluster.
            agents: its members.
            terms: on what terms they share work.
            services: what the daemon lends.
            past: what was learned of agents before.
            models: what its phases ask.
            embedder: by which tasks are compared with domains and tools; by words when None.
        """
        self._ref = ref
        self._models = models
        self._bound: dict[str, Agent] = {}
        self.blueprints = Blueprints(ref.name, agents, past.blueprints, terms.reserve)
        members = {agent.name: agent for agent in self.blueprints.members()}
        self.roster = Roster(members.values(), embedder)
        self.past = TaskHistory(ref, services.store, terms.policies.learning, self.roster)
        ours = [one for one in past.scores if one.agent in members or self.blueprints.versions(one.agent)]
        self._stored = Stored(ref.namespace, ours, past.behaviours)
        self._terms = terms
        self._rehearses = False
        self._services = services
        self._subject = subject_of(ref)
        self.judges = Judges(ref, services)
        self.pending = Pending(ref, past.proposals)
        self._checker = Checker(services.store.directory)
        rules = terms.policies.learning
        self.book = Book(
            ((agent.name, agent.digest) for agent in members.values()),
            past.scores,
            Ageing(
                rules.keep,
                rules.half_life if rules.reading_of("decay") == "auto" else 0.0,
                services.clock.now,
                self._stored.ways,
                Behaviours(ref.namespace, services).earlier,
            ),
        )
        self.conditions = Conditions(ref, self.roster, rules, past, self.blueprints.declared)
        known = (terms.priors, rules)
        self._standings = Standings(ref.namespace, self.roster, self.book, self.conditions, services, known)
        for agent in (*self.blueprints.former().values(), *self.blueprints.earlier()):
            self.conditions.remember(agent, past.lessons)
        house = House(ref, self.blueprints, self.roster, self.conditions, self.teaching, embedder)
        self.forge = BlueprintForge(house, terms.forge, rules, services, past)

    @property
    def ref(self) -> Ref:
        """Return which cluster it is."""
        return self._ref

    @property
    def agents(self) -> Mapping[str, Agent]:
        """Return the members by name, as they are now."""
        return self.roster.agents

    async def run(self, task: Task, run: Run) -> Result:
        """Take a task through the six phases."""
        return await run_task(task, self, self._terms.policies, run)

    async def signals(self, task: Task) -> Signals:
        """Return what SENSE may look at."""
        lost = ""
        try:
            domains, tools = await self.roster.fits(task.goal)
        except LoomdError as error:
            lost = str(error)
            domains, tools = self.roster.fits_by_words(task.goal)
        rules, bias = self.learning, dict[str, float]()
        if rules.mode_of("calibrate") != "off":
            known, least = self._services.averages.of(self._subject), rules.calibrate.first
            bias = {
                name: one.value
                for name, one in known.items()
                if one.count >= least and (name in domains or name == GENERAL)
            }
        unread, neighbours = "", list[Neighbour]()
        try:
            neighbours = [] if lost else await self.past.neighbours(task)
        except LoomdError as error:
            unread = str(error)
        return Signals(
            task.goal,
            len(task.findings),
            domains,
            tools,
            neighbours,
            bias,
            rules.calibrate.most,
            lost,
            unread,
            rules.reading_of("history") == "auto",
        )

    def standings(self, domains: Sequence[str]) -> Sequence[Standing]:
        """Return the standing in the given domains of every agent that takes new work, or whose retirement is over."""
        return self._standings.now(domains)

    def standing(self, agent: str, domains: Sequence[str]) -> Standing:
        """Return one agent's standing in the given domains."""
        (standing,) = self._standings.of([self.agent(agent)], domains)
        return standing

    def prior(self, agent: str, domain: str) -> float:
        """Return what is believed of an agent in a domain before anything is learned."""
        return self.agent(agent).domains.get(domain, self._terms.priors.unknown)

    def agent(self, name: str) -> Agent:
        """Return a member, or the one that a task is bound to.

        Raises:
            NotFound: there is no such member, or no longer.
        """
        return self._bound.get(name) or self.roster.agent(name)

    def taught(self, agent: str, digest: str, prompt: str, locked: Collection[str]) -> str:
        """Return the digest of how an agent behaves with what it learned here, given that of its manifest."""
        return self.blueprints.taught(agent, digest, prompt, locked)

    def made(self, agent: str) -> Blueprint | None:
        """Return from what an agent is made now; None of one that is as a person declared it."""
        version = self.blueprints.current(agent)
        return version.blueprint if version is not None and agent in self.agents else None

    def bound(self, agent: str, made: Blueprint | None) -> "Cluster":
        """Return the cluster with an agent as it was when it won, whatever became of it or becomes of it."""
        before = self.blueprints.base(agent if made is None else made.creator)
        if before is not None and made is not None:
            before = made.make(agent, before)
        now = self.agents.get(agent)
        if now is not None and (before is None or now.digest == before.digest):
            return self._holding(now)
        if before is None:
            return self
        self.book.admit(agent, before.digest, self._stored.of(agent))
        return self._holding(before)

    def rehearsal(self, agent: Agent) -> "Cluster":
        """Return the cluster for trials of an agent that takes the place of the member of its name.

        Nothing is kept of what is done in it, and nobody learns from it; what models use is paid.
        """
        view = self._holding(agent)
        view._rehearses = True  # noqa: SLF001  # one of this class
        return view

    def _holding(self, agent: Agent) -> "Cluster":
        view = object.__new__(Cluster)
        view.__dict__.update(self.__dict__)
        view._bound = {agent.name: agent}  # one of this class
        return view

    @property
    def queue(self) -> Queue:
        """Return how tasks wait that nobody takes."""
        return self._terms.queue

    def stirring(self) -> AbstractContextManager[Stirring]:
        """Return what waits until another auction may come out otherwise, from now on."""
        return stirring(self._services, self._ref, lambda: self.agents)

    def bearing(self, agent: str) -> AbstractContextManager[None]:
        """Count one more piece of work of an agent, as long as the context lasts."""
        return self._services.loads.bearing(self._ref.namespace, agent)

    def asker(self, agent: str) -> Agent:
        """Return who asks a model for a phase: a member, or with an empty name the cluster itself.

        Raises:
            NotFound: there is no such member, or none at all.
        """
        if agent:
            return self.agent(agent)
        members = list(self.agents.values())
        if not members:
            raise NotFound(f"{self._ref} has no members")
        services = self._services
        return Agent(
            name=f"cluster/{self._ref.name}",
            namespace=self._ref.namespace,
            digest="",
            description="",
            domains={},
            model=self._models.planner or members[0].model,
            prompt="",
            limits=Limits(),
            clock=services.clock,
            interceptors=list({one.name: one for agent in members for one in agent.interceptors}.values()),
            accounts=services.accounts,
            averages=Averages() if self._rehearses else services.averages,
            loads=services.loads,
            listening=services.serving.listening,
        )

    def model(self, provider: str, agent: str) -> ChatModel:
        """Return the model of a provider that the cluster names; with an empty name its planner, or the asker's own.

        Raises:
            NotFound: the cluster names no such provider, or there is nobody to ask.
        """
        if provider and provider not in self._models.named:
            raise NotFound(f"{self._ref} names no Provider/{provider}")
        return self._models.named[provider] if provider else self._models.planner or self.asker(agent).model

    @property
    def adapt(self) -> AdaptPolicy:
        """Return how scores move."""
        return self._terms.policies.adapt

    @property
    def priors(self) -> Priors:
        """Return what is believed of agents of whom nothing was learned."""
        return self._terms.priors

    @property
    def evaluators(self) -> Sequence[EvaluatePolicy]:
        """Return who judges."""
        return self._terms.policies.evaluate

    @property
    def feedback(self) -> float:
        """Return the share of what people say of an answer in its quality."""
        return self._terms.feedback

    @property
    def durability(self) -> Durability:
        """Return what is kept of a task that does not say it."""
        return self._terms.durability

    @property
    def learning(self) -> Learning:
        """Return what becomes of what it learns."""
        return self._terms.policies.learning

    def hear(self, event: Event) -> None:
        """Take over what was learned, by this cluster or another; a handler for the bus."""
        fact = event.data
        if isinstance(fact, CapabilityUpdated):  # by far the most: each task ends with one
            if fact.owner in self.roster.agents or self.blueprints.versions(fact.owner):
                self._stored.hear(event)
                self.book.hear(event)
                self.conditions.hear(event)
                self.forge.departures.hear(event)
                now = self.roster.agents.get(fact.owner)
                if now is not None and now.digest != fact.spec:  # it takes over from how it behaved
                    self.book.admit(now.name, now.digest, self._stored.of(now.name))
            return
        self._stored.hear(event)
        self.book.hear(event)
        self.conditions.hear(event)
        self.forge.hear(event)
        self.pending.hear(event)
        if isinstance(fact, HistoryForgotten):
            self.past.drop()
        if isinstance(fact, SHAPED) and event.namespace == self._ref.namespace:
            shaping = decision_of(fact)
            if isinstance(shaping, Shaping):
                self.blueprints.take(shaping, event.ts)
                self._reshape(shaping.agent, anew=shaping.how == "forged")

    def _reshape(self, name: str, *, anew: bool) -> None:
        """Let a member be as its blueprint says now; work that has begun goes on with the agent that it began with.

        One that joins begins its health anew, one that behaves as it did before has that of then.
        """
        before, now = self.roster.agents.get(name), self.blueprints.agent(name)
        if before is not None and (now is None or now.digest != before.digest):
            self.conditions.dismiss(before)
        if now is None:
            if before is not None:
                self.roster.remove(name)
        elif before is None or now.digest != before.digest:
            self.book.admit(name, now.digest, self._stored.of(name))
            self.roster.add(now)
            self.conditions.admit(now, anew=anew)

    def limit(self, budget: Budget) -> Budget:
        """Return a task's budget with the cluster's own limits where it names none; none is ever unlimited."""
        return self._terms.limits.fill(budget)

    def grant(self, budget: Budget) -> Grant:
        """Return the cluster's own limits where a task names none."""
        return self._terms.limits.granted(budget)

    def cut(self, grant: Grant) -> Cut:
        """Return by how much less a task may use since the cluster's limits were lowered; raised ones change nothing.

        The time is one for the whole tree, of all else a task bears its share.
        """
        now = self._terms.latest()
        return UNCUT if now is None else now.lowered(grant)

    async def history(self, task: Task, agent: str) -> list[Message]:
        """Return the earlier turns of a task's session with an agent, oldest first."""
        who = self.agent(agent)
        turns = await self._services.store.turns(_session(task), who.principal, who.history) if who.history else []
        before = [turn for turn in turns if turn.task != task.id]  # begun anew, it may have been kept before
        if self._rehearses:
            before = [turn for turn in before if turn.created < task.created]
        return [one for turn in before for one in (Message("user", turn.goal), Message("assistant", turn.answer))]

    async def converse(self, task: Task, agent: str, answer: str) -> None:
        """Keep a task with its answer as a turn of its session."""
        if self._rehearses:
            return
        who = self.agent(agent).principal
        await self._services.store.converse(Turn(_session(task), who, task.id, task.goal, answer, task.created))

    def correction(self, domain: str) -> tuple[float, int]:
        """Return by how much complexity is estimated too low in a domain on average, and how many tasks say so."""
        known = self._services.averages.get(self._subject, domain)
        return (0.0, 0) if known is None else (known.value, known.count)

    def corrections(self) -> dict[str, tuple[float, int, bool]]:
        """Return the same for every domain of which something is known, and whether SENSE goes by it."""
        rules = self.learning
        goes, least = rules.mode_of("calibrate") != "off", rules.calibrate.first
        known = self._services.averages.of(self._subject)
        return {domain: (one.value, one.count, goes and one.count >= least) for domain, one in sorted(known.items())}

    def upkeep(self, ending: str, reward: float | None = None, moves: Sequence[Decision] = ()) -> list[Decision]:
        """Return which specialists go, who is to be retired, and who gets tasks again."""
        counts, departures = self.learning.mode_of("score") != "off", self.forge.departures
        going = list(departures.due(ending, reward if counts else None))
        if not going and not self.conditions.anyone:
            return []
        gone = {one.agent for one in going}
        served = self._services.serving.live.get(self._ref)
        serves = isinstance(served, Cluster) and served.conditions is self.conditions
        others = self.conditions.upkeep(self._services.clock.now(), departures.free(), serves=serves)
        merges = merges_of(self, [one for one in going if departures.failed(one.agent)], moves)
        return [*going, *merges, *(one for one in others if getattr(one, "agent", "") not in gone)]

    def uses(self, agent: str, spec: str) -> Uses:
        """Return what an agent needs for each token that SENSE expects, however few tasks say so."""
        return self._standings.uses(agent, spec)

    async def check(self, check: Check, given: Mapping[str, str]) -> Checked:
        """Return what a check says of an answer."""
        return await self._checker.check(check, given)

    def bias(self, judge: str) -> Bias:
        """Return what is known of a judge's errors."""
        return self.judges.bias(judge)

    def lean(self, judge: str, error: float, pace: float) -> Bias:
        """Take an error of a judge over, in one transaction with what is noted next."""
        if self._rehearses:
            return self.judges.bias(judge)
        return self.judges.lean(judge, error, pace)

    async def learned(self, task: str) -> tuple[Decision, ...] | None:
        """Return what was learned of a task, as it is recorded, or None when nothing was."""
        return await learned(self._services.store, task)

    async def experience(self, lived: Lived) -> Experience | None:
        """Return a task as it is kept to compare later ones with; None when it is not.

        Raises:
            LoomdError: the embedder failed.
        """
        return await self.past.experience(lived)

    async def learn(
        self, decisions: Sequence[Decision], scope: Scope, kept: Experience | None = None
    ) -> Sequence[Decision]:
        """Take what was decided over, tell everybody, and store it with the task, once per task; return it."""
        of = self.teaching(scope.task)
        found: list[Decision] = []
        for one in decisions:
            try:
                found.append(self.pending.joined(self, one, of.now) if one.done else one)
            except PolicyFailed as error:
                scope.emit(Fallback("adapt", str(error), "no score moves"))
        await learn(self._services, found, of, scope, kept=kept)
        if kept is not None:
            self.past.take(kept)
        return found

    def teaching(self, task: str) -> Teaching:
        """Return as whose decisions those of a task are carried out, now."""
        return Teaching(self._ref, task, self._services.clock.now(), self.learning.proposals)


def _session(task: Task) -> SessionKey:
    return SessionKey(task.namespace, task.session, task.tenant, task.user)
