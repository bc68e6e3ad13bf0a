"""`type: cross-encoder`: a model that reads question and passage together, behind a service's `/rerank`.

Cohere, Jina, vLLM, llama.cpp's server, Infinity and LocalAI speak the same: question and documents go out, an index
and a score for each come back. Text Embeddings Inference names the same things otherwise (`api: tei`). No
redirects, no cookies, one deadline over all attempts, a bounded answer.
"""

import asyncio
import math
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from pydantic import Field, field_validator

from loomd.encoded import read_json, to_json
from loomd.errors import BadReply, Temporary, Unauthorized
from loomd.knowledge.asking import Asker, Scores, digest
from loomd.knowledge.rerankers.base import RerankSpec, Take
from loomd.manifest.keyring import entitled
from loomd.manifest.kind import Reload, Spec
from loomd.manifest.quantity import Bytes, Tokens, Usd
from loomd.manifest.rule import spelled
from loomd.manifest.secret import Secret, literal_secrets, secrets_in_url
from loomd.topology import Parts
from loomd.web.service import ADDRESS, Service, Waits, checked_url

if TYPE_CHECKING:
    from aiohttp import ClientSession

_PLACE = "spec.retrieval.rerank"
_CHARACTERS = 4
"""Characters that are taken for a token."""


class CrossEncoderRerank(RerankSpec):
    """A cross-encoder behind a service that speaks the rerank API of Cohere and Jina."""

    type: Literal["cross-encoder"] = "cross-encoder"
    base_url: str = Field(json_schema_extra=spelled(ADDRESS), examples=["http://127.0.0.1:8080/v1"])
    """Address of the service, with its path; `/rerank` is asked for below it."""
    model: str = Field(default="", examples=["bge-reranker-v2-m3"])
    """Model, as the service calls it; empty for a service that has only one."""
    api: Literal["cohere", "tei"] = "cohere"
    """What the service calls things: `cohere` sends `query`, `documents` and `top_n`, as Cohere, Jina, vLLM and
    llama.cpp's server have it; `tei` sends `query` and `texts`, as Text Embeddings Inference has it."""
    api_key: Annotated[Secret | None, Reload("immediate")] = None
    """Where the key is kept; without it none is sent."""
    headers: Annotated[dict[str, str | Secret], Reload("immediate")] = Field({}, examples=[{"x-team": "docs"}])
    """Further headers of every call; what may be a secret is named with valueFrom."""
    passage_tokens: Tokens = 400
    """Tokens of a passage that are sent, estimated as a quarter of its characters; most cross-encoders read 512."""
    price: Usd = 0.0
    """USD of a call; whoever searches pays it."""
    max_reply: Bytes = Field(default=1 << 20, ge=1)
    """Largest answer on the wire; a longer one is refused."""

    @field_validator("base_url")
    @classmethod
    def _http(cls, value: str) -> str:
        return checked_url(value)

    def check(self, root: Path) -> Iterator[tuple[str, ...]]:
        """Yield secrets that stand in the manifest."""
        del root
        yield from literal_secrets(self.headers, "/headers")
        yield from secrets_in_url(self.base_url, "/baseUrl", f"{_PLACE}.apiKey or {_PLACE}.headers")

    @asynccontextmanager
    async def open(self, parts: Parts) -> AsyncGenerator["CrossEncoder", None]:
        """Yield the live reranker.

        Raises:
            Unauthorized: a secret is missing; the text says what to do.
        """
        from aiohttp import ClientSession, ClientTimeout, DummyCookieJar  # noqa: PLC0415  # costs 0.2 s

        endless = ClientTimeout(total=None, sock_connect=None)  # `timeout` is whoever searches' own
        async with ClientSession(cookie_jar=DummyCookieJar(), trust_env=True, timeout=endless) as session:
            live = CrossEncoder(self, parts, session)
            live.headers()
            yield live


class _Item(msgspec.Struct, gc=False):
    """A judgement; services call the score either way."""

    index: int
    relevance_score: float | None = None
    score: float | None = None


class _Reply(msgspec.Struct):
    """An answer; a service that wraps its list calls it either way."""

    results: list[_Item] | None = None
    data: list[_Item] | None = None


_DECODER: msgspec.json.Decoder[_Reply | list[_Item]] = msgspec.json.Decoder(_Reply | list[_Item])


class CrossEncoder:
    """A live reranker over the network."""

    def __init__(self, spec: CrossEncoderRerank, parts: Parts, session: "ClientSession") -> None:
        self._owner = str(parts.declared.ref)
        self._spec = spec
        self._parts = parts
        self._service = Service(self._owner, "the reranker", _PLACE, session, spec.max_reply)

    async def judge(self, question: str, texts: Sequence[str], asker: Asker, take: Take) -> None:
        """Say of each text its score, in the model's own scale; all come at once.

        Raises:
            BadReply: the answer holds other texts, or no numbers.
            Unauthorized: the key is missing, refused, or was withdrawn.
            Temporary: the service is busy or cannot be reached.
            Permanent: it refuses the texts or the model.
        """
        longest = self._spec.passage_tokens * _CHARACTERS
        body = self._body(question, [text.strip()[:longest] for text in texts])
        tried = partial(self._tried, body, len(texts))
        take(0, await asker.call("rerank", digest(body), tried, self._spec.price))

    def _body(self, question: str, texts: Sequence[str]) -> bytes:
        spec = self._spec
        body: dict[str, Any] = {"model": spec.model} if spec.model else {}
        if spec.api == "tei":
            return to_json({**body, "query": question, "texts": texts, "truncate": True})
        return to_json({**body, "query": question, "documents": texts, "top_n": len(texts)})

    async def _tried(self, body: bytes, wanted: int) -> Scores:
        """Return what the service answers, asked again while it is busy, as long as whoever searches waits for it."""
        base, query, more = self._spec.base_url.partition("?")
        url, waits = f"{base.rstrip('/')}/rerank{query}{more}", Waits()
        while True:
            try:
                return self._scores(await self._service.post(url, body, self.headers()), wanted)
            except Temporary as error:
                wait = waits.after(error)
                if wait >= self._spec.timeout:
                    raise
            await asyncio.sleep(wait)

    def _scores(self, data: bytes, wanted: int) -> Scores:
        try:
            found = read_json(data, _DECODER)
        except ValueError as error:
            raise BadReply(f"{self._owner}: the answer of the reranker cannot be read: {error}") from None
        items = (found.data if found.results is None else found.results) if isinstance(found, _Reply) else found
        if items is None:
            raise BadReply(f'{self._owner}: the answer of the reranker has neither "results" nor "data"')
        if len(items) != wanted:
            raise BadReply(f"{self._owner}: the reranker was asked about {wanted} documents, and judged {len(items)}")
        scores: dict[int, float] = {}
        for item in items:
            score = item.score if item.relevance_score is None else item.relevance_score
            if score is None or not math.isfinite(score):
                raise BadReply(f"{self._owner}: the reranker gave document {item.index} no score")
            if not 0 <= item.index < wanted or item.index in scores:
                fault = "twice" if item.index in scores else f"of {wanted}, which are counted from 0"
                raise BadReply(f"{self._owner}: the reranker judged document {item.index} {fault}")
            scores[item.index] = score
        return [scores[at] for at in range(wanted)]

    def headers(self) -> dict[str, str]:
        """Return the headers that a call is sent with now, also when it belongs to an older revision.

        Raises:
            Unauthorized: a secret is missing, was withdrawn, or is meant for another service now.
        """
        fields = self._declared()
        return self._service.headers(fields.headers, fields.api_key)

    def _declared(self) -> CrossEncoderRerank:
        item = self._parts.latest()
        if item is None:
            raise Unauthorized(f"{self._owner} was withdrawn: its reranker is not called any more")
        now: Any = getattr(getattr(item.spec, "retrieval", None), "rerank", None)
        fields = entitled(self._spec, now if isinstance(now, Spec) else item.spec, lambda spec: spec.base_url)
        if fields is None:
            raise Unauthorized(f"{self._owner} has another reranker now: this one is not called any more")
        return fields
