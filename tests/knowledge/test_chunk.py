"""Cutting documents: nothing is lost, lines are right, sizes hold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loomd.knowledge import chunk as chunking
from loomd.knowledge.base import CHARACTERS_PER_TOKEN, Chunking
from loomd.knowledge.chunk import Chunk
from loomd.knowledge.formats.base import Limits
from loomd.knowledge.formats.known import find_formats, format_of, suffix_of

PAGE = """\
Before any heading.

# Guide

Welcome.

## Install ##

Run this:

```sh
# not a heading

pip install it
```

### Windows
## Use
Use it.
"""


def cut(path: str, text: str, how: Chunking) -> list[Chunk]:
    """Return the passages of a text that is in the format of its name."""
    content = find_formats()[format_of(path).name].read(text.encode(), suffix_of(path), Limits(1 << 20, 10))
    return chunking.cut(path, content, how)


def test_markdown_is_cut_at_headings() -> None:
    """Each section is a passage under its path of headings; a `#` in a fenced block is no heading."""
    assert cut("docs/guide.md", PAGE, Chunking()) == [
        Chunk("guide.md", "Before any heading.", 1, 1),
        Chunk("Guide", "Welcome.", 5, 5),
        Chunk("Guide > Install", "Run this:\n\n```sh\n# not a heading\n\npip install it\n```", 9, 15),
        Chunk("Guide > Use", "Use it.", 19, 19),
    ]


@pytest.mark.parametrize(("path", "kind"), [("a.txt", "markdown"), ("a.md", "recursive")])
def test_other_text_has_no_headings(path: str, kind: str) -> None:
    """Only Markdown files cut as Markdown know headings; anything else is titled with its file name."""
    (chunk,) = cut(path, "# one\n\ntwo", Chunking.model_validate({"type": kind}))
    assert (chunk.title, chunk.text, chunk.first, chunk.last) == (path, "# one\n\ntwo", 1, 3)


@pytest.mark.parametrize("text", ["", "\n\n", "# Only\n\n## Headings\n"])
def test_a_document_without_text_has_no_passage(text: str) -> None:
    """Empty documents and empty sections make nothing."""
    assert cut("a.md", text, Chunking()) == []


def test_long_text_is_cut_at_paragraphs_and_overlaps() -> None:
    """Paragraphs stay whole while they fit, and the last ones are repeated up to the overlap."""
    paragraphs = [f"Paragraph {n} " + "x" * 60 for n in range(6)]
    chunks = cut("a.md", "\n\n".join(paragraphs), Chunking(size=60, overlap=20))
    assert [(c.first, c.last) for c in chunks] == [(1, 5), (5, 9), (9, 11)]
    assert chunks[0].text == "\n\n".join(paragraphs[:3])


def test_a_long_line_is_cut_after_sentences() -> None:
    """A line longer than a passage is cut at sentence ends first; all pieces have its line number."""
    chunks = cut("a.txt", "One sentence here. " * 20, Chunking(size=20, overlap=0))
    assert {(c.first, c.last) for c in chunks} == {(1, 1)}
    assert all(c.text.endswith("here.") for c in chunks)


def test_an_unclosed_fence_loses_nothing() -> None:
    """The rest of the document belongs to the block."""
    (chunk,) = cut("a.md", "text\n\n```\ncode\n# still code", Chunking())
    assert chunk == Chunk("a.md", "text\n\n```\ncode\n# still code", 1, 5)


LINES = st.lists(
    st.one_of(
        st.text(alphabet="ab .#`é\t", max_size=120),
        st.sampled_from(["", "# Head", "## Sub", "```", "~~~~", "    indented", "| a | b |"]),
    ),
    max_size=40,
)


@given(LINES, st.sampled_from(["a.md", "a.txt"]), st.integers(5, 80), st.booleans())
def test_nothing_is_lost_and_sizes_hold(lines: list[str], path: str, size: int, overlapping: bool) -> None:
    """Whatever the document: passages are in order, within size, at their lines, and cover every word."""
    chunks = cut(path, "\n".join(lines), Chunking(size=size, overlap=size // 3 if overlapping else 0))
    limit = size * CHARACTERS_PER_TOKEN
    for chunk in chunks:
        assert 1 <= chunk.first <= chunk.last <= len(lines)
        inside = "\n".join(lines[chunk.first - 1 : chunk.last]).split()
        assert all(word in " ".join(inside) for word in chunk.text.split())
        gaps = chunk.text.count("\n\n\n")
        assert len(chunk.text) <= limit or gaps  # runs of blank lines inside are not counted
    covered = {n for chunk in chunks for n in range(chunk.first, chunk.last + 1)}
    missed = [line for n, line in enumerate(lines, 1) if line.strip() and n not in covered]
    assert all(path == "a.md" and line.startswith("#") for line in missed)
