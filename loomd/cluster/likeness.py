"""How well a text fits each of some named texts, from 0 to 1: by meaning with an embedder, else by shared words.

Domains and tools are matched this way. Vectors of the named texts are computed once.
"""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from loomd.knowledge.query import STOP_WORDS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vector = NDArray[np.float32]

_WORD = re.compile(r"[^\W_]{3,}")
_SHORT = re.compile(r"(?<![^\W_])[^\W_]{1,2}(?![^\W_])")
_STEM = 5
_ROOT = 3
"""Letters that a word has at least without the s of a plural."""
_CACHE = 256
"""Texts whose vectors are kept, for goals that come again."""


class Embedder(Protocol):
    """Turns texts into vectors; the live form of kind Embedder."""

    @property
    def fingerprint(self) -> str:
        """Return a text that changes whenever the vectors of the same texts may change."""
        ...

    async def embed(self, texts: Sequence[str]) -> "np.ndarray":
        """Return unit vectors, `(texts, dimension) float32`."""
        ...


class Likeness:
    """Compares texts with a fixed set of named texts."""

    def __init__(self, texts: Mapping[str, str], embedder: Embedder | None) -> None:
        self._texts = dict(texts)
        self._embedder = embedder
        self._vectors: np.ndarray | None = None
        self._cache: dict[str, np.ndarray] = {}
        self._named: dict[str, list[str]] = {}
        """The texts in which each beginning of a word stands, by their names."""
        self._short = frozenset[str]().union(*map(_short, self._texts))
        for name, text in self._texts.items():
            for stem in _stems(text) | _short(name):
                self._named.setdefault(stem, []).append(name)

    @property
    def texts(self) -> Mapping[str, str]:
        """Return the named texts."""
        return self._texts

    async def of(self, text: str) -> dict[str, float]:
        """Return how well a text fits each name.

        Raises:
            LoomdError: the embedder failed.
        """
        if not self._texts:
            return {}
        if self._embedder is None:
            return self.by_words(text)
        if self._vectors is None:
            self._vectors = await self._embedder.embed(list(self._texts.values()))
        query = await self.vector(text)
        return {name: max(0.0, float(fit)) for name, fit in zip(self._texts, self._vectors @ query, strict=True)}

    async def vector(self, text: str) -> "Vector | None":
        """Return the unit vector of a text, `(dimension,) float32`; None without an embedder.

        Raises:
            LoomdError: the embedder failed.
        """
        if self._embedder is None:
            return None
        found = self._cache.pop(text, None)
        if found is None:
            found = (await self._embedder.embed([text]))[0]
            if len(self._cache) >= _CACHE:
                del self._cache[next(iter(self._cache))]
        self._cache[text] = found  # the one that was used last comes last
        return found

    def by_words(self, text: str) -> dict[str, float]:
        """Return the share of a text's words that stand in each named text, by their first five letters.

        Words that are in nearly every text, such as "about", do not count, nor does the s of a plural, nor words of one
        or two letters but those of which a name is made: `hr`, `tier-2`.
        """
        words, shared = _stems(text), dict.fromkeys(self._texts, 0)
        if self._short:
            words |= _short(text) & self._short
        for word in words:
            for name in self._named.get(word, ()):
                shared[name] += 1
        count = len(words) or 1
        return {name: number / count for name, number in shared.items()}


def _stems(text: str) -> frozenset[str]:
    """Return the beginnings of the words of a text that tell something, without the s of a plural."""
    words = [word for word in _WORD.findall(text.lower()) if word not in STOP_WORDS]
    return frozenset(
        [word[:-1] if _ROOT < len(word) <= _STEM and word[-1] == "s" != word[-2] else word[:_STEM] for word in words]
    )


def _short(text: str) -> frozenset[str]:
    """Return the words of one or two letters of a text that tell something."""
    return frozenset(_SHORT.findall(text.lower())) - STOP_WORDS
