"""Results of children are put together without mixing up their sources."""

from loomd.agents.work import Citation
from loomd.amoeba.split import combine
from loomd.amoeba.task import Finding


def test_combine_numbers_citations_through() -> None:
    """Two children that both cite [1] mean different places; one place that both cite keeps one number."""
    first = Finding("a", "x [1] y [2]", citations=(Citation(1, "a.md:1-2"), Citation(2, "b.md:1-2")))
    second = Finding("b", "z [1] w [3]", citations=(Citation(1, "b.md:1-2"), Citation(3, "c.md:1-2")))
    one, two = combine([first, second])
    assert one.output == "x [1] y [2]"
    assert two.output == "z [2] w [3]"
    assert [(c.number, c.source) for c in two.citations] == [(2, "b.md:1-2"), (3, "c.md:1-2")]


def test_combine_drops_marks_that_name_nothing() -> None:
    """A made-up mark would name somebody else's passage after the renumbering."""
    first = Finding("a", "x [1]", citations=(Citation(1, "a.md:1-2"),))
    second = Finding("b", "y [2] z", citations=())
    assert combine([first, second])[1].output == "y  z"
