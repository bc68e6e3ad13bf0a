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
    ("text", "wrong"),
    [
        pytest.param("nonsense", "not a plan", id="not-json"),
        pytest.param('{"parts": "x"}', "not a plan", id="wrong-type"),
        pytest.param(plan(("only one", [])), "1 parts", id="too-few"),
        pytest.param(plan(*((f"p{n}", []) for n in range(9))), "9 parts", id="too-many"),
        pytest.param(plan(("same", []), ("same", [])), "the same", id="twice"),
        pytest.param(plan(("a b c", [2]), ("b c d", [])), "needs part 2", id="forward"),
        pytest.param(plan(("a b c", []), ("b c d", [2])), "needs part 2", id="itself"),
        pytest.param(plan(("a b c", []), ("b c d", [0])), "needs part 0", id="zero"),
    ],
)
def test_an_unusable_plan_is_refused(text: str, wrong: str) -> None:
    """The message says what is wrong, for the model to mend it."""
    with pytest.raises(ValueError, match=wrong):
        read_plan(text, 5)


def test_the_schema_bounds_what_a_model_may_write() -> None:
    """The number of parts is a bound of the schema, too."""
    assert '"maxItems": 3' in json.dumps(plan_schema(3))
