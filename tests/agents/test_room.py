"""How the room of a prompt is shared."""

import pytest

from loomd.agents.room import Part, level, share


@pytest.mark.parametrize(
    ("room", "parts", "got"),
    [
        (100, {"a": Part(30, 1), "b": Part(20, 1)}, {"a": 30, "b": 20}),
        (100, {"a": Part(500, 1), "b": Part(500, 3)}, {"a": 25, "b": 75}),
        (100, {"a": Part(500, 1), "b": Part(10, 3)}, {"a": 90, "b": 10}),
        (100, {"a": Part(500, 1), "b": Part(500, 1), "c": Part(10, 2)}, {"a": 45, "b": 45, "c": 10}),
        (100, {"a": Part(500, 0), "b": Part(10, 1)}, {"a": 0, "b": 10}),
        (0, {"a": Part(500, 1)}, {"a": 0}),
        (-5, {"a": Part(500, 1)}, {"a": 0}),
        (100, {}, {}),
    ],
    ids=["enough", "by weight", "the rest goes on", "twice", "no weight", "none", "less than none", "nobody"],
)
def test_room_is_shared_by_weight(room: int, parts: dict[str, Part], got: dict[str, int]) -> None:
    """Nobody gets more than needed, what is not needed goes to the others, and there is never more than the room."""
    assert share(room, parts) == got


@pytest.mark.parametrize(
    ("needs", "room", "got"),
    [([10, 20], 100, [10, 20]), ([10, 90, 90], 100, [10, 45, 45]), ([], 10, [])],
    ids=["enough", "large ones alike", "none"],
)
def test_equal_ones_are_levelled(needs: list[int], room: int, got: list[int]) -> None:
    """The small ones stay whole."""
    assert level(needs, room) == got
