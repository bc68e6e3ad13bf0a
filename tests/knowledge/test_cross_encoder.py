"""A reranker behind a service: what is sent, what comes back, and what a service may do wrong."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
from aiohttp import ClientSession, ClientTimeout, ConnectionTimeoutError, web
from aiohttp.test_utils import TestServer

from loomd.errors import BadReply, LoomdError, Permanent, Temporary, Unauthorized
from loomd.events.event import AnyFact
from loomd.knowledge.asking import Asker, Scores
from loomd.manifest.object import Ref
from loomd.messages import Reply, Request
from loomd.testing import open_spec

T = TypeVar("T")


class Service:
    """Scores a document by its length; the longest is the last of its answer."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.answers: list[Callable[[], Awaitable[web.Response]]] = []
        self.url = ""

    async def rerank(self, request: web.Request) -> web.Response:
        """Answer, or what was put in front of it."""
        body = json.loads(await request.text())
        self.asked.append(body)
        self.headers.append(dict(request.headers))
        if self.answers:
            return await self.answers.pop(0)()
        if "texts" in body:
            return web.json_response([{"index": at, "score": len(one)} for at, one in enumerate(body["texts"])])
        items = [{"index": at, "relevance_score": len(one) / 7} for at, one in enumerate(body["documents"])]
        return web.json_response({"id": "x", "results": items[::-1], "meta": {"billed_units": {"search_units": 1}}})

    def put(self, **answer: Any) -> None:
        """Put an answer in front."""

        async def respond() -> web.Response:
            return web.Response(**answer)

        self.answers.append(respond)


class Payer:
    """Pays every call, and keeps what it cost."""

    def __init__(self) -> None:
        self.costs: list[float] = []
        self.told: list[AnyFact] = []

    async def ask(self, name: str, model: object, request: Request) -> Reply:
        """Refuse: no model is asked here."""
        raise NotImplementedError

    async def call(self, name: str, about: str, do: Callable[[], Awaitable[Scores]], cost: float) -> Scores:
        """Make the call."""
        assert (name, len(about)) == ("rerank", 16)
        self.costs.append(cost)
        return await do()

    async def keep(self, name: str, do: Callable[[Asker], Awaitable[T]], result: type[T]) -> T:
        """Do it, and return what is read back of its record."""
        assert name in {"found", "judged"}
        return msgspec.json.decode(msgspec.json.encode(await do(self)), type=result)

    def tell(self, fact: AnyFact) -> None:
        """Keep it."""
        self.told.append(fact)


@pytest.fixture
async def service() -> AsyncGenerator[Service, None]:
    """Yield a service on this machine."""
    made = Service()
    app = web.Application()
    app.router.add_post("/v1/rerank", made.rerank)
    server = TestServer(app)
    await server.start_server()
    made.url = str(server.make_url("/v1"))
    yield made
    await server.close()


@asynccontextmanager
async def opened(folder: Path, service: Service, **more: Any) -> AsyncGenerator[Any, None]:
    """Open a knowledge base with three passages about cats, and the service."""
    (folder / "docs").mkdir(exist_ok=True)
    for at, text in enumerate(("cats", "cats and more cats", "many cats here")):
        (folder / "docs" / f"{at}.txt").write_text(f"{text}\n")
    rerank = {"type": "cross-encoder", "baseUrl": service.url, "onFailure": "fail", **more}
    spec = {"sources": [{"path": "docs"}], "embedder": "e", "retrieval": {"mode": "keyword", "rerank": rerank}}
    async with (
        open_spec("Embedder", {"type": "hash"}, folder / "embedder") as embedder,
        open_spec("KnowledgeBase", spec, folder, live={Ref("Embedder", "e"): embedder}) as base,
    ):
        yield base


async def test_the_order_is_the_services(tmp_path: Path, service: Service) -> None:
    """By scores of any scale, whatever the order of the answer; what it costs is paid."""
    payer = Payer()
    async with opened(tmp_path, service, model="m", price=0.002, headers={"x-team": "docs"}) as base:
        found = await base.explain("cats", asker=payer)
    assert [hit.passage.text for hit in found.hits] == ["cats and more cats", "many cats here", "cats"]
    assert [hit.rerank for hit in found.hits] == [
        len(f"{name}\n{text}") / 7
        for name, text in (("1.txt", "cats and more cats"), ("2.txt", "many cats here"), ("0.txt", "cats"))
    ]
    (asked,) = service.asked
    assert (asked["model"], asked["query"], asked["top_n"], len(asked["documents"])) == ("m", "cats", 3, 3)
    assert service.headers[0]["x-team"] == "docs"
    assert "Authorization" not in service.headers[0]
    assert payer.costs == [0.002]


async def test_the_other_way_to_say_it(tmp_path: Path, service: Service) -> None:
    """Text Embeddings Inference wants texts, and answers with a bare list."""
    async with opened(tmp_path, service, api="tei", passageTokens=16) as base:
        found = await base.explain("cats", asker=Payer())
    assert found.hits[0].passage.text == "cats and more cats"
    assert service.asked[0].keys() == {"query", "texts", "truncate"}


async def test_long_passages_are_cut(tmp_path: Path, service: Service) -> None:
    """By characters, so that the model reads them."""
    async with opened(tmp_path, service, passageTokens=1) as base:
        await base.look("cats", asker=Payer())
    assert {len(one) for one in service.asked[0]["documents"]} == {4}


async def test_the_key_is_read_for_every_call_and_never_told(
    tmp_path: Path, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the service repeats of it is masked; without it the knowledge base does not open."""
    monkeypatch.setenv("RERANK_KEY", "first-secret")
    key = {"valueFrom": {"env": "RERANK_KEY"}}
    async with opened(tmp_path, service, apiKey=key) as base:
        await base.look("cats", asker=Payer())
        assert service.headers[0]["Authorization"] == "Bearer first-secret"
        service.put(status=401, text="wrong key first-secret")
        with pytest.raises(Unauthorized, match=r"HTTP 401: wrong key \*\*\*: check spec.retrieval.rerank.apiKey"):
            await base.look("cats", asker=Payer())
    monkeypatch.delenv("RERANK_KEY")
    with pytest.raises(Unauthorized, match="RERANK_KEY"):
        async with opened(tmp_path, service, apiKey=key):
            pass


async def test_what_is_busy_is_asked_again(tmp_path: Path, service: Service) -> None:
    """Until it answers, within the time."""
    service.put(status=503)
    service.put(status=429, headers={"Retry-After": "0"})
    async with opened(tmp_path, service) as base:
        assert len((await base.look("cats", asker=Payer())).passages) == 3
    assert len(service.asked) == 3
    service.put(status=429, headers={"Retry-After": "60"}, text="later")
    async with opened(tmp_path, service, timeout="30s") as base:
        with pytest.raises(Temporary, match="HTTP 429: later"):
            await base.look("cats", asker=Payer())


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        ({"status": 400, "text": "no such model"}, Permanent, "HTTP 400: no such model"),
        ({"status": 302, "headers": {"Location": "http://elsewhere"}}, Permanent, "HTTP 302"),
        ({"text": "no json"}, BadReply, "cannot be read"),
        ({"text": '{"results": [], "meta": ' + "[" * 1900}, BadReply, "nested too deeply"),
        ({"text": '{"error": "no model"}'}, BadReply, 'neither "results" nor "data"'),
        ({"text": '{"results": []}'}, BadReply, "asked about 3 documents, and judged 0"),
        ({"text": '{"data": [{"index": 2, "score": 1}]}'}, BadReply, "asked about 3 documents, and judged 1"),
        (
            {"text": '[{"index": 0, "score": 1}, {"index": 0, "score": 1}, {"index": 1, "score": 2}]'},
            BadReply,
            "judged document 0 twice",
        ),
        (
            {"text": '[{"index": 0, "score": 1}, {"index": 1, "score": 1}, {"index": 3, "score": 2}]'},
            BadReply,
            "judged document 3 of 3, which are counted from 0",
        ),
        ({"text": '[{"index": 0, "score": 1}, {"index": 1}, {"index": 2}]'}, BadReply, "gave document 1 no score"),
        ({"text": '[{"index": 0, "score": NaN}]'}, BadReply, "cannot be read"),
        ({"text": '[{"index": 0, "score": 1e999}]'}, BadReply, "cannot be read"),
        ({"text": '[{"index": 0, "score": "high"}]'}, BadReply, "cannot be read"),
        ({"body": b"x" * 3000}, BadReply, "larger than spec.retrieval.rerank.maxReply"),
    ],
)
async def test_answers_that_cannot_be_used(
    tmp_path: Path, service: Service, answer: dict[str, Any], error: type[LoomdError], said: str
) -> None:
    """Each is told by name; with `keep` the order of the search stays, and that is said."""
    service.put(**answer)
    async with opened(tmp_path, service, maxReply="2Ki") as base:
        with pytest.raises(error, match=said):
            await base.look("cats", asker=Payer())
    service.put(**answer)
    payer = Payer()
    async with opened(tmp_path, service, maxReply="2Ki", onFailure="keep") as base:
        found = await base.look("cats", asker=payer)
    assert said in found.notes[0]
    assert len(payer.told) == len(found.notes) == 1


async def test_a_service_that_does_not_answer(tmp_path: Path, service: Service) -> None:
    """The time is over for it, and one that is not there is told at once."""

    async def never() -> web.Response:
        await asyncio.sleep(3600)
        return web.Response()

    service.answers.append(never)
    async with opened(tmp_path, service, timeout="200ms") as base:
        with pytest.raises(Temporary, match=r"no answer within rerank.timeout \(0.2 s\)"):
            await base.look("cats", asker=Payer())
    service.url = "http://127.0.0.1:1/v1"
    async with opened(tmp_path, service, timeout="1s", onFailure="keep") as base:
        (note,) = (await base.look("cats", asker=Payer())).notes
    assert "127.0.0.1:1 cannot be reached" in note or "no answer within" in note


@pytest.mark.parametrize("error", [ConnectionTimeoutError, TimeoutError])
async def test_a_connection_that_is_given_up_is_a_failure_as_any_other(
    tmp_path: Path, service: Service, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    """Nobody gives it up before `timeout`; what the system gives up is tried again, and left out in the end."""
    asked: list[ClientTimeout] = []

    def post(session: ClientSession, *args: object, **more: object) -> None:
        del args, more
        asked.append(session.timeout)
        raise error("Connection timeout")

    monkeypatch.setattr(ClientSession, "post", post)
    payer = Payer()
    async with opened(tmp_path, service, onFailure="keep", timeout="900ms") as base:
        found = await base.look("cats", asker=payer)
    assert len(found.passages) == 3
    (note,) = found.notes
    assert note.startswith("the passages stand in the order of the search, because rerank failed: ")
    assert all((one.total, one.sock_connect, one.sock_read) == (None, None, None) for one in asked)
