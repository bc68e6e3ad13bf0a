"""What a search may ask beside its indexes, and who pays for it: shared by rerankers and expanders that ask somebody.

Whoever searches hands over an `Asker`: an agent's own account, or that of a day. It records what was asked, so that a
task that goes on after an interruption asks nothing twice.
"""

from collections.abc import Awaitable, Callable
from typing import Literal, Protocol, TypeVar

import msgspec
from pydantic import Field

from loomd.encoded import ANYTHING, read_json, unfenced
from loomd.errors import BadReply, Permanent, Refused
from loomd.events.event import AnyFact
from loomd.manifest.kind import Spec
from loomd.manifest.quantity import Duration
from loomd.messages import JsonObject, Message, Reply, Request

T = TypeVar("T")

Scores = list[float]
"""How well passages answer a question, in their order: the higher, the better."""

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

    async def call(self, name: str, do: Callable[[], Awaitable[Scores]], cost: float) -> Scores:
        """Return what a service answers.

        Args:
            name: of the call, unique within the search.
            do: makes the call.
            cost: what it costs, in USD.

        Raises:
            Unpaid: so much is not left.
            LoomdError: what `do` raised.
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

    async def call(self, name: str, do: Callable[[], Awaitable[Scores]], cost: float) -> Scores:
        """Refuse.

        Raises:
            Unpaid: always.
        """
        del do, cost
        raise Unpaid(f"nobody pays for {name}: hand over who searches")

    def tell(self, fact: AnyFact) -> None:
        """Do nothing: nobody watches."""


class AskingSpec(Spec):
    """What is set for everything that asks somebody while it searches."""

    on_failure: Literal["keep", "fail"] = "keep"
    """What is done when no usable answer comes in time, or the budget has nothing left for the call: `keep` goes on
    without it, and says so in the result and as event `fallback.used`; `fail` lets the search fail."""
    timeout: Duration = Field(default=10.0, gt=0)
    """Longest time for all its calls together; in a tool call that of the tool holds as well, for the whole search."""


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


def object_in(text: str) -> JsonObject:
    """Return the JSON object that a text is, with or without a fence of Markdown around it.

    Raises:
        ValueError: it is none; the text is for the model.
    """
    try:
        found = read_json(unfenced(text), ANYTHING)
    except ValueError:
        raise ValueError("it is not JSON") from None
    if not isinstance(found, dict):
        raise ValueError("it is not a JSON object")  # noqa: TRY004  # a text is wrong, not its type
    return found
