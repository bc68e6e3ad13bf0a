"""Pattern: a regular expression is found in the task.

Patterns run on RE2, in time that grows with the text alone: none of them can hang the daemon.
"""

from typing import Literal

from pydantic import Field

from loomd.manifest.regexp import Regexp, compiled, found
from loomd.skills.triggers.base import Fit, Judge, Trigger, alike
from loomd.topology import Parts

_SHOWN = 60
"""Characters of what was found that are told."""


class PatternTrigger(Trigger):
    """Takes the skill up for a task in which a regular expression is found."""

    type: Literal["pattern"] = "pattern"
    pattern: Regexp = Field(examples=[r"(?i)\bPR #\d+"])
    """Regular expression in the syntax of RE2, which has no backreferences and does not look around; `(?i)` at its
    beginning takes any case. It may be found anywhere in the task."""

    def judge(self, parts: Parts) -> Judge:
        """Return what looks for the pattern."""
        del parts
        pattern = compiled(self.pattern)

        def find(text: str) -> Fit | None:
            words = found(pattern, text)
            if words is None:
                return None
            shown = words if len(words) <= _SHOWN else f"{words[:_SHOWN]}..."
            return Fit(self.type, f'the pattern {self.pattern} finds "{shown}"')

        return alike(find)
