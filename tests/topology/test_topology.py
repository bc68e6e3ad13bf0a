"""Topologies share what did not change, close what nobody holds, and survive what does not close."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from loomd.clock import SystemClock
from loomd.events.bus import Bus
from loomd.manifest.kind import Spec
from loomd.manifest.object import Metadata, Object, Ref, Snapshot
from loomd.manifest.problem import Position
from loomd.store.sqlite import open_store
from loomd.topology import Parts, Services, Topology, open_topology

CLOSED: list[str] = []


class Thing(Spec):
    """A thing that tells when it is closed, and may fail at either end."""

    text: str = ""
    opens: bool = True
    closes: bool = True
    waits: bool = False

    @asynccontextmanager
    async def open(self, parts: Parts) -> AsyncGenerator[list[Ref], None]:
        """Yield what it may use."""
        if not self.opens:
            raise RuntimeError(f"{parts.name} does not open")
        yield list(parts.live)
        CLOSED.append(parts.name)
        if not self.closes:
            raise RuntimeError(f"{parts.name} does not close")
        if self.waits:
            task = asyncio.ensure_future(asyncio.Event().wait())
            task.cancel()
            await task


def snapshot(**things: Thing) -> Snapshot:
    """Return a snapshot of things by name."""
    return Snapshot.of(
        Object(Ref("Thing", name), Metadata(name=name), spec, {}, Path("/r"), Position("x.yaml"), digest=repr(spec))
        for name, spec in things.items()
    )


@pytest.fixture(autouse=True)
def closed() -> list[str]:
    """Return the names of what was closed, in order."""
    CLOSED.clear()
    return CLOSED


@pytest.fixture
async def services(tmp_path: Path) -> AsyncGenerator[Services, None]:
    """Yield services on a real store."""
    async with open_store(tmp_path / "state") as store:
        clock = SystemClock()
        yield Services(store, Bus(clock), clock, tmp_path)


async def end(topology: Topology) -> None:
    """Give a topology up and wait until it is closed."""
    topology.retire()
    await topology.closed.wait()


async def test_what_does_not_close_leaks_nothing_else(
    services: Services, closed: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Everything is closed in reverse order; a thing that fails is logged and raised to nobody."""
    things = {"a": Thing(), "b": Thing(closes=False), "c": Thing(closes=False), "d": Thing(waits=True)}
    topology = await open_topology(snapshot(**things), services)
    async with topology.lease():
        topology.retire()
        assert closed == []
    await topology.closed.wait()
    assert closed == ["d", "c", "b", "a"]
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert said == [
        "Thing/d did not close cleanly: it was cancelled on the way",
        "Thing/c did not close cleanly",
        "Thing/b did not close cleanly",
    ]
    assert dict(topology.live) == {}


async def test_shared_things_close_with_their_last_holder(services: Services, closed: list[str]) -> None:
    """What two topologies share stays open until both are given up, also when a neighbour fails to close."""
    first = await open_topology(snapshot(a=Thing(), b=Thing(closes=False)), services)
    second = await open_topology(snapshot(a=Thing(), b=Thing(text="new")), services, first)
    assert second.live[Ref("Thing", "a")] is first.live[Ref("Thing", "a")]
    await end(first)
    assert closed == ["b"]
    await end(second)
    assert closed == ["b", "b", "a"]


async def test_what_was_opened_is_closed_when_the_next_fails(services: Services, closed: list[str]) -> None:
    """A topology that cannot be opened as a whole leaves nothing open, and the one before it as it was."""
    first = await open_topology(snapshot(a=Thing()), services)
    with pytest.raises(RuntimeError, match="c does not open"):
        await open_topology(snapshot(a=Thing(), b=Thing(closes=False), c=Thing(opens=False)), services, first)
    assert closed == ["b"]
    assert list(first.live) == [Ref("Thing", "a")]
    await end(first)
    assert closed == ["b", "a"]


async def test_a_thing_sees_what_it_refers_to(services: Services) -> None:
    """A thing gets the open things that it names and no others; nobody can change what is live."""
    named = snapshot(a=Thing(), b=Thing(), c=Thing())
    objects = [
        replace(item, refs=(("/spec", Ref("Thing", "a")),) if ref.name == "c" else ())
        for ref, item in named.objects.items()
    ]
    topology = await open_topology(Snapshot.of(objects), services)
    assert [topology.live[Ref("Thing", name)] for name in "abc"] == [[], [], [Ref("Thing", "a")]]
    assert topology.live is topology.live
    assert not hasattr(topology.live, "__setitem__")
    await end(topology)
