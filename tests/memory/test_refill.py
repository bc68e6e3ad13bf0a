"""What the journal says of a memory makes a file that holds no more than the lost one, and forgets as that did."""

import asyncio
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loomd.errors import Temporary
from loomd.events.event import Event
from loomd.events.room import Filter, MemoryCondensed, MemoryForgotten, MemoryRemembered, Told
from loomd.manifest.object import Ref
from loomd.memory.facts import facts_of
from loomd.memory.gone import Meant
from loomd.memory.item import Draft, Turn, Which, Whose
from loomd.memory.layout import prepare
from loomd.memory.recall import open_recall
from loomd.memory.refill import Contents, Ledger
from loomd.memory.shelf import Limits, Shelf
from loomd.memory.summary import Line
from loomd.store.records import Row
from loomd.testing import VirtualClock
from tests.memory.test_forget import WEIGHTS
from tests.memory.test_memory import Letters

NOTES = Ref("Memory", "notes")
LIMITS = Limits("user", 5, 0.1, 50, 1000, 8192, None, WEIGHTS, working=10_000, idle=1.0)
CODE, ROME = "The vault code is 4471.", "Ann lives in Rome."
EVE, SECOND = Whose("ada", "", "eve", "s1", "t1"), Whose("ada", "", "eve", "s2", "t2")
JSON = msgspec.json.Encoder()


class Kept:
    """A memory's file, and what the journal has of it."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self._limits = limits
        self.ledger = Ledger(NOTES)
        self.shelf = self._new()
        self.shelf.refill(Contents())

    def say(self, whose: Whose, turn: Turn, *, working: bool = True) -> list[str]:
        """Tell something, and return the ids."""
        drafts = facts_of(turn.goal, turn.answer, 99, -1.0) if working else [Draft(turn.key, turn.goal)]
        ids = self.shelf.add(whose, turn, drafts, working=working)
        if ids:
            self.take(MemoryRemembered(tuple(ids), self._told(whose, turn)), turn.began)
        return ids

    def condense(self, whose: Whose, turn: Turn, replaced: Sequence[str]) -> MemoryCondensed:
        """Put facts into other words, and return what the journal is to have."""
        facts = tuple(one for one in self.shelf.items(Which()) if one.id in replaced)
        places = tuple(one.place for one in facts)
        kept = self.shelf.replace(whose, turn, [Line(turn.answer, facts)], facts)
        assert kept
        return MemoryCondensed(len(facts), 0, places, self._told(whose, turn), tuple(replaced), tuple(kept))

    def forget(self, which: Which, at: float) -> list[str]:
        """Forget as a live memory does."""
        meant = self.shelf.meant(which)
        fact = MemoryForgotten(
            "notes", meant.items, meant.names, meant.left, meant.places, meant.filter, at, meant.parted
        )
        self.take(fact, at)
        gone = self.shelf.forget(which, at)
        assert tuple(gone) == meant.items
        return gone

    def take(self, fact: Any, at: float) -> None:
        """Note a fact, through JSON as the journal does."""
        self.ledger.take(msgspec.json.decode(JSON.encode(Event(fact, at)), type=Event))

    def lose(self) -> list[str]:
        """Put a new file in the place of the one that there is, and return the texts in it."""
        self.shelf.close()
        self.shelf = self._new()
        self.shelf.refill(self.ledger.result())
        return self.texts

    @property
    def texts(self) -> list[str]:
        """Return what is remembered."""
        return sorted(one.text for one in self.shelf.items(Which()))

    def _new(self) -> Shelf:
        db = sqlite3.connect(":memory:", isolation_level=None)
        prepare(db, str(NOTES), 0.0)
        return Shelf(db, str(NOTES), self._limits)

    @staticmethod
    def _told(whose: Whose, turn: Turn) -> Told:
        said = (turn.key, turn.goal, turn.answer, turn.began, turn.step, turn.boost, turn.absorbed)
        return Told("notes", "user", *said, whose.agent, whose.tenant, whose.user, whose.session, whose.task)


def turn(text: str, began: float, key: str = "k", answer: str = "") -> Turn:
    """Return a turn in which something is told."""
    return Turn(key, text, answer, f"step/{key}", began)


def test_what_had_left_before_is_forgotten_too() -> None:
    """What was too much when its user was forgotten does not come back, nor by work that began before."""
    kept = Kept(replace(LIMITS, keep=2))
    for number in range(4):
        kept.say(EVE, turn(f"secret {number}", float(number), f"k{number}"), working=False)
    kept.say(Whose("ada", user="ann"), turn("the sky is blue", 3.0), working=False)
    assert len(kept.texts) == 3
    assert len(kept.forget(Which(user="eve"), 10.0)) == 2
    for _ in range(2):
        assert kept.texts == ["the sky is blue"]
        assert kept.say(EVE, turn("secret 0", 9.0, "k0"), working=False) == []
        assert kept.lose() == ["the sky is blue"]
    assert kept.say(EVE, turn("a word again", 11.0, "k9"), working=False)
    assert kept.lose() == ["a word again", "the sky is blue"]


def test_what_two_conversations_told_is_forgotten_once() -> None:
    """Two facts that became one are one again when that is forgotten; one that is still its own stays."""
    kept = Kept()
    for whose in (EVE, SECOND):
        assert kept.say(whose, turn(CODE, 1.0))
    assert len(kept.forget(Which(session="s1"), 2.0)) == 1
    assert kept.texts == kept.lose() == [CODE]
    kept.say(EVE, turn(CODE, 3.0))
    kept.shelf.find(EVE, _question(1e9))  # both were idle
    assert kept.texts == [CODE]
    (one,) = kept.shelf.items(Which())
    kept.forget(Which(ids=(one.id,)), 4.0)
    assert kept.texts == kept.lose() == []


def _question(now: float) -> Any:
    from loomd.memory.shelf import Query  # noqa: PLC0415  # one test wants it

    return Query("vault code", now=now)


@pytest.mark.parametrize("lost", [False, True])
def test_work_that_began_before_brings_nothing_back(lost: bool) -> None:
    """In a new file neither: not in another conversation, and not by what the journal has after the forgetting."""
    kept = Kept()
    (name,) = kept.say(EVE, turn(CODE, 1.0))
    fact = MemoryRemembered((name,), kept._told(EVE, turn(CODE, 1.0)))  # told again, noted late
    assert kept.forget(Which(ids=(name,)), 10.0) == [name]
    kept.take(fact, 11.0)
    if lost:
        assert kept.lose() == []
    for whose in (EVE, SECOND):
        assert kept.say(whose, turn(CODE, 9.0)) == []
    assert kept.ledger.result().lacking == 0
    assert kept.say(SECOND, turn(CODE, 11.0))
    assert kept.lose() == [CODE]


@pytest.mark.parametrize("noted", ["before", "after", "never", "by task"])
def test_a_summary_takes_only_what_it_stood_for(noted: str) -> None:
    """Facts of the same turn that it did not stand for stay, unless it was never noted which those were."""
    kept = Kept()
    names = kept.say(EVE, turn(CODE, 1.0, answer=ROME))
    code = next(one for one in names if "4471" in kept.shelf.items(Which(ids=(one,)))[0].text)
    whose = Whose("ada", "", "eve", "s1", "t9")
    fact = kept.condense(whose, turn("", 2.0, "c", answer="4471 opens it."), [code])
    if noted in {"before", "by task"}:
        kept.take(fact, 2.0)
    (summary,) = (one.id for one in kept.shelf.items(Which()) if one.what == "summary")
    assert kept.forget(Which(task="t9") if noted == "by task" else Which(ids=(summary,)), 10.0) == [summary]
    if noted == "after":
        kept.take(fact, 11.0)
    assert kept.texts == [ROME]
    assert kept.lose() == ([] if noted in {"after", "never"} else [ROME])


def test_a_forgotten_line_of_a_summary_takes_its_own_facts() -> None:
    """Those of the other lines come back in place of these."""
    kept = Kept()
    first, second = (one for one in kept.say(EVE, turn(CODE, 1.0, answer=ROME)))
    facts = {one.id: one for one in kept.shelf.items(Which())}
    lines = [Line("Code: 4471.", (facts[first],)), Line("Ann: Rome.", (facts[second],))]
    done = kept.shelf.replace(EVE, turn("", 2.0, "c", answer="Code: 4471. Ann: Rome."), lines, list(facts.values()))
    assert [one.facts for one in done] == [(first,), (second,)]
    told = kept._told(EVE, turn("", 2.0, "c", answer="Code: 4471. Ann: Rome."))
    kept.take(MemoryCondensed(2, 0, ("t1/step/k",), told, (first, second), tuple(done)), 2.0)
    kept.forget(Which(ids=(done[0].item,)), 10.0)
    assert kept.texts == ["Ann: Rome."]
    assert kept.lose() == [ROME]


def test_what_is_noted_late_does_not_come_back() -> None:
    """The journal may have it after the forgetting: by an id of another conversation, or of whom all was forgotten."""
    first, other = Kept(), Kept()
    (name,) = first.say(EVE, turn(CODE, 1.0))
    late = other.say(SECOND, turn(CODE, 9.0))
    first.forget(Which(ids=(name,)), 10.0)
    first.take(MemoryRemembered(tuple(late), first._told(SECOND, turn(CODE, 9.0))), 11.0)
    assert first.ledger.result().entries == ()
    first.forget(Which(user="eve"), 12.0)
    late = other.say(SECOND, turn(ROME, 9.0))
    first.take(MemoryRemembered(tuple(late), first._told(SECOND, turn(ROME, 9.0))), 13.0)
    assert first.ledger.result().entries == ()
    assert first.lose() == []


def test_by_level_only_what_was_on_it_is_forgotten() -> None:
    """What is on the other one stays, and what is told later by work that began before."""
    kept = Kept()
    kept.say(EVE, turn(CODE, 1.0))
    kept.say(EVE, turn("a long answer", 1.0, "k2"), working=False)
    names = kept.say(SECOND, turn("Bob has 12 bees.", 1.0))
    kept.take(kept.condense(SECOND, turn("", 2.0, "c", answer="12 bees has Bob."), names), 2.0)
    kept.forget(Which(level="working"), 10.0)
    assert kept.say(SECOND, turn(ROME, 9.0))
    assert kept.texts == ["12 bees has Bob.", ROME, "a long answer"]
    assert kept.lose() == [ROME, "Bob has 12 bees.", "a long answer"]


def test_rows_that_cannot_be_read_are_lacking() -> None:
    """What one told is counted; after one that forgot, nothing that was told before is taken."""
    kept = Kept()
    kept.say(EVE, turn(CODE, 1.0))
    told = MemoryRemembered.__struct_config__.tag
    gone = MemoryForgotten.__struct_config__.tag
    bodies = [b"not json", b'{"ts":3,"data":{"told":{"memory":"notes"}}}']
    assert [kept.ledger.doubt(Row("", str(told), body)) for body in bodies] == [True, True]
    for other in (b'{"data":{"told":{"memory":"others"}}}', b'{"namespace":"far","data":{"memory":"notes"}}'):
        assert not kept.ledger.doubt(Row("", str(gone), other))
    assert kept.ledger.result().lacking == 2
    assert kept.lose() == [CODE]
    assert kept.ledger.doubt(Row("", str(gone), b'{"ts":5,"data":{"memory":"notes","items":7}}'))
    found = kept.ledger.result()
    assert (found.entries, found.lacking, found.filters) == ((), 4, ((Filter(), 5.0),))
    assert kept.lose() == []
    assert kept.say(EVE, turn(ROME, 4.0)) == []
    assert kept.say(EVE, turn(ROME, 6.0))
    assert kept.lose() == [ROME]


class Slow(Letters):
    """An embedder that takes its time."""

    def __init__(self) -> None:
        super().__init__()
        self.go = asyncio.Event()

    async def embed(self, texts: Sequence[str]) -> Any:
        """Return unit vectors, those of many texts when it may."""
        if len(texts) > 1:
            await self.go.wait()
        return await super().embed(texts)


class Reading:
    """A journal that is read when it may be."""

    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        self.go = asyncio.Event()
        self.read_times = self.told_times = 0
        self.noting = asyncio.Event()
        self.noted: list[Meant] = []

    async def is_empty(self) -> bool:
        """Return that it has something."""
        return False

    async def read(self) -> Contents:
        """Return what it has."""
        self.read_times += 1
        await self.go.wait()
        return self._contents

    async def forget(self, meant: Meant, at: float) -> None:
        """Note what is forgotten, which takes until it may end."""
        assert at
        self.noted.append(meant)
        self.noting.set()
        await self.go.wait()

    def tell(self, refilled: object) -> None:
        """Count what is told."""
        assert refilled
        self.told_times += 1


async def test_two_that_have_a_file_open_wait_for_each_other(tmp_path: Path) -> None:
    """While a memory is exchanged one of them fills the file in; what one adds is not deleted unnoted by the other."""
    kept = Kept()
    kept.say(EVE, turn(CODE, 1.0), working=False)
    journal: Any = Reading(kept.ledger.result())
    given = (tmp_path / "m.db", str(NOTES), LIMITS, None, VirtualClock(100.0), journal)
    async with open_recall(*given) as old, open_recall(*given) as new:
        journal.go.set()
        await asyncio.gather(old.settled(), new.settled())
        assert (journal.read_times, journal.told_times) == (1, 1)
        assert old.refilled == new.refilled
        journal.go.clear()
        forgetting = asyncio.ensure_future(old.forget(Which(user="eve")))
        await journal.noting.wait()
        adding = asyncio.ensure_future(new.add(EVE, turn(ROME, 101.0), [Draft("r", ROME)]))
        done, _ = await asyncio.wait([adding], timeout=0.3)
        assert not done
        journal.go.set()
        assert await forgetting == list(journal.noted[0].items)
        assert await adding
        assert [one.text for one in await old.items(Which())] == [ROME]


async def test_nobody_waits_while_a_file_is_filled_in(tmp_path: Path) -> None:
    """Facts are not condensed before, each text is embedded once beside the tasks, and words are enough meanwhile."""
    kept, embedder = Kept(), Slow()
    for number in range(20):
        kept.say(EVE, turn(f"thing{number} is told", 1.0, f"k{number}"), working=False)
    journal: Any = Reading(kept.ledger.result())
    limits = replace(LIMITS, working=1)
    async with open_recall(tmp_path / "m.db", str(NOTES), limits, embedder, VirtualClock(100.0), journal) as recall:
        fact = turn("", 99.0, "f", answer="The lighthouse of Leith has 99 steps.")
        await recall.add(EVE, fact, [Draft("f", fact.answer)], working=True)
        assert await recall.working(EVE) == []
        with pytest.raises(Temporary, match="still being remembered again"):
            await recall.replace(EVE, fact, [], [])
        journal.go.set()
        await recall.settled()
        assert [one.text for one in await recall.working(EVE)] == [fact.answer]
        found = await asyncio.gather(*(recall.find(EVE, f"thing{number}") for number in range(20)))
        assert found == [[f"thing{number} is told"] for number in range(20)]
        assert await recall.add(SECOND, turn("later", 99.0), [Draft("l", "later")])
        assert embedder.embedded == [fact.answer]
        embedder.go.set()
        async with asyncio.timeout(60):
            while (await recall.report()).vectors < 22:  # noqa: ASYNC110  # asks as any caller would
                await asyncio.sleep(0.01)
        assert len(embedder.embedded) == 22
        assert recall.health() is None
