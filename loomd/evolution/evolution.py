"""One evolution of one agent: a model writes instructions, they are tried beside the old ones, and taken or left.

Nothing is stored before it is decided, so that one that is killed begins anew. Whatever came of it stands in the
agent's lineage, from which it is known when the agent may be tried again. Called by the runner, which lets one of a
cluster go on at a time.
"""

import logging
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from loomd.agents.agent import Agent
from loomd.agents.budget import Budget
from loomd.agents.interception import leave
from loomd.amoeba import trial
from loomd.amoeba.adapt import within
from loomd.amoeba.asking import Asking
from loomd.amoeba.blueprint import Blueprint
from loomd.amoeba.decision import Shaping
from loomd.amoeba.evolving import Evolve
from loomd.amoeba.task import Task
from loomd.amoeba.trial import Trial
from loomd.cluster.cluster import Cluster
from loomd.cluster.learn import learn, proposed, tried, tried_in, verdict_of
from loomd.errors import LoomdError, Permanent, Temporary
from loomd.events.bus import Scope
from loomd.events.cluster import SkillAbandoned, SkillProposed
from loomd.evolution.past import Past, divide, past_of
from loomd.evolution.proposal import fault, material, question
from loomd.evolution.rehearsal import Rehearsal, on_trial, rehearse
from loomd.manifest.object import Ref
from loomd.store.finish import finish
from loomd.store.learning import Learning
from loomd.store.records import Learned
from loomd.topology import Services

_log = logging.getLogger("loomd.evolution")
Tried = tuple[str, Trial]
"""Instructions, and what came of trying them."""


class TooFew(Permanent):
    """There are too few past tasks to try anything: nothing was asked.

    Attributes:
        missing: how many more tasks there must be at least.
    """

    def __init__(self, message: str, missing: int) -> None:
        super().__init__(message)
        self.missing = missing


@dataclass(frozen=True)
class _Look:
    """That there were too few past tasks of an agent: by what rules, after which reward, and how many were missing."""

    spec: Evolve
    at: float
    missing: int


class Scant:
    """Agents of which there are too few past tasks, as each behaves: who is told already, and who may be let be."""

    def __init__(self) -> None:
        """Know of none."""
        self._looks: dict[tuple[Ref, str, str], _Look] = {}

    def note(self, cluster: Cluster, agent: Agent, at: float, missing: int) -> bool:
        """Keep how many are missing after a reward, at wall-clock seconds; return whether there were enough before."""
        key = (cluster.ref, agent.name, agent.digest)
        new = key not in self._looks
        self._looks[key] = _Look(cluster.learning.evolve, at, missing)
        return new

    async def holds(self, learning: Learning, cluster: Cluster, agent: Agent) -> bool:
        """Return whether there are still too few, as not so many tasks were rewarded since as were missing."""
        look = self._looks.get((cluster.ref, agent.name, agent.digest))
        if look is None or look.spec != cluster.learning.evolve:
            return False
        since = await learning.lessons(agent.namespace, agent.name, agent.digest, look.missing)
        return len(since) < look.missing or since[-1].at <= look.at


@dataclass(frozen=True)
class Evolution:
    """An agent that is to get better instructions.

    Attributes:
        services: what the daemon lends.
        cluster: the agent's cluster, as it serves.
        agent: the agent as it behaves now.
        task: id of the last task that it was rewarded for.
        deadline: wall-clock seconds at which it ends.
        scant: of which agents there are too few past tasks.
    """

    services: Services
    cluster: Cluster
    agent: Agent
    task: str
    deadline: float
    scant: Scant

    async def attempt(self) -> Tried | Exception:
        """Write instructions and try them; return what came of that, or what failed on the way."""
        try:
            return await self._tried()
        except Exception as error:  # told and kept by `settle`, whatever it is
            return error

    async def settle(self, came: Tried | Exception) -> None:
        """Decide; what failed is told, and tried again after a while."""
        match came:
            case TooFew():
                lessons = await self.services.store.learning.lessons(
                    self.agent.namespace, self.agent.name, self.agent.digest, self.cluster.learning.evolve.window
                )
                at = next((one.at for one in lessons if one.task == self.task), 0.0)  # later ones were not counted
                if self.scant.note(self.cluster, self.agent, at, came.missing):
                    self._tell(str(came))
            case LoomdError():
                await self.abandon(str(came))
            case Exception():
                _log.error("%s: Agent/%s could not evolve", self.cluster.ref, self.agent.name, exc_info=came)
                await self.abandon(f"it failed unexpectedly: {came!r}")
            case (text, found):
                await self._decide(text, found)

    async def abandon(self, reason: str) -> None:
        """Tell and keep that nothing was tried to the end."""
        self._tell(reason)
        await self._keep(f"given up: {reason}")

    def _tell(self, reason: str) -> None:
        fact = SkillAbandoned(self.agent.name, self.cluster.ref.name, self.agent.digest, reason)
        self._scope.emit(fact, self.agent.name)

    async def _tried(self) -> Tried:
        """Return instructions and what came of trying them.

        Raises:
            TooFew: there are too few tasks.
            Permanent: no usable instructions came.
            Refused: an interceptor does not let them pass.
            Temporary: trials could not be made.
        """
        spec, name = self.cluster.learning.evolve, self.agent.name
        split = divide(await past_of(self.services.store, self.cluster, self.agent), spec)
        if not split.shown:
            left = f"{split.left}, and none of them may be shown to the model that writes instructions"
            raise TooFew(left, spec.shown)
        if len(split.held) < spec.min_tasks:
            raise TooFew(
                f"{split.left}; {len(split.shown)} of them are shown, {len(split.held)} with other words are left to "
                f"try instructions on, and {spec.min_tasks} are needed",
                spec.min_tasks - len(split.held),
            )
        account = Budget(spec.tokens, spec.cost, tool_calls=sys.maxsize, split=True)
        text = await self._written(split.shown, account)
        account.close(account.total)
        shape = self._blueprint(text)
        creator = self.cluster.blueprints.base(shape.creator)
        if creator is None:
            raise Permanent(f"Agent/{shape.creator}, from which it is made, is no member any more")
        candidate = shape.make(name, creator)
        pairs: list[trial.Pair] = []
        for one in split.held:
            before = await rehearse(self.cluster, self.agent, one.task, account, self.deadline)
            after = before if before.lost else await rehearse(self.cluster, candidate, one.task, account, self.deadline)
            if lost := before.lost or after.lost:
                raise Temporary(f"a trial on Task/{one.task.id} could not be made: {lost}")
            pairs.append(trial.Pair(one.task.id, before.reward, after.reward, before.checked, after.checked))
        spent = account.total
        return text, Trial(tuple(pairs), tuple(one.task.id for one in split.shown), spent.usage.total, spent.cost)

    async def _written(self, shown: Sequence[Past], account: Budget) -> str:
        """Return instructions as the agent's interceptors let them pass.

        Raises:
            Permanent: no usable ones came.
            Refused: an interceptor does not let them pass.
        """
        spec, agent = self.cluster.learning.evolve, on_trial(self.agent)
        world = self.cluster.rehearsal(agent)
        run = Rehearsal(f"evolve/{self.task}", agent.namespace, agent.clock, account)
        goal = material(self.agent, shown)
        task = Task(run.scope.task, goal, agent.namespace, self.cluster.ref.name, deadline=self.deadline)
        denied = await _asked(self.services.store.learning, self.cluster, agent.name, "denied")
        unwanted = self.cluster.blueprints.taken_back(agent.name)
        unwanted |= {one.blueprint.instructions for one, _ in denied if one.how == "promoted"}
        asked = question(self.agent, spec, unwanted)
        answer = await Asking("adapt", task, world, run, agent.name).ask(asked)
        if answer.value is None:
            raise Permanent(f"no usable instructions came: {answer.why}")
        text = await leave(agent, answer.value, run.scope, run, "adapt")
        if wrong := fault(text, spec.max_length):
            raise Permanent(f"no usable instructions came: {wrong}")
        return text

    def _blueprint(self, text: str) -> Blueprint:
        """Return the agent's blueprint with other instructions."""
        current = self.cluster.blueprints.current(self.agent.name)
        if current is None:
            return Blueprint(self.cluster.ref.name, self.agent.name, text)
        return msgspec.structs.replace(current.blueprint, instructions=text)

    async def _decide(self, text: str, found: Trial) -> None:
        """Take the instructions, or leave them, as far as the cluster's mode goes; either is told and kept."""
        cluster, agent, name = self.cluster, self.agent, self.agent.name
        why = cluster.learning.evolve.fault(found)
        reason = f"{found.said()}{f'; not taken: {why}' if why else ''}"
        self._scope.emit(
            SkillProposed(
                name, cluster.ref.name, agent.digest, text, reason, not why, msgspec.Raw(msgspec.json.encode(found))
            ),
            name,
        )
        await finish(self._keep(reason) if why else self._promote(text, reason, found))

    async def _promote(self, text: str, reason: str, found: Trial) -> None:
        """Take the instructions, unless the agent became another one meanwhile.

        Until that is told nothing is awaited: no other change gets its number, or comes in between.
        """
        cluster, name = self.cluster, self.agent.name
        current, number = cluster.blueprints.current(name), cluster.blueprints.next(name)
        parent = 0 if current is None else current.number
        shape = self._blueprint(text)
        shaping = Shaping(name, "promoted", shape, reason, number, parent, self.agent.digest, trial=found)
        if why := cluster.blueprints.outdated(shaping):
            await self.abandon(why)
        else:
            of, key = cluster.teaching(self.task), f"{name}#evolve/{cluster.ref.name}/{name}/{self.task}"
            await learn(self.services, list(within(cluster.learning, [shaping])), of, self._scope, key)

    async def _keep(self, reason: str) -> None:
        of = self.cluster.teaching(self.task)
        change = Learned(lineage=[tried(self.agent.name, self.agent.digest, reason, of)])
        await self.services.store.learning.change(change)

    @property
    def _scope(self) -> Scope:
        return Scope(self.services.bus, "", namespace=self.agent.namespace)


async def due(services: Services, cluster: Cluster, agent: Agent) -> str | None:
    """Return the id of the last task that an agent was rewarded for; None when it is to get no better instructions."""
    spec, learning, name = cluster.learning.evolve, services.store.learning, agent.name
    if cluster.learning.mode_of("evolve") == "off" or "instructions" in agent.locked:
        return None
    if cluster.blueprints.base(name) is not None and not spec.declared:
        return None
    lessons = await learning.lessons(agent.namespace, name, agent.digest, spec.window)
    if len(lessons) < spec.window or math.fsum(one.reward for one in lessons) / len(lessons) >= spec.below:
        return None
    now, begin = services.clock.now(), tried_in(cluster.ref.name)
    lineage = await learning.lineage(agent.namespace, name)
    before = [one for one in lineage if one.child == name and one.how.startswith(begin)]
    alike = [one for one in before if one.parent == agent.digest]
    if any(one.task == lessons[0].task for one in alike):
        return None
    if before and now < max(one.at for one in before) + spec.waits(len(alike)):
        return None
    if cluster.learning.mode_of("evolve") == "propose":
        wanted = await _asked(learning, cluster, name, "")
        if any(not cluster.blueprints.outdated(one) for one, expires in wanted if expires > now):
            return None
    return lessons[0].task


async def _asked(learning: Learning, cluster: Cluster, agent: str, verdict: str) -> list[tuple[Shaping, float]]:
    """Return the instructions of an agent about which people decided so, or nothing yet, and when that expires."""
    found = [
        (proposed(one)[2], one.expires)
        for one in await learning.proposals(cluster.ref.namespace)
        if (one.cluster, one.mechanism) == (cluster.ref.name, "evolve")
        and (said.verdict if (said := verdict_of(one)) else "") == verdict
    ]
    return [(one, expires) for one, expires in found if isinstance(one, Shaping) and one.agent == agent]
