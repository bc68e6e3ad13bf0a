"""Maximal marginal relevance, by table and in a knowledge base."""

import numpy as np
import pytest

from loomd.knowledge.diversity import spread
from tests.knowledge.conftest import Lab

_ALIKE = np.array([[1, 0], [1, 0], [0, 1], [0.6, 0.8]], np.float32)
_SCORES = [8.0, 7.9, 6.0, 4.0]


@pytest.mark.parametrize(
    ("diversity", "count", "order"),
    [
        (0.0, 4, [0, 1, 2, 3]),
        (0.5, 4, [0, 2, 1, 3]),
        (1.0, 2, [0, 2, 1, 3]),
        (0.5, 1, [0, 1, 2, 3]),
    ],
    # 0.5, second step: .5 * (.9875 - 1) for 1, .5 * (.75 - 0) for 2, .5 * (.5 - .6) for 3;
    # third step: .5 * (.9875 - 1) = -.00625 for 1 against .5 * (.5 - .8) = -.15 for 3
    ids=["by-score", "half", "least-alike", "one"],
)
def test_order(diversity: float, count: int, order: list[int]) -> None:
    """The copy of the best is passed over by what says something else; what was not chosen follows by score."""
    assert spread(_SCORES, _ALIKE, diversity, count) == order


def test_scores_below_zero() -> None:
    """Where nothing is close, cosines count as they are, and the best is still first."""
    assert spread([-0.1, -0.2], _ALIKE[:2], 0.5, 2) == [0, 1]
    assert spread([], _ALIKE[:0], 0.5, 2) == []


@pytest.mark.parametrize("mode", ["hybrid", "vector", "keyword"])
async def test_passages_that_repeat_each_other_make_room(lab: Lab, mode: str) -> None:
    """Two passages that say nearly the same do not fill a short answer; scores stay what they are."""
    lab.write("a.md", "The reading room opens at nine in the morning on weekdays.")
    lab.write("b.md", "The reading room opens at nine in the morning on all weekdays.")
    lab.write("c.md", "A reading of poems: the room is booked for it in the evening.")
    plain, diverse = {"mode": mode, "topK": 2}, {"mode": mode, "topK": 2, "diversity": 0.6}
    question = "When does the reading room open in the morning?"
    async with lab.open({"type": "wordllama"}, retrieval=plain) as base:
        assert {found.source[:9] for found in await base.search(question)} == {"docs/a.md", "docs/b.md"}
    async with lab.open({"type": "wordllama"}, retrieval=diverse) as base:
        found = await base.search(question)
        assert found[1].source.startswith("docs/c.md")
        assert found[0].score > found[1].score > 0
        assert [one.number for one in found] == [1, 2]


async def test_a_least_score_holds_for_what_differs(lab: Lab) -> None:
    """What is below minScore is not taken because it differs."""
    lab.write("a.md", "The reading room opens at nine.")
    lab.write("b.md", "The reading room opens at nine on weekdays.")
    lab.write("c.md", "Bread is baked from flour and water.")
    retrieval = {"mode": "vector", "topK": 3, "diversity": 1, "minScore": 0.4}
    async with lab.open({"type": "wordllama"}, retrieval=retrieval) as base:
        found = await base.search("reading room")
    assert len(found) == 2
