"""What both remote providers owe their callers whatever the service does, with either client."""

import asyncio
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from loomd.errors import (
    BadReply,
    NotFound,
    Overloaded,
    Permanent,
    QuotaExceeded,
    RateLimited,
    Unauthorized,
    Unreachable,
)
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
from loomd.providers.kind import KIND
from loomd.testing import VirtualClock
from tests.providers.speech import ADD, GOOD, HELLO, KEY, TEXT, block, call_stream, delta, message, sse


@pytest.fixture(params=["openai", "anthropic"])
def kind(request: pytest.FixtureRequest) -> str:
    """Return each remote type."""
    return str(request.param)


@pytest.fixture(params=["http", "sdk"])
def client(request: pytest.FixtureRequest) -> str:
    """Return each client."""
    return str(request.param)


@pytest.fixture
def spec(kind: str, client: str, service: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Return a spec that leads to the service on this machine."""
    monkeypatch.setenv("CANARY", KEY)
    return {
        "type": kind,
        "client": client,
        "model": "m",
        "baseUrl": service.url,
        "apiKey": {"valueFrom": {"env": "CANARY"}},
        "deadline": "30s",
        "retry": {"attempts": 1},
    }


async def chunks(model: Any, request: Request = HELLO) -> list[Chunk]:
    """Return all that a call yields."""
    return [chunk async for chunk in model.stream(request)]


async def test_a_good_answer(provider: Any, service: Any, spec: dict[str, object], kind: str) -> None:
    """Deltas that come together are one, the reply holds text, usage, cost and the model's name."""
    service.says(GOOD[kind])
    async with provider(spec | {"pricing": {"input": 1.0, "output": 2.0}}) as model:
        got = await chunks(model)
    assert got[:-1] == [TextDelta("Hello")]
    assert got[-1] == Reply("Hello", usage=Usage(9, 7), model="it/m", cost=23 / 1e6)


async def test_the_request(provider: Any, service: Any, spec: dict[str, object], kind: str) -> None:
    """The whole conversation goes out in the service's own form, with passages before the question."""
    service.says(GOOD[kind])
    call = ToolCall("c1", "add", {"a": 1})
    request = Request(
        (
            Message("system", "Be brief."),
            Message("user", "what?", passages=(Passage(1, "Water is wet.", "a.md:1", "A"),)),
            Message("assistant", tool_calls=(call,)),
            Message("tool", "3", call_id="c1"),
        ),
        (ADD,),
        temperature=0.5,
        max_tokens=99,
    )
    more: dict[str, object] = {"cache": "off"} if kind == "anthropic" else {}
    async with provider(spec | more | {"headers": {"X-Team": "blue"}, "parameters": {"top_p": 0.9}}) as model:
        await chunks(model, request)
    body, headers = service.bodies[0], service.headers[0]
    asked = "[1] A (a.md:1)\nWater is wet.\n\nwhat?"
    assert (body["model"], body["temperature"], body["top_p"], body["stream"]) == ("m", 0.5, 0.9, True)
    assert (headers["X-Team"], body["max_tokens"]) == ("blue", 99)
    if kind == "openai":
        assert headers["Authorization"] == f"Bearer {KEY}"
        function = {"name": "add", "arguments": '{"a":1}'}
        assert body["messages"] == [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": asked},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "c1", "type": "function", "function": function}],
            },
            {"role": "tool", "tool_call_id": "c1", "content": "3"},
        ]
        assert body["tools"][0]["function"] == {
            "name": "add",
            "description": "Add two numbers.",
            "parameters": ADD.parameters,
        }
    else:
        # Which of the two headers carries the key is the SDK's choice.
        assert KEY in (headers.get("x-api-key"), headers.get("Authorization", "").removeprefix("Bearer "))
        assert body["system"] == "Be brief."
        assert body["messages"] == [
            {"role": "user", "content": [{"type": "text", "text": asked}]},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "c1", "name": "add", "input": {"a": 1}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "3"}]},
        ]
        assert body["tools"] == [{"name": "add", "description": "Add two numbers.", "input_schema": ADD.parameters}]


@pytest.mark.parametrize(
    ("pieces", "arguments"),
    [
        pytest.param(('{"a"', ": 1}"), {"a": 1}, id="in-pieces"),
        pytest.param(("",), {}, id="none"),
        pytest.param(('{"a": ',), {UNREADABLE: '{"a": '}, id="not-json"),
        pytest.param(("[1]",), {UNREADABLE: "[1]"}, id="no-object"),
    ],
)
async def test_tool_calls(
    provider: Any, service: Any, spec: dict[str, object], kind: str, pieces: tuple[str, ...], arguments: object
) -> None:
    """Tool calls are put together; arguments that cannot be read go back to the model, not up as an error."""
    service.says(call_stream(kind, *pieces))
    async with provider(spec) as model:
        reply = (await chunks(model, Request((Message("user", "add"),), (ADD,))))[-1]
    assert isinstance(reply, Reply)
    assert (reply.stop, reply.tool_calls) == ("tool_calls", (ToolCall("c9", "add", arguments),))  # type: ignore[arg-type]  # parametrised


async def test_structured_output(provider: Any, service: Any, spec: dict[str, object], kind: str) -> None:
    """A schema is asked for in the service's own way, and the answer is JSON text."""
    schema: dict[str, object] = {"type": "object", "properties": {"n": {"type": "integer"}}}
    if kind == "openai":
        service.says(sse(delta(content='{"n":'), delta(content="1}"), delta("stop"), b"[DONE]"))
    else:
        use: dict[str, object] = {"type": "tool_use", "id": "u", "name": "give_answer", "input": {}}
        parts: list[dict[str, object]] = [
            {"type": "input_json_delta", "partial_json": '{"n":'},
            {"type": "input_json_delta", "partial_json": "1}"},
        ]
        service.says(message("tool_use", block(0, use, *parts)))
    async with provider(spec) as model:
        got = await chunks(model, Request((Message("user", "n?"),), output_schema=schema))
    assert got[:-1] == [TextDelta('{"n":1}')]
    assert isinstance(got[-1], Reply)
    assert (got[-1].text, got[-1].stop, got[-1].tool_calls) == ('{"n":1}', "stop", ())
    body = service.bodies[0]
    if kind == "openai":
        assert body["response_format"] == {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": schema},
        }
    else:
        assert body["tool_choice"] == {"type": "tool", "name": "give_answer"}


async def test_reasoning(provider: Any, service: Any, spec: dict[str, object], kind: str) -> None:
    """Reasoning comes as deltas of its own and never becomes part of the answer."""
    if kind == "openai":
        service.says(sse(delta(reasoning_content="hm"), delta(content="yes"), delta("stop"), b"[DONE]"))
    else:
        thought = block(0, {"type": "thinking", "thinking": ""}, {"type": "thinking_delta", "thinking": "hm"})
        service.says(message("end_turn", thought, block(1, TEXT, {"type": "text_delta", "text": "yes"})))
    async with provider(spec) as model:
        got = await chunks(model)
    assert got[:-1] == [ReasoningDelta("hm"), TextDelta("yes")]
    assert isinstance(got[-1], Reply)
    assert (got[-1].text, got[-1].reasoning) == ("yes", "hm")


@pytest.mark.parametrize("usage", [None, {}, {"n": -5}, {"n": 10**15}, {"n": "many"}, "lots"], ids=str)
async def test_usage_is_never_nonsense(
    provider: Any, service: Any, spec: dict[str, object], kind: str, usage: object
) -> None:
    """Missing, negative or absurd usage is estimated from the texts."""
    if isinstance(usage, dict):
        usage = {name: usage.get("n") for name in ("prompt_tokens", "completion_tokens", "input_tokens")}
    if kind == "openai":
        service.says(sse(delta(content="a" * 40), delta("stop"), {"choices": [], "usage": usage}, b"[DONE]"))
        output = 10
    else:
        text = block(0, TEXT, {"type": "text_delta", "text": "a" * 40})
        service.says(message("end_turn", text, usage=usage))
        output = 7
    async with provider(spec) as model:
        reply = (await chunks(model))[-1]
    assert isinstance(reply, Reply)
    assert reply.usage == Usage(3, output)


EMPTY_MESSAGE = message("end_turn")
NESTED = b'{"type": "x", "choices": [], "x": ' + b"[" * 2000


@pytest.mark.parametrize(
    ("bodies", "text"),
    [
        pytest.param(
            {"openai": sse({"choices": []}, b"[DONE]"), "anthropic": EMPTY_MESSAGE}, "choices|empty", id="no-choices"
        ),
        pytest.param(
            {"openai": sse(delta("stop", content=None), b"[DONE]"), "anthropic": message("end_turn", block(0, TEXT))},
            "answer is empty",
            id="null-content",
        ),
        pytest.param(
            {
                "openai": sse(delta(content="half")),
                "anthropic": sse(*block(0, TEXT, {"type": "text_delta", "text": "half"})),
            },
            "cut off",
            id="no-finish-reason",
        ),
        pytest.param({"openai": sse(b"{broken"), "anthropic": sse(b"{broken")}, "cannot be read", id="malformed-event"),
        pytest.param({"openai": sse(b"[1]"), "anthropic": sse(b"[1]")}, "cannot be read", id="no-object"),
        pytest.param({"openai": sse(NESTED), "anthropic": sse(NESTED)}, "nested too deeply", id="nested"),
        pytest.param({"openai": b"", "anthropic": b""}, "no choices|cut off", id="empty-body"),
    ],
)
async def test_unusable_answers(
    provider: Any, service: Any, spec: dict[str, object], kind: str, bodies: dict[str, bytes], text: str
) -> None:
    """An answer with nothing in it is an error, never an empty success."""
    service.says(bodies[kind])
    async with provider(spec) as model:
        with pytest.raises(BadReply, match=text):
            await chunks(model)


async def test_what_is_nested_without_end(provider: Any, service: Any, spec: dict[str, object]) -> None:
    """A whole answer of brackets is none."""
    service.says(NESTED, content_type="application/json")
    async with provider(spec) as model:
        with pytest.raises(BadReply, match="the answer cannot be read: JSON is nested too deeply"):
            await chunks(model)


async def test_html(provider: Any, service: Any, spec: dict[str, object]) -> None:
    """A web page with status 200 is no answer."""
    service.says("<html>Welcome to nginx!</html>", content_type="text/html")
    async with provider(spec) as model:
        with pytest.raises(BadReply, match=r"got text/html: check that spec\.baseUrl"):
            await chunks(model)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ({"type": "server_error", "message": "boom"}, Overloaded),
        ({"type": "overloaded_error", "message": "busy"}, Overloaded),
        ({"type": "odd", "message": "no"}, BadReply),
        ({"code": 401, "message": "who?"}, Unauthorized),
        ({"code": "insufficient_quota", "message": "pay"}, QuotaExceeded),
        ("boom", BadReply),
    ],
    ids=str,
)
@pytest.mark.parametrize("where", ["body", "stream"])
async def test_errors_with_status_200(
    provider: Any, service: Any, spec: dict[str, object], error: object, expected: type[Exception], where: str
) -> None:
    """An error object is an error whatever the status says, in the body or inside the stream."""
    found = {"type": "error", "error": error}
    service.says(found if where == "body" else sse(found))
    async with provider(spec) as model:
        with pytest.raises(expected, match="Provider/it"):
            await chunks(model)


NOW = 1_700_000_000.0


STATUSES = [
    (401, {"message": f"bad key {KEY}"}, {}, Unauthorized, None),
    (403, {"message": "no"}, {}, Unauthorized, None),
    (404, {"message": "no such model"}, {}, NotFound, None),
    (400, {"message": "context too long"}, {}, Permanent, None),
    (402, {"message": "pay"}, {}, QuotaExceeded, None),
    (429, {"code": "insufficient_quota", "message": "pay"}, {"Retry-After": "1"}, QuotaExceeded, None),
    (400, {"message": "Your credit balance is too low"}, {}, QuotaExceeded, None),
    (429, {"message": "slow"}, {"Retry-After": "7"}, RateLimited, 7.0),
    (429, {"message": "slow"}, {"retry-after-ms": "1500"}, RateLimited, 1.5),
    (429, {"message": "slow"}, {"Retry-After": formatdate(NOW + 60, usegmt=True)}, RateLimited, 60.0),
    (429, {"message": "slow"}, {"Retry-After": "soon"}, RateLimited, None),
    (429, {"message": "slow"}, {"Retry-After": "99999999999"}, RateLimited, 604800.0),
    (503, {"message": "busy"}, {"Retry-After": "2"}, Overloaded, 2.0),
    (529, {"type": "overloaded_error", "message": "busy"}, {}, Overloaded, None),
    (500, {"message": "boom"}, {}, Overloaded, None),
]


@pytest.mark.parametrize("row", STATUSES, ids=lambda row: f"{row[0]}-{row[1].get('code') or row[1]['message']}")
async def test_statuses(provider: Any, service: Any, spec: dict[str, object], row: Any) -> None:
    """Each status has its error, is asked for once, and never shows the key."""
    status, error, headers, expected, wait = row
    service.says({"error": error}, status=status, headers=headers)
    async with provider(spec, clock=VirtualClock(NOW)) as model:
        with pytest.raises(expected) as caught:
            await chunks(model)
    assert type(caught.value) is expected
    assert getattr(caught.value, "retry_after", None) == wait
    assert str(caught.value).startswith(f"Provider/it: HTTP {status}: ")
    assert KEY not in str(caught.value)
    assert len(service.bodies) == 1


async def test_a_wait_beyond_the_deadline(provider: Any, service: Any, spec: dict[str, object]) -> None:
    """What a service asks for is not waited for when the call would be over by then, and that is said."""
    service.says({"error": {"message": "slow"}}, status=429, headers={"Retry-After": "500"})
    async with provider(spec | {"retry": {"attempts": 3}}) as model:
        with pytest.raises(RateLimited, match=r"alone for 500 s, which is beyond spec\.deadline \(30 s\)") as caught:
            await chunks(model)
    assert (caught.value.retry_after, len(service.bodies)) == (500, 1)


def stream_of(*pieces: bytes, pause: Callable[[], Awaitable[object]] | None = None) -> Any:
    """Return a handler that sends pieces, then waits or drops the connection."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for piece in pieces:
            await response.write(piece)
        if pause is not None:
            await pause()
        assert request.transport is not None
        request.transport.close()
        return response

    return answer


async def test_a_cut_stream(provider: Any, service: Any, spec: dict[str, object], kind: str) -> None:
    """A connection that breaks in the middle is unreachable, and may be tried again."""
    service.handler = stream_of(GOOD[kind][:60])
    async with provider(spec) as model:
        with pytest.raises(Unreachable, match="connection broke"):
            await chunks(model)


async def test_the_deadline_holds_against_a_drip(provider: Any, service: Any, spec: dict[str, object]) -> None:
    """A server that sends a little again and again cannot hold a call beyond its deadline."""

    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        while True:
            await response.write(b": ping\n\n")
            await asyncio.sleep(0.02)

    service.handler = drip
    async with provider(spec | {"deadline": "200ms"}) as model:
        async with asyncio.timeout(60):
            with pytest.raises(Unreachable, match=r"spec\.deadline \(0\.2 s\)"):
                await chunks(model)


async def test_the_deadline_holds_before_the_headers(provider: Any, service: Any, spec: dict[str, object]) -> None:
    """A server that takes the request and says nothing cannot hold a call either."""
    forever = asyncio.Event()

    async def hang(_: web.Request) -> web.StreamResponse:
        await forever.wait()
        return web.Response()

    service.handler = hang
    async with provider(spec | {"deadline": "200ms"}) as model:
        with pytest.raises(Unreachable):
            await chunks(model)
    forever.set()


async def test_a_slow_reader_is_not_cut_off(provider: Any, service: Any, spec: dict[str, object], kind: str) -> None:
    """Whoever reads may be cancelled by nothing but their own limits."""
    service.says(GOOD[kind])
    async with provider(spec | {"deadline": "30s"}) as model:
        stream = model.stream(HELLO)
        first = await anext(stream)
        await asyncio.sleep(0)
        assert first == TextDelta("Hello")
        await stream.aclose()


async def test_a_huge_answer(provider: Any, service: Any, spec: dict[str, object]) -> None:
    """An answer beyond the limit is refused, not collected."""
    service.says(b": " + b"x" * 5000 + b"\n\n")
    async with provider(spec | {"maxReply": "4Ki"}) as model:
        with pytest.raises(BadReply, match=r"larger than spec\.maxReply"):
            await chunks(model)


async def test_connection_refused(provider: Any, spec: dict[str, object], unused_port: int) -> None:
    """A service that is not there is named with its address."""
    async with provider(spec | {"baseUrl": f"http://127.0.0.1:{unused_port}/v1"}) as model:
        with pytest.raises(Unreachable, match=f"cannot reach 127.0.0.1:{unused_port}"):
            await chunks(model)


@pytest.mark.parametrize(("kind", "variable"), [("openai", "OPENAI_API_KEY"), ("anthropic", "ANTHROPIC_API_KEY")])
async def test_a_missing_key(provider: Any, kind: str, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its key a provider does not open, and says which variable to set."""
    monkeypatch.delenv(variable, raising=False)
    expected = f"Provider/it spec.apiKey: environment variable {variable} is not set: export {variable}=..."
    with pytest.raises(Unauthorized) as caught:
        async with provider({"type": kind, "model": "m"}):
            pass
    assert str(caught.value) == expected


async def test_loopback_needs_no_key(provider: Any, service: Any, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service on this machine is used without a key, and never gets that of the real one."""
    variable = {"openai": "OPENAI_API_KEY", "anthropic": "ANTHROPIC_API_KEY"}[kind]
    monkeypatch.setenv(variable, KEY)
    service.says(GOOD[kind])
    async with provider({"type": kind, "model": "m", "baseUrl": service.url}) as model:
        await chunks(model)
    assert KEY not in str(service.headers[0])


@pytest.mark.parametrize("url", ["http://127.0.0.1:99999/v1", "http://127.0.0.1:0/v1", "http://a..\u00e9/v1"])
def test_a_base_url_that_leads_nowhere(url: str, kind: str, tmp_path: Path) -> None:
    """A port that there is not, or a host that cannot have such a name, is a problem of the manifest."""
    spec = KIND.adapter.validate_python({"type": kind, "model": "m", "baseUrl": url})
    assert [problem[0] for problem in spec.check(tmp_path)] == ["/baseUrl"]


@pytest.mark.parametrize("url", ["ftp://x/v1", "localhost:80", "https://"])
def test_base_url(url: str, kind: str) -> None:
    """An address that is none is refused with the manifest."""
    with pytest.raises(ValueError, match="expected an address"):
        KIND.adapter.validate_python({"type": kind, "model": "m", "baseUrl": url})


@pytest.mark.parametrize(
    "more", [{"images": False}, {"type": "openai", "service": "deepseek"}], ids=["declared", "known"]
)
async def test_images_are_refused_by_who_takes_none(
    provider: Any, service: Any, spec: dict[str, object], kind: str, more: dict[str, object]
) -> None:
    """They are not left out in silence, and the service is not asked; an earlier turn counts like the last one."""
    service.says(GOOD[str(more.get("type", kind))])
    picture = Message("user", "what is it?", images=(Image("image/gif", "R0lGODlh"),))
    request = Request((picture, Message("assistant", "A cat."), Message("user", "sure?")))
    async with provider(spec | more) as model:
        with pytest.raises(Permanent, match="Provider/it takes no images"):
            await chunks(model, request)
        assert not service.bodies
        assert await chunks(model)


async def test_images_go_where_the_question_is(provider: Any, service: Any, spec: dict[str, object], kind: str) -> None:
    """In the service's own form, with their content."""
    service.says(GOOD[kind])
    request = Request((Message("user", "what is it?", images=(Image("image/gif", "R0lGODlh"),)),))
    async with provider(spec) as model:
        await chunks(model, request)
    picture, words = service.bodies[0]["messages"][0]["content"]
    assert words == {"type": "text", "text": "what is it?"}
    if kind == "openai":
        assert picture == {"type": "image_url", "image_url": {"url": "data:image/gif;base64,R0lGODlh"}}
    else:
        assert picture["source"] == {"type": "base64", "media_type": "image/gif", "data": "R0lGODlh"}
