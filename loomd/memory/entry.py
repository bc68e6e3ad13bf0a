"""An item with where it lives in a memory: what is a row of its file. Called by `shelf` and `refill`."""

import json
import sqlite3
from typing import NamedTuple

import msgspec

from loomd.events.room import Filter
from loomd.memory.facts import key_of
from loomd.memory.gone import tells
from loomd.memory.item import Draft, Item, ScopeOf, Turn, Whose, id_of
from loomd.memory.layout import tokens_of

_MOST = 31
"""So many tellings of an item are named beside the first one, those that came last."""


class Entry(NamedTuple):
    """An item, its key, the home it lives in, and the one that it moves to when it becomes long-term.

    What says the same in one home, by the key of its words in `said`, is one item.
    """

    item: Item
    key: str
    home: str
    next_home: str = ""
    said: str = ""

    def names(self, owner: str) -> frozenset[str]:
        """Return each id under which the same may be told again.

        That of the item, which is from where it was told first, and those from where it is and where it is going to be.
        """
        homes = (self.home, self.next_home or self.home)
        return frozenset((self.item.id, *(id_of(owner, home, key) for home in homes for key in (self.key, self.said))))

    def cut(self, text: str) -> "Entry":
        """Return it with a shorter text."""
        return self._replace(item=msgspec.structs.replace(self.item, text=text, tokens=tokens_of(text)))

    @property
    def row(self) -> dict[str, object]:
        """Return its columns."""
        values: dict[str, object] = {name: getattr(self.item, name) for name in Item.__struct_fields__}
        values["replaces"] = json.dumps(self.item.replaces)
        values["also"] = msgspec.json.encode(self.item.also).decode()
        return values | {"key": self.key, "home": self.home, "next_home": self.next_home, "said": self.said}


def entry_of(name: str, draft: Draft, whose: Whose, turn: Turn, scope: ScopeOf, *, working: bool) -> Entry:
    """Return what a draft becomes, under an id: a working fact of a conversation, or long-term at once."""
    long = whose.home(scope)
    item = Item(
        name,
        draft.text,
        draft.what,
        "working" if working else "long",
        scope,
        min(1.0, draft.importance * turn.boost),
        tokens_of(draft.text),
        turn.began,
        turn.began,
        whose.agent,
        whose.tenant,
        whose.user,
        whose.session,
        whose.task,
        turn.step,
        turn.absorbed,
        draft.replaces,
    )
    said = key_of(draft.text)
    return Entry(item, draft.key, whose.talk, long, said) if working else Entry(item, draft.key, long, "", said)


def entry_at(row: sqlite3.Row) -> Entry:
    """Return what a row of a memory's file says."""
    fields = {name: row[name] for name in Item.__struct_fields__}
    fields["replaces"], fields["also"] = json.loads(fields["replaces"]), json.loads(fields["also"])
    return Entry(msgspec.convert(fields, Item, strict=False), row["key"], row["home"], row["next_home"], row["said"])


def merged(item: Item, other: Item) -> Item:
    """Return an item that was told once more, as another one that says the same; the same telling again is none."""
    new = [one for one in other.tellings if one not in item.tellings]
    return msgspec.structs.replace(
        item,
        importance=max(item.importance, other.importance),
        told=max(item.told, other.told),
        replaces=tuple(dict.fromkeys((*item.replaces, *other.replaces))),
        also=(*item.also, *new)[-_MOST:],
        count=item.count + other.count - (len(other.tellings) - len(new)),
    )


def without(item: Item, asked: Filter) -> Item | None:
    """Return an item as those told it who are not meant; None when there is nobody else."""
    left = [one for one in item.tellings if not tells(one, asked)]
    if not left:
        return None
    first = left[0]
    return msgspec.structs.replace(
        item,
        created=first.began,
        told=max(one.began for one in left),
        agent=first.agent,
        tenant=first.tenant,
        user=first.user,
        session=first.session,
        task=first.task,
        step=first.step,
        absorbed=first.absorbed,
        also=tuple(left[1:]),
        count=item.count - (len(item.tellings) - len(left)),
    )
