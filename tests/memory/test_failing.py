"""What a memory does while its embedder fails: it keeps, finds by words, says so, and embeds later."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from loomd.errors import Temporary
from loomd.events.event import Fallback
from loomd.events.room import MemoryRemembered
from loomd.manifest.object import Ref
from loomd.memory import recall
from loomd.memory.item import Whose
from loomd.testing import VirtualClock, run_manifests
from tests.memory.test_memory import Letters, turn

ADA = Whose("ada")
SPEC = {"recall": {"enabled": True, "embedder": "e", "threshold": 0.9}}
DESK = """
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: script}
spec: {type: scripted, replies: [{text: The harbour opens at seven.}]}
---
apiVersion: loomd.dev/v1
kind: Embedder
metadata: {name: away}
spec: {type: openai, model: m, dimension: 3, baseUrl: "http://127.0.0.1:9/v1", deadline: 50ms}
---
apiVersion: loomd.dev/v1
kind: Memory
metadata: {name: notes}
spec: {recall: {enabled: true, embedder: away}}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: ada}
spec: {provider: script, memory: notes}
"""


class Flaky(Letters):
    """An embedder that fails while it is away."""

    def __init__(self) -> None:
        super().__init__()
        self.away = True
        self.empty = False
        self.asked = 0

    async def embed(self, texts: Sequence[str]) -> Any:
        """Return unit vectors, or fail."""
        self.asked += 1
        if self.away:
            raise Temporary("the embedder is away")
        return await super().embed(texts) * (not self.empty)


async def test_words_are_enough_until_it_answers_again(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts are kept and found by their words; condition, report and `lacks` tell; later they are embedded."""
    monkeypatch.setattr(recall, "_LOOK", 0.01)
    embedder, clock = Flaky(), VirtualClock()
    embedder.away = False
    async with memory(SPEC, clock=clock, live={Ref("Embedder", "e"): embedder}) as live:
        await live.remember(ADA, turn("1", "harbour"))
        assert await live.recall(ADA, "ruobrah") == ["harbour"]
        assert (live.lacks, list(live.health())) == ("", [])
        embedder.away = True
        assert await live.recall(ADA, "the harbour") == ["harbour"]
        assert await live.remember(ADA, turn("2", "lighthouse"))
        assert await live.recall(ADA, "lighthouse") == ["lighthouse"]
        assert "the embedder is away" in live.lacks
        (told,) = live.health()
        assert (told.condition, told.status, told.reason, told.since) == ("Degraded", "True", "EmbedFailed", 1e6)
        found = await live.report()
        assert (found.error, found.error_at, found.vectors) == ("the embedder is away", 1_000_000.0, 1)
        embedder.away, embedder.empty = False, True
        async with asyncio.timeout(60):
            while "nothing but zeros" not in (await live.report()).error:  # noqa: ASYNC110  # asks as any caller would
                await asyncio.sleep(0.01)
        assert live.lacks
        embedder.empty = False
        async with asyncio.timeout(60):
            while live.lacks or (await live.report()).vectors < 2:  # noqa: ASYNC110  # asks as any caller would
                await asyncio.sleep(0.01)
        assert await live.recall(ADA, "esuohthgil") == ["lighthouse"]
        assert list(live.health()) == []


async def test_it_opens_and_no_task_waits_twice(memory: Any) -> None:
    """A memory opens without its embedder, and one that failed is not asked again by whoever recalls."""
    embedder = Flaky()
    embedder.away = False
    async with memory(SPEC, live={Ref("Embedder", "e"): embedder}) as live:
        await live.remember(ADA, turn("1", "harbour"))
    other = Flaky()
    other.fingerprint = "letters-2"
    async with memory(SPEC, live={Ref("Embedder", "e"): other}) as live:
        assert live.lacks
        for _ in range(3):
            assert await live.recall(ADA, "harbour") == ["harbour"]
        assert other.asked == 1


async def test_a_task_goes_on_and_tells(tmp_path: Path) -> None:
    """A task whose agent's memory has an embedder that cannot be reached ends well, and its answer is kept."""
    ran = await run_manifests(DESK, "When does the harbour open?", tmp_path)
    assert ran.result.output == "The harbour opens at seven."
    assert [(one.phase, one.fallback) for one in ran.facts(Fallback)] == [
        ("recall", "what is remembered is found by words alone"),
        ("remember", "the answer is kept without vectors for now"),
    ]
    assert len(ran.facts(MemoryRemembered)) == 1
