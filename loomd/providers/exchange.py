"""One guarded exchange with a service, and the live model that both protocols share.

Services and SDKs let through dripping servers, HTML pages, huge bodies and answers that just stop. Here a deadline
spans the whole call with all attempts, the body is capped, and every answer ends in exactly one `Reply` or one typed
error. What an answer means is the translation's business; when it is asked for again, that of `retry` and `breaker`.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from itertools import groupby
from typing import Protocol, cast

import msgspec

from loomd.encoded import read_json
from loomd.errors import BadReply, LoomdError, Temporary, Unreachable
from loomd.messages import Chunk, ReasoningDelta, Reply, Request, Retried, TextDelta
from loomd.providers.base import Counts
from loomd.providers.calls import Calls
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
    """A protocol that services speak: requests in, answers out.

    Attributes:
        protocol: its name, for people.
    """

    protocol: str

    def refuse(self, request: Request) -> None:
        """Refuse what the service would.

        Raises:
            Permanent: it does not take such a request.
        """
        ...

    def body(self, request: Request) -> bytes:
        """Return a request as JSON."""
        ...

    def answer(self, request: Request) -> Answer:
        """Return what reads the answer to a request."""
        ...


class RemoteModel:
    """A model that answers over the network."""

    def __init__(self, wire: Wire, dialect: Dialect, transport: Transport, address: str) -> None:
        """Take the way of the provider, what is spoken, what carries it, and what is asked for, for people."""
        self.name = wire.name
        self.health = wire.reach.health
        self.window = wire.fields.context_window
        self.cost = wire.cost
        self._wire = wire
        self._dialect = dialect
        self._transport = transport
        self._address = address

    @property
    def down(self) -> str:
        """Return why the service is not called for now; empty when it is."""
        return self._wire.breaker.why

    def calls(self) -> Calls:
        """Return where the calls go and how."""
        wire = self._wire
        return Calls(self._address, self._dialect.protocol, wire.fields.client, wire.key_place, self._transport.proxy)

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
        wire, loop, attempt = self._wire, asyncio.get_running_loop(), 0
        end = loop.time() + wire.fields.deadline
        self._dialect.refuse(request)
        while True:
            attempt += 1
            wire.breaker.refuse()  # says all that there is to say, and is not what the service asks for
            try:
                async with wire.rate.call(request, end) as booking:
                    with wire.reach:
                        key, headers = wire.credentials()  # a key that is missing says nothing of the service
                        with wire.breaker.call():
                            answer = self._dialect.answer(request)
                            exchange = Exchange(wire, self._dialect, request)
                            try:
                                response = await self._transport.send(exchange.body, key, headers, end)
                                await exchange.begin(response, decodes=self._transport.decodes)
                                while not answer.done and (events := await exchange.events()) is not None:
                                    deltas, wrong = _taken(answer, events)
                                    for delta in deltas:
                                        yield delta
                                    if wrong is not None:
                                        raise wrong
                            except TimeoutError:
                                raise wire.too_late() from None
                            except Broken as error:
                                raise exchange.broken(error) from None
                            finally:
                                await exchange.close(whole=answer.done)
                            reply = wire.reply(request, answer.counts(), answer.reply())
                    booking.tokens = reply.usage.total
            except Temporary as error:
                wait = wire.fields.retry.wait(attempt, error)
                if wait is None or wire.breaker.open or loop.time() + wait >= end:
                    wire.amend(error, wait, end - loop.time())
                    raise
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

    __slots__ = ("_dialect", "_ended", "_reader", "_request", "_response", "_size", "_wire")

    def __init__(self, wire: Wire, dialect: Dialect, request: Request) -> None:
        self._wire = wire
        self._dialect = dialect
        self._request = request
        self._response: Response | None = None
        self._reader: EventReader | None = None
        self._size = 0
        self._ended = False

    def body(self) -> bytes:
        """Return the request as JSON."""
        return self._dialect.body(self._request)

    def broken(self, error: Broken) -> Unreachable:
        """Return the error for a connection that was not made, or broke."""
        return self._wire.no_way(str(error)) if self._response is None else self._wire.broken(str(error))

    async def begin(self, response: Response, *, decodes: bool) -> None:
        """Look at the head of the answer; `decodes` says whether its transport undoes a content coding.

        Raises:
            LoomdError: the service refused; see `fault`.
        """
        self._response = response
        if response.status != 200:
            raise self._wire.refusal(response.status, response.headers, await self._reason(response))
        coding = response.headers.get("content-encoding", "identity")
        if coding != "identity" and not decodes:
            raise self._wire.bad(
                f"the answer is compressed with {coding}, which was not asked for: set spec.client: sdk"
            )

    async def events(self) -> list[bytes] | None:
        """Return the data of the events that came, or None when the body is over. A whole answer is one event.

        Raises:
            TimeoutError: the deadline passed.
            Broken: the connection broke.
            BadReply: the body is neither an event stream nor a JSON object, or larger than allowed.
        """
        response = self._response
        if response is None or self._ended:
            return None
        if "event-stream" not in response.headers.get("content-type", ""):
            self._ended = True
            return [self._whole(response, await self._rest(response))]
        reader = self._reader = self._reader or EventReader()
        piece = self._counted(await response.read())
        return reader.feed(piece) if piece else None

    async def close(self, *, whole: bool) -> None:
        """End the call; one that is not `whole` gives up its connection."""
        if self._response is not None:
            await self._response.close(whole=whole)

    def _whole(self, response: Response, body: bytes) -> bytes:
        try:
            read_json(body, _OBJECT)
        except ValueError as error:
            raise self._wire.no_answer(response.headers, body, str(error)) from None
        return body

    async def _reason(self, response: Response) -> bytes:
        """Return the beginning of a refusal's body: the status counts, also when no more of it comes."""
        found = b""
        try:
            while len(found) < _REASON and (piece := self._counted(await response.read())):
                found += piece
        except (TimeoutError, Broken, BadReply):
            pass
        return found

    async def _rest(self, response: Response) -> bytes:
        pieces: list[bytes] = []
        while piece := self._counted(await response.read()):
            pieces.append(piece)
        return b"".join(pieces)

    def _counted(self, piece: bytes) -> bytes:
        """Return a piece of the body.

        Raises:
            BadReply: the body is larger than allowed.
        """
        self._size += len(piece)
        if self._size > self._wire.fields.max_reply:
            raise self._wire.bad(f"the answer is larger than spec.maxReply ({self._wire.fields.max_reply} bytes)")
        return piece
