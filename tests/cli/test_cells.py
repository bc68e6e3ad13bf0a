"""Columns that a text takes: tables and lines that are cut count wide characters as two, and combining ones as none."""

import pytest

from loomd.cli.cells import columns, cut, padded
from loomd.cli.table import render


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ("", 0),
        ("plain", 5),
        ("房间", 4),
        ("\uff21\uff22", 4),
        ("😀", 2),
        ("e\u0301", 1),
        ("a\u200db", 2),
        ("├─ naïve", 8),
    ],
)
def test_what_a_text_takes(text: str, taken: int) -> None:
    """Each character as terminals show it."""
    assert columns(text) == taken
    assert columns(padded(text, 9)) == 9
    assert cut(text, taken) == text


def test_a_text_is_cut_between_characters() -> None:
    """What combines stays with what it stands on; a wide character that has half the room only is left out."""
    assert [cut("房间里", width) for width in range(7)] == ["", "", "房", "房", "房间", "房间", "房间里"]
    assert cut("e\u0301e\u0301x", 2) == "e\u0301e\u0301"
    assert cut("房间里的人", 8, "...") == "房间..."
    assert cut("a plain text", 10, "...") == "a plain..."
    assert cut("plain", -1) == ""


def test_columns_of_a_table_stand_under_each_other() -> None:
    """Whatever the cells before them hold."""
    lines = render(("GOAL", "AGE"), [("房间", "3s"), ("look", "4s"), ("e\u0301", "5s")])
    assert [columns(line[: line.index("s")]) for line in lines[1:]] == [7, 7, 7]
