"""Keyword: one of some words stands in the task, as a whole word, whatever its case."""

import re
from typing import Literal

from pydantic import Field

from loomd.skills.triggers.base import Fit, Judge, Trigger, alike
from loomd.topology import Parts

_WORD = re.compile(r"\w+")


class KeywordTrigger(Trigger):
    """Takes the skill up for a task that holds one of some words or phrases."""

    type: Literal["keyword"] = "keyword"
    keywords: list[str] = Field(min_length=1, examples=[["review", "pull request"]])
    """Words or phrases of which the task holds at least one, as whole words in any case."""

    def judge(self, parts: Parts) -> Judge:
        """Return what looks for the keywords."""
        del parts
        phrases = {keyword: _plain(keyword) for keyword in self.keywords}

        def find(text: str) -> Fit | None:
            plain = _plain(text)
            found = next((keyword for keyword, phrase in phrases.items() if phrase in plain), None)
            return None if found is None else Fit(self.type, f'the task says "{found}"')

        return alike(find)


def _plain(text: str) -> str:
    """Return the words of a text in one case, each between single spaces."""
    return f" {' '.join(_WORD.findall(text.casefold()))} "
