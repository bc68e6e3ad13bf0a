"""What a memory declares, and the live memory: a window over the conversation, and recall across tasks.

Called by the agent's loop before each model call, at its start and at its end.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated

from pydantic import Field

from loomd.manifest.kind import RefTo, Spec
from loomd.manifest.quantity import Bytes, Share, Tokens
from loomd.memory.recall import Embedder, Limits, Recall, open_recall
from loomd.memory.window import fit_window
from loomd.messages import Message
from loomd.topology import Parts


class Window(Spec):
    """How much of a conversation a model sees."""

    tokens: Tokens = 6000
    """Size of the window in tokens, estimated as a quarter of the characters."""


class RecallSpec(Spec):
    """What is remembered of earlier tasks."""

    enabled: bool = False
    """Keep the answers of tasks, and offer those that fit to later tasks of the same agent."""
    top_k: int = Field(default=3, ge=1, le=50)
    """How many texts are offered at most."""
    threshold: Share = 0.3
    """Least likeness of a text to be offered: cosine with an embedder, share of the query's words without one."""
    embedder: Annotated[str, RefTo("Embedder")] | None = Field(default=None, examples=["words"])
    """Embedder that finds texts by meaning; without one they are found by words."""
    keep: int = Field(default=10_000, ge=1)
    """How many texts are kept for each agent; the oldest leaves first."""
    max_text: Bytes = Field(default=8 << 10, ge=1)
    """Longest text that is kept; a longer one is cut."""


class MemorySpec(Spec):
    """What an agent remembers within a task and across tasks."""

    window: Window = Field(default_factory=Window)
    """How much of a conversation a model sees."""
    recall: RecallSpec = Field(default_factory=RecallSpec)
    """What is remembered of earlier tasks."""

    @asynccontextmanager
    async def open(self, parts: Parts) -> AsyncGenerator["LiveMemory", None]:
        """Yield the live memory.

        Raises:
            Damaged: the file of remembered texts cannot be used.
        """
        recall = self.recall
        if not recall.enabled:
            yield LiveMemory(self.window.tokens, None)
            return
        embedder = parts.get("Embedder", recall.embedder, Embedder) if recall.embedder else None
        limits = Limits(recall.top_k, recall.threshold, recall.keep, recall.max_text)
        async with open_recall(parts.state_dir / "recall.db", str(parts.declared.ref), limits, embedder) as texts:
            yield LiveMemory(self.window.tokens, texts)


class LiveMemory:
    """A memory in use."""

    def __init__(self, tokens: int, recall: Recall | None) -> None:
        self._tokens = tokens
        self._recall = recall

    def fit(self, messages: tuple[Message, ...], goal: int = 1) -> tuple[Message, ...]:
        """Return the messages that fit the window: the system turn, the goal, and the latest turns."""
        return fit_window(messages, self._tokens, goal)

    async def recall(self, scope: str, query: str) -> list[str]:
        """Return what was remembered that fits the query, best first; nothing when recall is off."""
        return [] if self._recall is None else await self._recall.find(scope, query)

    async def remember(self, scope: str, key: str, text: str) -> None:
        """Keep a text, unless recall is off; a second call with the same scope and key changes nothing."""
        if self._recall is not None:
            await self._recall.add(scope, key, text)
