"""Which sentences of a turn are kept as facts, and how important each is: rules on the text alone, no model. Pure.

A sentence that asks nothing says something. It counts more when it settles something ("we decided", "never", "due"),
holds a number or a name, or is said of the speakers themselves; less when it only asks for work or is polite. A short
answer says little alone and is kept with its question. The words are English; numbers and names count in any language.
"""

import hashlib
import re
from collections.abc import Sequence
from functools import lru_cache

from loomd.memory.item import Draft, What

_FENCE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_SENTENCE = re.compile(r"(?<=[.!?])[\"')\]]*\s+(?=\S)|\n+")
_BULLET = re.compile(r"^\s*(?:[-*+>#]+|\d{1,3}[.)])\s+")
_WORD = re.compile(r"\w+")
_NUMBER = re.compile(r"\d")
_NAME = re.compile(r"(?<=\w[\s,(\"'])\s*[A-Z][\w-]+")
_DECISION = re.compile(
    r"\b(decided?|decision|agreed?|agreement|must|never|always|from now on|deadline|due|prefers?|instead of|chosen?"
    r"|chose|settled|remember|important|policy|rule|requires?|required|promised?|approved|rejected|let's|shall)\b",
    re.IGNORECASE,
)
_OWN = re.compile(r"\b(i|i'm|i've|my|mine|we|we're|our|ours|me|us)\b", re.IGNORECASE)
_REQUEST = re.compile(
    r"^(please|can you|could you|would you|tell|show|write|list|explain|summari[sz]e|give|find|make|describe|compare"
    r"|translate|help|what|who|when|where|why|how|which|repeat|continue|go on|try|add|check|look)\b",
    re.IGNORECASE,
)
_POLITE = re.compile(
    r"^(ok|okay|thanks|thank you|great|sure|hello|hi|good|nice|yes|no|got it|understood|noted|sorry|of course|certainly"
    r"|you're welcome|i see|perfect|alright)\b[\s,.!]*",
    re.IGNORECASE,
)
BASE, DECIDES, NUMBER, NAME, OWN, ASKS = 0.3, 0.3, 0.1, 0.1, 0.1, -0.2
"""Importance of a sentence, and what is added for each thing that is found in it."""
_FEWEST = 3
"""Words of the shortest sentence that says something alone."""
_SHORT = 6
"""Words of the longest answer that is kept with its question."""
_STEM = 5
_LONGEST = 8192
"""Characters of a turn that a reminder looks at."""
_LINE = 3
"""Characters around a fact in a list."""


def facts_of(goal: str, answer: str, most: int, least: float) -> list[Draft]:
    """Return the facts of a turn in their order, the most important ones of them when there are more than `most`.

    Args:
        goal: what was asked or told.
        answer: what was answered.
        most: how many are returned at most.
        least: importance below which a sentence is left out.
    """
    found: dict[str, Draft] = {}
    said = sentences(answer)
    if len(said) == 1 and len(_WORD.findall(said[0])) <= _SHORT and goal.rstrip().endswith("?"):
        asked = sentences(goal)[-1:] or [goal]
        said = [f"{asked[0]} {said[0]}"]
        found[key_of(said[0])] = _draft(said[0], BASE + _extra(said[0]))
        said = []
    for sentence in (*sentences(goal), *said):
        rest = _POLITE.sub("", sentence)
        if sentence.endswith("?") or len(_WORD.findall(rest)) < _FEWEST:
            continue
        importance = BASE + _extra(rest) + (ASKS if _REQUEST.match(rest) else 0.0)
        if importance >= least:
            found.setdefault(key_of(sentence), _draft(sentence, importance))
    best = sorted(found.values(), key=lambda one: -one.importance)[:most]
    return [one for one in found.values() if one in best]


def sentences(text: str) -> list[str]:
    """Return the sentences and list items of a text, without code."""
    parts = (_BULLET.sub("", part).strip() for part in _SENTENCE.split(_FENCE.sub("\n", text)))
    return [part for part in parts if part]


def key_of(text: str) -> str:
    """Return the key of a fact: sentences of the same words are one."""
    words = " ".join(_WORD.findall(text.lower()))
    return f"text/{hashlib.sha256(words.encode('utf-8', 'replace')).hexdigest()[:24]}"


@lru_cache(maxsize=512)
def _stated(text: str) -> tuple[Draft, ...]:
    """Return the facts of a text; the same turns are looked at before each model call."""
    return tuple(facts_of("", text, len(text), BASE))


def _draft(text: str, importance: float) -> Draft:
    what: What = "decision" if _DECISION.search(text) else "fact"
    return Draft(key_of(text), text, what, min(1.0, max(0.0, importance)))


def _extra(text: str) -> float:
    rules = ((_DECISION, DECIDES), (_NUMBER, NUMBER), (_NAME, NAME), (_OWN, OWN))
    return sum(weight for pattern, weight in rules if pattern.search(text))


def _marks(text: str) -> set[str]:
    return {word.lower() for word in _WORD.findall(text)}


def reminder(texts: Sequence[str], goal: str, characters: int) -> list[str]:
    """Return the facts of texts that count most for a goal, in their order and each once, as many as there is room for.

    What counts is importance, and the share of a fact's words that the goal holds.
    """
    wanted = {word[:_STEM] for word in _marks(goal)}
    found: dict[str, tuple[float, str]] = {}
    for text in texts:
        for draft in _stated(text[:_LONGEST]):
            words = {word[:_STEM] for word in _marks(draft.text)}
            found.setdefault(draft.key, (draft.importance + len(words & wanted) / len(words), draft.text))
    chosen: set[str] = set()
    for key, (_, text) in sorted(found.items(), key=lambda pair: -pair[1][0]):
        if (characters := characters - len(text) - _LINE) < 0:
            break
        chosen.add(key)
    return [text for key, (_, text) in found.items() if key in chosen]
