"""Whatever a service does wrong, a call ends in one typed error, in time, with either client."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any

import pytest

from loomd.encoded import to_json
from loomd.errors import (
    BadReply,
    LoomdError,
    NotFound,
    Overloaded,
    Permanent,
    QuotaExceeded,
    RateLimited,
    Unauthorized,
    Unreachable,
)
from loomd.testing import VirtualClock
from tests.providers.rough import Rough, Visit, answer, chunk, chunked_head, rough
from tests.providers.speech import GOOD, HELLO, KEY, TEXT, block, delta, message, sse

DEADLINE = 1.0
"""Seconds of a call that nothing but its deadline ends; all others have half a minute, and take a moment."""
IN_TIME = 20.0
"""Seconds that a call takes at most, on a machine that is busy."""
Say = Callable[[Visit, str], Awaitable[None]]


@pytest.fixture(params=["openai", "anthropic"])
def kind(request: pytest.FixtureRequest) -> str:
    """Return each protocol."""
    return str(request.param)


@pytest.fixture(params=["http", "sdk"])
def client(request: pytest.FixtureRequest) -> str:
    """Return each client."""
    return str(request.param)


@dataclass(frozen=True)
class Fault:
    """What a service does, and what it has to become."""

    name: str
    say: Say
    error: type[LoomdError]
    text: str
    wait: float | None = None


def sends(*pieces: bytes) -> Say:
    """Send bytes and keep the connection."""

    async def say(visit: Visit, _: str) -> None:
        await visit.say(*pieces)

    return say


def closes(*pieces: bytes) -> Say:
    """Send bytes and close the connection."""

    async def say(visit: Visit, _: str) -> None:
        await visit.say(*pieces)
        visit.writer.close()

    return say


def hangs(*pieces: bytes) -> Say:
    """Send bytes and do nothing more."""

    async def say(visit: Visit, _: str) -> None:
        await visit.say(*pieces)
        await visit.hang()

    return say


def drips(begin: bytes, drop: bytes) -> Say:
    """Send bytes, and then a little again and again."""

    async def say(visit: Visit, _: str) -> None:
        await visit.say(begin)
        while True:
            await visit.say(drop)
            await asyncio.sleep(0.05)

    return say


def floods(begin: bytes, wave: bytes) -> Say:
    """Send bytes without end, as fast as they are taken."""

    async def say(visit: Visit, _: str) -> None:
        await visit.say(begin)
        while True:
            await visit.say(wave)

    return say


def of_kind(make: Callable[[str], bytes], *, closing: bool = False) -> Say:
    """Send an event stream of the protocol that is spoken."""

    async def say(visit: Visit, kind: str) -> None:
        body = make(kind)
        await visit.say(chunked_head(), chunk(body), b"" if closing else chunk(b""))
        if closing:
            visit.writer.close()

    return say


async def resets(visit: Visit, _: str) -> None:
    """Drop the connection."""
    visit.reset()


async def breaks(visit: Visit, kind: str) -> None:
    """Drop the connection in the middle of a stream."""
    await visit.say(chunked_head(), chunk(GOOD[kind][:90]))
    visit.reset()


async def stalls(visit: Visit, kind: str) -> None:
    """Send the first event and no more."""
    await visit.say(chunked_head(), chunk(GOOD[kind][: GOOD[kind].index(b"\n\n") + 2]))
    await visit.hang()


def refusal(status: str, body: bytes = b'{"error":{"message":"no"}}', *extra: str) -> Say:
    """Send a refusal."""
    return sends(answer(body, status=status, kind="application/json", extra=extra))


def whole(body: bytes) -> Say:
    """Send JSON with status 200."""
    return sends(answer(body, kind="application/json"))


def google(quota: str, *, limit: int = 15) -> bytes:
    """Return the list of errors that Google sends for a limit that is exceeded."""
    metric = "generativelanguage.googleapis.com/generate_content_free_tier_requests"
    text = (
        "You exceeded your current quota, please check your plan and billing details. "
        f"* Quota exceeded for metric: {metric}, limit: {limit}, model: gemini-2.5-flash Please retry in 2.3s."
    )
    failure = {
        "@type": "type.googleapis.com/google.rpc.QuotaFailure",
        "violations": [{"quotaMetric": metric, "quotaId": f"GenerateRequests{quota}PerProjectPerModel-FreeTier"}],
    }
    retry = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "2.5s"}
    error = {"code": 429, "message": text, "status": "RESOURCE_EXHAUSTED", "details": [failure, retry]}
    return to_json([{"error": error}])


MINUTE, DAY = google("PerMinute"), google("PerDay")
TOO_LONG = b'{"error":{"type":"invalid_request_error","message":"prompt is too long: 9 tokens > 8"}}'
NO_GOOGLE_KEY = b'[{"error":{"code":400,"message":"API key not valid.","status":"INVALID_ARGUMENT"}}]'


def cut(kind: str) -> bytes:
    """Return an answer that says no reason for its end."""
    return sse(delta(content="half")) if kind == "openai" else sse(*block(0, TEXT, {"type": "text_delta", "text": "x"}))


def nothing(kind: str) -> bytes:
    """Return an answer with nothing in it."""
    return sse(delta("stop", content=None), b"[DONE]") if kind == "openai" else message("end_turn", block(0, TEXT))


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
LATE = rf"spec\.deadline \({DEADLINE:g} s\)"
NOW = 1_700_000_000.0
DATE = formatdate(NOW + 3600, usegmt=True)

FAULTS = [
    Fault("429-seconds", refusal("429 Too Many", b"{}", "Retry-After: 7"), RateLimited, "HTTP 429", 7.0),
    Fault("429-date", refusal("429 Too Many", b"{}", f"Retry-After: {DATE}"), RateLimited, "HTTP 429", 3600.0),
    Fault("429-a-day", refusal("429 Too Many", b"{}", "Retry-After: 86400"), RateLimited, "HTTP 429", 86400.0),
    Fault("429-quota", refusal("429 No", b'{"error":{"code":"insufficient_quota"}}'), QuotaExceeded, "add credit"),
    Fault("429-google-minute", refusal("429 No", MINUTE), RateLimited, "HTTP 429: You exceeded", 2.5),
    Fault("429-google-day", refusal("429 No", DAY), QuotaExceeded, "HTTP 429: You .* the quota of a day: wait for"),
    Fault("429-google-none", refusal("429 No", google("PerMinute", limit=0)), QuotaExceeded, "add credit"),
    Fault("google-in-200", whole(MINUTE), RateLimited, "HTTP 429: You exceeded", 2.5),
    Fault("google-in-stream", sends(answer(sse(DAY))), QuotaExceeded, "the quota of a day"),
    Fault(
        "400-google-key", refusal("400 No", NO_GOOGLE_KEY), Unauthorized, r"400: API key not valid\.: check spec\.api"
    ),
    Fault("400-too-long", refusal("400 No", TOO_LONG), Permanent, r"too long: 9 tokens > 8: set spec\.contextWindow"),
    Fault("413", refusal("413 Large"), Permanent, r"set spec\.contextWindow"),
    Fault("400", refusal("400 No"), Permanent, r"HTTP 400: no$"),
    Fault("too-long-in-stream", sends(answer(sse(TOO_LONG))), Permanent, r"set spec\.contextWindow"),
    Fault("401", refusal("401 Unauthorized"), Unauthorized, r"spec\.apiKey"),
    Fault("404", refusal("404 Not Found"), NotFound, r"spec\.model and spec\.baseUrl"),
    Fault("500", refusal("500 Oops"), Overloaded, "HTTP 500"),
    Fault("500-html", sends(answer(b"<h1>no</h1>", status="500 Oops", kind="text/html")), Overloaded, "HTTP 500"),
    Fault("529", refusal("529 Busy", b'{"error":{"type":"overloaded_error"}}'), Overloaded, "HTTP 529"),
    Fault("redirect", refusal("307 Moved", b"", "Location: http://127.0.0.1:9/"), Permanent, r"set spec\.baseUrl"),
    Fault("closed-at-once", closes(), Unreachable, "cannot reach 127"),
    Fault("reset", resets, Unreachable, "cannot reach 127"),
    Fault("no-http", closes(b"220 smtp.example ready\r\n\r\n"), Unreachable, "cannot reach 127"),
    Fault("hang", hangs(), Unreachable, LATE),
    Fault("head-drips", drips(HEAD, b"X-A: b\r\n"), Unreachable, LATE),
    Fault("only-100-continue", drips(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), Unreachable, LATE),
    Fault("head-without-end", floods(HEAD, b"X-A: " + b"b" * 4000 + b"\r\n"), Unreachable, "cannot reach 127"),
    Fault("body-drips", drips(chunked_head(), chunk(b": ping\n\n")), Unreachable, LATE),
    Fault("body-drips-bytes", drips(HEAD + b"\r\n", b"d"), Unreachable, LATE),
    Fault("json-drips", drips(answer(b"{" * 1000, kind="application/json")[:-999], b" "), Unreachable, LATE),
    Fault("stalled-stream", stalls, Unreachable, LATE),
    Fault("half-stream", breaks, Unreachable, "connection broke"),
    Fault("half-chunk", closes(chunked_head(), b"ffff\r\ndata: {"), Unreachable, "connection broke"),
    Fault("shorter-than-said", closes(answer(b"data: x\n\n")[:-4]), Unreachable, "connection broke"),
    Fault("bad-chunk", closes(chunked_head(), b"zz\r\n"), Unreachable, "connection broke"),
    Fault("no-finish-reason", of_kind(cut), BadReply, "cut off"),
    Fault("bad-sse", sends(answer(b"hello\nthere\n\n")), BadReply, "no choices|cut off"),
    Fault("malformed-event", sends(answer(sse(b'{"choices":'))), BadReply, "cannot be read"),
    Fault("malformed-json", whole(b'{"choices": [}'), BadReply, "answer cannot be read: JSON is malformed"),
    Fault(
        "not-utf-8", sends(answer(b'data: {"choices":[{"delta":{"content":"\xff"}}]}\n\n')), BadReply, "read|cut off"
    ),
    Fault("html-200", sends(answer(b"<html>Welcome!", kind="text/html")), BadReply, r"got text/html: check that spec"),
    Fault("no-type-no-body", sends(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), BadReply, "got nothing"),
    Fault("204", sends(b"HTTP/1.1 204 No Content\r\n\r\n"), Permanent, "HTTP 204"),
    Fault("error-in-200", whole(b'{"error":{"message":"boom","type":"server_error"}}'), Overloaded, "boom"),
    Fault("quota-in-200", whole(b'{"error":{"code":"insufficient_quota"}}'), QuotaExceeded, "quota"),
    Fault("error-in-stream", sends(answer(sse({"type": "error", "error": "odd"}))), BadReply, "odd"),
    Fault("llama-error", sends(answer(b'error: {"code":500,"message":"out of room"}\n\n')), Overloaded, "out of room"),
    Fault("empty-choices", whole(b'{"choices":[],"type":"message","content":[]}'), BadReply, "no choices|reason"),
    Fault("null-choices", whole(b'{"choices":null,"type":"message","content":null}'), BadReply, "no choices|reason"),
    Fault("choice-is-null", whole(b'{"choices":[null],"type":"message","content":[null]}'), BadReply, "cannot be read"),
    Fault("null-content", of_kind(nothing), BadReply, "answer is empty"),
    Fault("list-in-200", whole(b"[1]"), BadReply, "cannot be read: Expected `object`, got `array`"),
    Fault(
        "huge-json", floods(HEAD[:17] + b"Content-Type: application/json\r\n\r\n", b"[" * 65536), BadReply, "maxReply"
    ),
    Fault("huge-stream", floods(chunked_head(), chunk(b": " + b"x" * 65536 + b"\n\n")), BadReply, "maxReply"),
    Fault("huge-refusal", floods(b"HTTP/1.1 500 No\r\n\r\n", b"x" * 65536), Overloaded, "HTTP 500"),
]
SDK_DIFFERS = {
    "huge-refusal": (Unreachable, "deadline"),  # it reads the whole body of a refusal
    "head-without-end": (Unreachable, "cannot reach|deadline"),
}


async def failure(provider: Any, server: Rough, kind: str, client: str, **fields: object) -> tuple[LoomdError, float]:
    """Return the error that a call ends in, and how long it took."""
    spec = {
        "type": kind,
        "client": client,
        "model": "m",
        "baseUrl": server.url,
        "deadline": "30s",
        "retry": {"attempts": 1},
        **fields,
    }
    async with provider(spec, clock=VirtualClock(NOW)) as model:
        started = time.monotonic()
        with pytest.raises(LoomdError) as caught:
            async for _ in model.stream(HELLO):
                pass
        return caught.value, time.monotonic() - started


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
async def test_every_fault_has_its_error(provider: Any, fault: Fault, kind: str, client: str) -> None:
    """A fault ends in the error that says what to do, in time, and is not tried again."""
    expected, text = fault.error, fault.text
    if client == "sdk":
        expected, text = SDK_DIFFERS.get(fault.name, (expected, text))
    deadline = f"{DEADLINE if 'deadline' in text else 30:g}s"
    async with rough(lambda visit: fault.say(visit, kind)) as server:
        error, took = await failure(provider, server, kind, client, maxReply="1Mi", deadline=deadline)
        assert len(server.visits) < 2
    assert (type(error), bool(re.search(text, str(error)))) == (expected, True), repr(error)
    assert took < IN_TIME
    assert "Provider/it" in str(error)
    assert getattr(error, "retry_after", None) == fault.wait


async def test_no_such_host(provider: Any, kind: str, client: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that nobody knows is unreachable, in time."""
    monkeypatch.setenv("CANARY", KEY)
    key = {"valueFrom": {"env": "CANARY"}}
    error, took = await failure(provider, Rough(url="http://service.invalid/v1"), kind, client, apiKey=key)
    assert isinstance(error, Unreachable)
    assert "service.invalid" in str(error)
    assert took < IN_TIME


async def test_a_service_that_is_not_asked_for_a_stream(provider: Any, kind: str, client: str) -> None:
    """What is said of a page that is no answer is what was expected: no stream where none was asked for."""
    page = sends(answer(b"<html>Welcome!", kind="text/html"))
    async with rough(lambda visit: page(visit, kind)) as server:
        error, _ = await failure(provider, server, kind, client, stream=False)
    assert "expected JSON, got text/html" in str(error)
