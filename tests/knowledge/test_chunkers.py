"""Ways of cutting: what each keeps together, and what holds for all of them."""

import importlib.util
import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loomd import knowledge
from loomd.knowledge.base import CHARACTERS_PER_TOKEN, Chunking
from loomd.knowledge.chunk import Chunk, cut
from loomd.knowledge.formats.base import BadDocument, Content, Heading, Limits, Span
from loomd.knowledge.formats.known import find_formats, format_of, suffix_of

PYTHON = '''\
"""About shelves."""

import os

LIMIT = 3


# Holds books.
class Shelf:
    """A shelf."""

    def __init__(self) -> None:
        self.books = []

    def add(self, book):
        """Put a book on it."""
        if len(self.books) < LIMIT:
            self.books.append(book)


def count(shelves):
    """Count the books."""
    return sum(len(one.books) for one in shelves)
'''
ALL = ["code", "fixed", "markdown", "recursive", "sentence"]


def read(path: str, text: str) -> Content:
    """Return what a text holds."""
    return find_formats()[format_of(path).name].read(text.encode(), suffix_of(path), Limits(1 << 20, 10))


def chunks(path: str, text: str, kind: str, size: int, overlap: int = 0) -> list[Chunk]:
    """Return the passages of a text."""
    how = Chunking.model_validate({"type": kind, "size": size, "overlap": overlap})
    return cut(path, read(path, text), how)


def test_code_is_cut_at_definitions() -> None:
    """One that fits is whole with its comment, small neighbours share a passage, a large one gives its methods."""
    found = chunks("shelf.py", PYTHON, "code", 40)
    assert [(one.title, one.first, one.last) for one in found] == [
        ("shelf.py", 1, 5),
        ("shelf.py > Shelf > __init__", 8, 13),
        ("shelf.py > Shelf > add", 15, 18),
        ("shelf.py > count", 21, 23),
    ]
    assert found[1].text.startswith("# Holds books.\nclass Shelf:")
    (whole,) = chunks("shelf.py", PYTHON, "code", 200)
    assert (whole.title, whole.first, whole.last) == ("shelf.py", 1, 23)


def test_a_definition_that_is_too_long_is_cut_at_its_lines() -> None:
    """What has no definitions in it is cut like any text, under its name."""
    body = "\n".join(f"    value_{n} = {n}" for n in range(20))
    found = chunks("a.py", f"def long():\n{body}\n", "code", 30)
    assert len(found) > 2
    assert {one.title for one in found} == {"a.py > long"}
    assert (found[0].first, found[-1].last) == (1, 21)


def test_code_without_a_grammar_is_cut_as_text() -> None:
    """A language that nobody knows, and text, are cut as `recursive` cuts."""
    for path, text in (("a.kt", "fun a() {\n}\n\nfun b() {\n}\n"), ("a.md", "# One\n\ntext")):
        assert chunks(path, text, "code", 50) == chunks(path, text, "recursive", 50)


def test_a_grammar_that_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no reason to cut otherwise than was asked for, unless the manifest says so."""
    known = importlib.util.find_spec

    def find(name: str) -> object:
        return None if name == "tree_sitter_go" else known(name)

    monkeypatch.setattr(importlib.util, "find_spec", find)
    content = read("a.go", "package a\n")
    with pytest.raises(BadDocument, match=r"needs the grammar of go .* pip install 'loomd\[code\]', or set chunk.type"):
        cut("a.go", content, Chunking())
    assert cut("a.go", content, Chunking(type="recursive"))


def test_auto_is_what_suits_the_format() -> None:
    """Code is cut at definitions, everything else at headings where it has any."""
    assert chunks("a.py", PYTHON, "auto", 40) == chunks("a.py", PYTHON, "code", 40)
    page = "# One\n\ntext\n\n## Two\n\nmore"
    assert chunks("a.md", page, "auto", 40) == chunks("a.md", page, "markdown", 40)
    found = chunks("a.html", "<h1>One</h1>\n<p>text</p>\n<h2>Two</h2>\n<p>more</p>", "auto", 40)
    assert [(one.title, one.text, one.first) for one in found] == [("One", "text", 2), ("One > Two", "more", 4)]


def test_sentences_stay_whole() -> None:
    """A passage ends where a sentence does; abbreviations, numbers and small letters end none."""
    text = "Dr. Ann came, e.g. by train. She had 3.5 hours... so she left.\nWhy? Nobody knows!\n\nThe end"
    found = chunks("a.txt", text, "sentence", 9)
    assert [(one.text, one.first, one.last) for one in found] == [
        ("Dr. Ann came, e.g. by train.", 1, 1),
        ("She had 3.5 hours... so she left.", 1, 1),
        ("Why? Nobody knows!\n\nThe end", 2, 4),
    ]
    found = chunks("a.txt", "One is here. Two is here. Three is here.", "sentence", 8, overlap=4)
    assert [one.text for one in found] == ["One is here. Two is here.", "Two is here. Three is here."]


def test_sentences_may_go_over_lines() -> None:
    """A sentence has all the lines that it stands in."""
    found = chunks("a.txt", "This is\none sentence. This is\nanother.", "sentence", 6)
    assert [(one.text, one.first, one.last) for one in found] == [
        ("This is\none sentence.", 1, 2),
        ("This is\nanother.", 2, 3),
    ]


def test_windows_have_one_size_and_overlap() -> None:
    """`fixed` fills its size with whole words, and repeats the overlap."""
    text = " ".join(f"word{n:02}" for n in range(30))
    found = chunks("a.txt", text, "fixed", 15, overlap=5)
    assert all(40 < len(one.text) <= 60 for one in found[:-1])
    for before, after in itertools.pairwise(found):
        repeated = after.text.split()[0]
        assert repeated in before.text.split()[-4:]
        assert after.text.split()[0].startswith("word")


def test_every_way_knows_the_headings_above() -> None:
    """A passage is titled with the headings that stand before it, whatever cuts it."""
    page = "# One\n\n" + "first words here\n\n" * 3 + "## Two\n\n" + "second words here\n\n" * 3
    for kind in ALL:
        assert chunks("a.md", page, kind, 12)[-1].title == "One > Two", kind


TEXT = st.lists(
    st.one_of(
        st.text(alphabet="ab.? #`é\t", max_size=60),
        st.sampled_from(["", "# Head", "## Sub", "```", "def f():", "    return 1", "class A:", "One. Two? Three!"]),
    ),
    max_size=30,
)


@given(
    TEXT, st.sampled_from(["a.md", "a.txt", "a.py", "a.kt"]), st.sampled_from(ALL), st.integers(5, 60), st.booleans()
)
def test_no_way_loses_anything(lines: list[str], path: str, kind: str, size: int, overlapping: bool) -> None:
    """Whatever the document and the way: passages are in order, within size, at their lines, and hold every word."""
    found = chunks(path, "\n".join(lines), kind, size, size // 3 if overlapping else 0)
    content = read(path, "\n".join(lines)).lines
    assert [one.first for one in found] == sorted(one.first for one in found)
    for one in found:
        assert one.text.strip()
        assert 1 <= one.first <= one.last <= len(lines)
        assert len(one.text) <= size * CHARACTERS_PER_TOKEN or "\n\n\n" in one.text
        inside = " ".join(" ".join(content[one.first - 1 : one.last]).split())
        assert all(word in inside for word in one.text.split())
    covered = {n for one in found for n in range(one.first, one.last + 1)}
    missed = [line for n, line in enumerate(content, 1) if line.strip() and n not in covered]
    assert all(kind == "markdown" and path == "a.md" and line.startswith("#") for line in missed)


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=8))
def test_no_outline_of_code_loses_lines(ranges: list[tuple[int, int]]) -> None:
    """Whatever a grammar says that definitions are: every line is in one passage, and in one only."""
    lines = [f"line {n}" for n in range(20)]
    spans = [Span(start, end, f"d{start}") for start, end in sorted(ranges, key=lambda one: (one[0], -one[1]))]
    content = Content(lines, language="python", spans=spans)
    found = cut("a.py", content, Chunking(type="code", size=8, overlap=0))
    assert [n for one in found for n in range(one.first, one.last + 1)] == list(range(1, 21))


def test_places_of_a_format_are_those_of_passages() -> None:
    """What counts pages is cited by pages, and a heading that stands in no line takes none."""
    content = Content(
        ["a", "", "b", "", "c"], "page", [1, 1, 2, 2, 3], [Heading(0, 1, "One"), Heading(2, 2, "Two", lines=0)]
    )
    found = cut("a.pdf", content, Chunking())
    assert [(one.title, one.text, one.first, one.last) for one in found] == [("One > Two", "b\n\nc", 2, 3)]


def test_this_package_is_cut_whole() -> None:
    """Real code: every line of every module is in a passage."""
    for path in sorted(Path(knowledge.__path__[0]).glob("*.py")):
        text = path.read_text("utf-8")
        found = chunks(path.name, text, "auto", 240)
        covered = {n for one in found for n in range(one.first, one.last + 1)}
        assert all(n in covered for n, line in enumerate(text.split("\n"), 1) if line.strip())
