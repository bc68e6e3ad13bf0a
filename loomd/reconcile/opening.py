"""What is being opened, and how far it is. Fed by the bus as long as something is; read by whoever shows objects."""

from collections.abc import Collection, Generator
from contextlib import contextmanager

from loomd.events.bus import Bus
from loomd.events.event import Event, IndexProgress
from loomd.manifest.object import Ref


class Opening:
    """The objects of which a version is being opened.

    Attributes:
        refs: the objects.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._progress: dict[str, IndexProgress] = {}
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
            self.refs = frozenset()
            self._progress = {}

    def tell(self, ref: Ref) -> str:
        """Return in words how far the opening of an object is; an empty text of one that is not being opened."""
        if ref not in self.refs:
            return ""
        one = self._progress.get(ref.name) if ref.kind == "KnowledgeBase" else None
        alike = [other for other in self.refs if (other.kind, other.name) == (ref.kind, ref.name)]
        if one is None or len(alike) > 1:  # what is told of progress has no namespace
            return "it is being opened"
        what = "looked through for entities" if one.stage == "graph" else "indexed"
        return f"it is being opened: {one.done:,} of {one.total:,} passages are {what}"

    def _hear(self, event: Event) -> None:
        if isinstance(event.data, IndexProgress):
            self._progress[event.data.knowledge] = event.data
