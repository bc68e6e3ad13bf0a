"""What a piece of work teaches about prompts: how much of each source was used, how many characters a token has.

Recorded as a step at its end, in one transaction with the averages that it moves, so that work that is run again
teaches nothing twice. Called by the loop.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

from loomd.agents.agent import Agent
from loomd.agents.base import Steps
from loomd.agents.context import Context, subject_of
from loomd.agents.measure import CHARACTERS, bounded, subject_of_model
from loomd.agents.sources import Source
from loomd.agents.work import Outcome, Work

_WORD = re.compile(r"\w{3,}")
_STEM = 5

Moved = dict[str, tuple[float, float]]
"""What averages were and are, by name."""


class Lesson(NamedTuple):
    """What a piece of work shows of its model: the characters of its requests, and their tokens as reported."""

    characters: int = 0
    tokens: int = 0

    def after(self, characters: int, tokens: int) -> "Lesson":
        """Return the sum with one more call; one that was not made, or not counted, shows nothing."""
        return Lesson(self.characters + characters, self.tokens + tokens) if tokens else self


def learn(agent: Agent, work: Work, steps: Steps, context: Context, outcome: Outcome, lesson: Lesson) -> None:
    """Take over what a piece of work that has an answer teaches."""
    spec, averages = agent.context, agent.averages

    def take() -> Moved:
        moved: Moved = {}
        if spec.mode == "adaptive":
            for source, used in relevance(context.texts, outcome, spec.used_from).items():
                moved[source] = averages.move(subject_of(agent), source, used, spec.pace, spec.expected)
        if lesson.tokens and lesson.characters:
            seen, subject = bounded(lesson.characters / lesson.tokens), subject_of_model(agent.model)
            moved["characters"] = averages.move(subject, "characters", seen, spec.pace, CHARACTERS)
        return moved

    steps.draw(f"{work.key}/learned", "learned", take, Moved)


def relevance(texts: Mapping[Source, tuple[str, ...]], outcome: Outcome, used_from: float) -> dict[Source, float]:
    """Return the share of each source, by length, that was used: passages that are cited, texts whose words came back.

    A source of which nothing entered, or of which it cannot be told, is left out.
    """
    if not any(texts.values()):
        return {}
    answer = _stems(outcome.output)
    cited = {one.text for one in outcome.citations}
    found: dict[Source, float] = {}
    for source, items in texts.items():
        total = sum(map(len, items))
        if total:
            used = [
                one for one in items if (one in cited if source == "knowledge" else _back(one, answer) >= used_from)
            ]
            found[source] = sum(map(len, used)) / total
    return found


def _back(text: str, answer: frozenset[str]) -> float:
    """Return the share of a text's words that an answer holds, by their first letters."""
    words = _stems(text)
    return len(words & answer) / len(words) if words else 0.0


def _stems(text: str) -> frozenset[str]:
    return frozenset(word[:_STEM] for word in _WORD.findall(text.lower()))
