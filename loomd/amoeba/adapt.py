"""ADAPT: what is to be learned? Decisions are made here and carried out by the cluster, once per task.

A mechanism decides as far as its mode lets it: what it only observes or proposes is recorded, and changes nothing.
"""

from collections.abc import Iterable, Sequence
from functools import partial

import msgspec

from loomd.amoeba import deciding
from loomd.amoeba.deciding import PolicyFailed, decided
from loomd.amoeba.decision import (
    Adapted,
    Calibration,
    Decision,
    Done,
    Expense,
    Revival,
    ScoreMove,
    Seen,
    mechanism_of,
    said,
)
from loomd.amoeba.expense import spend
from loomd.amoeba.learning import Calibrate, Learning, Mode
from loomd.amoeba.policies.base import AdaptPolicy
from loomd.amoeba.task import Evaluated, Executed, Sensed
from loomd.amoeba.world import Lived, Run, Standing, World
from loomd.errors import LoomdError
from loomd.events.event import Fallback
from loomd.store.records import Experience


class Rules(msgspec.Struct, frozen=True):
    """What is decided by: how scores move, and how far each mechanism may go."""

    policy: AdaptPolicy
    learning: Learning


_MOVES = (ScoreMove, Calibration, Expense)
"""The decisions that say what they were seen to follow from, as long as they wait for people."""
_DONE: dict[Mode, Done] = {"auto": "", "observe": "observed", "propose": "proposed"}


async def adapt(lived: Lived, world: World, rules: Rules, winner: str, run: Run) -> Adapted:
    """Return the decisions after they were carried out; what an interrupted task has carried out already, it keeps.

    The task is kept with them, unless it failed or others ended it, which says nothing, or nothing of it is kept.
    Between reading the standing and taking the decisions over nothing is awaited, so that tasks that end at the same
    time do not overwrite each other.
    """
    if run.resumed and (carried_out := await world.learned(run.scope.task)) is not None:
        return Adapted.of(carried_out)
    sensed, executed = lived.sensed, lived.executed
    told = not executed.error and not executed.outcome.mute and lived.task.durability != "none"
    kept = await _kept(lived, world, run) if told else None
    standing = world.standing(winner, list(sensed.domains))
    try:
        scores = moved(rules.policy, sensed, executed, lived.evaluated, standing)
    except PolicyFailed as error:
        run.scope.emit(Fallback("adapt", str(error), "no score moves"))
        scores = []
    moves = [one for one in scores if one.domain not in standing.fixed]
    wanted: list[Decision] = [
        *moves,
        *calibrate(sensed, executed, world, rules.learning.calibrate),
        *spend(sensed, executed, standing, world, rules.learning.price),
        *world.upkeep(winner, lived.evaluated.reward if moves else None, moves),
    ]
    return Adapted.of(await world.learn(tuple(within(rules.learning, wanted)), run.scope, kept))


def moved(
    policy: AdaptPolicy, sensed: Sensed, executed: Executed, evaluated: Evaluated, winner: Standing
) -> Sequence[ScoreMove]:
    """Return how the scores of a winner move.

    Raises:
        PolicyFailed: a policy that a package brings failed.
    """
    decide = partial(policy.decide, sensed, executed, evaluated, winner)
    return decided("adapt", policy, decide, lambda said: deciding.moves(said, winner))


async def _kept(lived: Lived, world: World, run: Run) -> Experience | None:
    """Return a task as it is kept to compare later ones with; without the embedder it is not, and that is told."""
    try:
        return await world.experience(lived)
    except LoomdError as error:
        run.scope.emit(Fallback("adapt", str(error), "the task is not kept to compare later ones with"))
        return None


def within(learning: Learning, decisions: Iterable[Decision]) -> Iterable[Decision]:
    """Yield decisions with what becomes of them; those of a mechanism that is off are left out.

    That a retirement ends was decided with it.
    """
    for one in decisions:
        mode = "auto" if isinstance(one, Revival) else learning.mode_of(mechanism_of(one))
        if mode == "auto" and isinstance(one, _MOVES):
            yield msgspec.structs.replace(one, seen=())
        elif mode != "off":
            yield one if mode == "auto" else msgspec.structs.replace(one, done=_DONE[mode])


def calibrate(sensed: Sensed, executed: Executed, world: World, spec: Calibrate) -> Iterable[Decision]:
    """Yield how the error of estimated complexity moves in each domain of a task; a task that failed says nothing."""
    outcome = executed.outcome
    if executed.error or outcome.mute:
        return
    observed = spec.observed(outcome.usage.total, outcome.seconds - outcome.waited)
    predicted = sensed.uncorrected
    for domain, weight in sensed.domains.items():
        before, count = world.correction(domain)
        seen = Seen(observed - predicted, weight)
        reason = f"taken for {predicted:.2f} before correction, it took {observed:.2f} of 1"
        after = spec.moved(before, seen)
        yield Calibration(domain, before, after, count + 1, predicted, observed, reason, seen=(seen,))


def explain(adapted: Adapted) -> str:
    """Return the phase's output in one line; how estimates are corrected is told by `loomd explain`."""
    return "; ".join(map(_told, adapted.told)) or "nothing to learn"


def _told(decision: Decision) -> str:
    return f"{said(decision)} ({decision.done} only)" if decision.done else said(decision)
