"""Says which passage an answer rests on, by what the two have in common.

A small model copies an answer well and then names the wrong number; so its choice is checked against the passages: the
words, pairs and triples of words that the answer shares with a passage and with few others. Pure.
"""

import re
from collections.abc import Sequence

from loomd.messages import Passage

_WORD = re.compile(r"\w+")
_CLOSE = 0.8

Grams = set[tuple[str, ...]]


def source_of(answer: str, question: str, passages: Sequence[Passage], chosen: object = None) -> int:
    """Return the number of the passage that supports an answer best.

    Args:
        answer: what the model answered.
        question: what it was asked; its words tell apart the passages that support the answer about as well.
        passages: what was offered, at least one.
        chosen: the number that the model named; it stands when its passage supports the answer about as well.
    """
    found = [_grams(passage.text) for passage in passages]
    said = _grams(answer)
    asked = _grams(question) - said
    support = [_shared(grams, said, found) for grams in found]
    close = [at for at, score in enumerate(support) if score >= _CLOSE * max(support)]
    for at in close:
        if passages[at].number == chosen:
            return passages[at].number
    return passages[max(close, key=lambda at: support[at] + _shared(found[at], asked, found))].number


def _grams(text: str) -> Grams:
    """Return the words, pairs and triples of a text."""
    words = _WORD.findall(text.lower())
    return {tuple(words[at : at + size]) for size in (1, 2, 3) for at in range(len(words) - size + 1)}


def _shared(grams: Grams, wanted: Grams, all_grams: Sequence[Grams]) -> float:
    """Return how much of `wanted` is in `grams`: longer pieces count more, pieces that many passages hold less."""
    return sum(len(gram) / sum(gram in other for other in all_grams) for gram in wanted & grams)
