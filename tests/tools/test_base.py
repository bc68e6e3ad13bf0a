"""What holds for every type of tool: further attempts, calls at once, results that stand, costs."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from loomd.clock import SystemClock
from loomd.errors import Temporary, ToolFailed
from loomd.manifest.kind import find_kinds
from loomd.manifest.oneof import find_types
from loomd.messages import JsonObject
from loomd.testing import VirtualClock, open_spec
from loomd.tools.base import LiveTool, ToolSpec

COUNTER = '''
"""Counts."""
from loomd.errors import Overloaded, Temporary, ToolFailed
from loomd.tools.context import ToolContext

calls = []

async def look(what: str, context: ToolContext) -> str:
    """Look."""
    calls.append(what)
    return f"{what} {len(calls)}"

async def shaky(good: int = 3, wait: float = 0.0) -> str:
    """Fail at first."""
    calls.append(good)
    if len(calls) < good:
        raise Overloaded("busy", wait or None)
    return f"call {len(calls)}"

async def broken() -> str:
    """Fail."""
    calls.append(1)
    raise ToolFailed("broken")

async def long(size: int) -> str:
    """Say much."""
    return "é" * size
'''


class Context:
    """What a call is told; only what the guard of a tool asks for."""

    def __init__(self, metadata: Mapping[str, object] | None = None, left: float = 1.0) -> None:
        self.metadata = metadata or {}
        self.left = left
        self.tenant = self.user = self.session = ""

    def spend(self, usd: float) -> None:
        """Book."""
        if usd > self.left:
            raise ToolFailed("too much")
        self.left -= usd


def spec(function: str, **more: object) -> JsonObject:
    """Return a spec for a function of the file."""
    return {"type": "python", "file": "counter.py", "function": function, **more}


@asynccontextmanager
async def opened(folder: Path, declared: JsonObject, clock: Any = None) -> AsyncGenerator[Any, None]:
    """Open a tool on the file."""
    (folder / "counter.py").write_text(COUNTER)
    async with open_spec("Tool", declared, folder=folder, clock=clock or SystemClock()) as live:
        yield live


async def test_a_call_that_may_work_later_is_made_again(tmp_path: Path) -> None:
    """A temporary failure of a call that may be made twice is tried again, as often as declared."""
    retries = {"count": 2, "wait": "1ms"}
    async with opened(tmp_path, spec("shaky", effects="read", retries=retries)) as live:
        assert await live.call({}) == "call 3"
    async with opened(tmp_path, spec("shaky", idempotent=True, retries=retries)) as live:
        with pytest.raises(ToolFailed, match=r"^busy \(after 3 attempts\)$"):
            await live.call({"good": 9})
    async with opened(tmp_path, spec("shaky", effects="read")) as live:
        with pytest.raises(ToolFailed, match=r"^busy$"):
            await live.call({})


async def test_what_is_not_tried_again(tmp_path: Path) -> None:
    """Neither a failure that stays nor a service that asks for more time than is given is tried again."""
    retries = {"count": 5, "wait": "1ms", "longestWait": "20ms"}
    async with opened(tmp_path, spec("broken", effects="read", retries=retries)) as live:
        with pytest.raises(ToolFailed, match=r"^broken$"):
            await live.call({})
    async with opened(tmp_path, spec("shaky", effects="read", retries=retries)) as live:
        with pytest.raises(ToolFailed, match=r"^busy$"):
            await live.call({"wait": 60})


async def test_attempts_share_one_deadline(tmp_path: Path) -> None:
    """All attempts together take no longer than one call may."""
    retries = {"count": 10, "wait": "10s", "longestWait": "10s"}
    async with opened(tmp_path, spec("shaky", effects="read", retries=retries, timeout="50ms")) as live:
        with pytest.raises(ToolFailed, match=r"no result within 0\.05 s"):
            await live.call({})


MINIMAL: dict[str, JsonObject] = {
    "calculator": {},
    "files": {"folder": "."},
    "http": {"url": "https://api.example/"},
    "python": {"package": "shlex", "function": "quote"},
    "result": {},
    "shell": {"command": ["true"]},
    "signal": {"signal": "go"},
    "wait": {},
}


OWN = {"agent", "knowledge", "mcp", "openapi"}
"""Types of which what they bring decides what it does to the world."""


@pytest.mark.parametrize("type_", sorted(set(find_types("loomd.tools", ToolSpec)) - OWN))
def test_what_may_not_be_declared(type_: str, tmp_path: Path) -> None:
    """Of every type: only calls that may be made twice are tried again, and only results of reading are kept."""

    def refused(**more: object) -> set[str]:
        declared = {"type": type_, "effects": "write", **MINIMAL[type_], **more}
        found = find_kinds()["Tool"].adapter.validate_python(declared)
        return {problem[0] for problem in found.check(tmp_path)}

    assert refused() == set()
    assert refused(retries={"count": 1}) == {"/retries"}
    assert refused(retries={"count": 1}, idempotent=True) == set()
    assert refused(cache={"ttl": "1m"}, idempotent=True) == {"/cache"}
    assert refused(retries={"count": 1}, cache={"ttl": "1m"}, effects="read") == set()


async def test_results_stand_for_a_while(tmp_path: Path) -> None:
    """The same arguments get the same result until it is too old; other arguments and other agents' terms do not."""
    clock = VirtualClock()
    async with opened(tmp_path, spec("look", effects="read", cache={"ttl": "1m", "entries": 2}), clock) as live:
        assert await live.call({"what": "a"}, Context()) == "a 1"
        clock.advance(59)
        assert await live.call({"what": "a"}, Context()) == "a 1"
        assert await live.call({"what": "a"}, Context({"tenant": "x"})) == "a 2"
        assert await live.call({"what": "b"}, Context()) == "b 3"
        assert await live.call({"what": "b"}, Context()) == "b 3"
        assert await live.call({"what": "a"}, Context()) == "a 4"
        clock.advance(61)
        assert await live.call({"what": "b"}, Context()) == "b 5"


@pytest.mark.parametrize("whose", ["tenant", "user", "session"])
async def test_results_are_those_of_whom_they_were_made_for(tmp_path: Path, whose: str) -> None:
    """A tool may look at whom it works for: what it found for one is handed out to nobody else."""
    async with opened(tmp_path, spec("look", effects="read", cache={"ttl": "1m"})) as live:
        mine, other = Context(), Context()
        setattr(other, whose, "other")
        assert await live.call({"what": "a"}, mine) == "a 1"
        assert await live.call({"what": "a"}, other) == "a 2"
        assert await live.call({"what": "a"}, mine) == "a 1"


async def test_failures_are_not_kept(tmp_path: Path) -> None:
    """A failure is no result."""
    async with opened(tmp_path, spec("shaky", effects="read", cache={"ttl": "1m"})) as live:
        for _ in range(2):
            with pytest.raises(ToolFailed):
                await live.call({})
        assert await live.call({}) == "call 3"
        assert await live.call({}) == "call 3"


async def test_calls_at_once(tmp_path: Path) -> None:
    """No more calls run at once than declared; a place is free again after a failure and a cancellation."""
    running, most, gate = 0, 0, asyncio.Event()

    async def run(arguments: JsonObject, context: object) -> str:
        nonlocal running, most
        del context
        running += 1
        most = max(most, running)
        try:
            if arguments.get("fail"):
                raise Temporary("no")
            await gate.wait()
        finally:
            running -= 1
        return "done"

    async with opened(tmp_path, spec("look", concurrency=2)) as live:
        guarded = LiveTool(live.schema, live._spec, run, live._parts)
        with pytest.raises(ToolFailed):
            await guarded.call({"fail": 1})
        async with asyncio.TaskGroup() as group:
            first = group.create_task(guarded.call({}))
            rest = [group.create_task(guarded.call({})) for _ in range(5)]
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            first.cancel()
            gate.set()
        assert [task.result() for task in rest] == ["done"] * 5
    assert most == 2


async def test_what_a_call_costs(tmp_path: Path) -> None:
    """Each attempt is booked before it is made; what stands already costs nothing."""
    retries = {"count": 5, "wait": "1ms"}
    async with opened(tmp_path, spec("shaky", effects="read", retries=retries, cost=0.25)) as live:
        context = Context()
        assert await live.call({}, context) == "call 3"
        assert context.left == 0.25
        with pytest.raises(ToolFailed, match=r"^too much$"):
            await live.call({"good": 9}, context)
    async with opened(tmp_path, spec("look", effects="read", cache={"ttl": "1m"}, cost=0.25)) as live:
        context = Context()
        for _ in range(3):
            assert await live.call({"what": "a"}, context) == "a 1"
        assert context.left == 0.75


async def test_what_is_kept_of_a_result(tmp_path: Path) -> None:
    """A result beyond what is kept is cut at a whole character, and says so; the model's part is cut by the loop."""
    async with opened(tmp_path, spec("long", keep="101", maxOutput="10")) as live:
        assert live.max_output == 10
        assert await live.call({"size": 50}) == "é" * 50
        assert await live.call({"size": 1000}) == "é" * 50 + "\n[cut: 101 of 2000 bytes]"
