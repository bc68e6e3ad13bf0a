"""One guarded exchange with a service, and the live model that both protocols share.

Services and SDKs let through dripping servers, HTML pages, huge bodies and answers that just stop. Here a deadline
spans the whole call with all attempts, the body is capped, and every answer ends in exactly one `Reply` or one typed
error. What an answer means is the translation's business; when it is asked for again, that of `retry` and `breaker`.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from itertools import count, groupby
from typing import Protocol, cast

import msgspec

from loomd.encoded import read_json
from loomd.errors import BadReply, LoomdError, Temporary, Unreachable
from loomd.messages import Chunk, ReasoningDelta, Reply, Request, Retried, TextDelta
from loomd.providers.base import Counts
from loomd.providers.remote import Wire
from loomd.providers.sse import EventReader
from loomd.providers.transport import Broken, Response, Transport

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
"""Tells a JSON object from anything else, without looking into it."""
_REASON = 1 << 16
"""Bytes of a refusal's body that are read for its reason."""


class Answer(Protocol):
    """Puts the pieces of one answer together."""

    @property
    def done(self) -> bool:
        """Return whether the service said that nothing more comes."""
        ...

    def take(self, data: bytes) -> Sequence[Chunk]:
        """Add the data of one event, or a whole answer, and return the deltas to hand on.

        Raises:
            LoomdError: it is an error object, or cannot be read.
        """
        ...

    def counts(self) -> Counts:
        """Return the usage as reported."""
        ...

    def reply(self) -> Reply:
        """Return the whole answer.

        Raises:
            BadReply: it cannot be used.
        """
        ...


class Dialect(Protocol):
    """A protocol that services speak: requests in, answers out."""

    def body(self, request: Request) -> bytes:
        """Return a request as JSON.

        Raises:
            Permanent: the service does not take such a request.
        """
        ...

    def answer(self, request: Request) -> Answer:
        """Return what reads the answer to a request."""
        ...


class RemoteModel:
    """A model that answers over the network."""

    def __init__(self, wire: Wire, dialect: Dialect, transport: Transport) -> None:
        self.name = wire.name
        self.health = wire.reach.health
        self.window = wire.fields.context_window
        self.cost = wire.cost
        self._wire = wire
        self._dialect = dialect
        self._transport = transport

    @property
    def down(self) -> str:
        """Return why the service is not called for now; empty when it is."""
        return self._wire.breaker.why

    async def stream(self, request: Request) -> AsyncGenerator[Chunk, None]:
        """Answer a request: deltas as they come, then exactly one `Reply`; `Retried` before each further attempt.

        Raises:
            Permanent: the service does not take such a request.
            Unauthorized: the key is refused, missing or withdrawn.
            QuotaExceeded: the account is used up.
            BadReply: the answer cannot be used.
            Unreachable: no connection, it broke, or the deadline passed.
            Overloaded: rate limit or a busy service.
        """
        wire = self._wire
        clock = asyncio.get_running_loop().time
        end = clock() + wire.fields.deadline
        body = self._dialect.body(request)
        for attempt in count(1):
            try:
                wire.breaker.refuse()
                async with wire.rate.call(request, end) as booking:
                    with wire.reach:
                        key, headers = wire.credentials()  # a key that is missing says nothing of the service
                        with wire.breaker.call():
                            answer = self._dialect.answer(request)
                            exchange = Exchange(wire, self._transport)
                            try:
                                await exchange.begin(body, key, headers, end)
                                while not answer.done and (events := await exchange.events()) is not None:
                                    deltas, wrong = _taken(answer, events)
                                    for delta in deltas:
                                        yield delta
                                    if wrong is not None:
                                        raise wrong
                            finally:
                                await exchange.close(whole=answer.done)
                            reply = wire.reply(request, answer.counts(), answer.reply())
                    booking.tokens = reply.usage.total
            except Temporary as error:
                wait = wire.fields.retry.wait(attempt, error)
                if wait is None or wire.breaker.open:
                    raise
                if clock() + wait >= end:
                    if error.retry_after is None:
                        raise
                    asked, most = f"{error.retry_after:.10g} s", f"{wire.fields.deadline:.10g} s"
                    beyond = f"it asks to be left alone for {asked}, which is beyond spec.deadline ({most})"
                    raise type(error)(f"{error}: {beyond}", error.retry_after) from error
                failure = str(error)
            else:
                yield reply
                return
            yield Retried(self.name, failure, wait)
            await asyncio.sleep(wait)


def _taken(answer: Answer, events: list[bytes]) -> tuple[list[Chunk], LoomdError | None]:
    """Return the deltas of events that came together, those of a kind joined, and what is wrong with the event after.

    Whoever reads gets as much as there is in one piece: a stream that is quicker than its reader costs no more.
    """
    deltas: list[Chunk] = []
    failure: LoomdError | None = None
    try:
        for data in events:
            deltas += answer.take(data)
            if answer.done:  # what follows the last word says nothing of the answer
                break
    except LoomdError as error:
        failure = error
    return _joined(deltas) if len(deltas) > 1 else deltas, failure


def _joined(deltas: list[Chunk]) -> list[Chunk]:
    found: list[Chunk] = []
    for kind, some in groupby(deltas, type):
        if kind is TextDelta or kind is ReasoningDelta:
            found.append(kind("".join([one.text for one in cast("Iterator[TextDelta]", some)])))
        else:
            found += some
    return found


class Exchange:
    """One call: a request goes out, the data of events come in."""

    def __init__(self, wire: Wire, transport: Transport) -> None:
        self._wire = wire
        self._transport = transport
        self._response: Response | None = None
        self._reader = EventReader()
        self._size = 0
        self._ended = False

    async def begin(self, body: bytes, key: str, headers: Mapping[str, str], end: float) -> None:
        """Send the request and look at the head of the answer; `end` is when the whole call is over.

        Raises:
            Unreachable: no connection, it broke, or the deadline passed.
            LoomdError: the service refused; see `fault`.
        """
        try:
            response = self._response = await self._transport.send(body, key, headers, end)
        except TimeoutError:
            raise self._wire.too_late() from None
        except Broken as error:
            raise self._wire.no_way(str(error)) from None
        if response.status != 200:
            raise self._wire.refusal(response.status, response.headers, await self._reason(response))
        coding = response.headers.get("content-encoding", "identity")
        if coding != "identity" and not self._transport.decodes:
            raise self._wire.bad(
                f"the answer is compressed with {coding}, which was not asked for: set spec.client: sdk"
            )

    async def events(self) -> list[bytes] | None:
        """Return the data of the events that came, or None when the body is over. A whole answer is one event.

        Raises:
            Unreachable: the connection broke, or the deadline passed.
            BadReply: the body is neither an event stream nor a JSON object, or larger than allowed.
        """
        response = self._response
        if response is None or self._ended:
            return None
        if "event-stream" not in response.headers.get("content-type", ""):
            self._ended = True
            return [self._whole(response, await self._rest(response))]
        piece = await self._read(response)
        return self._reader.feed(piece) if piece else None

    async def close(self, *, whole: bool) -> None:
        """End the call; one that is not `whole` gives up its connection."""
        if self._response is not None:
            await self._response.close(whole=whole)

    def _whole(self, response: Response, body: bytes) -> bytes:
        try:
            read_json(body, _OBJECT)
        except ValueError:
            raise self._wire.no_answer(response.headers) from None
        return body

    async def _reason(self, response: Response) -> bytes:
        """Return the beginning of a refusal's body: the status counts, also when no more of it comes."""
        found = b""
        try:
            while len(found) < _REASON and (piece := await self._read(response)):
                found += piece
        except (Unreachable, BadReply):
            pass
        return found

    async def _rest(self, response: Response) -> bytes:
        pieces: list[bytes] = []
        while piece := await self._read(response):
            pieces.append(piece)
        return b"".join(pieces)

    async def _read(self, response: Response) -> bytes:
        try:
            piece = await response.read()
        except TimeoutError:
            raise self._wire.too_late() from None
        except Broken as error:
            raise self._wire.broken(str(error)) from None
        self._size += len(piece)
        if self._size > self._wire.fields.max_reply:
            raise self._wire.bad(f"the answer is larger than spec.maxReply ({self._wire.fields.max_reply} bytes)")
        return piece
