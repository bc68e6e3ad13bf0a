"""What a memory knew, by the journal: what was told to it, and what of that was forgotten since.

A memory whose file is damaged or gone is filled in again with it. Nothing is guessed: what was told was noted with the
ids under which it was kept, and only items whose ids come out the same are taken for those of this memory. Facts that a
summary stood for come back in its place. Called by `recall`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from loomd.events.bus import Bus, Scope
from loomd.events.event import Event
from loomd.events.room import MemoryCondensed, MemoryForgotten, MemoryRefilled, MemoryRemembered, Told
from loomd.manifest.object import Ref
from loomd.memory.facts import facts_of, key_of, sentences
from loomd.memory.item import Draft, Item, Whose, id_of
from loomd.memory.layout import tokens_of
from loomd.store.base import Store

_PAGE = 1000
"""Rows of the journal that are read at a time."""
_TYPES = {str(one.__struct_config__.tag) for one in (MemoryCondensed, MemoryForgotten, MemoryRemembered)}
_ALL = 1 << 20
_event = msgspec.json.Decoder(Event).decode


class Entry(NamedTuple):
    """An item, its key, the home it lives in, and the one that it moves to when it becomes long-term."""

    item: Item
    key: str
    home: str
    next_home: str = ""


class Again(NamedTuple):
    """What is remembered again, and how many items the journal only names: what was told is not in it any more."""

    entries: tuple[Entry, ...]
    lacking: int


class _Summary(NamedTuple):
    """Keys of the lines of a summary, the ids that they have, and the places of the facts that they stand for."""

    keys: frozenset[str]
    ids: frozenset[str]
    places: frozenset[str]


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
        self._summaries: list[_Summary] = []

    def take(self, event: Event) -> None:
        """Take an event into account."""
        if isinstance(event.data, MemoryRemembered):
            self._remembered(event.data, event.namespace)
        elif isinstance(event.data, MemoryCondensed) and event.data.told is not None:
            self._condensed(event.data.told, event.data.places)
        elif isinstance(event.data, MemoryForgotten) and event.data.memory == self._ref.name:
            self._forgotten(event.data.items)  # ids are those of one memory alone

    def result(self) -> Again:
        """Return what is remembered again."""
        return Again(tuple(self._entries.values()), len(self._unknown))

    def _remembered(self, fact: MemoryRemembered, namespace: str) -> None:
        if (told := fact.told) is None or told.memory != self._ref.name:
            return
        left = dict.fromkeys(fact.items)
        whose, known = _whose(told), {self._entries[one].key: one for one in fact.items if one in self._entries}
        drafts = [Draft(told.key, f"{told.goal}\n{told.answer}".strip())]
        drafts += facts_of(told.goal, told.answer, _ALL, -1.0)
        for draft in drafts:
            talk, long = whose.talk, whose.home(told.scope)
            names = {id_of(self._owner, talk, draft.key): talk, id_of(self._owner, long, draft.key): long}
            name = known.get(draft.key) or next((one for one in names if one in left), "")
            if name in self._entries:
                self._entries[name] = _again(self._entries[name], draft, told)
            elif name:
                working = names[name] == talk
                item = _item(name, draft, told, working=working)
                self._entries[name] = Entry(item, draft.key, names[name], long if working else "")
            left.pop(name, None)
        if namespace == self._ref.namespace:
            self._unknown.update(left)

    def _condensed(self, told: Told, places: Iterable[str]) -> None:
        keys = frozenset(map(key_of, sentences(told.answer)))
        home = _whose(told).home(told.scope)
        ids = frozenset(id_of(self._owner, home, key) for key in keys)
        self._summaries.append(_Summary(keys, ids, frozenset(places)))

    def _forgotten(self, ids: Iterable[str]) -> None:
        """Leave out what was forgotten, and what a summary stood for that was."""
        gone = set(ids)
        keys = {self._entries[one].key for one in gone if one in self._entries}
        hidden = [one for one in self._summaries if one.ids & gone or one.keys & keys]
        places = frozenset[str]().union(*(one.places for one in hidden))
        self._unknown -= gone
        self._entries = {
            name: one for name, one in self._entries.items() if name not in gone and one.item.place not in places
        }


@dataclass(frozen=True)
class Journal:
    """The journal, as one memory uses it.

    Attributes:
        store: which has it.
        bus: where it is told that the memory was filled in again.
        ref: which memory.
    """

    store: Store
    bus: Bus
    ref: Ref

    async def is_empty(self) -> bool:
        """Return whether nothing was ever written."""
        return not (await self.store.extent()).last

    async def read(self) -> Again:
        """Return what the memory knew.

        Of the rows up to the last one that retention removed none is taken: somebody may have had forgotten what they
        tell, and that is not in the journal any more.

        Raises:
            Temporary: it cannot be read now.
        """
        ledger, extent = Ledger(self.ref), await self.store.extent()
        after = extent.trimmed
        while rows := await self.store.read(after, limit=_PAGE):
            for row in rows:
                if row.type in _TYPES:
                    ledger.take(_event(row.body))
            after = rows[-1].seq
        return ledger.result()

    def tell(self, items: int, lacking: int) -> None:
        """Tell that the memory was filled in again."""
        fact = MemoryRefilled(self.ref.name, items, lacking)
        self.bus.emit(fact, Scope(self.bus, "", namespace=self.ref.namespace))


def _whose(told: Told) -> Whose:
    return Whose(told.agent, told.tenant, told.user, told.session, told.task)


def _again(entry: Entry, draft: Draft, told: Told) -> Entry:
    """Return an entry that was told once more."""
    item = entry.item
    importance = max(item.importance, min(1.0, draft.importance * told.boost))
    return entry._replace(item=msgspec.structs.replace(item, told=max(item.told, told.began), importance=importance))


def _item(name: str, draft: Draft, told: Told, *, working: bool) -> Item:
    return Item(
        id=name,
        text=draft.text,
        what=draft.what,
        level="working" if working else "long",
        scope=told.scope,
        importance=min(1.0, draft.importance * told.boost),
        tokens=tokens_of(draft.text),
        created=told.began,
        told=told.began,
        agent=told.agent,
        tenant=told.tenant,
        user=told.user,
        session=told.session,
        task=told.task,
        step=told.step,
        absorbed=told.absorbed,
    )
