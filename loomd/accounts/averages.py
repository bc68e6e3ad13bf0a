"""Moving averages that are learned from tasks and outlive the process: of what, and called how.

Who moves one does so within a recorded step, so that a task that is run again moves it once. Called by agents.
"""

import asyncio
from collections.abc import Iterable, Mapping

from loomd.clock import Clock
from loomd.store.base import Store
from loomd.store.records import Average

_NOTHING: dict[str, Average] = {}


class Averages:
    """All moving averages. All methods belong to one event loop."""

    def __init__(self) -> None:
        self._store: Store | None = None
        self._clock: Clock | None = None
        self._loading = asyncio.Lock()
        self._known: dict[str, dict[str, Average]] = {}
        """By subject and name."""

    async def load(self, store: Store, clock: Clock) -> None:
        """Take over what was learned before; a second call does nothing."""
        async with self._loading:
            if self._store is None:
                for one in await store.averages():
                    self.take(one)
                self._store, self._clock = store, clock

    def value(self, subject: str, name: str, otherwise: float) -> float:
        """Return an average, or something else where nothing was learned yet."""
        known = self.get(subject, name)
        return otherwise if known is None else known.value

    def get(self, subject: str, name: str) -> Average | None:
        """Return an average with how many values it is made of, or None where nothing was learned yet."""
        return self.of(subject).get(name)

    def of(self, subject: str) -> Mapping[str, Average]:
        """Return what was learned of a subject, by name."""
        return self._known.get(subject, _NOTHING)

    def each(self, subjects: Iterable[str], names: Iterable[str]) -> list[Average | None]:
        """Return one average of each of many subjects, each under its own name; None where nothing was learned yet."""
        known = self._known.get
        return [known(subject, _NOTHING).get(name) for subject, name in zip(subjects, names, strict=True)]

    def take(self, average: Average) -> None:
        """Take over an average that the caller stores."""
        self._known.setdefault(average.subject, {})[average.name] = average

    def move(self, subject: str, name: str, seen: float, pace: float, otherwise: float) -> tuple[float, float]:
        """Move an average toward a value that was seen, and return what it was and what it is.

        Nothing may be awaited between this and the note of the step that it is a part of.

        Args:
            subject: of what.
            name: called how.
            seen: the value.
            pace: how far it moves, from 0 to 1.
            otherwise: where it begins.
        """
        known = self.get(subject, name)
        before, count = (otherwise, 0) if known is None else (known.value, known.count)
        after = before + pace * (seen - before)
        if known is not None and after == before:
            return before, after
        now = 0.0 if self._clock is None else self._clock.now()
        moved = Average(subject, name, after, count + 1, now)
        self.take(moved)
        if self._store is not None:
            self._store.average(moved)
        return before, after
