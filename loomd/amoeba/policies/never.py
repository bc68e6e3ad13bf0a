"""Never: the winner does every task alone."""

from typing import Literal

from loomd.amoeba.policies.base import ScalePolicy
from loomd.amoeba.task import Sensed, Task


class Never(ScalePolicy):
    """Splits nothing."""

    type: Literal["never"] = "never"

    def split(self, sensed: Sensed, task: Task) -> tuple[bool, str]:
        """Return False."""
        del sensed, task
        return False, "the policy never splits"
