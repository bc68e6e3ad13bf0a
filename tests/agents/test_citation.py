"""Marks in answers."""

import pytest

from loomd.agents import citation
from loomd.agents.work import Citation

PASSAGES = {
    1: Citation(1, "a.md:1-3", text="A generator yields values lazily."),
    2: Citation(2, "b.md:5-9", text="A list holds all its values at once."),
}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param("no marks", [], id="none"),
        pytest.param("one [1]", [1], id="one"),
        pytest.param("twice [2] and [1] and [2]", [2, 1], id="each-once-in-order"),
        pytest.param("[x] [] [12345] [-1]", [], id="not-marks"),
        pytest.param("xs[1] and f()[2] and a[0][3]", [], id="an-index-is-no-mark"),
    ],
)
def test_marks(text: str, found: list[int]) -> None:
    """Marks are numbers in brackets, each counted once."""
    assert citation.marks(text) == found


def test_resolve_tells_known_from_unknown() -> None:
    """A mark without a passage is reported, never dropped."""
    cited, unknown = citation.resolve("Lazily [1], but see [7].", PASSAGES)
    assert cited == (PASSAGES[1],)
    assert unknown == (7,)


def test_renumber_moves_every_mark_at_once() -> None:
    """Swapped numbers do not run into each other."""
    assert citation.renumber("[1] then [2] then [3]", {1: 2, 2: 1}) == "[2] then [1] then "


def test_unmarked_text_reads_on() -> None:
    """Without its marks a text keeps its words and its full stops."""
    assert citation.unmarked("Lazily [1], says Ann [2].") == "Lazily, says Ann."


def test_grounding_is_the_share_of_words_in_the_passages() -> None:
    """Words from the passage count, invented ones do not."""
    whole = citation.grounding("Generators yield values lazily [1]", (PASSAGES[1],))
    half = citation.grounding("Generators yield purple elephants [1]", (PASSAGES[1],))
    assert whole == 1.0
    assert half == 0.5
    assert citation.grounding("Generators yield", ()) == 0.0
