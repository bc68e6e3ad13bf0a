"""What a memory held, by the journal: what was told to it, and what of that was forgotten since.

A memory whose file is damaged or gone is filled in again with it. Nothing is guessed: what was told was noted with the
ids under which it was kept, and only items whose ids come out the same are taken for those of this memory. Facts that a
summary stood for come back in its place. What was forgotten stays away, also where that takes more along: what had left
the memory before, and what says the same. Called by `recall`.
"""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from loomd.events.bus import Bus, Scope
from loomd.events.event import Event
from loomd.events.room import Filter, MemoryCondensed, MemoryForgotten, MemoryRefilled, MemoryRemembered, Told
from loomd.manifest.object import Ref
from loomd.memory.entry import Entry, entry_of, merged, without
from loomd.memory.facts import facts_of, key_of, sentences
from loomd.memory.gone import Meant, fits
from loomd.memory.item import Draft, Turn, Whose, id_of
from loomd.store.base import Store
from loomd.store.records import Row

_log = logging.getLogger("loomd.memory")
_PAGE = 1000
"""Rows of the journal that are read at a time."""
_TYPES = {str(one.__struct_config__.tag) for one in (MemoryCondensed, MemoryForgotten, MemoryRemembered)}
_REMEMBERED = str(MemoryRemembered.__struct_config__.tag)
_ALL = 1 << 20
_event = msgspec.json.Decoder(Event).decode


class Contents(NamedTuple):
    """What a memory held.

    Attributes:
        entries: what is remembered again.
        lacking: how many items the journal only names: what was told is not in it any more, or cannot be read.
        gone: the ids under which nothing is told again by work that began before, each with when it was forgotten.
        filters: whose items are not told again by such work, each with when that was asked.
    """

    entries: tuple[Entry, ...] = ()
    lacking: int = 0
    gone: dict[str, float] = {}  # noqa: RUF012  # nobody writes in it
    filters: tuple[tuple[Filter, float], ...] = ()


class Refilled(NamedTuple):
    """How a new file was filled in: how many items it has from the journal, and how many that only names."""

    items: int
    lacking: int


class _Summary(NamedTuple):
    """What lines of a summary were told as, their ids, and those of the facts that they stand for."""

    told: Told
    ids: frozenset[str]
    replaced: frozenset[str]


class _Outline(msgspec.Struct):
    """What is read of an event that cannot be read as a whole."""

    ts: float = 0.0
    namespace: str = "default"
    data: Any = None


class Ledger:
    """Goes through what the journal says of one memory, in its order.

    Args:
        ref: which memory.
    """

    def __init__(self, ref: Ref) -> None:
        self._ref = ref
        self._owner = str(ref)
        self._entries: dict[str, Entry] = {}
        self._unknown: set[str] = set()
        """Ids of what was told first in a part of the journal that is not there any more."""
        self._unread = 0
        self._summaries: list[_Summary] = []
        self._gone: dict[str, float] = {}
        self._filters: list[tuple[Filter, float]] = []
        self._latest = 0.0

    def take(self, event: Event) -> None:
        """Take an event into account."""
        self._latest = max(self._latest, event.ts)
        if isinstance(event.data, MemoryRemembered):
            self._remembered(event.data, event.namespace)
        elif isinstance(event.data, MemoryCondensed):
            self._condensed(event.data)
        elif isinstance(event.data, MemoryForgotten) and event.data.memory == self._ref.name:
            self._forgotten(event.data, event.data.at or event.ts, event.namespace)

    def doubt(self, row: Row) -> bool:
        """Take a row into account that cannot be read, and return whether it may be of this memory.

        What was told is lacking then. What was forgotten, or put into other words, may be anything that was told
        before: nothing of that is taken.
        """
        try:
            outline = msgspec.json.decode(row.body, type=_Outline)
        except msgspec.MsgspecError:
            outline = _Outline(namespace=self._ref.namespace)
        if outline.namespace != self._ref.namespace or _memory_of(outline.data) not in {None, self._ref.name}:
            return False
        self._unread += 1
        if row.type != _REMEMBERED:
            self._latest = max(self._latest, outline.ts)
            self._unread += len(self._entries)
            self._filters.append((Filter(), self._latest))
            self._drop(set(self._entries), self._latest)
        return True

    def result(self) -> Contents:
        """Return what the memory held."""
        entries, lacking = tuple(self._entries.values()), len(self._unknown) + self._unread
        return Contents(entries, lacking, dict(self._gone), tuple(self._filters))

    def _remembered(self, fact: MemoryRemembered, namespace: str) -> None:
        if (told := fact.told) is None or told.memory != self._ref.name:
            return
        if self._is_refused(told):
            return
        left = dict.fromkeys(one for one in fact.items if one in self._entries or not self._is_gone((one,), told.began))
        whose, there = _whose(told), [one for one in left if one in self._entries]
        known = {self._entries[one].said: one for one in there} | {self._entries[one].key: one for one in there}
        drafts = [Draft(told.key, f"{told.goal}\n{told.answer}".strip())]
        drafts += facts_of(told.goal, told.answer, _ALL, -1.0)
        for draft in drafts:
            talk, long = whose.talk, whose.home(told.scope)
            names = {id_of(self._owner, talk, draft.key): True, id_of(self._owner, long, draft.key): False}
            name = known.get(draft.key) or known.get(key_of(draft.text))
            name = name or next((one for one in names if one in left), "")
            if not name or (name not in self._entries and self._is_gone(names, told.began)):
                left.pop(name, None)
                continue
            entry = entry_of(name, draft, whose, _turn(told), told.scope, working=names.get(name, False))
            same = self._entries.get(name)
            self._entries[name] = entry if same is None else same._replace(item=merged(same.item, entry.item))
            left.pop(name, None)
        if namespace == self._ref.namespace:
            self._unknown.update(left)

    def _condensed(self, fact: MemoryCondensed) -> None:
        if (told := fact.told) is None or told.memory != self._ref.name:
            return
        for one in self._summaries_of(fact, told):
            if self._is_gone(one.ids, told.began) or self._is_refused(told):  # meanwhile
                self._drop(one.replaced, told.began)
            else:
                self._summaries.append(one)

    def _summaries_of(self, fact: MemoryCondensed, told: Told) -> Iterator[_Summary]:
        """Yield each line of a summary with its facts; all of it at once where it is not said which are whose."""
        if fact.lines:
            yield from (_Summary(told, frozenset((one.item,)), frozenset(one.facts)) for one in fact.lines)
            return
        home = _whose(told).home(told.scope)
        ids = frozenset(id_of(self._owner, home, key_of(line)) for line in sentences(told.answer))
        there = (name for name, one in self._entries.items() if one.item.place in fact.places)
        yield _Summary(told, ids, frozenset(fact.items or there))

    def _forgotten(self, fact: MemoryForgotten, at: float, namespace: str) -> None:
        """Leave out what was forgotten, what says the same, and what a summary stood for that was."""
        if namespace != self._ref.namespace:
            return
        items, stays = set(fact.items), set(fact.left)
        for one in self._summaries:
            if one.ids <= stays.union(fact.parted):  # it stays, and so does what it stands for
                stays |= one.replaced - items
        hit = items.intersection(self._entries) | self._part(fact.filter, items | stays)
        left, asked = stays.union(fact.parted), fact.filter
        names = items.union(fact.names, *(self._entries[one].names(self._owner) for one in hit))
        hit |= {
            name
            for name, one in self._entries.items()
            if name not in left and not names.isdisjoint(one.names(self._owner))
        }
        known = items.intersection(self._entries).union(*(one.ids for one in self._summaries))
        if items - known:  # of a summary that was never noted: a kill came between
            hit |= {name for name, one in self._entries.items() if name not in left and one.item.place in fact.places}
        for one in list(self._summaries):
            is_meant = asked is not None and fits(one.told, asked) and not one.ids <= left
            if is_meant or not names.isdisjoint(one.ids):
                self._summaries.remove(one)
                hit |= one.replaced
                names |= one.ids
        if asked is not None and asked.level is None:
            self._filters.append((asked, at))
        self._note(names, at)
        self._drop(hit, at)

    def _part(self, asked: Filter | None, beside: set[str]) -> set[str]:
        """Leave out who is meant of those that told an item, and return the items that nobody else told."""
        alone: set[str] = set()
        for name, one in self._entries.items():
            if asked is None or name in beside or asked.scope not in {None, one.item.scope}:
                continue
            if (kept := without(one.item, asked)) is None:
                alone.add(name)
            else:
                self._entries[name] = one._replace(item=kept)
        return alone

    def _drop(self, hit: Iterable[str], at: float) -> None:
        for name in hit:
            entry = self._entries.pop(name, None)
            self._note({name} if entry is None else entry.names(self._owner), at)

    def _note(self, names: Iterable[str], at: float) -> None:
        for name in names:
            self._gone[name] = max(at, self._gone.get(name, at))
            self._unknown.discard(name)

    def _is_refused(self, told: Told) -> bool:
        """Return whether all of whoever tells something was forgotten since that work began."""
        return any(at >= told.began and fits(told, one) for one, at in self._filters)

    def _is_gone(self, names: Iterable[str], began: float) -> bool:
        return any(one in self._gone and self._gone[one] >= began for one in names)


@dataclass(frozen=True)
class MemoryJournal:
    """The journal, as one memory uses it.

    Attributes:
        store: which has it.
        bus: where it is told what was forgotten, and that the memory was filled in again.
        ref: which memory.
    """

    store: Store
    bus: Bus
    ref: Ref

    async def is_empty(self) -> bool:
        """Return whether nothing was ever written."""
        return not (await self.store.extent()).last

    async def read(self) -> Contents:
        """Return what the memory held.

        Of the rows up to the last one that retention removed none is taken: somebody may have had forgotten what they
        tell, and that is not in the journal any more. A row that cannot be read is told in the log.

        Raises:
            Temporary: it cannot be read now, or what was noted last cannot be written.
        """
        ledger, extent = Ledger(self.ref), await self.store.extent()
        after = extent.trimmed
        while rows := await self.store.read(after, limit=_PAGE, strict=True):
            for row in rows:
                if row.type not in _TYPES:
                    continue
                try:
                    event = _event(row.body)
                except msgspec.MsgspecError as error:
                    if ledger.doubt(row):
                        _log.warning("%s: row %d of the journal cannot be read: %s", self.ref, row.seq, error)
                    continue
                ledger.take(event)
            after = rows[-1].seq
        return ledger.result()

    async def forget(self, meant: Meant, at: float) -> None:
        """Note what is forgotten, and return once that is on disk.

        Raises:
            Temporary: it cannot be written now.
        """
        said = (meant.items, meant.names, meant.left, meant.places, meant.filter, at, meant.parted)
        fact = MemoryForgotten(self.ref.name, *said)
        event = self.bus.emit(fact, self._scope)
        await self.store.durable(event.seq)

    def tell(self, refilled: Refilled) -> None:
        """Tell that the memory was filled in again."""
        self.bus.emit(MemoryRefilled(self.ref.name, refilled.items, refilled.lacking), self._scope)

    @property
    def _scope(self) -> Scope:
        return Scope(self.bus, "", namespace=self.ref.namespace)


def _memory_of(data: Any) -> str | None:
    """Return of which memory an event is that cannot be read; None when it does not say."""
    said = data if isinstance(data, dict) else {}
    told = said.get("told")
    name = said.get("memory", told.get("memory") if isinstance(told, dict) else None)
    return name if isinstance(name, str) else None


def _whose(told: Told) -> Whose:
    return Whose(told.agent, told.tenant, told.user, told.session, told.task)


def _turn(told: Told) -> Turn:
    return Turn(told.key, told.goal, told.answer, told.step, told.began, told.boost, told.absorbed)
