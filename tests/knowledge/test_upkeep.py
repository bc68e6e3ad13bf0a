"""A knowledge base answers from what is stored, and the rest is indexed in the background."""

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from loomd.errors import LoomdError, Temporary, Unreachable
from loomd.events.event import IndexProgress
from loomd.knowledge.arriving import BATCH
from loomd.knowledge.upkeep import Upkeep
from loomd.knowledge.words import WordIndex
from loomd.manifest.object import Snapshot
from tests.knowledge.conftest import Counting
from tests.knowledge.test_fetching import until

if TYPE_CHECKING:
    from loomd.topology import Health
    from loomd.vectors.faiss_index import Mark
    from tests.knowledge.conftest import Lab

WORDS = {"mode": "keyword"}


class Gate:
    """Lets embedders make vectors, or not.

    Attributes:
        open: as long as it is not set, they wait.
        word: they wait with texts that have it; all have the empty one.
        error: what they raise, if anything.
        texts: what they were asked for.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open = asyncio.Event()
        self.open.set()
        self.word = ""
        self.error: Exception | None = None
        self.texts: list[str] = []
        embed = Counting.embed

        async def gated(counting: Any, texts: Any) -> Any:
            self.texts += texts
            if any(self.word in text for text in texts):
                await self.open.wait()
            if self.error is not None:
                raise self.error
            return await embed(counting, texts)

        monkeypatch.setattr(Counting, "embed", gated)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    """Return what stands before every embedder of the test."""
    return Gate(monkeypatch)


def told(base: Any, condition: str) -> "Health":
    """Return a condition."""
    health: list[Health] = [one for one in base.health() if one.condition == condition]
    return health[0]


async def found(base: Any, *words: str) -> list[int]:
    """Return how many passages each word finds."""
    return [len(await base.search(word)) for word in words]


async def test_it_opens_with_what_is_stored(lab: "Lab", gate: Gate) -> None:
    """New documents are embedded while the others are searched; conditions and events say how far that is."""
    lab.write("cats.md", "Cats purr.")
    lab.write("owls.md", "Owls fly.")
    async with lab.open():
        pass
    lab.write("dogs.md", "Dogs bark.")
    (lab.root / "docs" / "owls.md").unlink()
    gate.open.clear()
    lab.events.clear()
    async with asyncio.timeout(60), lab.open(wait=False, retrieval=WORDS) as base:
        assert (told(base, "IndexReady").status, told(base, "IndexReady").reason) == ("Unknown", "Indexing")
        assert not told(base, "IndexReady").is_ill
        assert base.standing().passages == 2
        await until(lambda: len(gate.texts) == 3)
        said = "0 of 1 passages of new and changed documents are indexed; 1 passage can be searched"
        await until(lambda: told(base, "IndexReady").message == said)
        assert (told(base, "Degraded").status, told(base, "Degraded").reason) == ("Unknown", "Indexing")
        assert await found(base, "purr", "fly", "bark") == [1, 0, 0]
        settled = asyncio.ensure_future(base.settled())
        await asyncio.sleep(0)
        assert not settled.done()
        gate.open.set()
        await settled
        assert (told(base, "IndexReady").status, told(base, "Degraded").reason) == ("True", "DocumentsRead")
        assert await found(base, "purr", "fly", "bark") == [1, 0, 1]
    told_of = [event.data for event in lab.events if isinstance(event.data, IndexProgress)]
    assert [(one.done, one.total) for one in told_of] == [(0, 1), (1, 1)]


async def test_closing_does_not_wait_for_the_embedder(lab: "Lab", gate: Gate) -> None:
    """What is embedded in the background is given up, whoever waits is let go, and the next opening makes up for it."""
    lab.write("cats.md", "Cats purr.")
    async with lab.open():
        pass
    lab.write("dogs.md", "Dogs bark.")
    gate.open.clear()
    async with asyncio.timeout(60):
        async with lab.open(wait=False) as base:
            waiting = asyncio.ensure_future(base.settled())
            await until(lambda: len(gate.texts) == 2)
        await asyncio.wait([waiting])
        gate.open.set()
        async with lab.open(retrieval=WORDS) as base:
            assert await found(base, "purr", "bark") == [1, 1]


async def test_an_embedder_that_fails_is_told_and_tried_again(
    lab: "Lab", gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It opens all the same with what is stored; who waits for all documents hears why they are not there."""
    monkeypatch.setattr("loomd.knowledge.upkeep.SOON", 0.05)
    lab.write("cats.md", "Cats purr.")
    gate.error = Unreachable("Embedder/e: nobody answers")
    with pytest.raises(Unreachable, match="nobody answers"):
        async with lab.open():
            pass
    gate.error = None
    async with lab.open():
        pass
    lab.write("dogs.md", "Dogs bark.")
    gate.error = Unreachable("Embedder/e: nobody answers")
    async with lab.open(wait=False, retrieval=WORDS) as base:
        with pytest.raises(LoomdError, match="nobody answers"):
            await base.settled()
        ready, degraded = told(base, "IndexReady"), told(base, "Degraded")
        assert (ready.status, ready.reason, ready.is_ill) == ("Unknown", "EmbedFailed", False)
        assert ready.message.endswith(" s; 1 passage can be searched")
        assert (degraded.status, degraded.reason) == ("True", "EmbedFailed")
        assert degraded.message.startswith("Embedder/e: nobody answers; it is tried again in ")
        assert await found(base, "purr", "bark") == [1, 0]
        gate.error = None
        await until(lambda: told(base, "IndexReady").status == "True")
        await base.settled()
        assert told(base, "Degraded").status == "False"
        assert await found(base, "purr", "bark") == [1, 1]


async def test_attempts_become_seldom() -> None:
    """Each wait is twice as long as the one before, up to five minutes; a good attempt begins anew."""
    waits: list[float] = []

    async def refresh() -> None:
        raise LoomdError("no")

    upkeep = Upkeep("kb", refresh, lambda _, wait: waits.append(wait), lambda: True)
    async with upkeep.running():
        for _ in range(9):
            await upkeep.once()
    assert waits == [5, 10, 20, 40, 80, 160, 300, 300, 300]


async def test_one_that_shares_an_index_waits_until_it_serves(lab: "Lab") -> None:
    """Documents of a set that does not serve yet are not found, not even by itself; once it serves they are."""
    lab.write("cats.md", "Cats purr.")
    async with lab.open(retrieval=WORDS) as first:
        (lab.root / "docs" / "cats.md").unlink()
        lab.write("dogs.md", "Dogs bark.")
        serving = lab.services.serving
        serving.snapshot = Snapshot.of([replace(lab.declared, digest="what served before")])
        async with lab.open(wait=False, replaces=True, retrieval=WORDS) as refused:
            await refused.settled()
            assert await found(refused, "purr", "bark") == [1, 0]
            assert told(refused, "IndexReady").reason == "Indexing"
        assert await found(first, "purr", "bark") == [1, 0]
        async with lab.open(wait=False, replaces=True, retrieval=WORDS) as second:
            await second.settled()
            assert await found(second, "purr", "bark") == [1, 0]
            serving.snapshot = Snapshot.of([lab.declared])
            serving.tell()
            await second.settled()
            assert await found(second, "purr", "bark") == [0, 1]
            assert told(second, "IndexReady").reason == "Indexed"


async def test_one_that_serves_no_longer_leaves_the_rest(
    lab: "Lab", gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is still to be indexed is done by the version that serves now, while tasks hold the earlier one."""
    monkeypatch.setattr("loomd.knowledge.arriving.BATCH", 2)
    lab.write("cats.md", "Cats purr.")
    async with lab.open():
        pass
    for at in range(6):
        lab.write(f"{at}.md", f"Number{at} is here.")
    gate.open.clear()
    async with asyncio.timeout(60), lab.open(wait=False) as first:
        earlier, asked = lab.embedder, len(gate.texts)
        await until(lambda: len(gate.texts) > asked)
        lab.digest = "another"
        async with lab.open(wait=False, replaces=True) as second:
            serving = lab.services.serving
            serving.snapshot = Snapshot.of([lab.declared])
            serving.tell()
            gate.open.set()
            await first.settled()
            await second.settled()
            assert len(second) == 7
            assert [len(earlier.texts), len(lab.embedder.texts)] == [2, 4]


async def test_words_are_found_while_much_is_written(lab: "Lab", gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written a while ago is found by its words, though the rest is still embedded."""
    monkeypatch.setattr("loomd.knowledge.word_keeper._UNFOUND", 0.0)
    lab.write("cats.md", "Cats purr.")
    async with lab.open():
        pass
    for at in range(BATCH + 1):
        lab.write(f"{at:03}.md", f"Number{at} is here.")
    gate.word = f"Number{BATCH} "
    gate.open.clear()
    async with asyncio.timeout(60), lab.open(wait=False, retrieval=WORDS) as base:
        while await found(base, "number7") == [0]:  # noqa: ASYNC110  # it is written, and then committed
            await asyncio.sleep(0.01)
        assert await found(base, "purr", f"number{BATCH}") == [1, 0]
        gate.open.set()
        await base.settled()
        assert await found(base, f"number{BATCH}") == [1]


async def test_an_index_that_could_not_be_written_is_made_up_for(lab: "Lab", monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be made anew is told while that lasts, and done without being asked for again."""
    lab.write("cats.md", "Cats purr.")
    monkeypatch.setattr("loomd.knowledge.upkeep.SOON", 0.1)
    commits = list[str]()
    commit = WordIndex.commit

    def full(words: WordIndex, mark: "Mark") -> None:
        commits.append("failed" if len(commits) < 2 else "went well")
        if commits[-1] == "failed":
            raise ValueError("disk full")
        commit(words, mark)

    async with asyncio.timeout(60), lab.open(retrieval=WORDS) as base:
        monkeypatch.setattr(WordIndex, "commit", full)
        with pytest.raises(Temporary, match="the index of words cannot be written: disk full"):
            await base.rebuild()
        ready = told(base, "IndexReady")
        assert (ready.status, ready.reason) == ("False", "IndexUnusable")
        assert "disk full" in ready.message
        await until(lambda: told(base, "IndexReady").status == "True")
        assert commits == ["failed", "failed", "went well"]
        assert await found(base, "purr") == [1]
