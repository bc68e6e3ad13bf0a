"""EVALUATE: how good was it? The policy judges what was executed, never the agent's own word for it."""

from loomd.amoeba.account import billed
from loomd.amoeba.asking import Asking
from loomd.amoeba.policies.base import EvaluatePolicy
from loomd.amoeba.task import Evaluated, Executed, Task


async def evaluate(task: Task, executed: Executed, policy: EvaluatePolicy, asking: Asking) -> Evaluated:
    """Return the reward and the evidence for it."""
    return billed(await policy.evaluate(task, executed, asking), asking.spent)


def explain(evaluated: Evaluated) -> str:
    """Return the phase's output in one line."""
    return (
        f"reward {evaluated.reward:.2f} = quality {evaluated.quality:.2f}, efficiency {evaluated.efficiency:.2f}, "
        f"reliability {evaluated.reliability:.2f}"
    )
