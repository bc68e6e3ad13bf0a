"""Plans are checked before anything runs on them."""

import json

import pytest

from loomd.amoeba.scale import plan_schema, read_plan
from loomd.amoeba.task import Subtask


def plan(*parts: tuple[str, list[int]]) -> str:
    """Return a plan as a model would write it."""
    return json.dumps({"parts": [{"goal": goal, "needs": needs} for goal, needs in parts]})


def test_a_plan_becomes_subtasks_with_edges() -> None:
    """Numbers count from 1 in the plan and from 0 inside."""
    text = plan(("find a", []), ("find b", []), ("join them", [1, 2, 2]))
    assert read_plan(text, 5) == (Subtask("find a"), Subtask("find b"), Subtask("join them", (0, 1)))


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        pytest.param(
            [("summary", [2, 3]), ("costs", []), ("places", [])],
            (Subtask("costs"), Subtask("places"), Subtask("summary", (0, 1))),
            id="summary-first",
        ),
        pytest.param(
            [("a", []), ("b", [4]), ("c", []), ("d", [3])],
            (Subtask("a"), Subtask("c"), Subtask("d", (1,)), Subtask("b", (2,))),
            id="stable",
        ),
    ],
)
def test_parts_follow_what_they_need(parts: list[tuple[str, list[int]]], expected: tuple[Subtask, ...]) -> None:
    """Whatever order the model wrote them in; no edge is lost."""
    assert read_plan(plan(*parts), 5) == expected


def test_a_part_that_repeats_the_request_is_refused() -> None:
    """Else the part would be split again, and again."""
    with pytest.raises(ValueError, match="repeats the whole request"):
        read_plan(plan(("Do it all", []), ("rest", [])), 5, "do it all")


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        pytest.param("nonsense", "not a plan", id="not-json"),
        pytest.param('{"parts": ' + "[" * 2000, "not a plan", id="nested"),
        pytest.param('{"parts": [{"goal": "\ud800"}]}', "not a plan", id="surrogate"),
        pytest.param('{"parts": "x"}', "not a plan", id="wrong-type"),
        pytest.param(plan(("only one", [])), "1 parts", id="too-few"),
        pytest.param(plan(*((f"p{n}", []) for n in range(9))), "9 parts", id="too-many"),
        pytest.param(plan(("same", []), ("same", [])), "the same", id="twice"),
        pytest.param(plan(("a", []), ("b", [2])), "in a circle: 2 needs 2", id="itself"),
        pytest.param(plan(("a", [3]), ("b", [1]), ("c", [4]), ("d", [3])), "3 needs 4, 4 needs 3", id="circle"),
        pytest.param(plan(("a", []), ("b", [3])), "part 2 needs part 3, and there are 2 parts", id="absent"),
        pytest.param(plan(("a", [0]), ("b", [])), "part 1 needs part 0", id="none"),
    ],
)
def test_an_unusable_plan_is_refused(text: str, wrong: str) -> None:
    """The message says what is wrong, for the model to mend it."""
    with pytest.raises(ValueError, match=wrong):
        read_plan(text, 5)


def test_the_schema_bounds_what_a_model_may_write() -> None:
    """The number of parts is a bound of the schema, too."""
    assert '"maxItems": 3' in json.dumps(plan_schema(3))
