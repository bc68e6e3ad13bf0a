"""What people say of an answer: it corrects what the evaluators said, and the scores that moved because of that. Pure.

A correction is the difference between what the reward teaches now and what the one before teaches now, both by the
policy of ADAPT. So a score is where it would be if the task had been rewarded so at once, as far as the policy still
gives that task a say; its count stays, because it is the same task.
"""

from collections.abc import Sequence

import msgspec

from loomd.amoeba.adapt import moved
from loomd.amoeba.decision import ScoreMove
from loomd.amoeba.evaluate import slope
from loomd.amoeba.policies.base import AdaptPolicy
from loomd.amoeba.task import Evaluated, Executed, Opinion, Sensed
from loomd.amoeba.world import Standing


class Said(msgspec.Struct, frozen=True):
    """What a person says of an answer, from 0 to 1, and who it is."""

    score: float
    by: str = ""


def corrected(evaluated: Evaluated, said: Sequence[Said], weight: float) -> Evaluated:
    """Return how good a task was by evaluators and people, whose word takes the place of each evaluator's quality.

    Args:
        evaluated: what the evaluators said.
        said: what people said, oldest first; of each person the last word counts, and all persons alike.
        weight: share of what people say in the quality, 0 to 1.
    """
    last = {one.by: one.score for one in said}
    if not last or not weight:
        return evaluated
    people = sum(last.values()) / len(last)
    said_by: Sequence[tuple[Opinion | Evaluated, float]] = [(one, one.weight) for one in evaluated.opinions]
    shift = sum(share * slope(one) * weight * (people - one.quality) for one, share in said_by or [(evaluated, 1.0)])
    return msgspec.structs.replace(
        evaluated,
        reward=min(1.0, max(0.0, evaluated.reward + shift)),
        quality=(1 - weight) * evaluated.quality + weight * people,
        uncertainty=(1 - weight) * evaluated.uncertainty,
    )


def corrections(
    policy: AdaptPolicy, sensed: Sensed, executed: Executed, rewards: tuple[Evaluated, Evaluated], standing: Standing
) -> list[ScoreMove]:
    """Return how the scores of whoever did a task move: as if the task were the last one that it was scored for.

    Args:
        policy: how scores move.
        sensed: what kind of task it was.
        executed: what came of it.
        rewards: how good it was taken for until now, and how good from now on.
        standing: what is believed now of the agent, as it behaved then, in the domains of the task.
    """
    scores = {
        domain: msgspec.structs.replace(score, count=max(0, score.count - 1))
        for domain, score in standing.scores.items()
    }
    before = msgspec.structs.replace(standing, scores=scores)
    wrong, right = (moved(policy, sensed, executed, reward, before) for reward in rewards)
    learned = {one.domain: one.after for one in wrong}
    found: list[ScoreMove] = []
    for one in right:
        score = standing.scores[one.domain]
        shift = one.after - learned.get(one.domain, one.after)
        if not shift or one.domain in standing.fixed:
            continue
        after = min(1.0, max(0.0, score.mean + shift))
        was, now = (evaluated.reward for evaluated in rewards)
        why = f"feedback took the reward from {was:.3f} to {now:.3f}"
        correction = msgspec.structs.replace(
            one, before=score.mean, after=after, variance=score.variance, count=score.count, reason=why, seen=()
        )
        found.append(correction)
    return found
