"""The live objects of one snapshot. Tasks lease it; what left the next snapshot closes after the last lease.

A spec knows how to open itself: `spec.open(parts)` is an async context manager that yields the live thing. Unchanged
objects (same digest, same opened references) are shared between topologies, so a reload opens only what changed.
Called by `reconcile`; never reads manifests or decides what should be.
"""

import asyncio
import logging
import shutil
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Literal, Protocol, TypeVar, cast

from loomd.accounts.account import Accounts
from loomd.accounts.averages import Averages
from loomd.accounts.load import Loads
from loomd.clock import Clock
from loomd.errors import LoomdError, NotFound
from loomd.events.bus import Bus
from loomd.manifest.object import EMPTY, Object, Ref, Snapshot, object_name
from loomd.store.base import Store

_log = logging.getLogger("loomd.topology")
T = TypeVar("T")
Told = Callable[[Ref], object]

CLOSING = 30.0
"""Seconds that a live thing gets to close; what takes longer is given up, and said to be."""


@dataclass
class Serving:
    """What serves now, for things that act on a change before the tasks that hold them have ended.

    Attributes:
        snapshot: what serves; the reconciler sets it when it swaps.
        withdrawn: what an open topology holds and does not serve any more.
        live: the open things that serve, by ref.
    """

    snapshot: Snapshot = EMPTY
    withdrawn: frozenset[Ref] = frozenset()
    live: Mapping[Ref, object] = field(default_factory=dict[Ref, object])
    _listeners: dict[object, Callable[[], object]] = field(default_factory=dict[object, Callable[[], object]])

    def tell(self) -> None:
        """Call whoever listens: another snapshot serves."""
        for listener in tuple(self._listeners.values()):
            try:
                listener()
            except Exception:
                _log.exception("a listener failed on another snapshot")

    def listening(self, listener: Callable[[], object]) -> "_Listening":
        """Call `listener` whenever another snapshot serves, as long as the context lasts; it must be quick."""
        return _Listening(self._listeners, listener)


class _Listening:
    """One who listens."""

    __slots__ = ("_all", "_listener")

    def __init__(self, all_: dict[object, Callable[[], object]], listener: Callable[[], object]) -> None:
        self._all = all_
        self._listener = listener

    def __enter__(self) -> None:
        self._all[self] = self._listener

    def __exit__(self, *_: object) -> None:
        del self._all[self]


@dataclass(frozen=True)
class Services:
    """What the daemon lends to every live thing."""

    store: Store
    bus: Bus
    clock: Clock
    models_dir: Path
    """Folder of the embedded models' files."""
    serving: Serving = field(default_factory=Serving)
    """What serves now."""
    packages: tuple[str, ...] = ()
    """Packages whose functions manifests may name, with all that is in them."""
    accounts: Accounts = field(default_factory=Accounts)
    """What agents and namespaces have used today, and may use."""
    averages: Averages = field(default_factory=Averages)
    """What was learned of prompts and tokens."""
    loads: Loads = field(default_factory=Loads)
    """How much work agents have in hand."""


HealthReason = Literal[
    "NotCalled",
    "Answered",
    "Unreachable",
    "Overloaded",
    "Unauthorized",
    "QuotaExceeded",
    "NotFound",
    "BadReply",
    "Indexing",
    "Indexed",
    "IndexDamaged",
    "IndexUnusable",
    "Fetching",
    "FetchFailed",
    "DocumentsRead",
    "DocumentsSkipped",
    "RefreshFailed",
    "SourceUnreachable",
    "EmbedFailed",
    "FileDamaged",
    "Refilling",
    "FilterMatched",
    "FilterUnmatched",
    "RecallBelowTarget",
    "GraphIncomplete",
    "Active",
    "Suspended",
    "NotDue",
    "Submitted",
    "NotSubmitted",
    "ClusterNotServing",
    "ToolsDrifted",
    "DoingBadly",
    "Dying",
    "Retired",
]
"""Why a live thing is as it was observed: eight of a provider's calls or of a server of tools, six of an index, two of
its documents, two of how old they are, one of its embedder, two of a memory's file, two of filters, one of how much an
index finds, one of its graph, six of a schedule, one of tools, three of an agent's last rewards."""


@dataclass(frozen=True)
class Health:
    """What was observed of a live thing.

    Attributes:
        condition: which of the object's conditions this is.
        status: `Unknown` as long as nothing was observed.
        reason: one word in PascalCase.
        message: one sentence for people, without secrets.
        since: wall-clock seconds at which the status became what it is.
    """

    condition: Literal["ProviderReachable", "IndexReady", "Degraded", "Suspended", "TaskSubmitted"]
    status: Literal["True", "False", "Unknown"]
    reason: HealthReason
    message: str
    since: float

    @property
    def is_ill(self) -> bool:
        """Return whether the thing does not work; one that is degraded or suspended does what it can or should."""
        return self.status == "False" and self.condition not in {"Degraded", "Suspended"}

    @property
    def is_dead(self) -> bool:
        """Return whether it is ill, and not because it still gets what it needs."""
        return self.is_ill and self.reason not in {"Fetching", "FetchFailed", "Indexing", "EmbedFailed"}

    def turn(
        self, status: Literal["True", "False", "Unknown"], reason: HealthReason, message: str, now: float
    ) -> "Health":
        """Return what was observed now; `since` moves only when the status does."""
        return Health(self.condition, status, reason, message, self.since if status == self.status else now)


class Observed(Protocol):
    """A live thing that says how it is; having the method is enough."""

    def health(self) -> Iterable[Health]:
        """Return what was observed, without asking anybody."""
        ...


class Openable(Protocol):
    """A spec that can come alive."""

    def open(self, parts: "Parts") -> AbstractAsyncContextManager[object]:
        """Open the live thing; closing the context releases all that it holds."""
        ...


@dataclass(frozen=True)
class Parts:
    """What a spec may use while it opens.

    Attributes:
        declared: the object that opens.
        services: what the daemon lends to it.
        live: the open things that it refers to.
        behaviour: digest of how it behaves, empty for kinds whose behaviour is not scored; learned scores belong to it.
        made: the folders that were created for it, to be removed again when it never serves.
        replaces: whether the object is open already as it was declared before, and serves until this one is open.
    """

    declared: Object
    services: Services
    live: Mapping[Ref, object]
    behaviour: str = ""
    made: list[Path] = field(default_factory=list[Path])
    replaces: bool = False

    @property
    def name(self) -> str:
        """Return the name of the object that opens."""
        return self.declared.ref.name

    @property
    def root(self) -> Path:
        """Return the folder that relative paths of the manifest start from and may not leave."""
        return self.declared.folder

    @property
    def state_dir(self) -> Path:
        """Return the folder for this object's own files; it is created on first use."""
        ref = self.declared.ref
        path = self.services.store.directory / ref.kind.lower() / ref.namespace / ref.name
        if not path.is_dir():
            path.mkdir(parents=True)
            self.made.append(path)
        return path

    def latest(self) -> Object | None:
        """Return this object as it is declared now: itself until another serves, None once it was withdrawn.

        A live thing asks before it acts, so that a withdrawn tool or a lowered limit holds for running tasks too.
        """
        serving = self.services.serving
        if self.declared.ref in serving.withdrawn:
            return None
        return serving.snapshot.objects.get(self.declared.ref, self.declared)

    def following(self, read: Callable[[Object | None], T]) -> Callable[[], T]:
        """Return what reads something of this object as it is declared now, see `latest`.

        It may be asked often, as by every task: it looks again once another snapshot serves.
        """
        serving, snapshot, withdrawn = self.services.serving, EMPTY, frozenset[Ref]()
        known: list[T] = []

        def now() -> T:
            nonlocal snapshot, withdrawn
            if not known or snapshot is not serving.snapshot or withdrawn is not serving.withdrawn:
                snapshot, withdrawn = serving.snapshot, serving.withdrawn
                known[:] = (read(self.latest()),)
            return known[0]

        return now

    @property
    def serves(self) -> bool:
        """Return whether this object serves, and not another version of it that is open beside."""
        now, own = self.latest(), self.declared
        return now is not None and (now.digest, now.base) == (own.digest, own.base)

    def keep(self) -> None:
        """Keep the folder for this object's own files though the object never serves: what is in it was dear."""
        if self.state_dir in self.made:
            self.made.remove(self.state_dir)

    def get(self, kind: str, name: str, shape: Callable[..., T]) -> T:
        """Return the live object that a reference names.

        Args:
            kind: kind of the target.
            name: its name, in this object's namespace, as the reference writes it.
            shape: the protocol that the caller expects, for the type checker.

        Raises:
            NotFound: the object does not refer to it (references are checked before, so this is a fault of the caller).
        """
        ref = Ref(kind, object_name(name), self.declared.ref.namespace)
        if ref not in self.live:
            raise NotFound(f"{self.declared.ref}: {ref} is not open")
        del shape
        return cast("T", self.live[ref])


@dataclass(eq=False)
class _Live:
    """An open thing, what it was opened from, what it uses, and the number of topologies that hold it."""

    value: object
    stack: AsyncExitStack
    item: Object
    uses: tuple["_Live", ...]
    holders: int = 0

    def let_go(self) -> bool:
        """Take one holder away; return whether it was the last."""
        self.holders -= 1
        return self.holders == 0

    def fits(self, item: Object, uses: tuple["_Live", ...]) -> bool:
        """Return whether it can go on for an object: declared alike, with the same files and the same live things."""
        mine = self.item
        return (
            (mine is item or (mine.digest == item.digest and mine.base == item.base))
            and len(self.uses) == len(uses)
            and all(one is other for one, other in zip(self.uses, uses, strict=True))
        )


class Topology:
    """The live things of one snapshot.

    Attributes:
        snapshot: what should be.
        live: what is, by ref; empty once it is closed.
        closed: set when it was given up, no task holds it any more, and what only it held is closed.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.live: Mapping[Ref, object] = {}
        self.closed = asyncio.Event()
        self._things: dict[Ref, _Live] = {}
        self._made: list[Path] = []
        self._leases = 0
        self._retired = False
        self._discarded = False
        self._closing: asyncio.Task[None] | None = None

    @property
    def is_whole(self) -> bool:
        """Return whether all is open that should be."""
        return len(self.live) == len(self.snapshot.objects) - len(self.snapshot.pending)

    @property
    def is_held(self) -> bool:
        """Return whether tasks hold it."""
        return self._leases > 0

    @property
    def roots(self) -> set[Path]:
        """Return the folders that objects come from, and those that live things were opened from and may still read."""
        items = [*self.snapshot.objects.values(), *(thing.item for thing in self._things.values())]
        return {item.root for item in items}

    @property
    def copies(self) -> set[Path]:
        """Return the folders with kept files that objects and live things may still read."""
        items = [*self.snapshot.objects.values(), *(thing.item for thing in self._things.values())]
        return {item.copies for item in items if item.copies is not None}

    def health(self, ref: Ref) -> tuple[Health, ...]:
        """Return what was observed of a live thing; nothing of one that observes nothing or is not open."""
        health = getattr(self.live.get(ref), "health", None)
        return tuple(cast("Callable[[], Iterable[Health]]", health)()) if callable(health) else ()

    def shares(self, other: "Topology", ref: Ref) -> bool:
        """Return whether two topologies hold the same live thing."""
        return ref in self.live and self.live[ref] is other.live.get(ref)

    @asynccontextmanager
    async def lease(self) -> AsyncGenerator["Topology", None]:
        """Hold the topology open for as long as a task runs on it."""
        self._leases += 1
        try:
            yield self
        finally:
            self._leases -= 1
            self._close_if_unused()

    def retire(self) -> None:
        """Give the topology up: it closes now, or after its last lease, in the background; wait for `closed`."""
        self._retired = True
        self._close_if_unused()

    async def discard(self) -> None:
        """Close what never served, and remove the folders that were made for it."""
        self._discarded = True
        self.retire()
        await self.closed.wait()

    async def open(self, services: Services, previous: "Topology | None" = None, told: Told = str) -> None:
        """Open everything that the snapshot declares, sharing what did not change with the previous topology.

        What is pending stays closed; `told` is called with each object whose opening begins.

        Raises:
            LoomdError: a thing could not be opened; all that was opened for this snapshot is closed again, and the
                previous topology is untouched.
        """
        live: dict[Ref, object] = {}
        self.live = MappingProxyType(live)
        known = {} if previous is None else previous._things  # noqa: SLF001  # its own class
        things, snapshot = self._things, self.snapshot
        try:
            for ref, item in snapshot.objects.items():
                if ref in snapshot.pending:
                    continue
                uses = tuple(things[to] for _, to in item.refs)
                thing = known.get(ref)
                if thing is None or not thing.fits(item, uses):
                    used = MappingProxyType({to: live[to] for _, to in item.refs})
                    parts = Parts(item, services, used, snapshot.behaviour(ref), self._made, thing is not None)
                    told(ref)
                    thing = await _open(parts, uses)
                thing.holders += 1
                things[ref] = thing
                live[ref] = thing.value
        except BaseException:
            await self.discard()
            raise

    async def settled(self) -> None:
        """Wait for what live things still fetch after they have opened; having a method `settled` is enough.

        Raises:
            LoomdError: a thing cannot get it; the message begins with where it is declared.
        """
        for ref, value in tuple(self.live.items()):
            settled = getattr(value, "settled", None)
            if callable(settled):
                try:
                    await cast("Callable[[], Awaitable[None]]", settled)()
                except LoomdError as error:
                    _place(error, self.snapshot.objects[ref])
                    raise

    def _close_if_unused(self) -> None:
        if self._retired and not self._leases and self._closing is None:
            things, self._things = self._things, {}
            self.live = {}
            last = [(ref, thing) for ref, thing in things.items() if thing.let_go()]
            if last or self._discarded:
                self._closing = asyncio.create_task(self._close(last))  # noqa: TID251  # kept until it is done
            else:
                self.closed.set()

    async def _close(self, things: list[tuple[Ref, _Live]]) -> None:
        """Close things in reverse order, and to the end whatever happens on the way."""
        for ref, thing in reversed(things):
            try:
                async with asyncio.timeout(CLOSING):
                    await thing.stack.aclose()
            except TimeoutError:
                _log.error("%s did not close within %g s and is given up", ref, CLOSING)
            except asyncio.CancelledError:  # of a task that the thing itself cancelled and waited for
                if (own := asyncio.current_task()) is None or own.cancelling():
                    raise
                _log.error("%s did not close cleanly: it was cancelled on the way", ref)
            except Exception:  # nobody waits for what is given up: whoever held it last has done its own work
                _log.exception("%s did not close cleanly", ref)
        if self._discarded:
            await asyncio.to_thread(_remove, self._made)
        self.closed.set()


async def open_topology(
    snapshot: Snapshot, services: Services, previous: Topology | None = None, told: Told = str
) -> Topology:
    """Return the topology of a snapshot, open; see `Topology.open`."""
    topology = Topology(snapshot)
    await topology.open(services, previous, told)
    return topology


async def _open(parts: Parts, uses: tuple[_Live, ...]) -> _Live:
    async with AsyncExitStack() as stack:
        spec = cast("Openable", parts.declared.spec)
        try:
            value = await stack.enter_async_context(spec.open(parts))
        except LoomdError as error:
            _place(error, parts.declared)
            raise
        return _Live(value, stack.pop_all(), parts.declared, uses)
    raise AssertionError("unreachable")  # the stack never swallows an error


def _remove(folders: list[Path]) -> None:
    """Remove folders, and those that are empty without them."""
    for path in reversed(folders):
        shutil.rmtree(path, ignore_errors=True)
        with suppress(OSError):  # something else is in it
            path.parent.rmdir()
            path.parent.parent.rmdir()


def _place(error: LoomdError, item: Object) -> None:
    """Put in front of an error's message where the object stands and which it is."""
    text = str(error)
    named = text if text.startswith(str(item.ref)) else f"{item.ref}: {text}"
    error.args = (f"{item.position}: {named}", *error.args[1:])
