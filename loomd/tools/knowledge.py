"""Knowledge: an agent searches a knowledge base when it wants to, with words of its own.

The passages that it finds are numbered after those that it was offered before, so that its answer cites them alike.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Literal, Protocol

from pydantic import Field

from loomd.errors import ToolFailed
from loomd.manifest.kind import RefTo
from loomd.messages import JsonObject, Passage, ToolSchema, render_passages
from loomd.tools.base import Effects, LiveTool, Run, ToolSpec
from loomd.tools.context import ToolContext
from loomd.topology import Health, Parts

_NOTHING = "nothing was found: try other words"


class Found(Protocol):
    """What a search with more than one step found."""

    @property
    def passages(self) -> tuple[Passage, ...]:
        """Return the passages, best first."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """Return what was declared and did not come about, and why."""
        ...


class Searchable(Protocol):
    """Documents to look things up in; the live form of kind KnowledgeBase."""

    async def look(
        self,
        query: str,
        top_k: int | None = None,
        where: Mapping[str, str | list[str]] | None = None,
        *,
        asker: object = None,
    ) -> Found:
        """Return what is found after all that is declared to be done about a question; `asker` pays."""
        ...

    def lacking(self, where: Mapping[str, str | list[str]]) -> Sequence[str]:
        """Return the properties for which a filter asks and that no document has."""
        ...


class SearchTool(LiveTool):
    """A tool that searches a knowledge base, and says when its filter asks for what no document has.

    Args:
        schema: as `LiveTool`.
        spec: as `LiveTool`.
        run: as `LiveTool`.
        parts: as `LiveTool`.
        base: what is searched.
    """

    def __init__(self, schema: ToolSchema, spec: "KnowledgeTool", run: Run, parts: Parts, base: Searchable) -> None:
        super().__init__(schema, spec, run, parts)
        self._base = base
        self._knowledge = spec.knowledge
        self._filter = spec.filter
        self._clock = parts.services.clock
        now = self._clock.now()
        self._health = Health("Degraded", "False", "FilterMatched", "its filter asks for what documents have", now)

    def health(self) -> tuple[Health, ...]:
        """Return whether its filter finds anything; nothing where it has none."""
        if not self._filter:
            return ()
        old, now, in_vain = self._health, self._clock.now(), self._base.lacking(self._filter)
        if in_vain:
            asked = f'no document of {self._knowledge} has the property "{in_vain[0]}", for which its filter asks'
            said = f"{asked}: nothing is found; mend filter, or the documents"
            self._health = old.turn("True", "FilterUnmatched", said, now)
        else:
            self._health = old.turn("False", "FilterMatched", "its filter asks for what documents have", now)
        return (self._health,)


class KnowledgeTool(ToolSpec):
    """Searches a knowledge base; the answer can cite what was found as `[number]`."""

    type: Literal["knowledge"] = "knowledge"
    knowledge: Annotated[str, RefTo("KnowledgeBase")] = Field(examples=["handbook"])
    """The knowledge base that is searched."""
    effects: Effects = "read"
    """What a call does to the world: nothing."""
    top_k: int | None = Field(default=None, ge=1, le=50, examples=[3])
    """How many passages a search returns at most; by default as many as the knowledge base says."""
    filter: dict[str, str | Annotated[list[str], Field(min_length=1)]] = Field(
        default_factory=dict, examples=[{"team": "docs"}, {"path": ["guide/*", "faq.md"]}]
    )
    """Documents that are looked in, beside what the knowledge base says: `retrieval.filter` tells how."""

    @asynccontextmanager
    async def open(self, parts: Parts) -> AsyncGenerator[LiveTool, None]:
        """Yield the live tool."""
        base = parts.get("KnowledgeBase", self.knowledge, Searchable)
        query = {"type": "string", "minLength": 1, "description": "What is looked for, in words."}
        parameters: JsonObject = {
            "type": "object",
            "properties": {"query": query},
            "required": ["query"],
            "additionalProperties": False,
        }
        summary = f"Searches the documents of {self.knowledge}; cite a passage of the result by its number, as [1]."

        async def search(arguments: JsonObject, context: ToolContext | None) -> str:
            wanted = arguments.get("query")
            if not isinstance(wanted, str) or not wanted.strip() or len(arguments) > 1:
                raise ToolFailed(f'expected "query" with what is looked for, and nothing else; got {arguments!r}')
            asker = None if context is None else context.asker()
            found = await base.look(wanted.strip(), self.top_k, self.filter, asker=asker)
            passages, notes = found.passages, found.notes
            text = _NOTHING
            if passages:
                text = render_passages(passages) if context is None else context.offer(passages)
            return "\n\n".join([text, *(f"[note: {note}]" for note in notes)])

        schema = ToolSchema(parts.name, self.description or summary, parameters)
        yield SearchTool(schema, self, search, parts, base)
