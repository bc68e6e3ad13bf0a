"""What becomes of a task that nobody takes: a specialist is made for it, it waits, the best bid takes it, or it fails.

Whatever is done is in the output of MATCH with why nobody took the task; that something else is done than the cluster
wants is told by a `fallback.used` event, too. Called by `match`.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

import msgspec

from loomd.agents.interception import leave
from loomd.amoeba import deciding
from loomd.amoeba.asking import Answer, Asking
from loomd.amoeba.blueprint import Blueprint
from loomd.amoeba.crowd import Numbers, each, means_of, names_of
from loomd.amoeba.deciding import decided, is_own
from loomd.amoeba.decision import Shaping
from loomd.amoeba.design import Designed, fault, question
from loomd.amoeba.forging import NoWinner, Plan
from loomd.amoeba.policies.base import MatchPolicy
from loomd.amoeba.policies.choosing import beliefs
from loomd.amoeba.task import GENERAL, Matched, Sensed, Task
from loomd.amoeba.world import Run, Standing, World
from loomd.errors import Refused
from loomd.events.cluster import TaskQueued

_DONE: dict[NoWinner, str] = {
    "forge": "a specialist takes it",
    "best_available": "the best bid takes it",
    "queue": "it waits",
    "fail": "it fails",
}
_LONGEST = 120
"""Characters of a goal in the reason of a blueprint."""


class Auction(msgspec.Struct, frozen=True):
    """A task that is to be given to somebody, over and over as long as nobody takes it.

    Attributes:
        task: the task, with what is left of its budget.
        sensed: what it is about.
        world: the cluster.
        run: the record of the task.
        asking: asks models for MATCH.
        heard: returns who may take it now.
        hold: returns whom a policy chooses of some agents.
        bear: counts the task as work of an agent from then on.
    """

    task: Task
    sensed: Sensed
    world: World
    run: Run
    asking: Asking
    heard: Callable[[], Sequence[Standing]]
    hold: Callable[[MatchPolicy, Sequence[Standing]], Awaitable[Matched]]
    bear: Callable[[str], None]

    async def settle(self, policy: MatchPolicy) -> Matched:
        """Return who takes the task in the end; an empty winner means that it fails."""
        path = policy.otherwise
        if path == "forge" and self.run.resumed and (made := await self.world.forge.made(self.task.id)):
            why = "nobody took it before an interruption"
            if made not in self._refused(policy):
                return self._given(await self._best(policy), why, Plan("design", made, why="it was made for this task"))
        agents = self.heard()
        matched = await self.hold(policy.bare, agents)
        least = self.world.forge.terms.below if path == "forge" else 0.0
        if not (nobody := self._nobody(matched, agents, least)):
            return await self._chosen(matched, policy, agents)
        matched = msgspec.structs.replace(matched, nobody=nobody, path=path)
        if path == "forge":
            plan = await self._forge(matched, agents, policy)
            if plan.way != "none":
                return self._given(matched, nobody, plan)
            path = self.world.forge.terms.fallback
            self.asking.fall_back(f"no specialist: {plan.why}", _DONE[path])
            matched = msgspec.structs.replace(matched, why=f"{nobody}; no specialist: {plan.why}", path=path)
        if path == "queue":
            return await self._wait(matched, policy, least)
        return await self._best(policy, matched) if path == "best_available" else _failed(matched)

    def _nobody(self, matched: Matched, agents: Sequence[Standing], least: float) -> str:
        """Return why nobody takes the task, or an empty string when somebody does."""
        if least:
            best = max(zip(self._served(agents), names_of(agents), strict=True), default=(0.0, ""))
            if best[0] < least:
                domains = ", ".join(self.sensed.domains)
                text = f"nobody is believed to be {least:g} good in {domains}"
                return f"{text}: {best[1]} {best[0]:.2f}" if best[1] else text
        return "" if matched.winner else matched.why

    def _served(self, agents: Sequence[Standing]) -> Numbers:
        """Return how good each agent is believed to be at such tasks.

        Whatever fits no domain counts as `general`, so that somebody did well there says nothing of other such tasks:
        of it counts what was believed at first.
        """
        learned, leftover = beliefs(self.sensed, agents, 0.0).means, self.sensed.domains.get(GENERAL, 0.0)
        if not leftover:
            return learned
        priors = [self.world.prior(name, GENERAL) for name in names_of(agents)]

        def served(one: float, prior: float, mean: float) -> float:
            return one + leftover * (prior - mean)

        return each(served, learned, priors, means_of(agents, GENERAL))

    async def _chosen(self, matched: Matched, policy: MatchPolicy, agents: Sequence[Standing]) -> Matched:
        """Return who takes the task, now that somebody does: only then is a model asked, and once."""
        return matched if policy.bare is policy else await self.hold(policy, agents)

    async def _best(self, policy: MatchPolicy, matched: Matched | None = None) -> Matched:
        """Return the best bid as the winner, with why nobody took the task at first."""
        if matched is not None and matched.winner and policy.bare is policy:
            return msgspec.structs.replace(matched, why=f"{matched.why}; taken as best available")
        best = await self.hold(policy.settling(), self.heard())
        if matched is None:
            return best
        return msgspec.structs.replace(best, nobody=matched.nobody, path=matched.path, why=f"{matched.why}; {best.why}")

    def _given(self, matched: Matched, nobody: str, plan: Plan) -> Matched:
        """Return the specialist of a plan as the winner."""
        known = self.world.agent(plan.agent).domains or {plan.agent: 1.0}
        total = sum(known.values())
        domains = {one: score / total if total else 1 / len(known) for one, score in known.items()}
        return msgspec.structs.replace(
            matched, winner=plan.agent, why=plan.why, nobody=nobody, path="forge", domains=domains
        )

    def _refused(self, policy: MatchPolicy) -> Mapping[str, str]:
        """Return whom the policy does not let take the task now, and why."""
        heard = self.heard()
        agents = heard if is_own(policy) else list(heard)
        return decided("match", policy, lambda: policy.refused(self.sensed, agents), deciding.refused)

    async def _forge(self, matched: Matched, agents: Sequence[Standing], policy: MatchPolicy) -> Plan:
        """Return which specialist takes the task, or why there is none; the policy must let it take the task."""
        plan = await self._planned(matched, agents, policy)
        if plan.way != "none" and (why := self._refused(policy).get(plan.agent)):
            return Plan("none", why=f"{plan.agent}, which fits, may not take it: {why}")
        return plan

    async def _planned(self, matched: Matched, agents: Sequence[Standing], policy: MatchPolicy) -> Plan:
        """Return which specialist takes the task, once it is a member; or why there is none.

        One task at a time, so that others for which it was made as well find it.

        Raises:
            RecordFailed: a step could not be written.
            Diverged: something else is recorded.
        """
        forge, run, task = self.world.forge, self.run, self.task
        async with forge.turn:
            make = partial(forge.plan, task, self._creator(matched, agents), self._refused(policy))
            plan = await run.step("match/forge/plan", "forge", make, Plan)
            if plan.way == "award" and all(one.agent != plan.agent for one in self.heard()):
                return Plan("none", why=f"{plan.agent} is no member any more")
            if plan.way not in {"join", "design"}:
                return plan
            name, blueprint, whose = plan.agent, Blueprint(task.cluster, plan.creator), "a task that it fits"
            if plan.way == "design":
                asked = question(plan, task.cluster, forge.terms, _DONE[forge.terms.fallback])
                asking = Asking("match", self.asking.left(task), self.world, run, plan.creator)
                answer = await self._left(await asking.consult(asked), plan.creator)
                self.asking.spent += asking.spent
                await run.step("match/forge/judged", "forge", partial(forge.judge, answer.why), str)
                if answer.value is None:
                    return Plan("none", why=f"no usable design came: {answer.why}")
                name, blueprint = answer.value.name, answer.value.blueprint
                whose = f'"{_short(forge.redacted(asking.goal))}"'
            reason = f"nobody took {whose}: {matched.nobody}"
            made, why = await forge.make(Shaping(name, "forged", blueprint, reason), plan.way, task.id, run.scope)
            return Plan(plan.way, made, plan.creator, why) if made else Plan("none", why=why)

    async def _left(self, answer: Answer[Designed], creator: str) -> Answer[Designed]:
        """Return a design as the interceptors of its creator let it pass, because others read it; or why there is none.

        Raises:
            RecordFailed: a step could not be written.
            Diverged: something else is recorded.
        """
        if (design := answer.value) is None:
            return answer
        agent, run, made = self.world.asker(creator), self.run, design.blueprint
        try:
            prompt = await leave(agent, made.instructions, run.scope, run, "match/forge/prompt")
            description = await leave(agent, made.description, run.scope, run, "match/forge/description")
        except Refused as error:
            return Answer(None, str(error))
        made = msgspec.structs.replace(made, instructions=prompt, description=description)
        wrong = fault(made)
        return Answer(None, wrong) if wrong else Answer(msgspec.structs.replace(design, blueprint=made))

    def _creator(self, matched: Matched, agents: Sequence[Standing]) -> str:
        """Return the best of those who may make a specialist: who bid most, or who is believed to be best."""
        if matched.bids:
            return matched.bids[0].agent
        able = [one for one in agents if not one.down and one.budget_left > 0]
        return max(able, key=lambda one: (_belief(self.sensed, one), one.agent)).agent if able else ""

    async def _wait(self, matched: Matched, policy: MatchPolicy, least: float) -> Matched:
        """Return who takes the task after it waited, or what becomes of it when it waited too long."""
        terms, run = self.world.queue, self.run
        until = run.now("match/queue") + terms.longest
        until = min(until, self.task.deadline) if self.task.deadline else until
        run.scope.emit(TaskQueued(matched.nobody, until), key="queued")
        found, again, denied = matched, self.heard(), ""
        with self.world.stirring() as stirring:
            async with run.queued():
                while self._nobody(found, again, least):
                    said = await self.world.forge.denied(self.task) if least else ""
                    if said not in f"{matched.why}{denied}":
                        denied = said
                        self.asking.fall_back(said, "it waits for somebody else", f"queued/{said}")
                    if not await stirring.wait(until, terms.every):
                        late = msgspec.structs.replace(matched, why=f"{matched.why}{_also(denied)}; it waited too long")
                        return await self._best(policy, late) if terms.then == "best_available" else _failed(late)
                    if least and (name := await self.world.forge.fitting(self.task, self._refused(policy))):
                        self.bear(name)  # who has nothing to do might go before the task is its work
                        why = "it is a specialist for such tasks, which came while the task waited"
                        return self._given(matched, matched.nobody, Plan("award", name, why=why))
                    again = self.heard()
                    found = await self.hold(policy.bare, again)
                if policy.bare is policy:
                    self.bear(found.winner)  # others that wait are woken by the same, and hold their auctions next
        found = await self._chosen(found, policy, again)
        why = f"{found.why}; it waited, because {matched.nobody}{_also(denied)}"
        return msgspec.structs.replace(found, nobody=matched.nobody, path="queue", why=why)


def _belief(sensed: Sensed, agent: Standing) -> float:
    """Return what is believed of an agent in the domains of a task."""
    return sum(share * agent.scores[domain].mean for domain, share in sensed.domains.items())


def _failed(matched: Matched) -> Matched:
    return msgspec.structs.replace(matched, winner="")


def _also(denied: str) -> str:
    return f"; {denied}" if denied else ""


def _short(goal: str) -> str:
    words = " ".join(goal.split())
    return words if len(words) <= _LONGEST else f"{words[: _LONGEST - 3]}..."
