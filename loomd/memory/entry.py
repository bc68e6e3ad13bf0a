"""An item with where it lives in a memory: what is a row of its file. Called by `shelf` and `refill`."""

import json
from typing import NamedTuple

import msgspec

from loomd.memory.item import Draft, Item, ScopeOf, Turn, Whose, id_of
from loomd.memory.layout import tokens_of


class Entry(NamedTuple):
    """An item, its key, the home it lives in, and the one that it moves to when it becomes long-term."""

    item: Item
    key: str
    home: str
    next_home: str = ""

    def names(self, owner: str) -> frozenset[str]:
        """Return each id under which the same may be told again.

        That of the item, which is from where it was told first, and those from where it is and where it is going to be.
        """
        homes = (self.home, self.next_home or self.home)
        return frozenset((self.item.id, *(id_of(owner, home, self.key) for home in homes)))

    def cut(self, text: str) -> "Entry":
        """Return it with a shorter text."""
        return self._replace(item=msgspec.structs.replace(self.item, text=text, tokens=tokens_of(text)))

    @property
    def row(self) -> dict[str, object]:
        """Return its columns."""
        values: dict[str, object] = {name: getattr(self.item, name) for name in Item.__struct_fields__}
        values["replaces"] = json.dumps(self.item.replaces)
        return values | {"key": self.key, "home": self.home, "next_home": self.next_home}


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
    return Entry(item, draft.key, whose.talk, long) if working else Entry(item, draft.key, long)
