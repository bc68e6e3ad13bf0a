"""Always: every task."""

from typing import Literal

from loomd.skills.triggers.base import Fit, Judge, Trigger, alike
from loomd.topology import Parts


class AlwaysTrigger(Trigger):
    """Takes the skill up for every task."""

    type: Literal["always"] = "always"

    def judge(self, parts: Parts) -> Judge:
        """Return what finds that every task fits."""
        del parts
        return alike(lambda _: Fit(self.type, "it applies to every task"))
