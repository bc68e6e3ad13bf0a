"""What every provider type declares, and what the translations of remote services share: prices and token counts.

A provider type is one module here with one `ProviderSpec`. Its live thing has `name` and `stream(request)`; nothing
here decides when a model is called, retries, or keeps a conversation: that is the agent's loop.
"""

from abc import abstractmethod
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from pydantic import Field

from loomd.errors import Unauthorized
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


class Pricing(Spec):
    """What a model's tokens cost, in USD per million."""

    input: Usd = 0.0
    """USD for a million input tokens."""
    cached_input: Usd | None = Field(default=None, examples=[0.3])
    """USD for a million input tokens that the service had in its cache; the same as `input` when not set."""
    output: Usd = 0.0
    """USD for a million output tokens, reasoning included."""

    def cost(self, usage: Usage) -> float:
        """Return what one call cost in USD."""
        cached = self.input if self.cached_input is None else self.cached_input
        fresh = usage.input - usage.cached
        return (fresh * self.input + usage.cached * cached + usage.output * self.output) / 1e6


def estimate_tokens(characters: int) -> int:
    """Return about how many tokens a text of that many characters has: one for every four, at least one."""
    return max(1, characters // 4)


def request_characters(request: Request) -> int:
    """Return the number of characters that a request sends, for an estimate of its tokens."""
    total = 0
    for message in request.turns:
        total += len(message.text)
        for passage in message.passages:
            total += len(passage.text) + len(passage.source)
        for call in message.tool_calls:
            total += len(call.name) + 16 * len(call.arguments)
    return total


def sane_usage(
    counts: tuple[object, object, object, object], request: Request, produced: int, *, ceiling: int = 100_000_000
) -> Usage:
    """Return usage that can be charged, whatever the service reported.

    Args:
        counts: input, output, cached and reasoning tokens as reported; anything may be missing or absurd.
        request: what was sent, to estimate a missing input count from.
        produced: characters that came back, to estimate a missing output count from.
        ceiling: a count above it is taken for nonsense and estimated.
    """
    known = [n if isinstance(n, int) and not isinstance(n, bool) and 0 <= n <= ceiling else None for n in counts]
    sent = estimate_tokens(request_characters(request)) if not known[0] else known[0]
    made = known[1] if known[1] is not None and (known[1] or not produced) else estimate_tokens(produced)
    return Usage(input=sent, output=made, cached=min(known[2] or 0, sent), reasoning=min(known[3] or 0, made))
