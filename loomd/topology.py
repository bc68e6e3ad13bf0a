"""The live objects of one snapshot. Tasks lease it; what left the next snapshot closes after the last lease.

A spec knows how to open itself: `spec.open(parts)` is an async context manager that yields the live thing. Unchanged
objects (same digest, same opened references) are shared between topologies, so a reload opens only what changed.
Called by `reconcile`; never reads files or decides what should be.
"""

import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Protocol, TypeVar, cast

from loomd.clock import Clock
from loomd.errors import LoomdError, NotFound
from loomd.events.bus import Bus
from loomd.manifest.object import Object, Ref, Snapshot
from loomd.store.base import Store

_log = logging.getLogger("loomd.topology")
T = TypeVar("T")


@dataclass(frozen=True)
class Services:
    """What the daemon lends to every live thing."""

    store: Store
    bus: Bus
    clock: Clock
    models_dir: Path
    """Folder of the embedded models' files."""


class Openable(Protocol):
    """A spec that can come alive."""

    def open(self, parts: "Parts") -> AbstractAsyncContextManager[object]:
        """Open the live thing; closing the context releases all that it holds."""
        ...


@dataclass(frozen=True)
class Parts:
    """What a spec may use while it opens."""

    declared: Object
    services: Services
    live: Mapping[Ref, object]
    objects: Mapping[Ref, Object] = field(default_factory=dict[Ref, Object])

    @property
    def name(self) -> str:
        """Return the name of the object that opens."""
        return self.declared.ref.name

    @property
    def root(self) -> Path:
        """Return the folder that relative paths of the manifest start from and may not leave."""
        return self.declared.root

    @property
    def state_dir(self) -> Path:
        """Return the folder for this object's own files; it is created on first use."""
        ref = self.declared.ref
        path = self.services.store.directory / ref.kind.lower() / ref.namespace / ref.name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def digest(self, kind: str, name: str) -> str:
        """Return the digest of the object that a reference names, or an empty string when it is not declared."""
        found = self.objects.get(Ref(kind, name, self.declared.ref.namespace))
        return found.digest if found else ""

    def get(self, kind: str, name: str, shape: Callable[..., T]) -> T:
        """Return the live object that a reference names.

        Args:
            kind: kind of the target.
            name: its name, in this object's namespace.
            shape: the protocol that the caller expects, for the type checker.

        Raises:
            NotFound: it is not in the snapshot (references are checked before, so this is a fault of the caller).
        """
        ref = Ref(kind, name, self.declared.ref.namespace)
        if ref not in self.live:
            raise NotFound(f"{self.declared.ref}: {ref} is not open")
        del shape
        return cast("T", self.live[ref])


@dataclass
class _Live:
    """An open thing and the number of topologies that hold it."""

    value: object
    stack: AsyncExitStack
    key: str
    holders: int = 0


@dataclass
class Topology:
    """The live things of one snapshot.

    Attributes:
        snapshot: what should be.
        live: what is, by ref; empty once it is closed.
    """

    snapshot: Snapshot
    live: Mapping[Ref, object] = field(default_factory=dict[Ref, object])
    _things: dict[Ref, _Live] = field(default_factory=dict)
    _leases: int = 0
    _retired: bool = False

    @asynccontextmanager
    async def lease(self) -> AsyncGenerator["Topology", None]:
        """Hold the topology open for as long as a task runs on it; a thing that fails to close is only logged."""
        self._leases += 1
        try:
            yield self
        finally:
            self._leases -= 1
            await self._close_if_unused()

    async def retire(self) -> None:
        """Give the topology up: it closes now, or after its last lease; a thing that fails to close is only logged."""
        self._retired = True
        await self._close_if_unused()

    async def _close_if_unused(self) -> None:
        if not self._retired or self._leases:
            return
        things, self._things = self._things, {}
        self.live = {}
        async with AsyncExitStack() as stack:  # in reverse order, and to the end whatever happens on the way
            for ref, thing in things.items():
                stack.push_async_callback(_release, ref, thing)


async def open_topology(snapshot: Snapshot, services: Services, previous: Topology | None = None) -> Topology:
    """Open everything that a snapshot declares, sharing what did not change with the previous topology.

    Raises:
        LoomdError: a thing could not be opened; all that was opened for this snapshot is closed again, and the
            previous topology is untouched.
    """
    live: dict[Ref, object] = {}
    topology = Topology(snapshot, MappingProxyType(live))
    try:
        for ref, item in snapshot.objects.items():
            key = "/".join([item.digest, str(item.root), *(topology._things[to].key for _, to in item.refs)])  # noqa: SLF001  # its own class, in this module
            thing = previous._things.get(ref) if previous else None  # noqa: SLF001  # its own class, in this module
            if thing is None or thing.key != key:
                thing = await _open(item, services, topology, key)
            thing.holders += 1
            topology._things[ref] = thing  # noqa: SLF001  # its own class, in this module
            live[ref] = thing.value
    except BaseException:
        await topology.retire()
        raise
    return topology


async def _open(item: Object, services: Services, topology: Topology, key: str) -> _Live:
    async with AsyncExitStack() as stack:
        spec = cast("Openable", item.spec)
        try:
            value = await stack.enter_async_context(
                spec.open(Parts(item, services, topology.live, topology.snapshot.objects))
            )
        except LoomdError as error:
            _place(error, item)
            raise
        return _Live(value, stack.pop_all(), key)
    raise AssertionError("unreachable")  # the stack never swallows an error


def _place(error: LoomdError, item: Object) -> None:
    """Put in front of an error's message where the object stands and which it is."""
    text = str(error)
    named = text if text.startswith(str(item.ref)) else f"{item.ref}: {text}"
    error.args = (f"{item.position}: {named}", *error.args[1:])


async def _release(ref: Ref, thing: _Live) -> None:
    """Let go of a thing; the last holder closes it."""
    thing.holders -= 1
    if thing.holders:
        return
    try:
        await thing.stack.aclose()
    except Exception:  # nobody waits for what is given up: whoever holds the last lease has done its own work
        _log.exception("%s did not close cleanly", ref)
