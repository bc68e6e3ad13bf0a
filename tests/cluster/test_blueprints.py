"""The agents that clusters made: whose they are, and which of their instructions are not wanted again."""

import pytest

from loomd.amoeba.blueprint import Blueprint, encode
from loomd.amoeba.decision import Shaping, Turn
from loomd.cluster.blueprints import Blueprints
from loomd.store.records import BlueprintRecord

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


def test_what_a_cluster_made_has_no_part_in_others() -> None:
    """Whether it is stored or told, another cluster of the namespace knows of its number, and of nothing else."""
    law = Blueprint("acme", "ada", "You know what acme asked.", "Knows it.", {"acme-merger": 0.7})
    stored = BlueprintRecord("default", "ada-law", 1, encode(law), 0, 100.0, "forged")
    told = Shaping("ada-tax", "forged", law, "nobody knows it")
    for cluster, names in (("acme", ["ada-law", "ada-tax"]), ("beta", [])):
        known = Blueprints(cluster, (), [stored])
        known.take(told, 100.0)
        assert known.names() == known.made == names
        assert [known.next(name) for name in ("ada-law", "ada-tax")] == [2, 2]
