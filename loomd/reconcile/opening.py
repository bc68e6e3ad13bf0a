"""What is being opened, and how far it is. Told by what opens it and by the bus; read by whoever shows objects."""

from collections.abc import Collection, Generator
from contextlib import contextmanager

from loomd.clock import Clock
from loomd.events.bus import Bus
from loomd.events.event import Event, IndexProgress
from loomd.manifest.object import Ref
from loomd.reconcile.condition import rfc3339

_INDEXED = "KnowledgeBase"
"""Kind of what tells of its progress."""


class Opening:
    """The objects of which a version is being opened, one after the other.

    Attributes:
        refs: the objects.
    """

    def __init__(self, bus: Bus, clock: Clock) -> None:
        self._bus = bus
        self._clock = clock
        self._progress: IndexProgress | None = None
        self._now: Ref | None = None
        self._since = ""
        self.refs: frozenset[Ref] = frozenset()

    @contextmanager
    def of(self, refs: Collection[Ref]) -> Generator[None]:
        """Note that objects are being opened, for as long as the context lasts."""
        self.refs = frozenset(refs)
        end = self._bus.subscribe(self._hear, IndexProgress)
        try:
            yield
        finally:
            end()
            self.refs, self._now = frozenset(), None

    def begin(self, ref: Ref) -> None:
        """Note that it is an object's turn to be opened now."""
        self._now, self._since, self._progress = ref, rfc3339(self._clock.now()), None

    def tell(self, ref: Ref) -> str:
        """Return in words how far the opening of an object is; an empty text of one that is not being opened."""
        if ref not in self.refs:
            return ""
        if self._now is None:
            return "it is being opened"
        if ref != self._now:
            return f"it serves once {self._now} is open"
        said = f"it is being opened since {self._since}"
        one = self._progress
        if one is None:
            return said
        what = "looked through for entities" if one.stage == "graph" else "indexed"
        return f"{said}: {one.done:,} of {one.total:,} passages are {what}"

    def _hear(self, event: Event) -> None:
        now, told = self._now, event.data
        if isinstance(told, IndexProgress) and now is not None and (now.kind, now.name) == (_INDEXED, told.knowledge):
            self._progress = told
