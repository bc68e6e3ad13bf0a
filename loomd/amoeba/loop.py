"""The AmoebaLoop: SENSE -> MATCH -> SCALE -> EXECUTE -> EVALUATE -> ADAPT.

The types fix the order. Each phase's output is recorded, so that a killed task goes on after the last one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import msgspec

from loomd.amoeba import adapt, evaluate, execute, match, scale, sense
from loomd.amoeba.account import asked_by, left, used_by, whole
from loomd.amoeba.asking import Asking
from loomd.amoeba.decision import Adapted
from loomd.amoeba.learning import Learning
from loomd.amoeba.policies.base import AdaptPolicy, EvaluatePolicy, MatchPolicy, ScalePolicy, SensePolicy
from loomd.amoeba.task import Evaluated, Executed, Matched, Result, Scaled, Sensed, Task
from loomd.amoeba.world import Lived, Run, World
from loomd.events.phase import Phase


@dataclass(frozen=True)
class Policies:
    """How each phase decides."""

    sense: SensePolicy
    match: MatchPolicy
    scale: ScalePolicy
    merge: Literal["model", "join"]
    evaluate: Sequence[EvaluatePolicy]
    adapt: AdaptPolicy
    learning: Learning = field(default_factory=Learning)


async def run_task(task: Task, world: World, policies: Policies, run: Run) -> Result:
    """Take a task through the six phases and return all of them together.

    From MATCH to the end it counts as work of the winner, also while it plans, waits or has its parts done.

    Raises:
        LoomdError: the record itself failed; a failing model, tool or child ends in the result instead.
    """
    with match.Burden(world) as burden:
        return await _run(task, world, policies, run, burden)


async def _run(task: Task, world: World, policies: Policies, run: Run, burden: match.Burden) -> Result:
    def asking(phase: Phase, part: Task, agent: str = "") -> Asking:
        return Asking(phase, part, world, run, agent)  # once it is matched, of the world with its winner

    sensed = await run.phase(
        "sense", Sensed, partial(sense.sense, task, world, policies.sense, asking("sense", task)), sense.explain
    )
    rest = left(task, asked_by(sensed))

    async def matching() -> Matched:
        again = asking("sense", task)
        known = await sense.placed(sensed, task, world, policies.sense, again) if run.resumed else sensed
        said = await match.match(rest, known, world, policies.match, run, asking("match", rest), burden)
        return said if known is sensed else match.placed(said, known)

    matched = await run.phase("match", Matched, matching, match.explain)
    winner = matched.winner
    burden.lay_on(winner)  # that of a recorded MATCH, too
    if not winner:
        return Result(task, "Failed", sensed, matched, error=f"no agent takes the task: {matched.why}")
    world = world.bound(winner, matched.made)
    if matched.domains:
        sensed = msgspec.structs.replace(sensed, domains=matched.domains)
    rest = left(task, asked_by(sensed, matched))
    scaled = await run.phase(
        "scale",
        Scaled,
        partial(scale.scale, rest, sensed, policies.scale, run.scope, winner, asking("scale", rest, winner)),
        scale.explain,
    )
    before = asked_by(sensed, matched, scaled)
    executed = await run.phase(
        "execute",
        Executed,
        partial(execute.execute, left(task, before), winner, scaled, world, run, policies.merge, before),
        execute.explain,
    )
    rest = left(task, used_by(executed, before))
    evaluated = await run.phase(
        "evaluate",
        Evaluated,
        partial(evaluate.evaluate, task, executed, policies.evaluate, world, run, asking("evaluate", rest)),
        evaluate.explain,
    )
    rules = adapt.Rules(policies.adapt, policies.learning)
    adapted = await run.phase(
        "adapt",
        Adapted,
        partial(adapt.adapt, Lived(task, sensed, executed, evaluated), world, rules, winner, run),
        adapt.explain,
    )
    phase: Literal["Succeeded", "Failed"] = "Failed" if executed.error else "Succeeded"
    took = whole(executed, evaluated)
    return Result(task, phase, sensed, matched, scaled, took, evaluated, adapted, executed.error)
