"""`type: prf`: pseudo relevance feedback. What a first search finds says in which other words the answer may stand.

Words by RM3: N. Abdul-Jaleel and others, UMass at TREC 2004: Novelty and HARD, TREC 2004, over the relevance model of
V. Lavrenko and W. B. Croft, Relevance-Based Language Models, SIGIR 2001; as in Anserini, a word of more than a tenth of
all passages is none that tells. Vectors by Rocchio: J. J. Rocchio, Relevance Feedback in Information Retrieval, 1971,
without negative passages, as in H. Li and others, Pseudo Relevance Feedback with Deep Language Models and Dense
Retrievers, TOIS 2023 (arXiv:2108.11044). Nobody is asked.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from loomd.knowledge.asking import Asker
from loomd.knowledge.expanders.base import ExpandSpec, Look, Seen, Terms, Wording
from loomd.manifest.quantity import Share
from loomd.topology import Parts

if TYPE_CHECKING:
    from loomd.knowledge.expanders.base import Vectors

_SHORTEST = 3
"""Letters of a word that may be added; shorter ones tell little."""


class PrfExpand(ExpandSpec):
    """The question is moved toward the best passages of a first search."""

    type: Literal["prf"] = "prf"
    passages: int = Field(default=5, ge=1, le=100)
    """Passages of the first search that are taken for relevant."""
    terms: int = Field(default=10, ge=0, le=100)
    """Words of them that are looked for beside those of the question; 0 for none."""
    original: Share = 0.7
    """Share of the question itself in what is looked for, in words and in meaning; the rest is that of the passages."""
    common: Share = 0.1
    """A word that stands in a larger share of all passages is not added."""

    @asynccontextmanager
    async def open(self, parts: Parts) -> AsyncGenerator["Feedback", None]:
        """Yield the live expander."""
        del parts
        yield Feedback(self)


class Feedback:
    """A live expander that looks at what a first search found."""

    def __init__(self, spec: PrfExpand) -> None:
        self._spec = spec

    async def expand(self, question: str, look: Look, asker: Asker) -> Sequence[Wording]:
        """Return the question with other words and another vector; as it is when nothing was found."""
        del asker
        spec, seen = self._spec, await look(self._spec.passages)
        if not seen.scores:
            return [Wording(question)]
        terms = rm3(seen, spec.terms, spec.original, spec.common) if spec.terms else None
        vector = None if seen.vector is None else rocchio(seen.vector, seen.vectors, spec.original)
        return [Wording(question, terms=terms, vector=vector)]


def rm3(seen: Seen, count: int, original: float, common: float) -> Terms:
    """Return the words of a question and the likeliest ones of passages, weighted so that they sum up to 1.

    Args:
        seen: what a first search found.
        count: how many words are taken of the passages.
        original: share of the question's own words.
        common: a word of a larger share of all passages is left out.
    """
    total = sum(max(score, 0.0) for score in seen.scores) or 1.0
    likely: dict[str, float] = {}
    for words, score in zip(seen.words, seen.scores, strict=True):
        telling = {word: often for word, often in words.items() if _tells(word, seen.shares, common)}
        length = sum(telling.values())
        for word, often in telling.items():
            likely[word] = likely.get(word, 0.0) + max(score, 0.0) / total * often / length
    best = dict(sorted(likely.items(), key=lambda pair: (-pair[1], pair[0]))[:count])
    whole = sum(best.values())
    own = original if whole else 1.0
    terms = dict.fromkeys(seen.asked, 0.0)
    for word in seen.asked:
        terms[word] += own / len(seen.asked)
    for word, weight in best.items():
        terms[word] = terms.get(word, 0.0) + (1 - own) * weight / whole
    return {word: weight for word, weight in terms.items() if weight > 0}


def _tells(word: str, shares: Mapping[str, float], common: float) -> bool:
    return len(word) >= _SHORTEST and not word.isdigit() and 0 < shares.get(word, 0.0) <= common


def rocchio(asked: "Vectors", passages: "Vectors", original: float) -> "Vectors":
    """Return a question's vector, moved toward the mean of passages' vectors: of length 1, or all zeros.

    Args:
        asked: `(dimension,)`.
        passages: `(passages, dimension)`, at least one.
        original: share of the question's own vector.
    """
    import numpy as np  # noqa: PLC0415  # loaded with the vectors

    mean = passages.mean(axis=0)
    lengths = [float(np.linalg.norm(one)) for one in (asked, mean)]
    parts = [one / length if length > 0 else one for one, length in zip((asked, mean), lengths, strict=True)]
    moved: Vectors = (original * parts[0] + (1 - original) * parts[1]).astype(np.float32)
    length = float(np.linalg.norm(moved))
    return moved / length if length > 0 else moved
