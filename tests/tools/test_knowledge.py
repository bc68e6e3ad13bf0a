"""Tools of type knowledge: searches, and how their passages are offered."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from loomd.errors import Temporary, ToolFailed
from loomd.knowledge.standing import Found
from loomd.manifest.object import Ref
from loomd.messages import JsonObject, Passage
from loomd.testing import open_spec


@dataclass
class Shelf:
    """A knowledge base that keeps what it was asked."""

    found: list[Passage] = field(default_factory=lambda: [Passage(1, "At nine.", "hours.md:1", "Hours", "shelf")])
    asked: list[tuple[str, int | None]] = field(default_factory=list)
    where: Mapping[str, Any] | None = None
    lacks: Sequence[str] = ()

    def lacking(self, where: Mapping[str, Any]) -> list[str]:
        """Return what is lacking of what a filter asks for."""
        return [name for name in where if name in self.lacks]

    async def look(
        self, query: str, top_k: int | None = None, where: Mapping[str, Any] | None = None, *, asker: object = None
    ) -> Found:
        """Return what is there, or fail."""
        del asker
        self.where = where
        self.asked.append((query, top_k))
        if query == "away":
            raise Temporary("it is being indexed")
        return Found(tuple(self.found))


class Context:
    """A call that offers passages."""

    def offer(self, passages: Sequence[Passage]) -> str:
        """Return how many."""
        return f"{len(passages)} offered"

    def asker(self) -> object:
        """Return who pays."""
        return self


SPEC = {"type": "knowledge", "knowledge": "shelf"}


@pytest.mark.parametrize(("more", "most"), [({}, None), ({"topK": 2}, 2)])
async def test_a_search(tmp_path: Path, more: JsonObject, most: int | None) -> None:
    """The query is the model's, the number of passages the manifest's; they are offered to the answer."""
    shelf = Shelf()
    async with open_spec("Tool", {**SPEC, **more}, tmp_path, live={Ref("KnowledgeBase", "shelf"): shelf}) as tool:
        assert await tool.call({"query": " opening "}, Context()) == "1 offered"
        assert await tool.call({"query": "opening"}) == "[1] Hours (hours.md:1)\nAt nine."
        assert tool.effects == "read"
    assert shelf.asked == [("opening", most)] * 2


async def test_a_search_looks_where_it_is_told(tmp_path: Path) -> None:
    """The documents are those of the manifest; the model has no say in it."""
    shelf = Shelf()
    spec = {**SPEC, "filter": {"team": ["docs", "web"]}}
    async with open_spec("Tool", spec, tmp_path, live={Ref("KnowledgeBase", "shelf"): shelf}) as tool:
        await tool.call({"query": "opening"})
    assert shelf.where == {"team": ["docs", "web"]}


async def test_a_filter_that_finds_nothing_shows_in_the_condition(tmp_path: Path) -> None:
    """It comes and goes with the documents; a tool without a filter has no such condition."""
    shelf = Shelf()
    live: dict[Ref, object] = {Ref("KnowledgeBase", "shelf"): shelf}
    async with open_spec("Tool", {**SPEC, "filter": {"team": "docs", "shelf": "a"}}, tmp_path, live=live) as tool:
        (before,) = tool.health()
        shelf.lacks = ("team",)
        (told,) = tool.health()
        shelf.lacks = ()
        (after,) = tool.health()
    assert [one.status for one in (before, told, after)] == ["False", "True", "False"]
    assert (told.condition, told.reason, told.is_ill) == ("Degraded", "FilterUnmatched", False)
    asked = 'no document of shelf has the property "team", for which its filter asks'
    assert told.message == f"{asked}: nothing is found; mend filter, or the documents"
    assert before.since <= told.since <= after.since
    async with open_spec("Tool", SPEC, tmp_path, live=live) as tool:
        assert tool.health() == ()


async def test_nothing_found(tmp_path: Path) -> None:
    """The model is told, so that it can ask otherwise."""
    shelf = Shelf([])
    async with open_spec("Tool", SPEC, tmp_path, live={Ref("KnowledgeBase", "shelf"): shelf}) as tool:
        assert await tool.call({"query": "x"}, Context()) == "nothing was found: try other words"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, 'expected "query"'),
        ({"query": " "}, 'expected "query"'),
        ({"query": "x", "top": 1}, 'expected "query"'),
        ({"query": "away"}, "it is being indexed"),
    ],
)
async def test_a_search_that_fails(tmp_path: Path, arguments: JsonObject, said: str) -> None:
    """It is a failed call, whatever the reason."""
    async with open_spec("Tool", SPEC, tmp_path, live={Ref("KnowledgeBase", "shelf"): Shelf()}) as tool:
        with pytest.raises(ToolFailed, match=said):
            await tool.call(arguments, Context())
