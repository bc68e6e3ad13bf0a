"""For tests of agent systems: run manifests in one call, and turn the clock by hand. Public, like the rest of the API.

run = await run_manifests(text, "What is 2 + 2?", folder)
assert run.result.executed.outcome.output == "4"
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, Unpack, cast

from loomd.agents.approval import Ask, Decision
from loomd.agents.transient import TransientSteps
from loomd.agents.work import Outcome
from loomd.amoeba.task import Result
from loomd.clock import Clock, SystemClock
from loomd.daemon import Settings, open_system
from loomd.engine.intake import Wish, new_task
from loomd.events.bus import Bus
from loomd.events.event import AnyFact, Event
from loomd.manifest.delivery import Delivery
from loomd.manifest.kind import find_kinds
from loomd.manifest.object import Metadata, Object, Ref, Snapshot
from loomd.manifest.problem import Position
from loomd.manifest.source import SourceFile
from loomd.store.sqlite import open_store
from loomd.topology import Openable, Parts, Services

T = TypeVar("T")
F = TypeVar("F", bound=AnyFact)


class VirtualClock:
    """A clock that stands still until it is turned; fits `loomd.clock.Clock`."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self._now = now

    def now(self) -> float:
        """Return the wall-clock time in seconds."""
        return self._now

    def monotonic(self) -> float:
        """Return the same, for durations."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Turn the clock forward."""
        self._now += seconds


class Unrecorded(TransientSteps):
    """Steps that are done and not recorded; fits `loomd.agents.base.Steps`."""

    def __init__(self, clock: Clock | None = None) -> None:
        super().__init__(clock or SystemClock(), "")
        self.keys: list[str] = []
        """Keys of the steps that were done, in order."""
        self.decisions: dict[str, Decision] = {}
        """What people decide, by tool."""
        self.left: Outcome | None = None
        """What there was of the work when it was cancelled."""

    async def step(
        self,
        key: str,
        name: str,
        do: Callable[[], Awaitable[T]],
        result: type[T],
        *,
        asked: str = "",
        once: bool = False,
        again: int = 0,
    ) -> T:
        """Do a step."""
        del name, result, asked, once, again
        self.keys.append(key)
        return await do()

    async def sleep(self, key: str, seconds: float) -> None:
        """Let time go by."""
        self.keys.append(key)
        await asyncio.sleep(seconds)

    async def receive(self, key: str, name: str, seconds: float) -> object:
        """Return nothing: nobody sends anything.

        Raises:
            TimeoutError: always, at once.
        """
        del name, seconds
        self.keys.append(key)
        raise TimeoutError

    async def approve(self, key: str, ask: Ask) -> Decision:
        """Return what `decisions` says of the tool; what it does not name is denied."""
        self.keys.append(key)
        return self.decisions.get(ask.tool, Decision("denied", reason="nobody is there"))

    def leave(self, outcome: Outcome) -> None:
        """Keep what there is of cancelled work."""
        self.left = outcome


@asynccontextmanager
async def open_spec(
    kind: str,
    spec: Mapping[str, object],
    folder: Path,
    *,
    clock: Clock | None = None,
    live: Mapping[Ref, object] | None = None,
    packages: tuple[str, ...] = (),
) -> AsyncGenerator[Any, None]:
    """Open one spec, as written in a manifest, on a real store below a folder; its object is named `it`.

    Args:
        kind: the kind of the object.
        spec: decoded YAML.
        folder: where relative paths start from, and where state is kept.
        clock: the time; the machine's by default.
        live: open things that the spec refers to.
        packages: packages whose functions it may name.
    """
    hands = clock or SystemClock()
    typed = find_kinds()[kind].adapter.validate_python(spec)
    declared = Object(Ref(kind, "it"), Metadata(name="it"), typed, spec, folder, Position("test.yaml"))
    async with open_store(folder / "state") as store:
        services = Services(store, Bus(hands), hands, folder / "models", packages=packages)
        parts = Parts(declared, services, live or {}, Snapshot.of([declared]).behaviour(declared.ref))
        async with cast("Openable", typed).open(parts) as thing:
            yield thing


@dataclass
class Ran:
    """What a task did: its result and all events, its children's included."""

    result: Result
    events: list[Event] = field(default_factory=list)

    def facts(self, kind: type[F]) -> list[F]:
        """Return the facts of one type, in order."""
        return [event.data for event in self.events if isinstance(event.data, kind)]


async def run_manifests(text: str, goal: str, folder: Path, **wish: Unpack[Wish]) -> Ran:
    """Run one task on manifests given as text; state is kept below `folder`, which relative paths start from.

    The seed is 0 unless another one is wished for.

    Raises:
        Problems: the manifests are not valid.
        LoomdError: something that they declare could not be opened.
    """
    state = folder / ".loomd"
    events: list[Event] = []
    async with open_system(Settings(state, folder / "models", state / "loomd.sock")) as system:
        system.bus.subscribe(events.append)
        file = SourceFile(folder, "manifests.yaml", text.encode())
        await system.reconciler.apply(Delivery("test", (file,)))
        await system.reconciler.topology.settled()
        wish.setdefault("seed", 0)
        task = new_task(goal, system.clock, **wish)
        result = await system.engine.result(await system.engine.submit(task))
    return Ran(result, events)
