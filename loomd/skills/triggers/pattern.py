"""Pattern: a regular expression is found in the task.

Patterns run on RE2, in time that grows with the text alone: none of them can hang the daemon.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from loomd.errors import Permanent
from loomd.manifest.wording import quoted
from loomd.skills.triggers.base import Fit, Judge, Trigger, alike
from loomd.topology import Parts

_SHOWN = 60
"""Characters of what was found that are told."""


class PatternTrigger(Trigger):
    """Takes the skill up for a task in which a regular expression is found."""

    type: Literal["pattern"] = "pattern"
    pattern: str = Field(min_length=1, max_length=1000, examples=[r"(?i)\bPR #\d+"])
    """Regular expression in the syntax of RE2, which has no backreferences and does not look around; `(?i)` at its
    beginning takes any case. It may be found anywhere in the task."""

    def check(self, root: Path) -> Iterator[tuple[str, str, str]]:
        """Yield what is wrong with the pattern."""
        del root
        try:
            _compile(self.pattern)
        except Permanent as error:
            yield "/pattern", str(error), "invalid-value"

    def judge(self, parts: Parts) -> Judge:
        """Return what looks for the pattern.

        Raises:
            Permanent: it cannot be used.
        """
        del parts
        compiled = _compile(self.pattern)

        def find(text: str) -> Fit | None:
            found = compiled.search(text.encode("utf-8", "replace"))
            if found is None:
                return None
            words = found[0].decode("utf-8", "replace")
            shown = words if len(words) <= _SHOWN else f"{words[:_SHOWN]}..."
            return Fit(self.type, f'the pattern {self.pattern} finds "{shown}"')

        return alike(find)


def _compile(pattern: str) -> Any:
    """Return a pattern that can be looked for in UTF-8.

    Raises:
        Permanent: it is none.
    """
    import re2  # noqa: PLC0415  # only when a pattern is declared

    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern.encode(), options)
    except re2.error as error:
        reason = error.args[0] if error.args else "it is not understood"
        told = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise Permanent(f'expected a pattern that RE2 takes, got {quoted(pattern)} ("{told}")') from error
