"""EVALUATE: how good was it? The policies judge what was executed, never the agent's own word for it."""

import math
from collections.abc import Sequence
from functools import partial

import msgspec

from loomd.amoeba import deciding
from loomd.amoeba.account import billed
from loomd.amoeba.asking import Asking
from loomd.amoeba.deciding import PolicyFailed, asked
from loomd.amoeba.expect import Expect, Met, held
from loomd.amoeba.leaning import Leaning
from loomd.amoeba.policies.base import Case, EvaluatePolicy
from loomd.amoeba.policies.rules import Rules, slope_of
from loomd.amoeba.task import Evaluated, Executed, Opinion, Task
from loomd.amoeba.world import Run, World
from loomd.events.event import Fallback
from loomd.tools.check import Check, Checked

_NOTHING = Expect()
_PARTS = ("reward", "quality", "efficiency", "reliability")


async def evaluate(
    task: Task, executed: Executed, policies: Sequence[EvaluatePolicy], world: World, run: Run, asking: Asking
) -> Evaluated:
    """Return the reward and the evidence for it.

    Rules judge in the place of evaluators of which one fails, and that is told.

    Args:
        task: the task.
        executed: what came of it.
        policies: who judges, at least one.
        world: the cluster.
        run: the record of the task.
        asking: asks models, on behalf of the cluster.
    """
    case = await case_of(task, executed, world, run)
    try:
        return await judged(case, policies, asking)
    except PolicyFailed as error:
        asking.fall_back(str(error), "judged by rules")
        return await judged(case, [Rules()], asking)


async def case_of(task: Task, executed: Executed, world: World, run: Run) -> Case:
    """Return what is judged of a task: all that is expected of its answer is held against it."""
    return Case(task, executed, await _met(task, executed, world, run), Leaning(world, run))


async def judged(case: Case, policies: Sequence[EvaluatePolicy], asking: Asking) -> Evaluated:
    """Return what evaluators say of a case, together.

    Raises:
        PolicyFailed: one that a package brings failed.
    """
    opinions = [
        await asked("evaluate", policy, partial(policy.evaluate, case, asking), deciding.opinion, asking)
        for policy in policies
    ]
    weights = [policy.weight for policy in policies]
    return billed(combined(opinions, weights), asking.spent)


async def _met(task: Task, executed: Executed, world: World, run: Run) -> list[Met]:
    """Return what is expected of the answer, held against it; what its checks say is recorded."""
    if task.expect == _NOTHING:
        return []
    outcome, at = executed.outcome, iter(range(len(task.expect.checks)))

    async def ask(check: Check) -> Checked:
        given = {"answer": outcome.output, "goal": task.goal}
        return await run.step(f"evaluate/check/{next(at)}", "check", lambda: world.check(check, given), Checked)

    met = await held(task.expect, outcome.output, cites=bool(outcome.citations), run=ask)
    for one in met:
        if one.broken:
            run.scope.emit(Fallback("evaluate", f"{one.said}: {one.wrong}", "judged without that check"))
    return met


def combined(opinions: Sequence[Opinion], weights: Sequence[float]) -> Evaluated:
    """Return what evaluators say together: the mean by their weights, of those that had something to say."""
    if len(opinions) == 1 and not opinions[0].judge and not opinions[0].silent:
        (one,) = opinions
        return Evaluated(
            one.reward,
            one.quality,
            one.efficiency,
            one.reliability,
            one.evidence,
            one.weights,
            uncertainty=one.uncertainty * slope(one),
            refused=one.refused,
        )
    loud = [weight if not one.silent else 0.0 for one, weight in zip(opinions, weights, strict=True)]
    total = sum(loud)
    shares = [one / total for one in loud] if total else [1 / len(opinions)] * len(opinions)
    reward, quality, efficiency, reliability = (
        sum(share * getattr(one, part) for share, one in zip(shares, opinions, strict=True)) for part in _PARTS
    )
    spread = sum((share * one.uncertainty * slope(one)) ** 2 for share, one in zip(shares, opinions, strict=True))
    told = tuple(_weighed(one, share) for one, share in zip(opinions, shares, strict=True))
    alike = all(one.weights == opinions[0].weights for one in opinions)
    return Evaluated(
        reward,
        quality,
        efficiency,
        reliability,
        weights=opinions[0].weights if alike else {},
        uncertainty=math.sqrt(spread),
        opinions=told,
        refused=any(one.refused for one in opinions),
    )


def slope(one: Opinion | Evaluated) -> float:
    """Return by how much a reward moves with the quality; of a sum of some parts the share of it."""
    if one.weights.keys() >= set(_PARTS[1:]):
        return slope_of(one.weights, one.efficiency, one.reliability)
    return one.weights.get("quality", 1.0)


def _weighed(one: Opinion, share: float) -> Opinion:
    return msgspec.structs.replace(one, weight=share)


def explain(evaluated: Evaluated) -> str:
    """Return the phase's output in one line; a part that is the reward itself, of which it is no sum, is left out."""
    parts = {
        "quality": evaluated.quality,
        "efficiency": evaluated.efficiency,
        "reliability": evaluated.reliability,
    }
    weighed = [name for name in parts if name in evaluated.weights]
    names = weighed or [name for name, part in parts.items() if part != evaluated.reward]
    told = ", ".join([f"{name} {parts[name]:.2f}" for name in names])
    tail = "; taken for a refusal" if evaluated.refused else ""
    return f"reward {evaluated.reward:.2f}{' = ' if weighed else ', ' if told else ''}{told}{tail}"
