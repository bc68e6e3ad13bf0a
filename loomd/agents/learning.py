"""What work teaches about prompts: how much of each source was used, how many characters a token has.

Both are in one transaction with the record that they belong to, so that work that is run again teaches nothing twice:
a model call, and a step at the end of work that had several sources. Called by the loop, and around each model call.
"""

import re
from collections.abc import Mapping

from loomd.agents.agent import Agent
from loomd.agents.base import ChatModel, Steps
from loomd.agents.measure import CHARACTERS, bounded, subject_of_model
from loomd.agents.sources import Source
from loomd.agents.work import Outcome, Work

_WORD = re.compile(r"\w{3,}")
_STEM = 5

Moved = dict[str, tuple[float, float]]
"""What averages were and are, by name."""


def subject_of(agent: Agent) -> str:
    """Return under which subject averages of an agent are kept."""
    return f"agent {agent.namespace}/{agent.name}"


def learn(agent: Agent, work: Work, steps: Steps, texts: Mapping[Source, tuple[str, ...]], outcome: Outcome) -> None:
    """Take over what a piece of work that has an answer teaches about its sources, if there were any.

    Args:
        agent: who answered.
        work: what was wanted.
        steps: where it is recorded what was learned.
        texts: what entered the prompt of each source.
        outcome: the answer.
    """
    spec, averages = agent.context, agent.averages
    if spec.mode != "adaptive" or not any(texts.values()):
        return

    def take() -> Moved:
        found = relevance(texts, outcome, spec.used_from)
        return {
            source: averages.move(subject_of(agent), source, used, spec.pace, spec.expected)
            for source, used in found.items()
        }

    steps.draw(f"{work.key}/learned", "learned", take, Moved)


def learn_tokens(agent: Agent, model: ChatModel, characters: int, tokens: int) -> None:
    """Take over how many characters the tokens of a request had, as its service reports them.

    Nothing may be awaited between this and the note of the call's own record.
    """
    if tokens and characters:
        seen, subject = bounded(characters / tokens), subject_of_model(model)
        agent.averages.move(subject, "characters", seen, agent.context.pace, CHARACTERS)


def relevance(texts: Mapping[Source, tuple[str, ...]], outcome: Outcome, used_from: float) -> dict[Source, float]:
    """Return the share of each source, by length, that was used: passages that are cited, texts whose words came back.

    A source of which nothing entered, or of which it cannot be told, is left out.
    """
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
