import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from loomd.manifest.object import Ref
from loomd.memory.item import Turn, Whose
from loomd.messages import Message

ON = {"recall": {"enabled": True}}


def turn(key: str, answer: str, began: float = 1_000_000.0) -> Turn:
    """Return a turn in which something was said and nothing asked."""
    return Turn(key, "", answer, began=began)


class Letters:
    """An embedder that counts letters: likeness is shared spelling."""

    def __init__(self, fingerprint: str = "letters-1") -> None:
        self.fingerprint = fingerprint
        self.embedded: list[str] = []

    async def embed(self, texts: Sequence[str]) -> Any:
        """Return unit vectors."""
        self.embedded += texts
        rows = np.array([[text.lower().count(c) for c in "abcdefghijklmnopqrstuvwxyz"] for text in texts], np.float32)
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


async def test_off_by_default(memory: Any, tmp_path: Path) -> None:
    """Without recall nothing is kept, and no file is made."""
    async with memory({"window": {"tokens": 100}}) as live:
        await live.remember(Whose("ada"), turn("t1", "the sky is blue"))
        assert await live.recall(Whose("ada"), "sky") == []
        assert live.fit((Message("user", "hi"),)) == (Message("user", "hi"),)
    assert not list(tmp_path.rglob("recall.db"))  # noqa: ASYNC240  # a look at a local folder


async def test_recall_survives(memory: Any) -> None:
    """What was remembered is found again after a restart, by any form of its words, in its own scope only."""
    async with memory(ON) as live:
        await live.remember(Whose("ada"), turn("t1", "The harbour opens at seven o'clock"))
        await live.remember(Whose("ada"), turn("t2", "Lighthouses are painted white"))
        await live.remember(Whose("bob"), turn("t1", "The harbour opens at nine"))
    async with memory(ON) as live:
        assert await live.recall(Whose("ada"), "When does the harbour open?") == ["The harbour opens at seven o'clock"]
        assert await live.recall(Whose("ada"), "lighthouse paint") == ["Lighthouses are painted white"]
        assert await live.recall(Whose("ada"), "something else entirely") == []
        assert await live.recall(Whose("ada"), "?!") == []
        assert await live.recall(Whose("nobody"), "harbour") == []


async def test_the_second_time_changes_nothing(memory: Any) -> None:
    """A text is kept once per scope and key, however many ask for it at once."""
    async with memory(ON) as live:
        await asyncio.gather(*(live.remember(Whose("ada"), turn("t1", f"harbour version {n}")) for n in range(20)))
        await live.remember(Whose("ada"), turn("t1", "harbour again"))
        assert len(await live.recall(Whose("ada"), "harbour")) == 1


async def test_the_query_is_no_syntax(memory: Any) -> None:
    """Quotes, operators and lone surrogates in a query or a text are plain text."""
    async with memory(ON) as live:
        await live.remember(Whose("ada"), turn("t1", 'say "harbour" \ud800 NEAR'))
        for query in ('"harbour', "harbour NEAR", "harbour* AND (", "col:harbour", "harbour -x", "\ud800 harbour"):
            assert len(await live.recall(Whose("ada"), query)) == 1


async def test_limits(memory: Any) -> None:
    """The oldest texts of a scope leave first, long ones are cut, and no more than asked for is offered."""
    spec = {"recall": {"enabled": True, "keep": 5, "topK": 3, "maxText": "12"}}
    async with memory(spec) as live:
        await live.remember(Whose("bob"), turn("t0", "harbour old"))
        for n in range(8):
            await live.remember(Whose("ada"), turn(f"t{n}", f"harbour {n} and much more"))
        found = await live.recall(Whose("ada"), "harbour")
        assert found == ["harbour 3 an", "harbour 4 an", "harbour 5 an"]
        assert await live.recall(Whose("bob"), "harbour") == ["harbour old"]


async def test_threshold(memory: Any) -> None:
    """A text that holds too few of the query's words is not offered."""
    async with memory({"recall": {"enabled": True, "threshold": 0.6}}) as live:
        await live.remember(Whose("ada"), turn("t1", "harbour opening hours"))
        assert await live.recall(Whose("ada"), "harbour hours") == ["harbour opening hours"]
        assert await live.recall(Whose("ada"), "harbour fees and ships") == []


async def test_by_likeness(memory: Any) -> None:
    """With an embedder the likest texts come first, and those of another embedder are embedded again."""
    spec = {"recall": {"enabled": True, "embedder": "e", "threshold": 0.5, "topK": 2}}
    first = Letters()
    async with memory(ON) as live:
        await live.remember(Whose("ada"), turn("t0", "xxyyzz"))
    async with memory(spec, live={Ref("Embedder", "e"): first}) as live:
        await live.remember(Whose("ada"), turn("t1", "aabb"))
        await live.remember(Whose("ada"), turn("t2", "aabc"))
        assert await live.recall(Whose("ada"), "aabb") == ["aabb", "aabc"]
        assert await live.recall(Whose("ada"), "xyz") == ["xxyyzz"]
        assert await live.recall(Whose("ada"), "qq") == []
    second = Letters("letters-2")
    async with memory(spec, live={Ref("Embedder", "e"): second}) as live:
        assert second.embedded == ["xxyyzz", "aabb", "aabc"]
        assert await live.recall(Whose("ada"), "aabb") == ["aabb", "aabc"]
