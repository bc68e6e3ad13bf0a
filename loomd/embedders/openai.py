"""`type: openai`: a service that speaks OpenAI's `/embeddings`, in the cloud or on this machine (Ollama, vLLM).

Calls that fail for now are made again within the deadline. Nothing is asked for when it opens: what a service makes is
checked whenever it answers.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from pydantic import Field, field_validator

from loomd.embedders.base import EmbedderSpec, unit
from loomd.encoded import read_json, to_json
from loomd.errors import BadReply, Temporary, Unauthorized, Unreachable
from loomd.manifest.keyring import entitled
from loomd.manifest.kind import Reload, Spec
from loomd.manifest.quantity import Bytes, Duration
from loomd.manifest.rule import spelled
from loomd.manifest.secret import Secret, literal_secrets, secrets_in_url
from loomd.topology import Parts
from loomd.web.service import ADDRESS, Service, Waits, checked_url

if TYPE_CHECKING:
    from aiohttp import ClientSession

    from loomd.embedders.base import Vectors

_NO_NUMBER = re.compile(
    rb'"embedding"\s*:\s*\[(?:[^\]]*?,)?\s*(-?(?:NaN|nan|Infinity|Inf|inf)|null|"[^"\]]{0,20}")\s*[,\]]'
)
"""What some services write in a vector in place of a number, which JSON has no word for."""
_CHARACTERS = 4


class OpenAiSpec(EmbedderSpec):
    """A service that speaks OpenAI's embeddings API: OpenAI itself, Ollama, vLLM, llama.cpp and others."""

    type: Literal["openai"] = "openai"
    model: str = Field(min_length=1, examples=["text-embedding-3-small"])
    """Model, as the service calls it."""
    dimension: int = Field(ge=1, le=65_536, examples=[1536])
    """Length of the vectors that the model makes; others are refused."""
    shorten: bool = False
    """Ask the service for vectors of `dimension` numbers; for models that can make shorter ones than usual."""
    base_url: str = Field(
        default="https://api.openai.com/v1",
        json_schema_extra=spelled(ADDRESS),
        examples=["http://127.0.0.1:11434/v1"],
    )
    """Address of the service, with its path."""
    api_key: Annotated[Secret | None, Reload("immediate")] = None
    """Where the key is kept; without it none is sent."""
    headers: Annotated[dict[str, str | Secret], Reload("immediate")] = Field({}, examples=[{"x-team": "docs"}])
    """Further headers of every call; what may be a secret is named with valueFrom."""
    batch: int = Field(default=128, ge=1, le=2048)
    """Texts of one call."""
    calls: int = Field(default=4, ge=1, le=64)
    """Calls that may be under way at once."""
    max_tokens: int = Field(default=8000, ge=16)
    """Tokens of a text that count, estimated as a quarter of its characters; what follows is not sent."""
    deadline: Duration = Field(default=60.0, gt=0)
    """Longest time for one call, waits and further attempts included."""
    max_reply: Bytes = Field(default=64 << 20, ge=1)
    """Largest answer on the wire; a longer one is refused."""

    @field_validator("base_url")
    @classmethod
    def _http(cls, value: str) -> str:
        return checked_url(value)

    def check(self, root: Path) -> Iterator[tuple[str, ...]]:
        """Yield secrets that stand in the manifest."""
        del root
        yield from literal_secrets(self.headers, "/headers")
        yield from secrets_in_url(self.base_url, "/baseUrl", "spec.apiKey or spec.headers")

    def means(self, old: Spec) -> Iterator[str]:
        """Yield that vectors of another model are worth nothing."""
        if not isinstance(old, OpenAiSpec) or self.fingerprint != old.fingerprint:
            yield "every index that uses it is built anew"

    @property
    def fingerprint(self) -> str:
        """Return what vectors are made by: the same model at another address may be another."""
        return f"openai/{self.base_url}/{self.model}-{self.dimension}-{self.max_tokens}/1"

    @asynccontextmanager
    async def open(self, parts: Parts) -> AsyncGenerator["ServiceEmbedder", None]:
        """Yield the live embedder.

        Raises:
            Unauthorized: a secret is missing; the text says what to do.
        """
        from aiohttp import ClientSession, DummyCookieJar, TCPConnector  # noqa: PLC0415  # costs 0.2 s

        connector = TCPConnector(limit=self.calls)
        async with ClientSession(connector=connector, cookie_jar=DummyCookieJar(), trust_env=True) as session:
            live = ServiceEmbedder(self, parts, session)
            live.headers()
            yield live


class _Item(msgspec.Struct, gc=False):
    index: int
    embedding: list[float]


class _Reply(msgspec.Struct):
    data: list[_Item]


_REPLY = msgspec.json.Decoder(_Reply)


def _numbered(items: list[_Item]) -> str:
    """Return the numbers of some vectors for people; of many only the first ones."""
    shown = ", ".join(str(item.index) for item in items[:8])
    return f", numbered {shown}{' and so on' * (len(items) > 8)}" if items else ""


class ServiceEmbedder:
    """A live embedder over the network.

    Attributes:
        name: name of the object.
        dimension: length of every vector.
        fingerprint: address, model and length: equal fingerprints make equal vectors of equal texts.
        batch: texts of one call.
        calls: calls that may be under way at once.
    """

    def __init__(self, spec: OpenAiSpec, parts: Parts, session: "ClientSession") -> None:
        self.name = parts.name
        self.dimension = spec.dimension
        self.fingerprint = spec.fingerprint
        self.batch = spec.batch
        self.calls = spec.calls
        self._spec = spec
        self._parts = parts
        self._owner = str(parts.declared.ref)
        self._service = Service(self._owner, "the service", "spec", session, spec.max_reply)
        self._free = asyncio.Semaphore(spec.calls)

    async def embed(self, texts: Sequence[str]) -> "Vectors":
        """Return one vector per text, in order: `(texts, dimension)` float32.

        Every row has length 1, but an empty text is a row of zeros, about which no service is asked, and so is a text
        for which the service has zeros.

        Raises:
            BadReply: the service made another number or size of vectors, NaN, or of several texts nothing but zeros.
            Unauthorized: the key is missing, refused, or was withdrawn.
            Temporary: the service is busy or cannot be reached, up to the deadline.
            Permanent: it refuses the texts or the model.
        """
        import numpy as np  # noqa: PLC0415  # costs 80 ms: only when something is embedded

        vectors = np.zeros((len(texts), self.dimension), np.float32)
        limit = self._spec.max_tokens * _CHARACTERS
        asked = [at for at, text in enumerate(texts) if text.strip()]
        parts = [asked[at : at + self._spec.batch] for at in range(0, len(asked), self._spec.batch)]
        try:
            async with asyncio.TaskGroup() as group:  # one that fails ends the others
                calls = [group.create_task(self._call([texts[at][:limit] for at in part])) for part in parts]
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from None
        for part, call in zip(parts, calls, strict=True):
            made = unit(call.result(), len(part), self.dimension, self.name)
            if len(part) > 1 and not made.any():
                raise BadReply(
                    f"{self._owner}: the vectors of all {len(part)} texts are zeros, which says nothing of any text:"
                    " the model is no embedding model, or is not loaded whole"
                )
            vectors[part] = made
        return vectors

    async def _call(self, texts: Sequence[str]) -> list[list[float]]:
        clock = asyncio.get_running_loop().time
        async with self._free:
            end, waits, before = clock() + self._spec.deadline, Waits(), ""
            while True:
                try:
                    async with asyncio.timeout_at(end):
                        return await self._send(texts)
                except TimeoutError:
                    raise Unreachable(
                        f"{self._owner}: no answer within {self._spec.deadline:g} s: raise spec.deadline{before}"
                    ) from None
                except Temporary as error:
                    wait = waits.after(error)
                    if clock() + wait >= end:
                        raise
                    before = f"; the attempt before said: {error}"
                    await asyncio.sleep(wait)

    async def _send(self, texts: Sequence[str]) -> list[list[float]]:
        spec = self._spec
        body: dict[str, Any] = {"model": spec.model, "input": list(texts), "encoding_format": "float"}
        if spec.shorten:
            body["dimensions"] = spec.dimension
        data = await self._service.post(f"{spec.base_url.rstrip('/')}/embeddings", to_json(body), self.headers())
        try:
            items = sorted(read_json(data, _REPLY).data, key=lambda item: item.index)
        except ValueError as error:
            found = _NO_NUMBER.search(data)
            said = (
                f"vectors must be numbers, got {found[1].decode('utf-8', 'replace')}"
                if found
                else f"the answer cannot be read: {error}"
            )
            raise BadReply(f"{self._owner}: {said}") from error
        if [item.index for item in items] != list(range(len(texts))):
            raise BadReply(
                f"{self._owner}: expected one vector for each of {len(texts)} texts, numbered by `index` from 0; "
                f"got {len(items)}{_numbered(items)}"
            )
        if odd := next((item for item in items if len(item.embedding) != spec.dimension), None):
            raise BadReply(f"{self._owner}: expected vectors of {spec.dimension} numbers, got {len(odd.embedding)}")
        return [item.embedding for item in items]

    def headers(self) -> dict[str, str]:
        """Return the headers that a call is sent with now, also when it belongs to an older revision.

        Raises:
            Unauthorized: a secret is missing, was withdrawn, or is meant for another service now.
        """
        item = self._parts.latest()
        fields = None if item is None else entitled(self._spec, item.spec, lambda spec: spec.base_url)
        if fields is None:
            raise Unauthorized(f"{self._owner} was withdrawn, or is another service now: it is not called any more")
        return self._service.headers(fields.headers, fields.api_key)
