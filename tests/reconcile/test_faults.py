"""Whatever step of a change fails or is cancelled, the old set serves on and nothing is left of the new one."""

import asyncio
import gc
import os
import sys
import threading
import time
from collections.abc import AsyncGenerator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import msgspec
import pytest

import loomd
from loomd.manifest.source import SourceFile
from tests.reconcile.conftest import Open, Seen
from tests.reconcile.faults import Cancelled, Fault, Injector, Site

OLD = """
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: model}
spec: {type: scripted, replies: [{text: old, times: null}]}
---
apiVersion: loomd.dev/v1
kind: Tool
metadata: {name: greet}
spec: {type: python, file: tool.py, function: greet}
---
apiVersion: loomd.dev/v1
kind: Skill
metadata: {name: gone}
spec: {instructions: Be brief.}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: ada}
spec: {provider: model, tools: [greet]}
"""
NEW = """
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: model, labels: {try: "TRY"}}
spec: {type: scripted, replies: [{text: new, times: null}]}
---
apiVersion: loomd.dev/v1
kind: Tool
metadata: {name: greet}
spec: {type: python, file: tool.py, function: greet}
---
apiVersion: loomd.dev/v1
kind: Tool
metadata: {name: wave}
spec: {type: python, file: tool.py, function: greet, description: Waves.}
---
apiVersion: loomd.dev/v1
kind: Embedder
metadata: {name: words}
spec: {type: hash}
---
apiVersion: loomd.dev/v1
kind: KnowledgeBase
metadata: {name: notes}
spec: {sources: [{type: files, path: notes.md}], embedder: words}
---
apiVersion: loomd.dev/v1
kind: Memory
metadata: {name: long}
spec: {recall: {enabled: true, embedder: words}}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: ada}
spec: {provider: model, tools: [greet, wave], knowledge: [notes], memory: long}
"""
_PACKAGE = Path(loomd.__file__).parent
PLACES = [
    *sorted(
        f"reconcile/{path.name}"
        for path in (_PACKAGE / "reconcile").glob("[!_]*.py")
        if path.stem not in {"pinned", "turns"}
    ),
    *("topology.py", "store/history.py", "store/sqlite.py"),
    *("manifest/load.py", "manifest/resolve.py", "manifest/files.py"),
]
"""The modules whose calls fail, one after the other; group commit (`store/writer.py`) has tests of its own,
`pinned` changes nothing of what serves, and all that `turns` calls takes locks and lets go of them."""
TOOL = '''def greet() -> str:
    """Greet."""
    return "hello"
'''


@dataclass(frozen=True)
class Picture:
    """All that a change may change, and all that it may leave behind."""

    number: int
    topology: object
    live: dict[Any, Any]
    files: object
    snapshot: object
    known: object
    rejected: dict[str, Any]
    sources: Any
    contents: Any
    tables: Any
    folders: frozenset[str]
    descriptors: int
    threads: frozenset[threading.Thread]
    modules: frozenset[str]
    handlers: int
    tasks: int
    open: int


class Bench:
    """A reconciler on which changes fail."""

    def __init__(self, seen: Seen, folder: Path) -> None:
        gc.collect()  # what earlier tests left is closed now, not in the middle
        self.seen = seen
        self._folder = folder
        self._attempt = 0

    async def old(self) -> Picture:
        """Make the old set serve, and return what there is then."""
        self.mend()
        await self.seen.services.store.get_task("")  # the reader of the store is open
        await self.seen.apply("a", [SourceFile(self._folder, "all.yaml", OLD.encode())])
        await _threads_end(_NEW_THREADS)
        return await self.picture()

    def mend(self) -> None:
        """Let topologies count as closed whose closing was what failed."""
        for topology in self.seen.reconciler._stage._open():
            if topology._closing is None or topology._closing.done():
                topology.closed.set()

    async def new(self) -> None:
        """Apply the new set; every attempt is read and checked anew."""
        self._attempt += 1
        text = NEW.replace("TRY", str(self._attempt))
        await self.seen.apply("a", [SourceFile(self._folder, "all.yaml", text.encode())])

    async def picture(self) -> Picture:
        """Return what there is now, after what ends in the background has ended."""
        reconciler, services, stage = self.seen.reconciler, self.seen.services, self.seen.reconciler._stage
        closing = [one._closing for one in stage._open() if one._closing is not None]
        if closing:
            await asyncio.wait(closing)
        await services.store.read(limit=1)  # after all that was noted
        number, state = reconciler.number, services.store.directory
        return Picture(
            number,
            reconciler.topology,
            dict(reconciler.topology.live),
            stage.candidates.files,
            stage.candidates.snapshot,
            stage.statuses.known,
            dict(reconciler.rejected),
            [_without_times(state) for state in reconciler.sources()],
            await services.store.files(number),
            (
                await services.store.objects(),
                await services.store.sources(),
                await services.store.revisions(),
            ),
            frozenset(str(path) for path in state.rglob("*") if path.is_dir()),
            len(os.listdir("/proc/self/fd")),  # noqa: PTH208  # a count
            frozenset(one for one in threading.enumerate() if one.name.startswith(_THREADS)),
            frozenset(name for name in sys.modules if name.startswith("loomd_tool_")),
            len(services.bus._listeners),
            len(asyncio.all_tasks()),
            reconciler.live,
        )

    def serves_new(self, before: Picture, after: Picture) -> bool:
        """Return whether the newest attempt serves, in memory and on disk."""
        (file,) = self.seen.reconciler.files("a")
        wanted = NEW.replace("TRY", str(self._attempt)).encode()
        return after.number == before.number + 1 and file.data == wanted and after.contents[0].data == wanted


_THREADS = ("tool-", "knowledge-", "embedder-", "memory")
"""How the threads of live things are called."""
_NEW_THREADS = ("tool-wave", "knowledge-", "embedder-", "memory")
"""How those are called that only the new set has."""


async def _threads_end(names: tuple[str, ...]) -> None:
    """Wait for the threads of things that are closed."""
    for thread in threading.enumerate():
        if thread.name.startswith(names):
            await asyncio.to_thread(thread.join, 1)


def _without_times(state: Any) -> Any:
    """Return a source without the condition that it is being applied: that was so, and is no more."""
    kept = tuple(one for one in state.conditions if one.type != "Reconciling")
    return msgspec.structs.replace(state, conditions=kept)


def differences(before: Picture, after: Picture) -> list[str]:
    """Return the names of what differs; fewer descriptors are those of an earlier attempt, closed meanwhile."""
    differ = [one.name for one in fields(before) if getattr(before, one.name) != getattr(after, one.name)]
    return [name for name in differ if name != "descriptors" or after.descriptors > before.descriptors]


async def left(bench: Bench, before: Picture) -> list[str]:
    """Return the names of what differs once what a failed call held, or a thread still closes, had time to go."""
    end = time.monotonic() + 30
    while differ := differences(before, await bench.picture()):
        if time.monotonic() > end:
            return differ
        gc.collect()
        await asyncio.sleep(0.05)
    return []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with what the manifests name."""
    (tmp_path / "tool.py").write_text(TOOL)
    (tmp_path / "notes.md").write_text("# Notes\n\nThe library opens at nine.\n")
    return tmp_path


@pytest.fixture
async def bench(folder: Path, opened: Open, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Bench, None]:
    """Yield a reconciler on which the old set serves and the new one has served."""
    monkeypatch.setattr("loomd.store.sqlite._READERS", 1)
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    async with opened() as seen:
        made = Bench(seen, folder)
        await made.old()
        await made.new()  # what is made once and kept is made now
        yield made
        made.mend()


def threads(bench: Bench) -> list[Executor]:
    """Return the threads in which a change works, beside the event loop's own."""
    loop: Any = asyncio.get_running_loop()
    store: Any = bench.seen.services.store
    return [loop._default_executor, store._pool, store._writer._thread]


@pytest.mark.filterwarnings("ignore:.*was never awaited")  # what should have awaited it is the call that failed
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("place", PLACES)
async def test_every_call_may_fail(bench: Bench, place: str) -> None:
    """Each call raises once: before the swap the old set serves and nothing is left, after it the new one serves."""
    injector = Injector((place,), lambda: bench.seen.reconciler.number)
    with injector.installed():
        before = await bench.old()
        with injector.armed(threads(bench)):
            await bench.new()
        wrong = [await failing(bench, injector, site, before.number) for site in injector.sites]
    assert injector.sites
    assert not any(wrong), "\n".join(filter(None, wrong))


async def failing(bench: Bench, injector: Injector, site: Site, first: int) -> str:
    """Apply the new set while a call fails, and return what is wrong afterwards, or an empty string.

    Args:
        bench: where.
        injector: what makes it fail.
        site: the call.
        first: number of the revision that served when the sites were found.
    """
    before = await bench.old()
    told, raised = len(bench.seen.events), False
    with injector.armed(threads(bench), site):
        try:
            await bench.new()
        except Fault:
            raised = True
    served = not injector.hit or injector.sites[site] != first
    if not served:
        await _threads_end(_NEW_THREADS)
    if served:
        return "" if bench.serves_new(before, await bench.picture()) else f"{site}: the new set does not serve"
    differ, events = await left(bench, before), bench.seen.types[told:]
    if raised and not differ and not events:
        return ""
    return f"{site}: {'raised' if raised else 'did not raise'}; differs: {differ}; told: {events}"


@pytest.mark.parametrize("again", [False, True], ids=["once", "again-and-again"])
async def test_every_await_may_be_cancelled(bench: Bench, again: bool) -> None:
    """Whenever the caller gives up, the old set serves and nothing is left, or the new one serves; never half of it."""
    await bench.old()
    whole = Cancelled(bench.new())
    await whole
    assert whole.waits > 5
    outcomes: set[bool] = set()
    for at in range(1, whole.waits + 1):
        before = await bench.old()
        told = len(bench.seen.events)
        with pytest.raises(asyncio.CancelledError):
            await Cancelled(bench.new(), at, again=again)
        current = asyncio.current_task()
        assert current is not None
        while current.uncancel():
            pass
        served = bench.seen.reconciler.number != before.number
        outcomes.add(served)
        if not served:
            await _threads_end(_NEW_THREADS)
        if served:
            assert bench.serves_new(before, await bench.picture()), at
            assert bench.seen.types[told:] == ["config.loaded"], at
        else:
            assert (await left(bench, before), bench.seen.types[told:]) == ([], []), at
    assert outcomes == {False, True}
