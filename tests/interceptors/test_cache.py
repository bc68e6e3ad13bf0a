"""Answers that were given before."""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pytest

from loomd.manifest.object import Ref
from loomd.messages import Message, Passage, Reply, Request, ToolCall, ToolSchema, Usage
from loomd.testing import VirtualClock

REPLY = Reply("42", usage=Usage(10, 2), cost=0.5, model="script/test", asked="abc")


def ask(text: str, *, system: str = "s", tools: tuple[ToolSchema, ...] = ()) -> Request:
    """Return a question."""
    return Request((Message("system", system), Message("user", text)), tools)


class Letters:
    """An embedder that compares texts by their letters."""

    async def embed(self, texts: Sequence[str]) -> Any:
        """Count letters."""
        rows = np.array([[text.lower().count(chr(97 + at)) for at in range(26)] for text in texts], np.float32)
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


async def test_the_same_request_is_answered_and_costs_nothing(interceptor: Any, context: Any) -> None:
    """The answer is the earlier one without tokens and cost; another model, prompt or question is not answered."""
    async with interceptor({"type": "cache"}) as live:
        assert await live.before_model(ask("a"), context) == ask("a")
        await live.after_model(ask("a"), REPLY, context)
        found = await live.before_model(ask("a"), context)
        assert found == msgspec.structs.replace(REPLY, usage=Usage(), cost=0.0, asked="")
        for other in (ask("b"), ask("a", system="t"), msgspec.structs.replace(ask("a"), temperature=0.5)):
            assert await live.before_model(other, context) == other
        context.model = "script/other"
        assert await live.before_model(ask("a"), context) == ask("a")
    assert context.notes == [("answered", "the same request was answered before")]


async def test_answers_grow_old(interceptor: Any, context: Any) -> None:
    """After its time an answer is forgotten."""
    clock = VirtualClock()
    async with interceptor({"type": "cache", "ttl": "1m"}, clock=clock) as live:
        await live.after_model(ask("a"), REPLY, context)
        clock.advance(59)
        assert isinstance(await live.before_model(ask("a"), context), Reply)
        clock.advance(1)
        assert isinstance(await live.before_model(ask("a"), context), Request)


async def test_the_cache_is_bounded(interceptor: Any, context: Any) -> None:
    """By number and by size: what was not asked for the longest leaves; what is too large is not kept."""
    async with interceptor({"type": "cache", "maxEntries": 2}) as live:
        for text in ("a", "b"):
            await live.after_model(ask(text), REPLY, context)
        await live.before_model(ask("a"), context)
        await live.after_model(ask("c"), REPLY, context)
        kept = [isinstance(await live.before_model(ask(text), context), Reply) for text in ("a", "b", "c")]
        assert kept == [True, False, True]
    async with interceptor({"type": "cache", "maxSize": "300"}) as live:
        await live.after_model(ask("big"), Reply("x" * 400), context)
        assert isinstance(await live.before_model(ask("big"), context), Request)
        for at in range(5):
            await live.after_model(ask(f"{at}"), Reply("x" * 100), context)
        assert isinstance(await live.before_model(ask("0"), context), Request)
        assert isinstance(await live.before_model(ask("4"), context), Reply)


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(Reply("cut", stop="length"), id="cut"),
        pytest.param(Reply("no", stop="refusal"), id="refused"),
        pytest.param(Reply("", (ToolCall("c", "add", {}),), stop="tool_calls"), id="calls"),
    ],
)
async def test_only_whole_answers_are_kept(interceptor: Any, context: Any, reply: Reply) -> None:
    """Half an answer, a refusal or a call of a tool is asked for again."""
    async with interceptor({"type": "cache", "withTools": True}) as live:
        await live.after_model(ask("a"), reply, context)
        assert isinstance(await live.before_model(ask("a"), context), Request)


async def test_calls_with_tools_only_if_declared(interceptor: Any, context: Any) -> None:
    """By default neither a request that offers tools is answered, nor one that holds what a tool said."""
    offering = ask("a", tools=(ToolSchema("add", "Adds.", {}),))
    following = Request((*ask("a").messages, Message("tool", "3", call_id="c")))
    async with interceptor({"type": "cache"}) as live:
        for request in (offering, following):
            await live.after_model(request, REPLY, context)
            assert isinstance(await live.before_model(request, context), Request)
    async with interceptor({"type": "cache", "withTools": True}) as live:
        await live.after_model(offering, REPLY, context)
        assert isinstance(await live.before_model(offering, context), Reply)


async def test_questions_of_the_same_meaning(interceptor: Any, context: Any) -> None:
    """The last turn may differ in its words, nothing else may."""
    spec = {"type": "cache", "semantic": {"embedder": "letters", "threshold": 0.95}}
    async with interceptor(spec, live={Ref("Embedder", "letters"): Letters()}) as live:
        await live.after_model(ask("capital of Peru"), REPLY, context)
        assert isinstance(await live.before_model(ask("Peru capital of"), context), Reply)
        assert isinstance(await live.before_model(ask("height of Zugspitze"), context), Request)
        assert isinstance(await live.before_model(ask("Peru capital of", system="t"), context), Request)
        passages = (Passage(1, "Lima.", "a.md:1"),)
        other = Request((Message("system", "s"), Message("user", "Peru capital of", passages=passages)))
        assert isinstance(await live.before_model(other, context), Request)
    assert [action for action, _ in context.notes] == ["answered"]
