"""What of a memory was forgotten, and when: work that began before does not bring it back. Called by `shelf`.

The file notes ids and, beside them, whose items were meant: also what had left the memory before, because it was too
much or a summary stood for it, is not told again by such work.
"""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

import msgspec

from loomd.events.room import Filter
from loomd.memory.item import Which

_filter = msgspec.json.Decoder(Filter).decode
_NOTE = "INSERT INTO gone VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET at = max(at, excluded.at)"


class Teller(Protocol):
    """Who told something, and where."""

    @property
    def agent(self) -> str:
        """Return which agent heard it."""
        ...

    @property
    def tenant(self) -> str:
        """Return for which tenant."""
        ...

    @property
    def user(self) -> str:
        """Return for which user."""
        ...

    @property
    def session(self) -> str:
        """Return in which session."""
        ...

    @property
    def task(self) -> str:
        """Return in which task."""
        ...


class Told(Teller, Protocol):
    """Who told something, and who may recall it."""

    @property
    def scope(self) -> str:
        """Return who may recall it."""
        ...


class Meant(NamedTuple):
    """What somebody means to forget.

    Attributes:
        items: the ids of the items that go.
        parted: ids of items that stay, because others told the same: that these told it, too, is forgotten.
        names: each id under which the same may be told again.
        left: ids of items that stay, although they say the same as one of them, or fit but for their level.
        places: where in the journal the facts came from that those of them stand for which are summaries.
        filter: whose items are meant, also such as left before; None when they are meant by their ids.
    """

    items: tuple[str, ...]
    names: tuple[str, ...]
    left: tuple[str, ...]
    places: tuple[str, ...]
    filter: Filter | None
    parted: tuple[str, ...] = ()


def filter_of(which: Which) -> Filter | None:
    """Return whose items are meant; None when they are meant by their ids."""
    if which.ids:
        return None
    return Filter(which.scope, which.level, which.agent, which.tenant, which.user, which.session, which.task)


def fits(told: Told, filter: Filter) -> bool:  # noqa: A002  # the field's name for it
    """Return whether something is meant, on whichever level it is."""
    return filter.scope in {None, told.scope} and tells(told, filter)


def tells(told: Teller, filter: Filter) -> bool:  # noqa: A002  # as above
    """Return whether whoever told something is meant."""
    wanted = (filter.agent, filter.tenant, filter.user, filter.session, filter.task)
    have = (told.agent, told.tenant, told.user, told.session, told.task)
    return all(one in {None, other} for one, other in zip(wanted, have, strict=True))


def note(db: sqlite3.Connection, names: Mapping[str, float], filters: Iterable[tuple[Filter, float]]) -> None:
    """Note ids and filters, each with when it was forgotten, in wall-clock seconds.

    A filter by level says nothing of what is told later: nothing has a level by then.
    """
    rows = [*names.items(), *((_key(one), at) for one, at in filters if one.level is None)]
    db.executemany(_NOTE, rows)


def is_noted(db: sqlite3.Connection, names: Iterable[str], began: float) -> bool:
    """Return whether one of several ids was forgotten since some work began."""
    found = db.execute(
        "SELECT 1 FROM gone WHERE id IN (SELECT value FROM json_each(?)) AND at >= ?", (json.dumps(list(names)), began)
    )
    return found.fetchone() is not None


def is_refused(db: sqlite3.Connection, told: Told, began: float) -> bool:
    """Return whether all of whoever tells something was forgotten since that work began."""
    filters = db.execute("SELECT id FROM gone WHERE id >= '{' AND id < '|' AND at >= ?", (began,))
    return any(fits(told, _filter(key)) for (key,) in filters)


def _key(filter: Filter) -> str:  # noqa: A002  # as above
    """Return what a filter is noted as: JSON, which begins as no id does."""
    return msgspec.json.encode(filter).decode()
