"""The journal: every event that is not transient, in order, on disk. Resume, replay and streams read it.

A checkpoint is an event with a key; a task that runs again finds its checkpoints here and does nothing twice.
"""

from collections.abc import AsyncIterator

import msgspec

from loomd.errors import RecordFailed, Temporary
from loomd.events.event import NAMES, Event
from loomd.store.base import Store
from loomd.store.records import Row

_RETRY = 1.0
"""Seconds until a record that is not whole may be, when nobody says how long that lasts."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Event).decode


class Journal:
    """Writes events to a store and reads them back."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._note = store.note

    def record(self, event: Event, key: str) -> int:
        """Queue an event for the next commit and return its sequence number; fits `Bus(record=...)`."""
        return self._note(Row(event.task, NAMES[type(event.data)], _encode(event), key))

    async def checkpoints(self, task: str) -> dict[str, Event]:
        """Return the events of a task that have a key, by key; none that was recorded is missing.

        Raises:
            RecordFailed: what was recorded cannot be written, or nothing can be read now.
        """
        found: dict[str, Event] = {}
        after = 0
        try:
            while rows := await self._store.read(after=after, task=task, strict=True):
                found.update({row.key: decode(row) for row in rows if row.key})
                after = rows[-1].seq
        except Temporary as error:
            raise RecordFailed(f"Task/{task}: its record is not whole: {error}", error.retry_after or _RETRY) from error
        return found

    async def replay(self, after: int = 0, task: str = "") -> AsyncIterator[Event]:
        """Yield what was journaled after a sequence number, oldest first; of one task when given."""
        while rows := await self._store.read(after=after, task=task):
            for row in rows:
                yield decode(row)
            after = rows[-1].seq


def decode(row: Row) -> Event:
    """Return the event that a row holds, with its sequence number."""
    event = _decode(row.body)
    msgspec.structs.force_setattr(event, "seq", row.seq)
    return event
