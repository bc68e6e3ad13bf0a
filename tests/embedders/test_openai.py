"""An embedder behind OpenAI's API: what is sent, what comes back, and what a service may do wrong."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from loomd.embedders.kind import KIND
from loomd.embedders.openai import OpenAiSpec, ServiceEmbedder
from loomd.errors import BadReply, LoomdError, Permanent, Temporary, Unauthorized
from tests.clocks import skip

Open = Callable[..., AbstractAsyncContextManager[ServiceEmbedder]]


class Service:
    """Makes vectors of three numbers: length of the text, one, and its first letter."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.answers: list[web.Response] = []
        self.url = ""
        self.delay = 0.0

    async def embed(self, request: web.Request) -> web.Response:
        """Answer, or what was put in front of it."""
        body = json.loads(await request.text())
        self.asked.append(body)
        self.headers.append(dict(request.headers))
        if self.answers:
            return self.answers.pop(0)
        await asyncio.sleep(self.delay)
        items = [
            {"object": "embedding", "index": at, "embedding": [len(text), 1.0, float(ord(text[0]))]}
            for at, text in enumerate(body["input"])
        ]
        return web.json_response({"object": "list", "data": items[::-1], "model": body["model"], "usage": {}})


@pytest.fixture
async def service() -> AsyncGenerator[Service, None]:
    """Yield a service on this machine."""
    made = Service()
    app = web.Application()
    app.router.add_post("/v1/embeddings", made.embed)
    server = TestServer(app)
    await server.start_server()
    made.url = str(server.make_url("/v1"))
    yield made
    await server.close()


def spec(service: Service, **more: Any) -> dict[str, Any]:
    """Return a spec as a manifest writes it."""
    return {"type": "openai", "model": "m", "dimension": 3, "baseUrl": service.url, **more}


async def test_texts_become_unit_rows_in_their_order(opened: Open, service: Service) -> None:
    """In batches, whatever the order of the answer; an empty text is zeros, and is not sent."""
    async with opened(spec(service, batch=2, shorten=True)) as embedder:
        texts = ["abcd", "", "b", "ccc", "\ud800x"]
        vectors = await embedder.embed(texts)
    assert vectors.shape == (5, 3)
    assert np.allclose(np.linalg.norm(vectors, axis=1), [1, 0, 1, 1, 1])
    wanted = np.array([4.0, 1.0, 97.0]) / np.linalg.norm([4.0, 1.0, 97.0])
    assert np.allclose(vectors[0], wanted)
    assert sorted(len(one["input"]) for one in service.asked) == [2, 2]
    assert service.asked[0] | {"input": 0} == {"model": "m", "input": 0, "encoding_format": "float", "dimensions": 3}
    assert "Authorization" not in service.headers[0]


async def test_zeros_of_one_text_are_its_vector(opened: Open, service: Service) -> None:
    """A service may know nothing of a text; one that knows nothing of any is refused."""
    some = '{"data": [{"index": 0, "embedding": [0, 0, 0]}, {"index": 1, "embedding": [0, 2, 0]}]}'
    one, none = '{"data": [{"index": 0, "embedding": [0, 0.0, 0]}]}', some.replace("2", "0")
    service.answers = [web.Response(text=text) for text in (some, one, none)]
    async with opened(spec(service)) as embedder:
        assert (await embedder.embed(["~~~", "b"])).tolist() == [[0, 0, 0], [0, 1, 0]]
        assert (await embedder.embed(["~~~"])).tolist() == [[0, 0, 0]]
        with pytest.raises(BadReply, match="the vectors of all 2 texts are zeros"):
            await embedder.embed(["a", "b"])


async def test_long_texts_are_cut(opened: Open, service: Service) -> None:
    """By characters, so that the service takes them."""
    async with opened(spec(service, maxTokens=16)) as embedder:
        await embedder.embed(["x" * 1000])
    assert service.asked[0]["input"] == ["x" * 64]


async def test_the_key_is_read_for_every_call_and_never_told(
    opened: Open, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rotated key acts at once; what the service repeats of it is masked."""
    monkeypatch.setenv("EMBED_KEY", "first-secret")
    key = {"valueFrom": {"env": "EMBED_KEY"}}
    async with opened(spec(service, apiKey=key, headers={"x-team": "docs"})) as embedder:
        await embedder.embed(["a"])
        assert service.headers[0]["Authorization"] == "Bearer first-secret"
        assert service.headers[0]["x-team"] == "docs"
        service.answers = [web.Response(status=401, text="wrong key first-secret")]
        with pytest.raises(Unauthorized, match=r"HTTP 401: wrong key \*\*\*: check spec.apiKey$"):
            await embedder.embed(["a"])
    monkeypatch.delenv("EMBED_KEY")
    with pytest.raises(Unauthorized, match="EMBED_KEY"):
        async with opened(spec(service, apiKey=key)):
            pass


async def test_what_is_busy_is_asked_again(opened: Open, service: Service) -> None:
    """Until it answers, within the deadline."""
    service.answers = [web.Response(status=503), web.Response(status=429, headers={"Retry-After": "0"})]
    async with opened(spec(service)) as embedder:
        assert (await embedder.embed(["a"])).shape == (1, 3)
        assert len(service.asked) == 3
    service.answers = [web.Response(status=429, headers={"Retry-After": "60"}, text="later")]
    async with opened(spec(service, deadline="30s")) as embedder:
        with pytest.raises(Temporary, match="HTTP 429: later"):
            await embedder.embed(["a"])


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        ({"status": 400, "text": "no such model"}, Permanent, "HTTP 400: no such model"),
        ({"status": 302, "headers": {"Location": "http://elsewhere"}}, Permanent, "HTTP 302"),
        ({"text": "no json"}, BadReply, "cannot be read"),
        ({"text": '{"x":' + "[" * 1000}, BadReply, "nested too deeply"),
        ({"text": '{"data": [{"index": 0, "embedding": [0.1, NaN]}]}'}, BadReply, "vectors must be numbers, got NaN"),
        (
            {"text": '{"object": "list", "data": [{"index": 0, "embedding": [0.1, null, 2]}]}'},
            BadReply,
            "vectors must be numbers, got null",
        ),
        ({"text": '{"data": [{"index": 0, "embedding": [1, 2]}]}'}, BadReply, "vectors of 3 numbers"),
        ({"text": '{"data": []}'}, BadReply, "each of 1 texts, numbered by `index` from 0; got 0"),
        (
            {"text": '{"data": [{"index": 7, "embedding": [1, 2, 3]}]}'},
            BadReply,
            "each of 1 texts, numbered by `index` from 0; got 1, numbered 7",
        ),
        ({"text": '{"data": [{"index": 0, "embedding": [1, 1e39, 3]}]}'}, BadReply, "NaN or infinity"),
        ({"text": "x" * 5000}, BadReply, r"larger than spec\.maxReply \(1024 bytes\)"),
    ],
    ids=["refused", "redirect", "text", "deep", "nan", "null", "short", "none", "other", "infinite", "flood"],
)
async def test_what_cannot_be_used_is_refused(
    opened: Open, service: Service, answer: dict[str, Any], error: type[LoomdError], said: str
) -> None:
    """Each with what is wrong."""
    service.answers = [web.Response(**answer)]
    async with opened(spec(service, maxReply="1Ki")) as embedder:
        with pytest.raises(error, match=said):
            await embedder.embed(["a"])


async def test_a_deadline_tells_what_the_attempt_before_it_said(
    opened: Open, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Why it was asked again at all is the better hint."""
    service.answers = [web.Response(status=503, text="loading the model")]
    service.delay = 3600.0  # of what is not put in front
    async with opened(spec(service, deadline="60s")) as embedder:
        asking = asyncio.ensure_future(embedder.embed(["a"]))
        while len(service.asked) < 2:  # noqa: ASYNC110  # nobody tells
            await asyncio.sleep(0.01)
        skip(60, monkeypatch)
        with pytest.raises(Temporary, match=r"no answer within 60 s.*: .*HTTP 503: loading the model"):
            await asking


async def test_nobody_there(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that cannot be reached is no reason not to open; the first text says so."""
    monkeypatch.setattr("loomd.web.service._BACKOFF", 3600.0)  # the next attempt would come after the deadline
    raw = {"type": "openai", "model": "m", "dimension": 3, "baseUrl": "http://127.0.0.1:9/v1"}
    async with opened(raw) as embedder:
        with pytest.raises(Temporary, match=r"127\.0\.0\.1:9 cannot be reached"):
            await embedder.embed(["a"])


def test_what_makes_other_vectors() -> None:
    """Another model, length or address; another key or deadline does not."""
    plain: dict[str, Any] = {"type": "openai", "model": "m", "dimension": 3}
    old = KIND.adapter.validate_python(plain)
    assert isinstance(old, OpenAiSpec)
    for change in ({"model": "n"}, {"dimension": 4}, {"baseUrl": "http://127.0.0.1/v1"}):
        assert list(KIND.adapter.validate_python(plain | change).means(old))
    for same in ({"deadline": "9s"}, {"batch": 3}, {"headers": {"x": "y"}}):
        assert not list(KIND.adapter.validate_python(plain | same).means(old))
