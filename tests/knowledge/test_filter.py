"""Where a search looks: in documents with the properties that are wanted, by whatever index."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loomd.knowledge.filter import Filter, fits, where_of
from tests.knowledge.documents import pdf

if TYPE_CHECKING:
    from loomd.knowledge.knowledge import KnowledgeBase
    from tests.knowledge.conftest import Lab

PAGE: Mapping[str, Any] = {"team": "docs", "tags": ["a", "b"], "year": 2026, "draft": False}


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({}, True),
        ({"team": "docs"}, True),
        ({"team": "Docs"}, False),
        ({"team": ["web", "docs"]}, True),
        ({"team": []}, False),
        ({"team": "docs", "year": "2025"}, False),
        ({"tags": "b"}, True),
        ({"tags": ["c"]}, False),
        ({"year": "2026", "draft": "false"}, True),
        ({"owner": "*"}, False),
        ({"team": "*"}, True),
        ({"path": "guide/*"}, True),
        ({"path": "guide/*.txt"}, False),
        ({"path": "*/start.md"}, True),
        ({"team": "d.cs"}, False),
    ],
)
def test_a_document_fits_or_not(wanted: Filter, found: bool) -> None:
    """Every property must have one of its values, as text; `*` stands for any."""
    assert fits(where_of(wanted), "guide/deep/start.md", PAGE) is found


@given(st.dictionaries(st.sampled_from(["team", "tags"]), st.lists(st.sampled_from(["docs", "a", "x"]))), st.text())
def test_two_filters_are_both(wanted: dict[str, list[str]], team: str) -> None:
    """What fits two together fits each of them."""
    both = fits(where_of(wanted, {"team": team}), "p", PAGE)
    assert both == (fits(where_of(wanted), "p", PAGE) and fits(where_of({"team": team}), "p", PAGE))


@pytest.fixture
def shelves(lab: "Lab") -> "Lab":
    """Return a lab with two teams' documents about the same things."""
    for number in range(30):
        lab.write(f"web/{number}.md", f"---\nteam: web\nyear: 2025\n---\nOtters hold hands, note {number}.\n")
    lab.write("docs/a.md", "---\nteam: docs\ntags: [animals, water]\n---\n# Otters\n\nOtters sleep afloat.\n")
    lab.write("docs/b.pdf", pdf(["Otters eat crabs."], title="Food"))
    return lab


@pytest.mark.parametrize("mode", ["hybrid", "vector", "keyword"])
async def test_a_search_looks_only_there(shelves: "Lab", mode: str) -> None:
    """Whatever else would rank before: few candidates of many are no reason to find less."""
    sources = [{"path": "docs", "metadata": {"shelf": "zoo"}}]
    how = {"mode": mode, "candidates": 2, "topK": 2}
    cases: list[tuple[Filter, list[str]]] = [
        ({"team": "docs"}, ["docs/docs/a.md:7-7"]),
        ({"tags": "water", "year": "2025"}, []),
        ({"title": "Food"}, ["docs/docs/b.pdf#page=1"]),
        ({"format": "pdf"}, ["docs/docs/b.pdf#page=1"]),
        ({"path": "docs/docs/*"}, ["docs/docs/a.md:7-7", "docs/docs/b.pdf#page=1"]),
        ({"shelf": "zoo", "team": ["docs", "none"]}, ["docs/docs/a.md:7-7"]),
    ]
    for wanted, found in cases:
        async with shelves.open(sources=sources, retrieval={**how, "filter": wanted}) as base:
            assert sorted(one.source for one in await base.search("otters")) == found, wanted
            explained = (await base.explain("otters")).hits
            assert sorted(one.passage.source for one in explained) == found, wanted
    async with shelves.open(sources=sources, retrieval=how) as base:
        for wanted, found in cases:
            assert sorted(one.source for one in await base.search("otters", where=wanted)) == found, wanted
        assert len(await base.search("otters", 40)) == 32


async def test_what_the_source_says_counts_before_the_document(shelves: "Lab") -> None:
    """And a changed front matter or label is seen by the next search."""
    sources = [{"path": "docs", "metadata": {"team": "zoo"}}]
    async with shelves.open(sources=sources, retrieval={"mode": "keyword", "topK": 50}) as base:
        assert len(await base.search("otters", where={"team": "zoo"})) == 32
        assert await base.search("otters", where={"team": "docs"}) == []
    async with shelves.open(retrieval={"mode": "keyword", "topK": 50}) as base:
        assert len(await base.search("otters", where={"team": "web"})) == 30
        shelves.write("web/0.md", "---\nteam: docs\n---\nOtters hold hands, note 0.\n")
        await base.refresh()
        assert len(await base.search("otters", where={"team": "web"})) == 29
        assert len(await base.search("otters", where={"team": "docs"})) == 2


async def test_front_matter_that_cannot_be_read_is_told(lab: "Lab") -> None:
    """Its text is found all the same; that is told as long as it is so, and nothing is indexed again for it."""
    lab.write("a.md", "---\nteam: [a, b\n---\nOtters hold hands.\n")
    lab.write("b.md", "---\nteam: web\n---\nCats purr.\n")
    lab.write("c.md", "---\nA rule stands above me.\n---\nMore.\n")
    async with lab.open() as base:
        for _ in range(2):
            assert [(one.path, one.reason[:35]) for one in base.standing().left_out] == [
                ("docs/a.md", "has front matter that is no YAML or")
            ]
            assert (await base.search("otters"))[0].source == "docs/a.md:1-4"
            assert await base.refresh() == 0
        lab.write("a.md", "---\nteam: [a, b]\n---\nOtters hold hands.\n")
        await base.refresh()
        assert base.standing().left_out == ()
        assert [one.source for one in await base.search("otters", where={"team": "b"})] == ["docs/a.md:4-4"]
    assert len([one for one in lab.events if one.type == "index.document.skipped"]) == 1


async def test_a_filter_that_finds_nothing_shows_in_the_condition(shelves: "Lab") -> None:
    """Once the documents are indexed, until one has the property; before that nobody knows."""

    def degraded(base: "KnowledgeBase") -> tuple[str, str, str]:
        (one,) = [one for one in base.health() if one.condition == "Degraded"]
        return one.status, one.reason, one.message

    async with shelves.open(retrieval={"filter": {"shelf": "a", "path": "*"}}) as base:
        told = 'no document has the property "shelf", for which the filter asks: nothing is found; '
        assert degraded(base) == ("True", "FilterUnmatched", f"{told}mend retrieval.filter, or the documents")
        assert list(base.lacking({"team": "x", "nosuch": "y", "aisle": ["z"]})) == ["aisle", "nosuch"]
        shelves.write("docs/a.md", "---\nshelf: a\n---\nOtters sleep afloat.\n")
        await base.refresh()
        assert degraded(base)[:2] == ("False", "DocumentsRead")
        assert list(base.lacking({"shelf": "b"})) == []


async def test_a_property_that_no_document_has_is_told(shelves: "Lab") -> None:
    """A filter that is misspelt finds nothing, and says why."""
    async with shelves.open(retrieval={"filter": {"nosuch": "a", "path": "*"}}) as base:
        found = await base.explain("cats")
        assert (found.hits, found.notes) == ((), ('no document has the property "nosuch", for which the filter asks',))
        assert (await base.look("cats")).notes == found.notes


async def test_a_value_that_no_document_has_is_told(shelves: "Lab") -> None:
    """Of a filter in the manifest in the condition, too; where a document fits, it just was not found."""
    async with shelves.open(retrieval={"mode": "keyword", "filter": {"path": "docs/*"}}) as base:
        for where, said in (
            ({"path": "nowhere/*"}, 'no document has "nowhere/*" as its "path", for which the filter asks'),
            ({"team": ["x", "y"]}, 'no document has "x" or "y" as its "team", for which the filter asks'),
            ({"team": "docs", "year": "2025"}, "no document has everything for which the filter asks"),
        ):
            found = await base.explain("cats", where=where)
            assert (found.hits, found.notes) == ((), (said,))
            assert (await base.look("cats", where=where)).notes == (said,)
        assert (await base.look("nothingness", where={"team": "docs"})).notes == ()
    async with shelves.open(retrieval={"filter": {"path": "nowhere/*"}}) as base:
        (told,) = (one for one in base.health() if one.condition == "Degraded")
        assert (told.reason, told.message.partition(":")[0]) == (
            "FilterUnmatched",
            'no document has "nowhere/*" as its "path", for which the filter asks',
        )
