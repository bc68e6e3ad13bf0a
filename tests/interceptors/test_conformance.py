"""What every interceptor type owes the agent that it stands around."""

import asyncio
import gc
from collections.abc import AsyncGenerator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from loomd.agents.agent import Agent
from loomd.agents.base import Interceptor
from loomd.agents.budget import Limits
from loomd.agents.interception import Passing
from loomd.agents.suspicion import listening
from loomd.clock import SystemClock
from loomd.errors import RecordFailed, Refused
from loomd.events.bus import Bus, Scope
from loomd.events.event import CallChecked, Event
from loomd.interceptors.base import InterceptorSpec, SkippableSpec
from loomd.interceptors.context import Moment
from loomd.manifest.oneof import find_types
from loomd.messages import Message, Reply, Request, ToolCall
from loomd.providers.scripted import ScriptedModel

TYPES = find_types("loomd.interceptors", InterceptorSpec)
ALL: list[Moment] = ["beforeRun", "afterRun", "beforeModel", "afterModel", "beforeTool", "afterTool"]
SPECS: dict[str, dict[str, Any]] = {
    "approve": {"calls": ["refund"]},
    "command": {"argv": ["true"], "at": ALL},
    "guard": {"deny": ["(?i)falcon"], "injection": True, "maxLength": 1000},
    "limit": {"modelCallsPerMinute": 5, "toolCallsPerMinute": 5, "toolCallsPerTask": 5, "perTool": {"add": 5}},
    "python": {"file": "hook.py", "function": "look", "at": ALL},
}
"""What a type cannot do without."""
KINDS = sorted(TYPES)


def spec(kind: str, folder: Path) -> dict[str, Any]:
    """Return the least that a type needs, with the files that it names."""
    (folder / "hook.py").write_text("def look(call):\n    pass\n")
    return {"type": kind, **SPECS.get(kind, {})}


@pytest.mark.parametrize("kind", KINDS)
async def test_harmless_traffic_passes(interceptor: Any, context: Any, tmp_path: Path, kind: str) -> None:
    """With the least that it needs, no harmless word changes, nothing is noted, and nothing is altered in place."""
    messages = (Message("system", "Be brief."), Message("user", "hello"), Message("assistant", "hi"))
    request, reply, call = Request(messages), Reply("hi"), ToolCall("c", "add", {"a": 1, "b": ["x", {"y": "z"}]})
    context.calls = {"add": 1}
    async with interceptor(spec(kind, tmp_path)) as live:
        assert await live.before_run("hello", context) == "hello"
        assert await live.before_model(request, context) == request
        assert await live.after_model(request, reply, context) == reply
        assert await live.before_tool(call, context) == call
        assert await live.after_tool(call, "3", context) == "3"
        assert await live.after_run("hi", context) == "hi"
    assert request.messages == messages
    assert call.arguments == {"a": 1, "b": ["x", {"y": "z"}]}
    assert not context.notes
    assert not context.terms


@pytest.mark.parametrize("kind", KINDS)
async def test_it_says_who_it_is_and_when_it_is_asked(interceptor: Any, tmp_path: Path, kind: str) -> None:
    """Name, deadline and moments are there; no moment is declared at which nothing is done, as far as methods tell."""
    async with interceptor(spec(kind, tmp_path)) as live:
        assert live.name == "Interceptor/it"
        assert live.timeout == 10
        assert live.moments
        assert live.moments <= frozenset(ALL)


@pytest.mark.parametrize("kind", KINDS)
async def test_only_those_that_protect_nothing_may_be_skipped(interceptor: Any, tmp_path: Path, kind: str) -> None:
    """Those that keep something away refuse when they fail, whatever a manifest says; others do what they are told."""
    fields = spec(kind, tmp_path)
    if issubclass(TYPES[kind], SkippableSpec):
        async with interceptor({**fields, "onError": "skip"}) as live:
            assert live.on_error == "skip"
        async with interceptor({**fields, "onError": "refuse"}) as live:
            assert live.on_error == "refuse"
        return
    with pytest.raises(ValueError, match="onError"):
        async with interceptor({**fields, "onError": "skip"}):
            pass
    async with interceptor(fields) as live:
        assert live.on_error == "refuse"


@pytest.mark.parametrize("kind", KINDS)
async def test_it_may_be_given_up_at_any_moment(interceptor: Any, context: Any, tmp_path: Path, kind: str) -> None:
    """Cancelled while it looks, it ends at once, and serves the next call."""
    context.calls = {"add": 1}
    call = ToolCall("c", "add", {"a": 1})
    async with interceptor(spec(kind, tmp_path)) as live:
        for look in (
            live.before_run("hello", context),
            live.before_model(Request((Message("user", "hello"),)), context),
            live.before_tool(call, context),
            live.after_tool(call, "3", context),
        ):
            looking = asyncio.ensure_future(look)
            await asyncio.sleep(0)
            looking.cancel()
            await asyncio.wait([looking], timeout=60)
            assert looking.done()
        assert await live.before_run("hello", context) == "hello"


class Broken:
    """An interceptor that fails whenever it is asked, and is otherwise the one that it stands for."""

    moments = frozenset(ALL)

    def __init__(self, live: Any) -> None:
        self._live = live

    def __getattr__(self, name: str) -> Any:
        """Return what the other one has; what it does, fails."""
        if not name.startswith(("before_", "after_")):
            return getattr(self._live, name)

        async def fail(*_: object) -> None:
            raise RuntimeError("broken")

        return fail


def ada(interceptor: Interceptor) -> Agent:
    """Return an agent with an interceptor."""
    return Agent(
        *("ada", "default", "d1", "", {}),
        model=ScriptedModel("script/test", []),
        prompt="",
        limits=Limits(),
        clock=SystemClock(),
        interceptors=[interceptor],
    )


async def test_what_cannot_be_written_down_is_not_run(interceptor: Any, tmp_path: Path) -> None:
    """Where it cannot be said whose code runs, none does, and nothing of it is left behind."""

    @asynccontextmanager
    async def full(name: str) -> AsyncGenerator[None, None]:
        if name:
            raise RecordFailed(f"{name}: no space")
        yield

    async with interceptor(spec("python", tmp_path)) as live:
        passing = Passing(ada(live), Scope(Bus(SystemClock()), "t1"), "model")
        with listening(full), pytest.raises(RecordFailed, match="Interceptor/it: no space"):
            await passing.goal("go")
    gc.collect()  # a call that was made and never awaited is told of here


@pytest.mark.parametrize("wanted", ["refuse", "skip"])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_failure_does_what_is_declared(interceptor: Any, tmp_path: Path, kind: str, wanted: str) -> None:
    """Around an agent's calls, a failing interceptor refuses them all, or lets them pass as they are and is noted."""
    skippable = issubclass(TYPES[kind], SkippableSpec)
    more, ends = ({"onError": wanted}, wanted) if skippable else ({}, "refuse")
    request, call, events = Request((Message("user", "hello"),)), ToolCall("c", "add", {}), list[Event]()
    bus = Bus(SystemClock())
    bus.subscribe(events.append)
    async with interceptor({**spec(kind, tmp_path), **more}) as live:
        passing = Passing(ada(cast("Interceptor", Broken(live))), Scope(bus, "t1"), "model")
        looks: list[tuple[Awaitable[object], object]] = [
            (passing.goal("go"), "go"),
            (passing.request(request), request),
            (passing.call(call), call),
            (passing.result(call, "3"), "3"),
            (passing.output("hi"), "hi"),
        ]
        for look, same in looks:
            if ends == "skip":
                assert await look == same
                continue
            with pytest.raises(Refused, match="Interceptor/it refused the model call: it failed: broken"):
                await look
    actions = [event.data.action for event in events if isinstance(event.data, CallChecked)]
    assert actions == [{"refuse": "refused", "skip": "skipped"}[ends]] * len(looks)


@pytest.mark.parametrize(
    "kind", sorted(name for name, one in TYPES.items() if issubclass(one, InterceptorSpec) and one.pure)
)
async def test_a_pure_one_says_the_same_twice(interceptor: Any, context: Any, tmp_path: Path, kind: str) -> None:
    """What is done again on a replay hangs on the call alone."""
    request = Request((Message("user", "project falcon, ada@example.org"),))
    async with interceptor(spec(kind, tmp_path)) as live:

        async def look() -> object:
            try:
                return await live.before_model(request, context)
            except Refused as error:
                return str(error)

        assert await look() == await look()
