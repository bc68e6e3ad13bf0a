"""What is in the passages that a question finds, as ways of expanding it look at them. Called by the index."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from loomd.knowledge.expanders.base import Seen
from loomd.knowledge.store import Stored
from loomd.knowledge.survey import embedded_text
from loomd.knowledge.words import WordIndex

if TYPE_CHECKING:
    from loomd.knowledge.base import Vectors


def seen_in(
    text: str,
    vector: "Vectors | None",
    found: Sequence[tuple[Stored, float]],
    vectors: "Vectors",
    words: WordIndex,
) -> Seen:
    """Return what is in passages.

    Args:
        text: the question.
        vector: its vector, or None.
        found: the passages with their scores, best first.
        vectors: theirs, `(passages, dimension)`.
        words: the index that looks words up.
    """
    counted = [Counter(words.stems(embedded_text(row.chunk))) for row, _ in found]
    shares = words.shares({word for one in counted for word in one})
    return Seen(words.asked(text), vector, [score for _, score in found], counted, vectors, shares)
