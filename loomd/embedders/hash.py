"""`type: hash`: feature hashing of words and letter triples: knows spelling, not meaning, and needs no model.

For tests, and for the smallest set-ups, where it only makes keyword search tolerant of spelling. Same text, same
vector, on every machine and in every version.
"""

import re
import zlib
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from loomd.embedders.base import Embedder, EmbedderSpec, threaded
from loomd.topology import Parts

if TYPE_CHECKING:
    from loomd.embedders.base import Encode, Vectors

_WORD = re.compile(r"\w+")


class HashSpec(EmbedderSpec):
    """Counts words and letter triples in hashed slots: knows spelling, not meaning."""

    type: Literal["hash"] = "hash"
    dimension: int = Field(default=256, ge=16, le=4096)
    """Length of a vector; fewer numbers mean more unrelated words that share one."""

    @asynccontextmanager
    async def open(self, parts: Parts) -> AsyncGenerator[Embedder, None]:
        """Yield the embedder."""
        async with threaded(parts.name, lambda: _load(self.dimension)) as embedder:
            yield embedder


def _load(dimension: int) -> "tuple[int, str, Encode]":
    import numpy as np  # noqa: PLC0415  # costs 80 ms: only when something is embedded

    def encode(texts: Sequence[str]) -> "Vectors":
        vectors = np.zeros((len(texts), dimension), np.float32)
        for row, text in enumerate(texts):
            for feature in _features(text):
                code = zlib.crc32(feature.encode("utf-8", "surrogatepass"))
                vectors[row, (code >> 1) % dimension] += 1.0 if code & 1 else -1.0
        return vectors

    return dimension, f"hash/words-and-triples-{dimension}/1", encode


def _features(text: str) -> list[str]:
    """Return the words of a text and the letter triples inside them."""
    words: list[str] = _WORD.findall(text.lower())
    triples = [f"#{word[at : at + 3]}" for word in words for at in range(len(word) - 2)]
    return words + triples
