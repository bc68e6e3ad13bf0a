"""Documents as they were written, and a text without some of them."""

import pytest

from loomd.manifest.document import read_documents
from loomd.manifest.extract import document_at, without_documents

TEXT = """\
# first
kind: A
--- # second
kind: B
text: |
  --- is no mark here
  # nor is this a comment
---
# third
kind: C
...
--- {kind: D}
---

# nothing
---
kind: E"""


def kinds(text: str) -> list[tuple[str, int]]:
    """Return kind and line of every document."""
    documents, problems = read_documents(text.encode(), "a.yaml")
    assert not problems
    return [(one.value["kind"], one.position.line) for one in documents]


@pytest.mark.parametrize(
    ("kind", "written"),
    [
        ("A", "# first\nkind: A\n"),
        ("B", "--- # second\nkind: B\ntext: |\n  --- is no mark here\n  # nor is this a comment\n"),
        ("C", "# third\nkind: C\n"),
        ("D", "--- {kind: D}\n"),
        ("E", "kind: E"),
    ],
)
def test_a_document_is_told_as_it_was_written(kind: str, written: str) -> None:
    """With its comments and without its marks, unless something stands beside one."""
    line = dict(kinds(TEXT))[kind]
    assert document_at(TEXT, line) == written
    assert [one for one, _ in kinds(written)] == [kind]


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"], ids=["unix", "windows", "old-mac"])
@pytest.mark.parametrize("gone", ["A", "B", "C", "D", "E", "AB", "BDE", "ABCD"])
def test_what_stays_stands_on_its_lines(gone: str, ending: str) -> None:
    """Without some documents, all others are where they were."""
    text = TEXT.replace("\n", ending)
    left = without_documents(text, [line for kind, line in kinds(text) if kind in gone])
    assert kinds(left) == [(kind, line) for kind, line in kinds(text) if kind not in gone]
    assert left.count(ending) == text.count(ending)
    assert ("# third" in left) == ("C" not in gone)


def test_one_document_of_json_is_the_whole_text() -> None:
    """A text without marks is one document, wherever its lines are."""
    assert document_at('{\n"kind": "A"\n}\n', 1) == '{\n"kind": "A"\n}\n'
    assert without_documents('{\n"kind": "A"\n}\n', [1]) == "\n\n\n"
