"""Documents that stand in the manifest, and sources whose type is not written."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from loomd.knowledge.kind import KIND

if TYPE_CHECKING:
    from tests.knowledge.conftest import Lab

HOURS: dict[str, Any] = {
    "type": "inline",
    "texts": {"hours.md": "# Hours\n\nOpen from nine to five.", "fees.csv": "day,fee\nmon,3\n"},
}


def sources(*found: dict[str, Any]) -> list[Any]:
    """Return sources as a manifest has them."""
    return list(KIND.adapter.validate_python({"embedder": "e", "sources": list(found)}).sources)


async def test_texts_of_the_manifest_are_found(lab: "Lab") -> None:
    """They are cited by their names, whose ends say what they are written in; files may stand beside them."""
    lab.write("a.md", "Cats purr.")
    async with lab.open(sources=[HOURS, {"path": "docs"}], retrieval={"mode": "keyword"}) as base:
        found = [(await base.search(word))[0] for word in ("nine", "mon", "cats")]
    assert [one.source for one in found] == ["hours.md:3-3", "fees.csv:2-2", "docs/a.md:1-1"]
    assert [one.title for one in found] == ["Hours", "fees.csv", "a.md"]


async def test_a_changed_text_is_indexed_anew(lab: "Lab") -> None:
    """Another manifest is another index, and what it does not change keeps its vector."""
    async with lab.open(sources=[HOURS]):
        pass
    changed = {**HOURS, "texts": {**HOURS["texts"], "hours.md": "# Hours\n\nClosed."}}
    async with lab.open(sources=[changed], retrieval={"mode": "keyword"}) as base:
        assert lab.embedder.texts == ["Hours\nClosed."]
        assert (await base.search("closed"))[0].source == "hours.md:3-3"


async def test_a_text_that_is_too_large_is_left_out(lab: "Lab") -> None:
    """As any other document."""
    async with lab.open(sources=[{**HOURS, "maxFile": "20"}]) as base:
        assert [(one.path, one.reason) for one in base.unreadable] == [
            ("hours.md", "has 32 bytes, maxFile is 20: split it, or raise maxFile")
        ]


def test_a_source_without_a_type_is_one_of_files() -> None:
    """As it was when there was no other type."""
    assert sources({"path": "docs"}) == sources({"type": "files", "path": "docs"})
    with pytest.raises(ValidationError):
        sources({"texts": {"a.md": "x"}})


@pytest.mark.parametrize("name", ["", "a/b.md", "a:1", "a\nb"])
def test_a_name_is_a_name(tmp_path: Path, name: str) -> None:
    """It must be fit for a citation."""
    (source,) = sources({"type": "inline", "texts": {name: "x"}})
    ((_, text, code),) = source.check(tmp_path)
    assert (text[:29], code) == ("expected a name without slash", "invalid-value")


def test_a_text_is_no_pdf(tmp_path: Path) -> None:
    """A name that promises bytes is refused when manifests are validated."""
    (source,) = sources({"type": "inline", "texts": {"a.pdf": "x", "b.md": "y"}})
    ((place, text, code),) = source.check(tmp_path)
    assert (place, code) == ("/texts/a.pdf", "invalid-value")
    assert 'expected the name of a text, got "a.pdf"' in text
