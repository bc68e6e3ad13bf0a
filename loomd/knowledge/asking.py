"""What a search may ask beside its indexes, and who pays for it: shared by rerankers and expanders that ask somebody.

Whoever searches hands over an `Asker`: an agent's own account, or that of a day. It records what was asked, so that a
task that goes on after an interruption asks nothing twice.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Literal, Protocol, TypeVar

import msgspec
from pydantic import Field

from loomd.encoded import read_json, unfenced
from loomd.errors import BadReply, Diverged, LoomdError, Permanent, RecordFailed, Refused
from loomd.events.event import AnyFact
from loomd.manifest.kind import Spec
from loomd.manifest.quantity import Duration
from loomd.messages import JsonObject, Message, Reply, Request

T = TypeVar("T")

Scores = list[float]
"""How well passages answer a question, in their order: the higher, the better."""

ENDING = (RecordFailed, Diverged)
"""What ends the work, whatever is declared: its record does not go on."""
_OBJECT = msgspec.json.Decoder(dict[str, Any])
_SAID = 2000
"""Characters of an unusable answer that go back to the model."""


class Unpaid(Permanent):
    """The account of whoever searches has nothing left for a call."""


class Asker(Protocol):
    """Who searches: calls are made on that account, recorded there, and told to whoever watches."""

    async def ask(self, name: str, model: object, request: Request) -> Reply:
        """Return what a model answers.

        Args:
            name: of the call, unique within the search.
            model: the live model.
            request: what is asked.

        Raises:
            Unpaid: nothing is left for it.
            LoomdError: the model failed.
        """
        ...

    async def call(self, name: str, about: str, do: Callable[[], Awaitable[Scores]], cost: float) -> Scores:
        """Return what a service answers.

        Args:
            name: of the call, unique within the search.
            about: what tells the request from others, as `digest` makes it.
            do: makes the call.
            cost: what it costs, in USD.

        Raises:
            Unpaid: so much is not left.
            LoomdError: what `do` raised.
        """
        ...

    async def keep(self, name: str, do: "Callable[[Asker], Awaitable[T]]", result: type[T]) -> T:
        """Return what a part of the search came to before an interruption, or do it and record that.

        What comes after it may rest on the documents as they were then, and on who answered in time.

        Args:
            name: of the part, unique within the search.
            do: the part; whom it gets is asked in it.
            result: type to decode a recorded result to.

        Raises:
            LoomdError: what `do` raised; that is not recorded.
        """
        ...

    def tell(self, fact: AnyFact) -> None:
        """Make known what happened."""
        ...


class Nobody:
    """Stands in where nobody said who pays; fits `Asker`."""

    async def ask(self, name: str, model: object, request: Request) -> Reply:
        """Refuse.

        Raises:
            Unpaid: always.
        """
        del model, request
        raise Unpaid(f"nobody pays for {name}: hand over who searches")

    async def call(self, name: str, about: str, do: Callable[[], Awaitable[Scores]], cost: float) -> Scores:
        """Refuse.

        Raises:
            Unpaid: always.
        """
        del about, do, cost
        raise Unpaid(f"nobody pays for {name}: hand over who searches")

    async def keep(self, name: str, do: Callable[[Asker], Awaitable[T]], result: type[T]) -> T:
        """Do it: nobody comes back to it."""
        del name, result
        return await do(self)

    def tell(self, fact: AnyFact) -> None:
        """Do nothing: nobody watches."""


class AskingSpec(Spec):
    """What is set for everything that asks somebody while it searches."""

    on_failure: Literal["keep", "fail"] = "keep"
    """What is done when no usable answer comes in time, or the budget has nothing left for the call: `keep` goes on
    without it, and says so in the result and as event `fallback.used`; `fail` lets the search fail."""
    timeout: Duration = Field(default=10.0, gt=0)
    """Longest time for all its calls together; in a tool call that of the tool holds as well, for the whole search."""


def digest(request: bytes) -> str:
    """Return what tells a request to a service from others."""
    return hashlib.sha256(request).hexdigest()[:16]


async def answer_of(asker: Asker, name: str, model: object, request: Request, read: Callable[[str], T]) -> T:
    """Return a model's answer as it is read; one that cannot be used goes back to the model once.

    Args:
        asker: who pays.
        name: of the call.
        model: who is asked.
        request: what is asked.
        read: returns what an answer says, or raises ValueError with what is wrong with it.

    Raises:
        BadReply: the second answer cannot be used either.
        Refused: an interceptor does not let the call pass.
        LoomdError: as `Asker.ask`.
    """
    said, wrong = "", ""
    for again in (False, True):
        if again:
            mend = f"That cannot be used: {wrong}. Answer again, with the JSON alone."
            turns = (*request.messages, Message("assistant", said[:_SAID]), Message("user", mend))
            request = msgspec.structs.replace(request, messages=turns)
        reply = await asker.ask(f"{name}/again" if again else name, model, request)
        if reply.refused:
            raise Refused(reply.refused)
        try:
            return read(reply.text)
        except ValueError as error:
            said, wrong = reply.text or "(nothing)", str(error)
    raise BadReply(f"the answer of {getattr(model, 'name', 'the model')} cannot be used, nor a second one: {wrong}")


async def all_of(calls: Sequence[Coroutine[object, object, None]]) -> None:
    """Let calls be made side by side, each to its end, also when others fail.

    Raises:
        LoomdError: the first of the failures, but before all others one that ends the work.
    """
    ended = await asyncio.gather(*calls, return_exceptions=True)
    failed = [one for one in ended if one is not None]
    failed.sort(key=lambda one: isinstance(one, LoomdError) and not isinstance(one, ENDING))
    if failed:
        raise failed[0]


def object_in(text: str) -> JsonObject:
    """Return the JSON object that a text is, with or without a fence of Markdown around it.

    Raises:
        ValueError: it is none; the text is for the model.
    """
    try:
        return read_json(unfenced(text), _OBJECT)
    except ValueError as error:
        raise ValueError(f"it is not a JSON object ({error})") from None
