"""What every provider type declares, and what the translations of remote services share: prices and token counts.

A provider type is one module here with one `ProviderSpec`. Its live thing has `name` and `stream(request)`; nothing
here decides when a model is called, retries, or keeps a conversation: that is the agent's loop.
"""

from abc import abstractmethod
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol

from pydantic import Field

from loomd.errors import Permanent, Unauthorized
from loomd.manifest.kind import Spec
from loomd.manifest.quantity import Usd
from loomd.messages import Chunk, Request, Usage
from loomd.topology import Parts


class Model(Protocol):
    """A live model: its name as replies tell it, and its answers."""

    @property
    def name(self) -> str:
        """Return the name of the provider and of the model, `provider/model`."""
        ...

    def stream(self, request: Request) -> AsyncGenerator[Chunk, None]:
        """Answer a request: deltas as they come, then exactly one `Reply`."""
        ...


class ProviderSpec(Spec):
    """A service or a process that hosts models. Each type adds its field `type`."""

    @abstractmethod
    def open(self, parts: Parts) -> AbstractAsyncContextManager[object]:
        """Open the live model; it fits `ChatModel` by shape.

        Raises:
            Unauthorized: the key is missing; the text says which variable to set.
        """


def refuse_withdrawn(parts: Parts) -> None:
    """Refuse a call of a provider that was deleted, also of tasks that began before.

    Raises:
        Unauthorized: it was.
    """
    if parts.latest() is None:
        raise Unauthorized(f"{parts.declared.ref} was withdrawn: it is not called any more; submit the task again")


def refuse_images(name: str, request: Request) -> None:
    """Refuse a request that shows pictures to a model that takes none.

    Raises:
        Permanent: it does.
    """
    if any(message.images for message in request.turns):
        raise Permanent(f"{name} takes no images: ask an agent whose model does, or leave them out")


class Price(Protocol):
    """What a model's tokens cost."""

    def cost(self, usage: Usage, now: float) -> float:
        """Return what one call cost in USD; `now` is when it was, in seconds since 1970-01-01 UTC."""
        ...


class Pricing(Spec):
    """What a model's tokens cost, in USD per million."""

    input: Usd = 0.0
    """USD for a million input tokens."""
    cached_input: Usd | None = Field(default=None, examples=[0.3])
    """USD for a million input tokens that the service had in its cache; the same as `input` when not set."""
    cache_write: Usd | None = Field(default=None, examples=[3.75])
    """USD for a million input tokens that the service put into its cache; the same as `input` when not set."""
    output: Usd = 0.0
    """USD for a million output tokens, reasoning included."""

    def cost(self, usage: Usage, now: float) -> float:
        """Return what one call cost in USD, whenever it was."""
        del now
        cached = self.input if self.cached_input is None else self.cached_input
        written = self.input if self.cache_write is None else self.cache_write
        fresh = usage.input - usage.cached - usage.written
        sent = fresh * self.input + usage.cached * cached + usage.written * written
        return (sent + usage.output * self.output) / 1e6


class Counts(NamedTuple):
    """Tokens as a service reports them, the parts as in `Usage`; anything may be missing or absurd."""

    input: object = None
    output: object = None
    cached: object = None
    reasoning: object = None
    written: object = None


_IMAGE = 6_000
"""Characters that take about as many tokens as a picture."""


def estimate_tokens(characters: int) -> int:
    """Return about how many tokens a text of that many characters has: one for every four, at least one."""
    return max(1, characters // 4)


def request_characters(request: Request) -> int:
    """Return the number of characters that a request sends, for an estimate of its tokens."""
    total = 0
    for message in request.turns:
        total += len(message.text)
        if message.thoughts or message.images:
            total += _IMAGE * len(message.images) + sum(len(one.text) for one in message.thoughts)
        for passage in message.passages:
            total += len(passage.text) + len(passage.source)
        for call in message.tool_calls:
            total += len(call.name) + 16 * len(call.arguments)
    return total


def sane_usage(counts: Counts, request: Request, produced: int, *, ceiling: int = 100_000_000) -> Usage:
    """Return usage that can be charged, whatever the service reported.

    Args:
        counts: tokens as reported.
        request: what was sent, to estimate a missing input count from.
        produced: characters that came back, to estimate a missing output count from.
        ceiling: a count above it is taken for nonsense and estimated.
    """
    known = [n if isinstance(n, int) and not isinstance(n, bool) and 0 <= n <= ceiling else None for n in counts]
    sent = estimate_tokens(request_characters(request)) if not known[0] else known[0]
    made = known[1] if known[1] is not None and (known[1] or not produced) else estimate_tokens(produced)
    cached = min(known[2] or 0, sent)
    return Usage(sent, made, cached, min(known[3] or 0, made), min(known[4] or 0, sent - cached))
