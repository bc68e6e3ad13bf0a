"""When a skill applies: its keywords stand in the text as whole words, whatever their case.

Pure. Called by the live skill for every task.
"""

import re
from collections.abc import Sequence

_WORD = re.compile(r"\w+")


class Activation:
    """Tells whether a text asks for a skill."""

    def __init__(self, keywords: Sequence[str], *, always: bool) -> None:
        """Make the keywords ready; with none of them the skill applies always.

        Args:
            keywords: words or phrases.
            always: apply to every text.
        """
        self._always = always or not keywords
        self._phrases = [_plain(keyword) for keyword in keywords]

    def fits(self, text: str) -> bool:
        """Return whether the skill applies to a text."""
        if self._always:
            return True
        plain = _plain(text)
        return any(phrase in plain for phrase in self._phrases)


def _plain(text: str) -> str:
    """Return the words of a text in one case, each between single spaces."""
    return f" {' '.join(_WORD.findall(text.casefold()))} "
