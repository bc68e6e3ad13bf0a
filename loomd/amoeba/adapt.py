"""ADAPT: what is to be learned? Decisions are made here and carried out by the cluster, once per task."""

from loomd.amoeba.policies.base import AdaptPolicy
from loomd.amoeba.task import Adapted, Evaluated, Executed, Sensed
from loomd.amoeba.world import Run, World


async def adapt(
    sensed: Sensed,
    executed: Executed,
    evaluated: Evaluated,
    world: World,
    policy: AdaptPolicy,
    winner: str,
    run: Run,
) -> Adapted:
    """Return the decisions after they were carried out; what an interrupted task has carried out already, it keeps.

    Between reading the standing and taking the decisions over nothing is awaited, so that tasks that end at the same
    time do not overwrite each other.
    """
    if run.resumed and (carried_out := await world.learned(run.scope.task)) is not None:
        return Adapted.of(carried_out)
    standing = world.standing(winner, list(sensed.domains))
    decisions = tuple(policy.decide(sensed, executed, evaluated, standing))
    await world.learn(decisions, run.scope)
    return Adapted.of(decisions)


def explain(adapted: Adapted) -> str:
    """Return the phase's output in one line."""
    moves = [f"{d.agent} in {d.domain} {d.before:.3f} -> {d.after:.3f}" for d in adapted.decisions]
    return "; ".join(moves) or "nothing to learn"
