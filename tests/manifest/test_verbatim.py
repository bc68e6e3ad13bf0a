"""Places inside texts: where a line of a text stands in its file, however it is written."""

import pytest

from loomd.manifest.document import read_documents


def place(text: str, line: int, column: int) -> tuple[int, int]:
    """Return the line and column in the file of a place inside the text under `a`."""
    (document,), problems = read_documents(text.encode(), "f.yaml")
    assert problems == []
    at = document.where_inside("/a", line, column)
    return at.line, at.column


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        pytest.param("a: |\n  x\n  {y}\n", 3, 3, id="literal"),
        pytest.param("a: |-\n      x\n      {y}\n", 3, 7, id="deeper"),
        pytest.param("a: |+  # a remark\n x\n {y}\n\n\nb: 1\n", 3, 2, id="remark"),
        pytest.param("a: |2\n    x\n  {y}\n", 3, 3, id="indented-first-line"),
        pytest.param("a: |\r\n  x\r\n  {y}\r\n", 3, 3, id="windows"),
        pytest.param("# é\n---\nb: 'ü'\na: |\n  é\n  {y}", 6, 3, id="letters"),
        pytest.param("a: &n |\n  x\n  {y}\n", 3, 3, id="anchor"),
        pytest.param("---\n...\n---\na: |\n  x\n  {y}\n", 6, 3, id="later-document"),
    ],
)
def test_a_block_stands_as_it_is(text: str, line: int, column: int) -> None:
    """The second line of a block is the line of the file, at its indentation."""
    assert place(text, 2, 1) == (line, column)


@pytest.mark.parametrize(
    ("text", "column"),
    [
        pytest.param("a: b {y}\n", 6, id="plain"),
        pytest.param('a: "b {y}"\n', 7, id="double"),
        pytest.param("a: 'b {y}'\n", 7, id="single"),
        pytest.param('{"a":"b {y}"}', 9, id="json"),
    ],
)
def test_one_line_stands_as_it_is(text: str, column: int) -> None:
    """A place on a single line is counted from its first letter, behind the quote."""
    assert place(text, 1, 3) == (1, column)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("a: >\n  x\n  {y}\n\n  z\n", id="folded"),
        pytest.param('a: "x\\n{y}"\n', id="escaped"),
        pytest.param("a: 'x {y} it''s'\n", id="doubled-quote"),
        pytest.param('a: "x\n  {y}"\n', id="wrapped"),
        pytest.param("a: &n x {y}\n", id="anchor"),
        pytest.param("a: |\n  x\u2028  y\n  {y}\n", id="line-separator"),
    ],
)
def test_what_is_written_otherwise_is_told_at_its_begin(text: str) -> None:
    """Where a text is not written as it reads, a place inside it is the place of the text."""
    assert place(text, 2, 1) == (1, 4)


def test_an_alias_is_told_where_it_stands() -> None:
    """What stands behind an alias is told at the alias."""
    text = "b: &n |\n  x\n  {y}\na: *n\n"
    assert place(text, 2, 1) == (4, 4)
