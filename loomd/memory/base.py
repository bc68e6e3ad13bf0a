"""What a memory declares, and the live memory: a window over the conversation, and recall across tasks.

Called by the agent's loop before each model call, at its start and at its end.
"""

from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import ConfigDict, Field, model_validator

from loomd.manifest.kind import RefTo, Spec
from loomd.manifest.quantity import Bytes, Duration, Share, Tokens
from loomd.manifest.rule import MESSAGE, exactly_one, never
from loomd.memory.facts import facts_of
from loomd.memory.item import Draft, Item, Report, ScopeOf, Turn, Which, Whose
from loomd.memory.rank import Weights
from loomd.memory.window import fit_window
from loomd.messages import Message
from loomd.topology import Health, Parts

if TYPE_CHECKING:
    from loomd.memory.recall import Recall
    from loomd.memory.shelf import Limits
    from loomd.memory.summary import Condensation

_FILE = "recall.db"
_DAY = 86_400.0
_COMPACTION = "expected recall that is enabled, got compaction without it: set recall.enabled, or leave compaction out"
_COMPACTION_RULE: dict[str, Any] = {
    "anyOf": [
        {"properties": {"compaction": {"type": "null"}}},
        {
            "required": ["recall"],
            "properties": {"recall": {"required": ["enabled"], "properties": {"enabled": {"const": True}}}},
        },
    ],
    MESSAGE: _COMPACTION,
}


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
    """Least likeness of a text to be offered: share of the question's telling words, or cosine with an embedder; one is
    enough."""
    embedder: Annotated[str, RefTo("Embedder")] | None = Field(default=None, examples=["words"])
    """Embedder that finds texts by meaning, beside their words; without one, or while it fails, they are found by words
    alone."""
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
    """Time after which a text that was not told again is deleted; without one none is. It is not recalled or listed
    from then on, and leaves the file within a tenth of that time: at most 10 minutes, and at least a second."""
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


class WorkingSpec(Spec):
    """The facts of a conversation that goes on over many tasks: what is left of turns that leave the window."""

    enabled: bool = True
    """Whether the turns of a session are kept as facts, sentence by sentence; otherwise as whole answers."""
    tokens: Tokens = 2000
    """Size of the facts that belong to a conversation alone, estimated; of more than that the least important and
    oldest become long-term, for all whom `recall.scope` names."""
    idle: Duration = Field(default=3600.0, gt=0)
    """Time after the last turn from which on all facts of a conversation are long-term."""
    per_turn: int = Field(default=12, ge=1, le=1000)
    """How many facts of one turn are kept at most, the most important ones."""
    reminder: int = Field(default=500, ge=0)
    """Most tokens of facts of turns that left the window within one task; at most a quarter of `window`, 0 for none."""
    least: Share = 0.2
    """Least importance of a fact; a plain statement has 0.3, a bare request 0.1."""


class CompactionSpec(Spec):
    """Who puts working facts that are too many into fewer words; without it they become long-term as they are."""

    model_config = ConfigDict(json_schema_extra=exactly_one("provider", "agent"))

    provider: Annotated[str, RefTo("Provider")] | None = Field(default=None, examples=["local"])
    """Provider whose model does it, on the account of the agent that remembers."""
    agent: Annotated[str, RefTo("Agent")] | None = Field(default=None, examples=["summarizer"])
    """Agent that does it, as if the agent that remembers had asked it."""
    batch: Tokens = 500
    """Size of the facts that are too many from which on it is asked, estimated; at most a quarter of `working.tokens`.
    Fewer wait beside the others, so that it is not asked for each of them."""
    timeout: Duration = Field(default=60.0, gt=0)
    """Longest time for it."""

    @model_validator(mode="after")
    def _one_of_them(self) -> "CompactionSpec":
        if (self.provider is None) == (self.agent is None):
            raise ValueError("expected exactly one of provider, agent")
        return self


class ChildrenSpec(Spec):
    """What parts of a task, and agents that are asked, are told of this memory, and what it takes over from them."""

    seed: int = Field(default=3, ge=0, le=50)
    """How many texts that fit its goal a part of a split, or an agent that is asked, is told; 0 for none."""
    boost: float = Field(default=1.5, ge=1, le=10)
    """By how much more important an answer is that they bring back, as a factor."""


class MemorySpec(Spec):
    """What an agent remembers within a task and across tasks."""

    model_config = ConfigDict(json_schema_extra={"allOf": [_COMPACTION_RULE]})

    window: Window = Field(default_factory=Window)
    """How much of a conversation a model sees."""
    working: WorkingSpec = Field(default_factory=WorkingSpec)
    """What is kept of a conversation in few words, when `recall` is enabled."""
    compaction: CompactionSpec | None = None
    """Who summarises working facts; by default nobody, and rules decide."""
    recall: RecallSpec = Field(default_factory=RecallSpec)
    """What is remembered of earlier tasks."""
    children: ChildrenSpec = Field(default_factory=ChildrenSpec)
    """What parts of a task get of what is remembered, and give back."""

    @model_validator(mode="after")
    def _compaction_has_something_to_do(self) -> "MemorySpec":
        if self.compaction is not None and not self.recall.enabled:
            raise ValueError(_COMPACTION)
        return self

    @asynccontextmanager
    async def open(self, parts: Parts) -> AsyncGenerator["LiveMemory", None]:
        """Yield the live memory.

        Raises:
            Damaged: the file of remembered texts cannot be used, and is not ours to set aside.
        """
        recall, ref = self.recall, parts.declared.ref
        there = parts.services.store.directory / ref.kind.lower() / ref.namespace / ref.name / _FILE
        if not recall.enabled and not there.is_file():
            yield self.blank(parts)
            return
        from loomd.memory.recall import Embedder, open_recall  # noqa: PLC0415  # only what is remembered needs it
        from loomd.memory.refill import MemoryJournal  # noqa: PLC0415  # the same

        embedder = parts.get("Embedder", recall.embedder, Embedder) if recall.embedder else None
        path = parts.state_dir / _FILE
        lent = parts.services
        journal = MemoryJournal(lent.store, lent.bus, ref)
        async with open_recall(path, str(ref), self._limits(), embedder, lent.clock, journal) as texts:
            yield LiveMemory(self, parts.name, texts, self._summarizer(parts))

    def blank(self, parts: Parts) -> "LiveMemory":
        """Return the live memory without anything that is remembered; it remembers nothing either."""
        return LiveMemory(self, parts.name, None, self._summarizer(parts))

    def _summarizer(self, parts: Parts) -> object | None:
        if (by := self.compaction) is None:
            return None
        kind, name = ("Provider", by.provider) if by.provider is not None else ("Agent", by.agent or "")
        return parts.get(kind, name, _whatever)

    def _limits(self) -> "Limits":
        from loomd.memory.shelf import Limits  # noqa: PLC0415  # as above

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
            self.working.tokens,
            self.working.idle,
        )


def _whatever(live: object) -> object:
    """Return what an open summarizer is, for `Parts.get`: a model or an agent, which whoever asks it knows."""
    return live


class LiveMemory:
    """A memory in use.

    Args:
        spec: what it declares.
        name: name of the object.
        texts: what is remembered; None when nothing is and nothing was.
        summarizer: a live model or agent that puts working facts into fewer words; None when rules decide.
    """

    def __init__(self, spec: MemorySpec, name: str, texts: "Recall | None", summarizer: object | None = None) -> None:
        self.name = name
        self._spec = spec
        self._texts = texts
        self.summarizer = summarizer

    @property
    def recalls(self) -> bool:
        """Return whether anything is remembered across tasks."""
        return self._spec.recall.enabled

    @property
    def scope(self) -> ScopeOf:
        """Return who may recall what it is told."""
        return self._spec.recall.scope

    def health(self) -> Iterable[Health]:
        """Return how it is degraded, if it is."""
        found = None if self._texts is None else self._texts.health()
        return () if found is None else (found,)

    async def settled(self) -> None:
        """Wait until what the journal has is remembered again, when the file was damaged or gone.

        Raises:
            Temporary: the journal cannot be looked through now; it is tried again.
        """
        if self._texts is not None:
            await self._texts.settled()

    @property
    def lacks(self) -> str:
        """Return why texts are found by words alone although there is an embedder; empty when it answers."""
        return "" if self._texts is None or self._texts.wordy is None else self._texts.wordy.message

    def fit(self, messages: tuple[Message, ...], goal: int = 1) -> tuple[Message, ...]:
        """Return the messages that fit the window: the system turn, the goal, and the latest turns."""
        return fit_window(messages, self._spec.window.tokens, goal)

    @property
    def reminder(self) -> int:
        """Return the tokens that facts of turns may take which left the window within one piece of work."""
        spec = self._spec
        return min(spec.working.reminder, spec.window.tokens // 4) if self.recalls else 0

    @property
    def boost(self) -> float:
        """Return by how much more important is what parts of a task bring back."""
        return self._spec.children.boost

    @property
    def seeds(self) -> bool:
        """Return whether parts of a task are told what fits their goals."""
        return self.recalls and self._spec.children.seed > 0

    async def seed(self, whose: Whose, goal: str) -> list[str]:
        """Return what is remembered that fits the goal of a part of a task, best first."""
        if self._texts is None or not self.seeds:
            return []
        return await self._texts.find(whose, goal, most=self._spec.children.seed)

    async def recall(self, whose: Whose, query: str, seen: Sequence[str] = ()) -> list[str]:
        """Return what was remembered that fits the query, best first; nothing when recall is off."""
        return [] if self._texts is None or not self.recalls else await self._texts.find(whose, query, seen)

    async def remember(self, whose: Whose, turn: Turn) -> list[str]:
        """Keep a turn, unless recall is off, and return the ids of what is kept; the same key again adds nothing."""
        texts, working = self._texts, self._spec.working
        if texts is None or not self.recalls:
            return []
        if not whose.session or turn.absorbed or not working.enabled:
            return await texts.add(whose, turn, [Draft(turn.key, f"{turn.goal}\n{turn.answer}".strip())])
        facts = facts_of(turn.goal, turn.answer, working.per_turn, working.least)
        kept = await texts.add(whose, turn, facts, working=True)
        if self.summarizer is None:
            await texts.move(whose)
        return kept

    @property
    def patience(self) -> float:
        """Return the seconds that the summarizer may take."""
        return 0.0 if self._spec.compaction is None else self._spec.compaction.timeout

    async def crowded(self, whose: Whose) -> list[Item]:
        """Return the working facts of a conversation that are too many, once it is worth asking a summarizer."""
        spec = self._spec
        if self._texts is None or not self.recalls:
            return []
        found = await self._texts.working(whose)
        least = 0 if spec.compaction is None else min(spec.compaction.batch, spec.working.tokens // 4)
        return found if sum(one.tokens for one in found) >= least else []

    async def condense(self, whose: Whose, turn: Turn, facts: Sequence[Item]) -> "Condensation":
        """Keep the lines of an answer in place of facts that they say, as far as the lines can be held against them.

        All other facts that are too many become long-term as they are: so it is with all of them when the answer is
        empty, or when one of them was forgotten meanwhile.
        """
        from loomd.memory.summary import Condensation, judged  # noqa: PLC0415  # only what is summarised needs it

        if self._texts is None or not self.recalls:
            return Condensation()
        summary = judged(facts, turn.answer)
        kept = await self._texts.replace(whose, turn, summary.lines, facts)
        return Condensation(tuple(kept), summary.dropped)

    async def items(self, which: Which, after: str = "", most: int = -1) -> list[Item]:
        """Return what is remembered, in the order of the ids, also while recall is off."""
        return [] if self._texts is None else await self._texts.items(which, after, most)

    async def forget(self, which: Which) -> list[str]:
        """Delete what is meant for good, and return the ids; the journal has it first.

        Raises:
            Temporary: it cannot be noted, or the journal cannot be looked through now; nothing is deleted.
        """
        return [] if self._texts is None else await self._texts.forget(which)

    async def report(self) -> Report:
        """Return how much is remembered, and what went wrong last."""
        return Report({}, {}, 0, 0) if self._texts is None else await self._texts.report()
