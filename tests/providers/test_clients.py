"""Both clients say and understand the same, and that is what the official types of the services say, too."""

import asyncio
import json
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
import pytest_asyncio
from pydantic import TypeAdapter

from loomd.messages import (
    UNREADABLE,
    Chunk,
    Image,
    Message,
    Passage,
    ReasoningDelta,
    Reply,
    Request,
    TextDelta,
    ToolCall,
    Usage,
)
from loomd.models.llama import Endpoint, Settings, shared
from loomd.models.place import models_dir
from loomd.models.registry import locate
from tests.providers.rough import Visit, answer, chunk, chunked_head, rough
from tests.providers.speech import ADD, HELLO, block, delta, message, sse
from tests.providers.traffic import THOUGHTS, TRAFFIC, Traffic

CLIENTS = ("http", "sdk")
PNG = "iVBORw0KGgo="
CALL = ToolCall("c1", "add", {"a": 1})
REQUESTS = {
    "plain": HELLO,
    "sampled": Request((Message("user", "hello"),), temperature=0.5, max_tokens=7),
    "passages": Request((Message("user", "what?", passages=(Passage(1, "Water is wet.", "a.md:1", "A"),)),)),
    "examples": Request(HELLO.messages, examples=(Message("user", "a"), Message("assistant", "b"))),
    "tools": Request(HELLO.messages, (ADD,)),
    "results": Request(
        (
            *HELLO.messages,
            Message("assistant", "Let me.", (CALL, ToolCall("c2", "add", {UNREADABLE: "{"}))),
            Message("tool", "1", call_id="c1"),
            Message("tool", "Error: bad arguments", call_id="c2"),
            Message("user", "and now?"),
        ),
        (ADD,),
    ),
    "results-without-tools": Request(
        (*HELLO.messages, Message("assistant", "", (CALL,)), Message("tool", "1", call_id="c1"))
    ),
    "schema": Request(HELLO.messages, output_schema={"type": "object", "properties": {}}),
    "thoughts": Request(
        (
            *HELLO.messages,
            Message("assistant", "Let me.", (CALL, ToolCall("c2", "add", {})), thoughts=THOUGHTS),
            Message("tool", "1", call_id="c1"),
            Message("tool", "2", call_id="c2"),
        ),
        (ADD,),
    ),
    "images": Request((Message("user", "What is it?", images=(Image("image/png", PNG), Image("image/webp", PNG))),)),
    "schema-and-tools": Request(HELLO.messages, (ADD,), output_schema={"type": "object", "properties": {}}),
}


def spec(kind: str, client: str, url: str, *, stream: bool = True) -> dict[str, object]:
    """Return the spec of a provider."""
    return {"type": kind, "client": client, "model": "m", "baseUrl": url, "stream": stream, "deadline": "10s"}


async def said(provider: Any, spec: Mapping[str, object], request: Request = HELLO) -> list[Chunk]:
    """Return all that a call yields."""
    async with provider(spec) as model:
        return [found async for found in model.stream(request)]


def joined(chunks: Iterable[Chunk]) -> list[Chunk]:
    """Return chunks, the deltas next to each other in one: so many as come together are handed on together."""
    found: list[Chunk] = []
    for one in chunks:
        last = found[-1] if found else None
        if isinstance(one, TextDelta) and isinstance(last, TextDelta):
            found[-1] = TextDelta(last.text + one.text)
        elif isinstance(one, ReasoningDelta) and isinstance(last, ReasoningDelta):
            found[-1] = ReasoningDelta(last.text + one.text)
        else:
            found.append(one)
    return found


def streamed(traffic: Traffic) -> bytes:
    """Return the body of a streamed answer, as the service writes it."""
    if traffic.kind == "openai":
        return sse(*traffic.stream, b"[DONE]")
    return b"".join(f"event: {event['type']}\n".encode() + sse(event) for event in traffic.stream)


@pytest.mark.parametrize("traffic", TRAFFIC.values(), ids=TRAFFIC)
@pytest.mark.parametrize("client", CLIENTS)
class TestAnswers:
    """Recorded answers."""

    async def test_a_stream(self, provider: Any, traffic: Traffic, client: str) -> None:
        """The deltas come, those that came together in one, then the reply."""

        async def serve(visit: Visit) -> None:
            assert json.loads(visit.body)["stream"] is True
            await visit.say(chunked_head() + chunk(streamed(traffic)) + chunk(b""))

        async with rough(serve) as server:
            got = await said(provider, spec(traffic.kind, client, server.url))
        assert got == [*joined(traffic.deltas), traffic.reply]

    async def test_a_stream_event_by_event(self, provider: Any, traffic: Traffic, client: str) -> None:
        """What comes by itself is handed on at once: the rest is sent only when the first delta was."""
        heard = asyncio.Event()
        if not traffic.deltas:  # nothing of it is handed on before the reply
            heard.set()
        first, last = streamed(traffic).rsplit(b"data: ", 2)[0], streamed(traffic)

        async def serve(visit: Visit) -> None:
            await visit.say(chunked_head(), chunk(first))
            await heard.wait()
            await visit.say(chunk(last[len(first) :]), chunk(b""))

        got: list[Chunk] = []
        async with rough(serve) as server, provider(spec(traffic.kind, client, server.url)) as model:
            async for one in model.stream(HELLO):
                got.append(one)
                heard.set()
        assert joined(got) == [*joined(traffic.deltas), traffic.reply]

    @pytest.mark.parametrize("size", [1, 7, 1000])
    async def test_a_stream_in_pieces(self, provider: Any, traffic: Traffic, client: str, size: int) -> None:
        """It is the same however the body is cut, with CR LF at the end of lines."""
        body = streamed(traffic).replace(b"\n", b"\r\n")

        async def serve(visit: Visit) -> None:
            pieces = [chunk(body[at : at + size]) for at in range(0, len(body), size)]
            await visit.say(chunked_head(), *pieces, chunk(b""))

        async with rough(serve) as server:
            got = await said(provider, spec(traffic.kind, client, server.url))
        assert joined(got) == [*joined(traffic.deltas), traffic.reply]

    @pytest.mark.parametrize("stream", [False, True], ids=["asked-for", "not-asked-for"])
    async def test_in_one_piece(self, provider: Any, traffic: Traffic, client: str, stream: bool) -> None:
        """An answer that is no stream means the same, also where a stream was asked for."""

        async def serve(visit: Visit) -> None:
            assert json.loads(visit.body).get("stream", False) is stream
            await visit.say(answer(json.dumps(traffic.whole).encode(), kind="application/json; charset=utf-8"))

        async with rough(serve) as server:
            got = await said(provider, spec(traffic.kind, client, server.url, stream=stream))
        assert got[-1] == traffic.reply
        for kind in (TextDelta, ReasoningDelta):
            texts = ["".join(d.text for d in deltas if isinstance(d, kind)) for deltas in (got[:-1], traffic.deltas)]
            assert texts[0] == texts[1]


@pytest.mark.parametrize("traffic", TRAFFIC.values(), ids=TRAFFIC)
def test_the_answers_are_real_ones(traffic: Traffic) -> None:
    """The recorded answers are what the official types say, so that no test is built on a format of our own."""
    of = official(traffic.kind)
    for event in traffic.stream:
        if event.get("type") != "ping":  # which the type leaves out
            of.event.validate_python(event, strict=True)
    of.answer.validate_python(traffic.whole, strict=True)


class Official(NamedTuple):
    """What checks values of the official types of a service."""

    request: TypeAdapter[Any]
    event: TypeAdapter[Any]
    answer: TypeAdapter[Any]


@cache
def official(kind: str) -> Official:
    """Return the official types of a service, made once; their import takes seconds, for which only who asks waits."""
    if kind == "openai":
        from openai.types import chat  # noqa: PLC0415  # takes seconds
        from openai.types.chat.completion_create_params import CompletionCreateParams  # noqa: PLC0415  # takes seconds

        types: list[Any] = [CompletionCreateParams, chat.ChatCompletionChunk, chat.ChatCompletion]
    else:
        from anthropic.types import Message as Answer  # noqa: PLC0415  # takes seconds
        from anthropic.types import RawMessageStreamEvent  # noqa: PLC0415  # takes seconds
        from anthropic.types.message_create_params import MessageCreateParams  # noqa: PLC0415  # takes seconds

        types = [MessageCreateParams, RawMessageStreamEvent, Answer]
    return Official(*(TypeAdapter(one) for one in types))


def exhausted(value: Any) -> Any:
    """Return a validated value with its lazy parts looked at: pydantic checks an `Iterable` while it is read."""
    if isinstance(value, dict):
        return {key: exhausted(inner) for key, inner in value.items()}
    return [exhausted(inner) for inner in value] if isinstance(value, list | Iterator) else value


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        pytest.param("openai", {"reasoningEffort": "high"}, id="openai"),
        pytest.param("anthropic", {"cache": "off", "effort": "low"}, id="anthropic"),
        pytest.param("anthropic", {"cache": "1h"}, id="anthropic-cached"),
        pytest.param("anthropic", {"thinking": {"display": "summarized"}}, id="anthropic-adaptive"),
        pytest.param("anthropic", {"thinking": {"mode": "budget"}}, id="anthropic-budget"),
        pytest.param("anthropic", {"thinking": {"mode": "off"}}, id="anthropic-unthinking"),
    ],
)
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_requests_are_of_the_official_types(
    provider: Any, service: Any, kind: str, more: Any, stream: bool
) -> None:
    """What is sent has the fields of the official types and no other, and is the same with either client."""
    service.says(streamed(TRAFFIC[f"{kind}-text"]))
    requests = list(REQUESTS.values())
    if more.get("thinking", {"mode": "off"}).get("mode") != "off":  # such a model takes no temperature
        requests = [msgspec.structs.replace(one, temperature=None) for one in requests]
    for client in CLIENTS:
        async with provider(spec(kind, client, service.url, stream=stream) | more) as model:
            for request in requests:
                assert [found async for found in model.stream(request)]
    sent = service.bodies
    for name, first, second in zip(REQUESTS, sent[: len(requests)], sent[len(requests) :], strict=True):
        assert first == second, name
        wanted = known(kind, first)
        assert exhausted(official(kind).request.validate_python(wanted)) == wanted, name


def known(kind: str, sent: dict[str, Any]) -> dict[str, Any]:
    """Return a request without what the official types of today leave out."""
    sent = {"stream": False, **sent}
    if kind == "anthropic":
        sent.pop("temperature", None)  # only older models take it
    turns: Any = sent["messages"]
    for call in [call for turn in turns for call in turn.get("tool_calls", ())]:
        call.pop("extra_content", None)  # Google's, for calls that it signed itself
    return sent


def calls_of(kind: str, *calls: tuple[str, str, str]) -> bytes:
    """Return an answer with tool calls, each an id, a name and its arguments."""
    if kind == "openai":
        deltas = [
            {"index": at, "id": ident, "type": "function", "function": {"name": name, "arguments": text}}
            for at, (ident, name, text) in enumerate(calls)
        ]
        return sse(*(delta(tool_calls=[found]) for found in deltas), delta("tool_calls"), b"[DONE]")
    blocks = [
        block(
            at,
            {"type": "tool_use", "id": ident, "name": name, "input": {}},
            {"type": "input_json_delta", "partial_json": text},
        )
        for at, (ident, name, text) in enumerate(calls)
    ]
    return message("tool_use", *blocks)


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
@pytest.mark.parametrize("client", CLIENTS)
class TestToolCalls:
    """Tool calls that are not as they should be are handed on, for the loop to answer."""

    @pytest.mark.parametrize(
        ("calls", "expected"),
        [
            pytest.param((("c", "add", "{"),), (ToolCall("c", "add", {UNREADABLE: "{"}),), id="bad-json"),
            pytest.param((("c", "add", "1"),), (ToolCall("c", "add", {UNREADABLE: "1"}),), id="no-object"),
            pytest.param((("c", "ghost", "{}"),), (ToolCall("c", "ghost", {}),), id="unknown-name"),
            pytest.param((("c", "add", '{"z":1}'),), (ToolCall("c", "add", {"z": 1}),), id="bad-arguments"),
            pytest.param(
                (("c", "add", "{}"), ("c", "add", "{}"), ("c-2", "add", "{}"), ("c", "add", "{}")),
                tuple(ToolCall(ident, "add", {}) for ident in ("c", "c-2", "c-2-2", "c-3")),
                id="the-same-id",
            ),
            pytest.param((("", "add", "{}"),), (ToolCall("call-0", "add", {}),), id="no-id"),
            pytest.param(
                tuple((f"c{n}", "add", "{}") for n in range(500)),
                tuple(ToolCall(f"c{n}", "add", {}) for n in range(500)),
                id="500-at-once",
            ),
        ],
    )
    async def test_odd_calls(
        self, provider: Any, service: Any, kind: str, client: str, calls: Any, expected: tuple[ToolCall, ...]
    ) -> None:
        """Each call keeps its name and what the model wrote, under an id of its own."""
        service.says(calls_of(kind, *calls))
        got = await said(provider, spec(kind, client, service.url), Request((Message("user", "add"),), (ADD,)))
        assert isinstance(got[-1], Reply)
        assert (got[-1].tool_calls, got[-1].stop) == (expected, "tool_calls")


@pytest.fixture(scope="module")
def weights() -> Path:
    """The default model's file."""
    return locate("qwen2.5-coder-0.5b", models_dir())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def endpoint(weights: Path) -> AsyncGenerator[Endpoint, None]:
    """Yield where the model answers all tests, for to load it takes longer than they do."""
    async with shared(Settings(weights, "it/qwen", context=4096, parallel=1)) as llama:
        yield await llama.endpoint()


@pytest.mark.embedded
@pytest.mark.timeout(300)
@pytest.mark.asyncio(loop_scope="module")
class TestLive:
    """A real model server on this machine, which speaks both protocols."""

    @pytest.mark.parametrize("kind", ["openai", "anthropic"])
    async def test_all_ways_lead_to_the_same(
        self, provider: Any, endpoint: Endpoint, kind: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Streamed or not, with either client, the model says the same."""
        monkeypatch.setenv("CANARY", endpoint.key)
        url = f"{endpoint.url}/v1" if kind == "openai" else endpoint.url
        request = Request((Message("system", "Be brief."), Message("user", "Count from 1 to 5.")), temperature=0.0)
        more = {"apiKey": {"valueFrom": {"env": "CANARY"}}, "deadline": "2m", "parameters": {"seed": 1}}
        found: list[tuple[str, str]] = []
        for client in CLIENTS:
            for stream in (True, False):
                got = await said(provider, spec(kind, client, url, stream=stream) | more, request)
                reply = got[-1]
                assert isinstance(reply, Reply)
                assert isinstance(reply.usage, Usage)
                assert reply.usage.output > 1
                texts = [piece.text for piece in got[:-1] if isinstance(piece, TextDelta)]
                assert "".join(texts) == reply.text
                assert (len(texts) > 1) is stream
                found.append((reply.text, reply.stop))
        assert found == [found[0]] * 4
        assert "3" in found[0][0]

    @pytest.mark.parametrize("client", CLIENTS)
    async def test_a_real_structured_answer(
        self, provider: Any, endpoint: Endpoint, client: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A schema is kept by the server, and the answer is put together."""
        monkeypatch.setenv("CANARY", endpoint.key)
        schema: dict[str, object] = {
            "type": "object",
            "properties": {"year": {"type": "integer"}},
            "required": ["year"],
        }
        request = Request((Message("user", "It was built in 1871. When?"),), output_schema=schema, temperature=0.0)
        more = {"apiKey": {"valueFrom": {"env": "CANARY"}}, "deadline": "2m"}
        reply = (await said(provider, spec("openai", client, f"{endpoint.url}/v1") | more, request))[-1]
        assert isinstance(reply, Reply)
        assert json.loads(reply.text) == {"year": 1871}
