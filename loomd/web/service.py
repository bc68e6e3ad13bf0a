"""A service that is sent JSON and answers with JSON: what is the same for all that are asked so.

Answers are bounded, refusals and broken connections become errors of ours, keys are masked in what is told. Called by
embedders and rerankers; what a body means is theirs. Model services have a client of their own (`providers`).
"""

import random
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from loomd.errors import BadReply, LoomdError, Overloaded, Permanent, Temporary, Unauthorized, Unreachable
from loomd.manifest.keyring import Keyring
from loomd.manifest.secret import Secret

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession

ADDRESS = (r"^[hH][tT][tT][pP][sS]?://([^/?#@]*@)?[^/?#:@\s]", "expected an address such as https://host/v1")
"""How the address of a service is spelled, and what people are told of a text that is none."""
UNSENDABLE = re.compile(r"[^\t\x20-\x7e\xa0-\xff]")
"""A character that no HTTP header may have."""
_BUSY = frozenset((408, 409, 425, 429, 500, 502, 503, 504, 529))
"""What may be answered otherwise later."""
_TOLD = 500
"""Characters of a refusal that are told."""
_PIECE = 256 << 10
_BACKOFF = 0.5
_LONGEST = 20.0
"""Seconds between two attempts: the first wait, and the longest unless the service asks for more."""


def checked_url(value: str) -> str:
    """Return an address of a service.

    Raises:
        ValueError: it is none.
    """
    if not (re.search(ADDRESS[0], value) and urlsplit(value).hostname):
        raise ValueError(ADDRESS[1])
    return value


class Waits:
    """The waits between attempts, each up to twice as long as the one before; half of it is drawn."""

    def __init__(self) -> None:
        self._longest = _BACKOFF

    def after(self, error: Temporary) -> float:
        """Return the seconds until the next attempt; what the service asks for is added."""
        drawn = self._longest * random.uniform(0.5, 1.0)  # noqa: S311  # no secret
        self._longest = min(_LONGEST, 2 * self._longest)
        return drawn + (error.retry_after or 0.0)


class Service:
    """One service.

    Args:
        owner: `Kind/name` of what is declared.
        what: what it is called in messages: `the service`.
        place: where its fields stand in the manifest: `spec`.
        session: over which it is asked.
        most: bytes of the largest answer.
    """

    def __init__(self, owner: str, what: str, place: str, session: "ClientSession", most: int) -> None:
        self._owner = owner
        self._what = what
        self._place = place
        self._session = session
        self._most = most
        self._keyring = Keyring(owner)

    def headers(self, fields: Mapping[str, str | Secret], key: Secret | None) -> dict[str, str]:
        """Return the headers that are declared, with the key.

        Raises:
            Unauthorized: a secret is missing, or holds what no header may have.
        """
        sent = self._keyring.texts(f"{self._place}.headers", fields)
        if key is not None:
            sent["Authorization"] = f"Bearer {self._keyring.read(f'{self._place}.apiKey', key)}"
        for name, text in sent.items():
            if UNSENDABLE.search(text):
                raise Unauthorized(
                    f"{self._owner} {self._place} {name}: it holds a character that no HTTP header may have"
                )
        return sent

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> bytes:
        """Return what is answered to a JSON body.

        Raises:
            BadReply: more than is allowed.
            Unauthorized: it refuses the key.
            Temporary: it is busy, or cannot be reached.
            Permanent: it refuses the body.
            TimeoutError: the caller's own.
        """
        from aiohttp import ClientError  # noqa: PLC0415  # costs 0.2 s

        sent = {**headers, "Content-Type": "application/json"}
        try:
            async with self._session.post(url, data=body, headers=sent, allow_redirects=False) as answer:
                data = await self._read(answer)
                if answer.status != 200:
                    raise self._refusal(answer, data)
        except (ClientError, OSError) as error:  # the system's time-outs, too; the caller's own is a cancellation here
            place, said = urlsplit(url).netloc.rpartition("@")[2], getattr(error, "strerror", None)
            why = f"{type(error).__name__}{f': {said}' if said else ''}"
            raise Unreachable(f"{self._owner}: {self._what} at {place} cannot be reached: {why}") from error
        return data

    async def _read(self, answer: "ClientResponse") -> bytes:
        data = bytearray()
        async for chunk in answer.content.iter_chunked(_PIECE):
            data += chunk
            if len(data) > self._most:
                limit = f"{self._place}.maxReply ({self._most} bytes)"
                raise BadReply(f"{self._owner}: the answer of {self._what} is larger than {limit}")
        return bytes(data)

    def _refusal(self, answer: "ClientResponse", data: bytes) -> LoomdError:
        said = " ".join(self._keyring.mask(data.decode("utf-8", "replace")).split())[:_TOLD]
        told = f"{self._owner}: {self._what} answers HTTP {answer.status}: {said}".removesuffix(": ")
        if answer.status in {401, 403}:
            return Unauthorized(f"{told}: check {self._place}.apiKey")
        if answer.status in _BUSY:
            after = answer.headers.get("Retry-After", "")
            return Overloaded(told, float(after) if after.isdecimal() and after.isascii() else None)
        return Permanent(f"{told}: check {self._place}.baseUrl and what is sent")
