"""Stand-ins for what reaches out: models, tools and knowledge bases that answer from a recording and note what comes.

A step of a replay opens a `Take`; whoever stands in finds it by the task that runs, because calls of one turn are made
side by side. Nothing here compares. Called by `stage` and `player`.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal

from loomd.agents.base import Effects, OnUncertain
from loomd.cassette import TapedTool
from loomd.errors import Diverged
from loomd.knowledge.standing import Found
from loomd.messages import Chunk, JsonObject, Passage, Reply, Request, ToolSchema
from loomd.topology import Parts


@dataclass
class Take:
    """One step that is done again.

    Attributes:
        reply: what the model says.
        request: what it was asked; None as long as it was not.
        arguments: what the tool was called with; None as long as it was not.
    """

    reply: Reply
    request: Request | None = None
    arguments: JsonObject | None = None


TAKE: ContextVar[Take | None] = ContextVar("take", default=None)
"""The step that is done now."""


@dataclass(frozen=True)
class StandIn:
    """A spec that opens as something else than the one that it stands for; fits `topology.Openable`."""

    opened: Callable[[Parts], AbstractAsyncContextManager[object]]

    def open(self, parts: Parts) -> AbstractAsyncContextManager[object]:
        """Open what stands in."""
        return self.opened(parts)

    def behaviour(self) -> None:
        """Return nothing: no score belongs to it."""


def standing_in(live: Callable[[Parts], object]) -> StandIn:
    """Return a spec that opens as whatever a function makes."""

    @asynccontextmanager
    async def opened(parts: Parts) -> AsyncGenerator[object, None]:
        yield live(parts)

    return StandIn(opened)


class TapedModel:
    """A model that says what was recorded."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def stream(self, request: Request) -> AsyncGenerator[Chunk, None]:
        """Note the request and yield the recorded reply.

        Raises:
            Diverged: it is asked outside a recorded step.
        """
        take = TAKE.get()
        if take is None:
            raise Diverged(f"{self.name} is asked outside a recorded step")
        take.request = request
        yield take.reply


@dataclass(frozen=True)
class TapedTerms:
    """On what terms people are asked; they have answered already."""

    on_denied: Literal["stop", "continue"]
    ttl: float = 0.0


class TapedCalls:
    """A tool that notes its arguments; its results come from the recording."""

    withdrawn = ""

    def __init__(self, taped: TapedTool) -> None:
        self.schema: ToolSchema = taped.tool
        self.effects: Effects = taped.effects
        self.idempotent = taped.idempotent
        self.on_uncertain: OnUncertain = taped.on_uncertain
        self.max_output = taped.max_output
        self.approval = None if taped.on_denied is None else TapedTerms(taped.on_denied)

    async def call(self, arguments: JsonObject, context: object = None) -> str:
        """Note the arguments.

        Raises:
            Diverged: it is called outside a recorded step.
        """
        del context
        take = TAKE.get()
        if take is None:
            raise Diverged(f"the tool {self.schema.name} is called outside a recorded step")
        take.arguments = arguments
        return ""


@dataclass(frozen=True)
class TapedSet:
    """A tool set whose tools stand in."""

    tools: tuple[TapedCalls, ...]


class TapedKnowledge:
    """A knowledge base of which only recorded searches are known."""

    refines = False

    def __init__(self, name: str) -> None:
        self.name = name

    async def search(self, query: str, top_k: int | None = None) -> list[Passage]:
        """Refuse a search.

        Raises:
            Diverged: always; what was recorded never comes here.
        """
        del top_k
        raise Diverged(f'KnowledgeBase/{self.name} is searched for "{query}", which was not recorded')

    async def look(self, query: str, **how: object) -> Found:
        """Refuse, as `search`.

        Raises:
            Diverged: always.
        """
        del how
        return Found(tuple(await self.search(query)))


class TapedEmbedder:
    """An embedder that nothing asks: what it led to was recorded."""

    fingerprint = ""

    async def embed(self, texts: Any) -> Any:
        """Refuse.

        Raises:
            Diverged: always.
        """
        raise Diverged(f"an embedder is asked for {len(texts)} texts outside a recorded step")
