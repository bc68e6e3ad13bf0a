"""A memory whose file is damaged or gone remembers again what the journal has, and nothing that was forgotten."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loomd.daemon import System
from loomd.errors import Temporary
from loomd.events.bus import Scope
from loomd.events.event import Event
from loomd.events.journal import Journal
from loomd.events.room import Filter, MemoryCondensed, MemoryForgotten, MemoryRefilled, MemoryRemembered, Told
from loomd.manifest.object import Ref
from loomd.memory import recall, refill
from loomd.memory.facts import key_of
from loomd.memory.item import Item, Which, Whose, id_of
from loomd.memory.refill import Ledger
from tests.engine.test_memory import DELEGATES, SAID, Noted, kept, noted, say, team

__all__ = ["noted"]
NOTES = Ref("Memory", "notes")


async def _forget(system: System, which: Which) -> list[str]:
    """Forget as the API does."""
    live: Any = system.reconciler.topology.live[NOTES]
    gone: list[str] = await live.forget(which)
    return gone


async def _again(system: System) -> list[Item]:
    """Return what is remembered once the journal was looked through, without levels, which time decides."""
    await system.reconciler.topology.settled()
    return [msgspec.structs.replace(one, level="long") for one in await kept(system)]


def _break(folder: Path, how: str) -> None:
    """Damage or remove the memory's file."""
    (path,) = folder.rglob("recall.db")
    for one in path.parent.iterdir():
        if how == "gone" or one != path:
            one.unlink()
    if how != "gone":
        path.write_bytes(b"not a database at all" * 100)


async def test_it_remembers_again_all_but_what_was_forgotten(noted: Noted) -> None:
    """Items come back under their ids, with whose they are and where they came from; an event says how many."""
    team(noted, [DELEGATES[0], {**DELEGATES[1], "times": 1}, DELEGATES[2]])
    async with noted.open() as system:
        await say(system, "The cellar code is 9911.", session="")
        for said in (*SAID, SAID[0]):
            await say(system, said)
        await say(system, "My name is Eve and I keep 3 cats.", user="eve", session="s2")
        await say(system, "Please ask the worker about it", session="")
        first = [one.id for one in await kept(system) if "9911" in one.text or "Ann" in one.text]
        assert await _forget(system, Which(ids=tuple(first))) == sorted(first)
        before = await _again(system)
        assert {one.absorbed for one in before} == {True, False}
        assert {one.user for one in before} == {"", "eve"}
    _break(noted.folder, "damaged")
    async with noted.open() as system:
        assert await _again(system) == before
        told = [one.data async for one in Journal(system.store).replay() if isinstance(one.data, MemoryRefilled)]
        assert told == [MemoryRefilled("notes", len(before), 0)]
        live: Any = system.reconciler.topology.live[NOTES]
        (degraded,) = live.health()
        assert f"{len(before)} are remembered again from the journal;" in degraded.message
        gone = await _forget(system, Which(user="eve"))
        assert gone
    _break(noted.folder, "gone")
    async with noted.open() as system:
        assert await _again(system) == [one for one in before if one.user != "eve"]


async def test_a_summary_that_was_forgotten_takes_its_facts_along(noted: Noted) -> None:
    """Facts come back in place of the summary that stood for them, unless somebody had that forgotten."""
    summary = "Spare key: under the blue pot. Ann was hired on 3 March."
    noted.declare("compaction: {provider: short}", [{"text": summary, "times": None}])
    async with noted.open() as system:
        for said in (*SAID, "Hello there, my friends."):
            await say(system, said)
        summaries = [one for one in await kept(system) if one.what == "summary"]
        assert summaries
    _break(noted.folder, "damaged")
    async with noted.open() as system:
        assert set(SAID) <= {one.text for one in await _again(system)}
        bus = system.bus
        bus.emit(MemoryForgotten("notes", (summaries[0].id,)), Scope(bus, "", namespace="default"))
    _break(noted.folder, "damaged")
    async with noted.open() as system:
        there = {one.text for one in await _again(system)}
        assert SAID[0] not in there
        assert SAID[2] in there


async def test_nothing_is_forgotten_while_the_journal_cannot_be_read(
    noted: Noted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would come back later: who wants that is told so, and the memory says that it lacks something."""
    async with noted.open() as system:
        await say(system, SAID[0])
    _break(noted.folder, "damaged")

    async def broken(_: object) -> refill.Contents:
        raise Temporary("the disk is away")

    reading = refill.MemoryJournal.read
    monkeypatch.setattr(refill.MemoryJournal, "read", broken)
    monkeypatch.setattr(recall, "_LOOK", 0.01)
    async with noted.open() as system:
        live: Any = system.reconciler.topology.live[NOTES]
        (told,) = live.health()
        assert (told.status, told.reason) == ("True", "FileDamaged")
        with pytest.raises(Temporary, match="which does not work now"):
            await live.forget(Which())
        refilled = asyncio.Event()
        end = system.bus.subscribe(lambda _: refilled.set(), MemoryRefilled)
        monkeypatch.setattr(refill.MemoryJournal, "read", reading)
        async with asyncio.timeout(60):
            await refilled.wait()
        end()
        assert [one.text for one in await kept(system)] == [SAID[0]]
        assert await live.forget(Which(user=""))


def _told(answer: str, memory: str = "notes") -> Told:
    return Told(memory, "user", "t1", "", answer, 5.0, agent="ada", user="eve", session="s", task="t1", step="step/x")


def test_only_what_the_ids_prove_is_taken() -> None:
    """Another memory's, what was told before the journal begins, and records of earlier versions are left out."""
    ledger, whose = Ledger(NOTES), Whose("ada", "", "eve", "s", "t1")
    name = id_of(str(NOTES), whose.talk, key_of("The gate is green."))
    old = id_of(str(NOTES), whose.talk, "gone")
    facts = (
        MemoryRemembered(("m1",)),
        MemoryRemembered((name, old), _told("The gate is green. The door is red.")),
        MemoryRemembered((name,), _told("The gate is green.", "others")),
        MemoryCondensed(1, 0, ("t1/step/x",)),
        MemoryForgotten("others", (name,)),
    )
    for fact in facts:
        ledger.take(Event(fact, 1.0))
    found = ledger.result()
    assert [(one.item.id, one.item.text, one.item.scope) for one in found.entries] == [
        (name, "The gate is green.", "user")
    ]
    assert found.lacking == 1


async def test_the_journal_has_it_before_anything_is_deleted(noted: Noted, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill, or a full disk, leaves no journal that would bring back what somebody was told is forgotten."""
    spec = noted.folder / "manifests.yaml"
    spec.write_text(spec.read_text().replace("topK: 5", "topK: 5, keep: 2"))
    async with noted.open() as system:
        for said in SAID[:4]:
            await say(system, said, user="eve", session="")
        assert len(await kept(system)) == 2
        durable, store = system.store.durable, system.store

        async def full(seq: int) -> None:
            assert seq
            raise Temporary("the disk is full")

        monkeypatch.setattr(store, "durable", full)
        with pytest.raises(Temporary, match="disk is full"):
            await _forget(system, Which(user="eve"))
        assert len(await kept(system)) == 2

        async def looked(seq: int) -> None:
            await durable(seq)
            there.extend(await kept(system))
            told.extend([one.data async for one in Journal(store).replay() if isinstance(one.data, MemoryForgotten)])

        there, told = list[Item](), list[MemoryForgotten]()
        monkeypatch.setattr(store, "durable", looked)
        assert len(await _forget(system, Which(user="eve"))) == len(there) == 2
        assert told[-1].filter == Filter(user="eve")
        assert set(told[-1].items) == {one.id for one in there}
        assert await _forget(system, Which(user="ann")) == []
        assert told[-1].filter == Filter(user="ann")
    _break(noted.folder, "gone")
    async with noted.open() as system:
        assert await _again(system) == []


async def test_a_row_that_cannot_be_read_ends_nothing(
    noted: Noted, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told in the log and counted as lacking; what else the journal has is remembered again."""
    async with noted.open() as system:
        for said in SAID[:2]:
            await say(system, said, session="")
    _break(noted.folder, "gone")
    decode = refill._event  # as a row that another version wrote

    def some(body: bytes) -> Event:
        if b"blue pot" in body:
            raise msgspec.ValidationError("Invalid enum value 'galaxy'")
        return decode(body)

    monkeypatch.setattr(refill, "_event", some)
    async with noted.open() as system:
        assert [SAID[1] in one.text for one in await _again(system)] == [True]
        told = [one.data async for one in Journal(system.store).replay() if isinstance(one.data, MemoryRefilled)]
        assert told == [MemoryRefilled("notes", 1, 1)]
        assert "of the journal cannot be read: Invalid enum value 'galaxy'" in caplog.text
        assert len(await _forget(system, Which(user=""))) == 1
