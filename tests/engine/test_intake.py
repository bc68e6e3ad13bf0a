"""What is said of a task is checked before it is one, whoever says it."""

from typing import Any

import pytest

from loomd.clock import SystemClock
from loomd.engine.intake import new_task
from loomd.errors import Permanent


@pytest.mark.parametrize("durability", ["forever", "", "Steps", 1, ["steps"]])
def test_a_durability_that_there_is_not(durability: Any) -> None:
    """It is refused with those that there are; nothing falls back to another one."""
    with pytest.raises(Permanent, match=r"^durability: expected one of steps, task, none, got "):
        new_task("go", SystemClock(), durability=durability)


@pytest.mark.parametrize("given", [5, "cheap", None, {"tokens": 5}])
@pytest.mark.parametrize(("field", "wanted"), [("budget", "task.Budget"), ("expect", "expect.Expect")])
def test_a_budget_and_expectations_that_are_none(field: str, wanted: str, given: Any) -> None:
    """A number, or a mapping as manifests have it, is refused with the type that it takes in Python."""
    with pytest.raises(Permanent, match=rf"^{field}: expected a loomd\.amoeba\.{wanted}, got "):
        new_task("go", SystemClock(), **{field: given})


@pytest.mark.parametrize("seed", ["7", 7.0, None, True, 2**63, -(2**63) - 1, [7], "x" * 500])
def test_a_seed_that_is_none(seed: Any) -> None:
    """A text, a fraction, nothing and what does not fit into a record are refused."""
    with pytest.raises(Permanent, match=r"^seed: expected a whole number from -9223372036854775808 to ") as refused:
        new_task("go", SystemClock(), seed=seed)
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize("seed", [0, -1, 2**63 - 1, -(2**63)])
@pytest.mark.parametrize("durability", ["steps", "task", "none", None])
def test_what_may_be_said(seed: int, durability: Any) -> None:
    """It is taken as it is; without a seed one is drawn."""
    task = new_task("go", SystemClock(), seed=seed, durability=durability)
    assert (task.seed, task.durability) == (seed, durability)
    assert new_task("go", SystemClock()).seed >= 0
