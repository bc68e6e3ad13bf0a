"""What a memory declares, and the live memory: a window over the conversation, and recall across tasks.

Called by the agent's loop before each model call, at its start and at its end.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated

from pydantic import ConfigDict, Field, model_validator

from loomd.manifest.kind import RefTo, Spec
from loomd.manifest.quantity import Bytes, Duration, Share, Tokens
from loomd.manifest.rule import never
from loomd.memory.item import Draft, Item, Report, ScopeOf, Turn, Which, Whose
from loomd.memory.rank import Weights
from loomd.memory.recall import Embedder, Recall, open_recall
from loomd.memory.shelf import Limits
from loomd.memory.window import fit_window
from loomd.messages import Message
from loomd.topology import Parts

_FILE = "recall.db"
_DAY = 86_400.0


class Window(Spec):
    """How much of a conversation a model sees."""

    tokens: Tokens = 6000
    """Size of the window in tokens, estimated as a quarter of the characters."""


class RecallSpec(Spec):
    """What is remembered of earlier tasks, and how it is found again."""

    model_config = ConfigDict(
        json_schema_extra=never(
            "expected keywordWeight or vectorWeight above 0, got 0 for both: raise one of them",
            keywordWeight={"maximum": 0},
            vectorWeight={"maximum": 0},
        )
    )

    enabled: bool = False
    """Keep what was asked and answered, and offer what fits to later tasks."""
    scope: ScopeOf = "agent"
    """Who is offered it: the `agent` that heard it; all agents of this memory within a `session`, for a `user` or for a
    `tenant`; or all of them (`shared`). Tenants are kept apart by all of these but `shared`, users by all but the last
    two. A text keeps the scope under which it was remembered."""
    top_k: int = Field(default=3, ge=1, le=50)
    """How many texts are offered at most."""
    threshold: Share = 0.3
    """Least likeness of a text to be offered: share of the query's words, or cosine with an embedder; one is enough."""
    embedder: Annotated[str, RefTo("Embedder")] | None = Field(default=None, examples=["words"])
    """Embedder that finds texts by meaning, beside their words; without one they are found by words alone."""
    candidates: int = Field(default=50, ge=1, le=1000)
    """Texts that words and meaning each hand to the fusion by rank."""
    rrf_k: int = Field(default=10, ge=0)
    """Constant of reciprocal rank fusion: the smaller, the more the first ranks count."""
    keyword_weight: float = Field(default=1.0, ge=0)
    """Share of the ranks by words."""
    vector_weight: float = Field(default=1.0, ge=0)
    """Share of the ranks by meaning."""
    importance_weight: Share = 0.2
    """Share of a score that is taken off a text of no importance."""
    age_weight: Share = 0.2
    """Share of a score that is taken off a very old text; half of it after one `halfLife`."""
    half_life: Duration = Field(default=30 * _DAY, gt=0)
    """Time after which half of a text's freshness is gone."""
    ttl: Duration | None = Field(default=None, gt=0, examples=["365d"])
    """Time after which a text that was not told again is deleted; without one none is."""
    keep: int = Field(default=10_000, ge=1)
    """How many texts are kept for each of those who share them; the oldest leaves first, an important one up to a
    `halfLife` later."""
    max_text: Bytes = Field(default=8 << 10, ge=1)
    """Longest text that is kept; a longer one is cut."""

    @model_validator(mode="after")
    def _some_weight(self) -> "RecallSpec":
        if self.keyword_weight + self.vector_weight == 0:
            raise ValueError("expected keywordWeight or vectorWeight above 0, got 0 for both: raise one of them")
        return self


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
        recall, ref = self.recall, parts.declared.ref
        there = parts.services.store.directory / ref.kind.lower() / ref.namespace / ref.name / _FILE
        if not recall.enabled and not there.is_file():
            yield LiveMemory(self, None)
            return
        embedder = parts.get("Embedder", recall.embedder, Embedder) if recall.embedder else None
        path = parts.state_dir / _FILE
        async with open_recall(path, str(ref), self._limits(), embedder, parts.services.clock) as texts:
            yield LiveMemory(self, texts)

    def _limits(self) -> Limits:
        recall = self.recall
        weights = Weights(
            recall.rrf_k,
            recall.keyword_weight,
            recall.vector_weight,
            recall.importance_weight,
            recall.age_weight,
            recall.half_life,
        )
        return Limits(
            recall.scope,
            recall.top_k,
            recall.threshold,
            recall.candidates,
            recall.keep,
            recall.max_text,
            recall.ttl,
            weights,
        )


class LiveMemory:
    """A memory in use.

    Args:
        spec: what it declares.
        texts: what is remembered; None when nothing is and nothing was.
    """

    def __init__(self, spec: MemorySpec, texts: Recall | None) -> None:
        self._spec = spec
        self._texts = texts

    @property
    def recalls(self) -> bool:
        """Return whether anything is remembered across tasks."""
        return self._spec.recall.enabled

    def fit(self, messages: tuple[Message, ...], goal: int = 1) -> tuple[Message, ...]:
        """Return the messages that fit the window: the system turn, the goal, and the latest turns."""
        return fit_window(messages, self._spec.window.tokens, goal)

    async def recall(self, whose: Whose, query: str, seen: Sequence[str] = ()) -> list[str]:
        """Return what was remembered that fits the query, best first; nothing when recall is off."""
        return [] if self._texts is None or not self.recalls else await self._texts.find(whose, query, seen)

    async def remember(self, whose: Whose, turn: Turn) -> list[str]:
        """Keep a turn, unless recall is off, and return the ids of what is kept; the same key again adds nothing."""
        if self._texts is None or not self.recalls:
            return []
        return await self._texts.add(whose, turn, [Draft(turn.key, f"{turn.goal}\n{turn.answer}".strip())])

    async def items(self, which: Which, after: str = "", most: int = -1) -> list[Item]:
        """Return what is remembered, in the order of the ids, also while recall is off."""
        return [] if self._texts is None else await self._texts.items(which, after, most)

    async def forget(self, which: Which) -> list[str]:
        """Delete what is meant for good, and return the ids."""
        return [] if self._texts is None else await self._texts.forget(which)

    async def report(self) -> Report:
        """Return how much is remembered, and what went wrong last."""
        return Report({}, {}, 0, 0) if self._texts is None else await self._texts.report()
