"""The versions of an agent's instructions: which of them are not wanted again."""

import pytest

from loomd.amoeba.blueprint import Blueprint
from loomd.amoeba.decision import Shaping, Turn
from loomd.cluster.blueprints import Blueprints

A, B, C = "Be brief.", "Be kind.", "Be exact."


@pytest.mark.parametrize(
    ("turns", "unwanted"),
    [
        pytest.param([("promoted", A), ("promoted", B)], set[str](), id="replaced"),
        pytest.param([("promoted", A), ("reverted", "")], {A}, id="taken-back"),
        pytest.param([("promoted", A), ("promoted", B), ("reverted", A)], {B}, id="back-to-the-one-before"),
        pytest.param([("promoted", A), ("reverted", ""), ("reverted", A)], {""}, id="wanted-again"),
        pytest.param([("promoted", A), ("promoted", B), ("reverted", A), ("reverted", "")], {A, B}, id="one-by-one"),
        pytest.param(
            [("promoted", A), ("reverted", ""), ("reverted", A), ("promoted", C), ("reverted", "")],
            {C},
            id="replaced-since-it-was-wanted-again",
        ),
        pytest.param([("promoted", A), ("reverted", ""), ("promoted", A)], set[str](), id="a-person-agreed-to-it"),
    ],
)
def test_the_last_word_of_instructions_counts(turns: list[tuple[Turn, str]], unwanted: set[str]) -> None:
    """What a version took back is not wanted, unless a later one brought it back; an earlier one does not matter."""
    known = Blueprints("team", ())
    for number, (how, instructions) in enumerate(turns, 1):
        shape = Blueprint("team", "ada", instructions)
        known.take(Shaping("ada", how, shape, "x", number, number - 1, "s1"), at=100.0)
    assert known.taken_back("ada") == unwanted
