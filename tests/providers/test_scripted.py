import asyncio
import time
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any

import pytest

from loomd.errors import Permanent, Temporary
from loomd.messages import Message, Reply, Request, TextDelta, ToolCall, ToolSchema, Usage
from loomd.providers.kind import KIND
from loomd.providers.scripted import Scripted, ScriptedModel

ADD = ToolSchema("add", "Add two numbers.", {"type": "object"})


def model(*replies: Mapping[str, object]) -> ScriptedModel:
    """Return a model with these replies, as written in a manifest."""
    spec: Scripted = KIND.adapter.validate_python({"type": "scripted", "replies": list(replies)})
    return ScriptedModel("it/scripted", spec.replies)


def ask(text: str, *turns: Message, **more: Any) -> Request:
    """Return a request of one user turn and what followed."""
    return Request((Message("system", "You are Ada."), Message("user", text), *turns), **more)


async def answer(live: ScriptedModel, request: Request) -> Reply:
    """Return the last chunk."""
    chunks = [chunk async for chunk in live.stream(request)]
    assert isinstance(chunks[-1], Reply)
    return chunks[-1]


@pytest.mark.parametrize(
    ("when", "text", "fits"),
    [
        pytest.param("capital", "The CAPITAL of France?", True, id="any-case"),
        pytest.param("capital*france", "the capital of France", True, id="star"),
        pytest.param("france*capital", "the capital of France", False, id="order"),
        pytest.param("spain", "the capital of France", False, id="absent"),
        pytest.param("", "anything", True, id="empty"),
    ],
)
async def test_when(when: str, text: str, *, fits: bool) -> None:
    """A reply answers the user turns that hold its text."""
    live = model({"when": when, "text": "yes"}, {"text": "no", "times": None})
    assert (await answer(live, ask(text))).text == ("yes" if fits else "no")


async def test_turns_take_replies_in_order() -> None:
    """The n-th assistant turn of a conversation gets the n-th reply that fits, however many conversations run."""
    live = model({"when": "add", "toolCalls": [{"name": "add", "arguments": {"a": 1, "b": 2}}]}, {"text": "3"})
    first = ask("add 1 and 2", tools=(ADD,))
    replies = await asyncio.gather(*(answer(live, first) for _ in range(20)))
    assert all(reply.tool_calls == (ToolCall("call-0-0", "add", {"a": 1, "b": 2}),) for reply in replies)
    assert all(reply.stop == "tool_calls" for reply in replies)
    then = ask(
        "add 1 and 2",
        Message("assistant", tool_calls=replies[0].tool_calls),
        Message("tool", "3", call_id="call-0-0"),
        tools=(ADD,),
    )
    assert (await answer(live, then)).text == "3"


async def test_a_reply_that_cannot_be_taken_is_passed_over() -> None:
    """Tool calls are for requests that offer tools, JSON for those that ask for it."""
    live = model({"json": {"answer": 1}}, {"toolCalls": [{"name": "add"}], "times": None}, {"text": "plain"})
    assert (await answer(live, ask("?", output_schema={"type": "object"}))).text == '{"answer":1}'
    assert (await answer(live, ask("?", tools=(ADD,)))).tool_calls
    assert (await answer(live, ask("?"))).text == "plain"
    wrap_up = ask("?", Message("assistant", "a"), Message("assistant", "b"), Message("user", "Stop here."))
    assert (await answer(live, wrap_up)).text == "plain"


async def test_system_chooses_too() -> None:
    """Agents that share a provider are told apart by their system turn."""
    live = model({"system": "grace", "text": "I am Grace"}, {"system": "you are ada", "text": "I am Ada"})
    assert (await answer(live, ask("who?"))).text == "I am Ada"


async def test_no_reply_fits() -> None:
    """A conversation beyond the script fails with the text that found no reply."""
    live = model({"when": "hello", "text": "hi"})
    with pytest.raises(Permanent, match=r'no reply for turn 1 of "good bye"'):
        await answer(live, ask("good bye"))
    with pytest.raises(Permanent, match=r'no reply for turn 2 of "hello"'):
        await answer(live, ask("hello", Message("assistant", "hi")))


@pytest.mark.parametrize(("name", "error"), [("permanent", Permanent), ("temporary", Temporary)])
async def test_errors(name: str, error: type[Exception]) -> None:
    """A reply may be a failure."""
    with pytest.raises(error, match="it/scripted: out of order"):
        await answer(model({"error": name, "text": "out of order"}), ask("?"))


async def test_chunks_and_usage() -> None:
    """The text is streamed in pieces, and usage is what the manifest says, or an estimate."""
    live = model({"text": "abcdefg", "chunks": 3, "usage": {"input": 5}})
    chunks = [chunk async for chunk in live.stream(ask("?"))]
    assert chunks[:-1] == [TextDelta("abc"), TextDelta("def"), TextDelta("g")]
    assert chunks[-1] == Reply("abcdefg", usage=Usage(5, 1), model="it/scripted")


async def test_delay_can_be_cancelled() -> None:
    """A slow reply ends at once when the caller gives up."""
    live = model({"text": "late", "delay": "1h"})
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01), aclosing(live.stream(ask("?"))) as chunks:
            await anext(chunks)


async def test_speed() -> None:
    """A call without a delay takes less than 20 microseconds of CPU."""
    live = model(*({"when": f"topic {n}", "text": "x"} for n in range(5)), {"text": "done"})
    request = ask("something else")
    best = float("inf")
    for _ in range(5):
        started = time.process_time()
        for _ in range(500):
            async for _ in live.stream(request):
                pass
        best = min(best, (time.process_time() - started) / 500)
    assert best < 20e-6


def test_text_and_json_exclude_each_other() -> None:
    """A reply says one thing."""
    with pytest.raises(ValueError, match="expected one of text and json, got both"):
        model({"text": "a", "json": {}})
