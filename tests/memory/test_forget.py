"""What is forgotten does not come back: by work that began before, in a summary, as a vector, or in the log."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loomd.manifest.object import Ref
from loomd.memory.item import Draft, Turn, Which, Whose
from loomd.memory.layout import prepare
from loomd.memory.rank import Weights
from loomd.memory.shelf import Limits, Shelf
from loomd.testing import VirtualClock
from tests.memory.test_memory import Letters, turn

FIRST, SECOND = Whose("ada", "acme", "ann", "s1", "t1"), Whose("ada", "acme", "ann", "s2", "t2")
SAID = "We decided that the password is 4711."
WEIGHTS = Weights(10, 1.0, 1.0, 0.2, 0.2, 1e6)
ALONE = {"recall": {"enabled": True}, "working": {"tokens": 1, "idle": "1h"}}


def told(key: str, began: float, text: str = SAID) -> Turn:
    """Return a turn in which something is told."""
    return Turn(key, text, "Noted.", "step/execute/model/0", began)


def shelf(path: Path) -> Shelf:
    """Return the items in a file, of which nobody waits for another one for long."""
    db = sqlite3.connect(path, timeout=0.05, isolation_level=None)
    prepare(db, "o", 0.0)
    return Shelf(db, "o", Limits("user", 5, 0.1, 50, 1000, 8192, None, WEIGHTS))


async def test_what_two_sessions_told_is_forgotten_for_both(memory: Any) -> None:
    """Neither task brings the one item back when it goes on; whoever says it again is heard."""
    clock = VirtualClock(100.0)
    async with memory(ALONE, clock=clock) as live:
        await live.remember(FIRST, told("t1", 1.0))
        await live.remember(SECOND, told("t2", 2.0))
        assert len(await live.forget(Which())) == 1
        for whose, key, began in ((FIRST, "t1", 1.0), (SECOND, "t2", 2.0), (SECOND, "t3", 100.0)):
            assert await live.remember(whose, told(key, began)) == []
        assert await live.items(Which()) == []
        assert len(await live.remember(SECOND, told("t4", 101.0))) == 1
        assert await live.recall(FIRST, "password") == [SAID]


async def test_what_is_working_is_forgotten_where_it_was_going(memory: Any) -> None:
    """A working fact that is forgotten does not come back by another conversation that told it before."""
    clock = VirtualClock(100.0)
    spec = {"recall": {"enabled": True}, "working": {"tokens": 1000, "idle": "1h"}}
    async with memory(spec, clock=clock) as live:
        await live.remember(FIRST, told("t1", 99.0))
        assert len(await live.forget(Which())) == 1
        assert await live.remember(SECOND, told("t2", 98.0)) == []


async def test_what_another_one_said_stays(memory: Any) -> None:
    """To forget a conversation takes nothing from another one, and its tasks that go on add nothing to it."""
    clock = VirtualClock(100.0)
    spec = {"recall": {"enabled": True}, "working": {"tokens": 1000, "idle": "1h"}}
    async with memory(spec, clock=clock) as live:
        await live.remember(FIRST, told("t1", 99.0))
        kept = await live.remember(SECOND, told("t2", 98.0))
        assert len(await live.forget(Which(session="s1"))) == 1
        assert await live.remember(SECOND, told("t2", 98.0)) == kept
        assert [one.id for one in await live.items(Which())] == kept


@pytest.mark.parametrize("moved", [False, True])
async def test_no_summary_tells_what_was_forgotten_meanwhile(memory: Any, moved: bool) -> None:
    """Neither while the summarizer works nor after; the facts that were not forgotten stay as they are."""
    clock = VirtualClock(100.0)
    spec = {"recall": {"enabled": True}, "compaction": {"provider": "p"}, "working": {"tokens": 1, "idle": "1h"}}
    async with memory(spec, clock=clock, live={Ref("Provider", "p"): object()}) as live:
        await live.remember(FIRST, told("t1", 1.0, f"{SAID} The harbour opens at 7."))
        facts = await live.crowded(FIRST)
        assert len(facts) == 2
        if moved:  # to an item that another conversation told before, and that has its id
            await live.remember(SECOND, told("t2", 1.0))
            await live.condense(SECOND, told("c2", 1.0, ""), [])
            clock.advance(4000.0)
            await live.recall(FIRST, "harbour")
        which = [one.id for one in await live.items(Which()) if one.text == SAID]
        assert len(await live.forget(Which(ids=tuple(which)))) == 1
        summary = Turn("c", "", "The password is 4711.\nHarbour opens at 7.", "x", 50.0)
        for _ in range(2):
            assert (await live.condense(FIRST, summary, facts)).kept == ()
            assert [one.text for one in await live.items(Which())] == ["The harbour opens at 7."]
        later = Turn("c", "", "At 7 the harbour opens.", "x", clock.now() + 1)
        await live.remember(FIRST, told("t5", later.began, "The lighthouse has 99 steps."))
        facts = await live.crowded(FIRST)
        done = await live.condense(FIRST, Turn("d", "", "Lighthouse: 99 steps.", "x", later.began), facts)
        assert len(done.kept) == 1


async def test_a_vector_of_what_was_forgotten_is_dropped(memory: Any) -> None:
    """An item that is kept in the row of a forgotten one, also under its id, gets a vector of its own."""
    embedder = Letters()
    embed, opened = embedder.embed, list[Any]()
    spec = {"recall": {"enabled": True, "embedder": "e", "threshold": 0.9, "keywordWeight": 0.01}}
    meanwhile: list[str] = ["zebra", "quagga"]

    async def slow(texts: Sequence[str]) -> Any:
        made = await embed(texts)
        if meanwhile:
            text = meanwhile.pop()
            await opened[0].forget(Which())
            await opened[0].remember(Whose("ada"), turn("t1", text, 5e9))
        return made

    embedder.embed = slow  # type: ignore[method-assign]  # as a service that takes its time
    async with memory(spec, live={Ref("Embedder", "e"): embedder}) as live:
        opened.append(live)
        await live.remember(Whose("ada"), turn("t1", "harbour"))
        assert [one.text for one in await live.items(Which())] == ["zebra"]
        assert (await live.report()).vectors == 1
        assert await live.recall(Whose("ada"), "abezr") == ["zebra"]
        assert await live.recall(Whose("ada"), "abhorru") == []


def test_a_vector_goes_to_the_text_it_is_of(tmp_path: Path) -> None:
    """Rows are used again: the text decides."""
    items = shelf(tmp_path / "m.db")
    items.add(FIRST, told("k", 1.0), [Draft("a", "alpha")], working=False)
    ((row, text),) = items.unmade("m", 10)
    items.forget(Which(), 5.0)
    items.add(FIRST, told("k", 6.0), [Draft("b", "beta")], working=False)
    items.put_vectors([(row, text, "m", np.ones(2, np.float32).tobytes())])
    assert [tuple(one) for one in items.unmade("m", 10)] == [(row, "beta")]
    items.close()


@pytest.mark.parametrize("then", ["write", "forget", "close", "open"])
def test_the_log_is_emptied_once_nobody_reads(tmp_path: Path, then: str) -> None:
    """While another one reads, what was forgotten is in the files; the next write, end or start takes it out."""
    path = tmp_path / "m.db"
    items, other = shelf(path), sqlite3.connect(path, isolation_level=None)
    items.add(FIRST, told("k", 1.0), [Draft("a", "xylophone")], working=False)
    other.execute("BEGIN")
    other.execute("SELECT count(*) FROM item").fetchall()
    assert len(items.forget(Which(), 5.0)) == 1
    items.expire(5.0)
    assert any(b"xylophone" in file.read_bytes() for file in tmp_path.iterdir())
    other.execute("COMMIT")
    if then == "write":
        items.add(FIRST, told("k", 6.0), [Draft("b", "beta")], working=False)
    elif then == "forget":
        assert items.forget(Which(), 6.0) == []
    elif then == "close":
        items.close()
    else:
        shelf(path).expire(6.0)
    assert not any(b"xylophone" in file.read_bytes() for file in tmp_path.iterdir())
    other.close()
