"""From a candidate to what serves: beside what serves, looked at, swapped once, closed in the background, bounded."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from loomd.clock import SystemClock
from loomd.errors import Permanent, Temporary, Unreachable
from loomd.events.bus import Bus
from loomd.manifest.kind import Spec
from loomd.manifest.object import Metadata, Object, Ref, Snapshot
from loomd.manifest.problem import Position
from loomd.manifest.source import SourceFile
from loomd.memory.item import Turn, Whose
from loomd.reconcile.act import Act, Bounds
from loomd.reconcile.candidate import Candidate
from loomd.reconcile.stage import Stage
from loomd.store.sqlite import open_store
from loomd.topology import Health, Parts, Services, Topology
from tests.reconcile.conftest import Make, Open

ACT = Act("apply", "a")


class Thing(Spec):
    """Something that may fail to open, open dead, or never close."""

    text: str = ""
    opens: bool = True
    well: bool = True
    closes: bool = True

    @asynccontextmanager
    async def open(self, parts: Parts) -> AsyncGenerator["Live", None]:
        """Yield the live thing, which makes a folder of its own."""
        live = Live(parts.name, self)
        LOG.append(f"open {parts.name}")
        (parts.state_dir / "file").touch()
        if not self.opens:
            raise Unreachable(f"{parts.name} is not there")
        yield live
        if not self.closes:
            await asyncio.Event().wait()
        LOG.append(f"close {parts.name}")


@dataclass
class Live:
    """A live thing that says how it is."""

    name: str
    spec: Thing

    def health(self) -> Iterable[Health]:
        """Return whether it is well."""
        status: Any = "True" if self.spec.well else "False"
        return (Health("ProviderReachable", status, "Unreachable", f"{self.name} is dead", 0.0),)


LOG: list[str] = []


@pytest.fixture(autouse=True)
def log() -> list[str]:
    """Return what was opened and closed, in order."""
    LOG.clear()
    return LOG


def candidate(**things: Thing) -> Candidate:
    """Return a candidate with things by name; each refers to the one before it."""
    objects: list[Object] = []
    for name, spec in things.items():
        refs = (("/spec", objects[-1].ref),) if objects else ()
        place = Position("x.yaml", len(objects) + 1, 1)
        item = Object(
            Ref("Thing", name), Metadata(name=name), spec, {}, Path("/r"), place, refs=refs, digest=repr(spec)
        )
        objects.append(item)
    files = {"a": (SourceFile(Path("/r"), "x.yaml", repr(things).encode()),)}
    owners = {item.ref: "a" for item in objects}
    return Candidate(files, frozenset("a"), Snapshot.of(objects), owners)


@dataclass
class Bench:
    """A stage on a real store."""

    stage: Stage
    services: Services
    told: list[str] = field(default_factory=list[str])

    async def go(self, **things: Thing) -> None:
        """Carry a candidate out."""
        await self.stage.carry_out(candidate(**things), Act("apply", "a"))

    async def rehearse(self, **things: Thing) -> None:
        """Carry a candidate out to just before the swap."""
        await self.stage.carry_out(candidate(**things), Act("apply", "a", dry_run=True))

    @property
    def folders(self) -> set[str]:
        """Return the names of what keeps a folder."""
        return {path.name for path in self.services.store.directory.glob("thing/default/*")}


@asynccontextmanager
async def staged(folder: Path, bounds: Bounds = Bounds(), move: Any = None) -> AsyncGenerator[Bench, None]:  # noqa: B008  # frozen
    """Yield a bench."""
    async with open_store(folder / "state") as store:
        clock = SystemClock()
        services = Services(store, Bus(clock), clock, folder)
        bench = Bench(Stage(services, bounds, move), services)
        services.bus.subscribe(lambda event: bench.told.append(event.type))
        yield bench
        await bench.stage.close()


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncGenerator[Bench, None]:
    """Yield a bench on which two things serve."""
    async with staged(tmp_path) as made:
        await made.go(a=Thing(), b=Thing())
        LOG.clear()
        made.told.clear()
        yield made


async def test_what_changed_opens_with_what_uses_it(bench: Bench, log: list[str]) -> None:
    """A change opens the object and what refers to it anew, before the old ones close; the rest goes on."""
    await bench.go(a=Thing(), b=Thing(), c=Thing())
    assert log == ["open c"]
    log.clear()
    old = bench.stage.topology
    await bench.go(a=Thing(), b=Thing(text="new"), c=Thing())
    await old.closed.wait()
    assert log == ["open b", "open c", "close c", "close b"]
    assert bench.stage.topology.shares(bench.stage.topology, Ref("Thing", "a"))


async def test_the_log_names_a_few_of_many_changes(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """A set of a thousand objects is one line that people can read; the history has all of it."""
    caplog.set_level(logging.INFO, "loomd.reconcile")
    await bench.go(**{f"t{number}": Thing() for number in range(30)})
    line = next(one for one in caplog.messages if " serves: " in one)
    assert line.endswith(" more")
    assert len(line) < 500
    assert len(bench.stage.topology.live) == 30


@pytest.mark.parametrize("broken", range(4), ids=lambda number: f"object-{number + 1}")
async def test_any_object_may_fail_to_open(bench: Bench, log: list[str], broken: int) -> None:
    """Whichever it is, those before it are closed again in reverse order, with their folders; none after it opens."""
    things = {name: Thing(opens=number != broken) for number, name in enumerate("wxyz")}
    before = bench.stage.topology
    with pytest.raises(
        Unreachable, match=rf"x\.yaml:{broken + 1}:1: Thing/{'wxyz'[broken]}: {'wxyz'[broken]} is not there"
    ):
        await bench.go(**things)
    names = "wxyz"[:broken]
    assert log == [*(f"open {name}" for name in "wxyz"[: broken + 1]), *(f"close {name}" for name in reversed(names))]
    assert (bench.stage.topology, bench.stage.number, bench.stage.live, bench.told) == (before, 1, 1, [])
    assert bench.folders == {"a", "b"}
    assert [one.number for one in await bench.services.store.revisions()] == [1]


async def test_what_opens_dead_does_not_serve(bench: Bench, log: list[str]) -> None:
    """The gate refuses a new thing that is not well and names it; one that is merely not well any more is no reason."""
    with pytest.raises(Permanent, match=r"x\.yaml:3:1: Thing/c: it opened and is not healthy: c is dead"):
        await bench.go(a=Thing(), b=Thing(), c=Thing(well=False))
    assert log == ["open c", "close c"]
    assert bench.folders == {"a", "b"}
    live: Any = bench.stage.topology.live[Ref("Thing", "a")]
    live.spec = Thing(well=False)
    await bench.go(a=Thing(), b=Thing(), c=Thing())
    assert Ref("Thing", "c") in bench.stage.topology.live


async def test_a_dry_run_goes_to_just_before_the_swap(bench: Bench, log: list[str]) -> None:
    """It opens and looks, says what an apply would say, and leaves nothing."""
    before = bench.stage.topology
    await bench.rehearse(a=Thing(), b=Thing(), c=Thing())
    with pytest.raises(Permanent, match="not healthy"):
        await bench.rehearse(a=Thing(), b=Thing(), c=Thing(well=False))
    assert log == ["open c", "close c"] * 2
    assert (bench.stage.topology, bench.stage.number, bench.folders) == (before, 1, {"a", "b"})


async def test_a_folder_that_was_there_stays(bench: Bench) -> None:
    """What a refused version of a known object was opened for does not take the object's own folder along."""
    with pytest.raises(Permanent):
        await bench.go(a=Thing(), b=Thing(text="new", well=False))
    assert bench.folders == {"a", "b"}


async def test_nobody_waits_for_what_does_not_close(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A thing that never closes delays no change; after a while it is given up and that is said."""
    monkeypatch.setattr("loomd.topology.CLOSING", 0.05)
    async with staged(tmp_path) as bench:
        await bench.go(a=Thing(closes=False))
        old = bench.stage.topology
        await bench.go(a=Thing())
        assert not old.closed.is_set()
        assert bench.stage.live == 2
        await old.closed.wait()
        assert bench.stage.live == 1
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert said == ["Thing/a did not close within 0.05 s and is given up"]


async def test_live_revisions_are_bounded(tmp_path: Path) -> None:
    """When too many earlier revisions are held, a change waits for the oldest; then its tasks are moved on."""
    moved: list[Topology] = []
    leases: dict[Topology, asyncio.Event] = {}

    async def hold(topology: Topology) -> None:
        ended = leases[topology] = asyncio.Event()
        async with topology.lease():
            await ended.wait()

    async def move(topology: Topology) -> None:
        moved.append(topology)
        leases[topology].set()

    async with staged(tmp_path, Bounds(live=2, drain=0.05), move) as bench, asyncio.TaskGroup() as group:
        for number in range(5):
            await bench.go(a=Thing(text=str(number)))
            group.create_task(hold(bench.stage.topology))
            await asyncio.sleep(0)
            assert bench.stage.live <= 3
        assert [leases[one].is_set() for one in leases] == [True, True, False, False, False]
        assert moved == list(leases)[:2]
        waiting = asyncio.ensure_future(bench.go(a=Thing(text="last")))
        await asyncio.sleep(0)
        list(leases.values())[2].set()
        await waiting
        assert len(moved) == 2  # it ended by itself while the change waited for it
        for ended in leases.values():
            ended.set()


async def test_too_many_that_cannot_be_moved(tmp_path: Path) -> None:
    """A change that finds no room in time is refused before anything opens, and works later."""
    async with staged(tmp_path, Bounds(live=1, drain=0.02)) as bench:
        await bench.go(a=Thing())
        async with bench.stage.topology.lease():
            await bench.go(a=Thing(text="2"))
            LOG.clear()
            with pytest.raises(Temporary, match="1 earlier revisions are still open: wait for their tasks"):
                await bench.go(a=Thing(text="3"))
            assert LOG == []
        await bench.go(a=Thing(text="3"))
        assert bench.stage.number == 3


async def test_withdrawn_is_what_tasks_still_hold(tmp_path: Path) -> None:
    """What left is known as long as somebody holds it, and no longer; what returns is no more withdrawn."""
    async with staged(tmp_path) as bench:
        serving = bench.services.serving
        await bench.go(a=Thing(), b=Thing())
        async with bench.stage.topology.lease():
            await bench.go(a=Thing())
            assert serving.withdrawn == {Ref("Thing", "b")}
            await bench.go(a=Thing(), b=Thing())
            assert serving.withdrawn == set()
            await bench.go(a=Thing())
            assert serving.withdrawn == {Ref("Thing", "b")}
        await bench.go(a=Thing(text="new"))
        await bench.go(a=Thing(text="newer"))
        assert serving.withdrawn == set()


BESIDE = """
apiVersion: loomd.dev/v1
kind: Embedder
metadata: {name: e}
spec: {type: hash, dimension: 64}
---
apiVersion: loomd.dev/v1
kind: KnowledgeBase
metadata: {name: kb}
spec: {sources: [{type: files, path: notes.md}], embedder: e, chunk: {size: 240}}
---
apiVersion: loomd.dev/v1
kind: Memory
metadata: {name: m}
spec: {recall: {enabled: true, embedder: e, threshold: 0.1}}
"""
NO_KEY = """
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: keyless}
spec: {type: openai, model: m, apiKey: {valueFrom: {env: LOOMD_TEST_NO_SUCH_KEY}}}
"""


async def test_refused_changes_spoil_no_index(opened: Open, tmp_path: Path) -> None:
    """However many other ways of indexing and embedding are tried and refused, what serves finds what it found."""
    (tmp_path / "notes.md").write_text("# Harbour\n\nThe harbour opens at seven.\n\n# Library\n\nIt opens at nine.\n")

    def file(text: str) -> list[SourceFile]:
        return [SourceFile(tmp_path, "all.yaml", text.encode())]

    async with opened() as seen:
        await seen.apply("a", file(BESIDE))
        live: Any = seen.reconciler.topology.live
        base, memory = live[Ref("KnowledgeBase", "kb")], live[Ref("Memory", "m")]
        await memory.remember(Whose("ada"), Turn("t1", "When?", "the harbour opens at seven"))
        found = await base.search("harbour")
        for size in (60, 80, 100):
            other = BESIDE.replace("size: 240", f"size: {size}, overlap: 10").replace("64", str(size))
            with pytest.raises(Permanent, match="LOOMD_TEST_NO_SUCH_KEY"):
                await seen.apply("a", file(f"{other}---{NO_KEY}"))
            assert await base.search("harbour") == found
            assert await memory.recall(Whose("ada"), "harbour") == ["When?\nthe harbour opens at seven"]
        await seen.apply("a", file(BESIDE.replace("64", "128")))
        live = seen.reconciler.topology.live
        found_again = await live[Ref("Memory", "m")].recall(Whose("ada"), "harbour")
        assert found_again == ["When?\nthe harbour opens at seven"]
        assert (await live[Ref("KnowledgeBase", "kb")].search("harbour"))[0].text == found[0].text


async def test_a_disk_that_is_full_when_a_source_is_suspended(opened: Open, provider: Make) -> None:
    """What cannot be stored is said; the state in memory and on disk meet again with the next write."""
    async with opened() as seen:
        await seen.apply("/a", [provider("one")], type="directory", revision="r1")
        store: Any = seen.services.store
        db = store._db
        db.execute(f"PRAGMA max_page_count = {db.execute('PRAGMA page_count').fetchone()[0]}")
        with pytest.raises(Temporary, match="full"):
            await seen.apply("/a", [provider("one", "x" * 500_000)], type="directory", revision="r2")
        assert seen.reconciler.source("/a").last_attempted_revision == "r2"
        assert seen.reconciler.source("/a").last_applied_revision == "r1"
        db.execute("PRAGMA max_page_count = 1000000")
        await seen.reconciler.suspend("/a")
    async with opened() as seen:
        state = seen.reconciler.source("/a")
        assert (state.suspended, state.last_attempted_revision, state.attempts[0].outcome) == (True, "r2", "failed")
