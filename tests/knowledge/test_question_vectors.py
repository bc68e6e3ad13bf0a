"""A question that is asked again is not embedded again, and what is kept of questions is bounded."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pytest

from loomd.errors import LoomdError
from loomd.knowledge.question_vectors import QuestionVectors

if TYPE_CHECKING:
    from loomd.knowledge.base import Vectors
    from tests.knowledge.conftest import Lab


async def test_the_latest_are_kept() -> None:
    """What is not known is made in one call, each once; the one that was asked least lately goes first."""
    calls: list[list[str]] = []

    async def embed(texts: Sequence[str]) -> "Vectors":
        if "bad" in texts:
            raise LoomdError("no")
        calls.append(list(texts))
        return np.array([[float(ord(text))] for text in texts], np.float32)

    vectors = QuestionVectors(embed, room=2 * 4)
    assert [float(one[0]) for one in await vectors.of(["a", "b", "a"])] == [97, 98, 97]
    assert [float(one[0]) for one in await vectors.of(["a"])] == [97]
    with pytest.raises(LoomdError):
        await vectors.of(["bad", "a"])
    await vectors.of(["c"])  # in the place of b
    await vectors.of(["a", "c"])
    await vectors.of(["b", "d", "e"])  # more than there is room for
    assert calls == [["a", "b"], ["c"], ["b", "d", "e"]]


async def test_a_search_uses_them(lab: "Lab") -> None:
    """However it is asked, alone or explained."""
    lab.write("cats.md", "Cats purr.")
    async with lab.open() as base:
        for _ in range(2):
            assert len(await base.search("who purrs?")) == 1
            assert len((await base.explain("who purrs?")).hits) == 1
        assert lab.embedder.texts.count("who purrs?") == 1
