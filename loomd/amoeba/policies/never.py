"""Never: the winner does every task alone."""

from typing import Literal

from loomd.amoeba.policies.base import ScalePolicy
from loomd.amoeba.task import Sensed, Task


class Never(ScalePolicy):
    """Splits nothing."""

    type: Literal["never"] = "never"

    def parts(self, sensed: Sensed, task: Task) -> tuple[int, str]:
        """Return 0."""
        del sensed, task
        return 0, "the policy never splits"
