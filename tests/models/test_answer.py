import json

import pytest

from loomd.models.answer import StepReader


@pytest.mark.parametrize(
    "answer",
    ["plain", 'with "quotes" and \\ and \n', "smile \U0001f600, umlaut \u00e4", "{}[]", ""],
    ids=["plain", "escapes", "unicode", "brackets", "empty"],
)
@pytest.mark.parametrize("ascii_only", [True, False], ids=["escaped", "raw"])
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_the_answer_streams_whatever_the_pieces(answer: str, ascii_only: bool, size: int) -> None:
    """Cut anywhere, inside escapes and pairs of surrogates too, the pieces join to the answer."""
    raw = json.dumps({"answer": answer, "sources": [1]}, ensure_ascii=ascii_only, indent=1)
    reader = StepReader(stepwise=True)
    said = "".join(reader.feed(raw[at : at + size]) for at in range(0, len(raw), size))
    assert said == answer == reader.text
    assert reader.step() == {"answer": answer, "sources": [1]}


def test_a_tool_call_says_nothing() -> None:
    """A call is no text for the user."""
    reader = StepReader(stepwise=True)
    assert reader.feed('{"tool": "add", "args": {"answer": "x"}}') == ""
    assert reader.step() == {"tool": "add", "args": {"answer": "x"}}


def test_what_is_cut_off_keeps_its_text() -> None:
    """A step without an end is no step, and its text so far is kept."""
    reader = StepReader(stepwise=True)
    assert reader.feed('{"answer": "half a sen') == "half a sen"
    assert reader.step() is None


def test_a_lone_surrogate_is_replaced() -> None:
    """Text can always be encoded."""
    reader = StepReader(stepwise=True)
    assert reader.feed('{"answer": "a\\udc00b"}') == "a?b"


def test_free_text_passes_through() -> None:
    """Without a step everything is text."""
    reader = StepReader(stepwise=False)
    assert [reader.feed("one "), reader.feed("two")] == ["one ", "two"]
    assert reader.text == "one two"
