"""Manual: only a task that names the skill. Every skill can be named; this one waits for nothing else."""

from typing import Literal

from loomd.skills.triggers.base import Judge, Trigger, alike
from loomd.topology import Parts


class ManualTrigger(Trigger):
    """Takes the skill up for no task but those that name it, as the word `/name`."""

    type: Literal["manual"] = "manual"

    def judge(self, parts: Parts) -> Judge:
        """Return what takes nothing up: whoever reads the task finds the name."""
        del parts
        return alike(lambda _: None)
