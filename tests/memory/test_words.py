"""Texts by their words: the rarest are looked for first, and the most common ones only when these find too few."""

from collections.abc import Iterator

import pytest

from loomd.memory.item import Draft, Turn, Whose
from loomd.memory.shelf import Query, Shelf
from loomd.memory.words import Words, telling
from tests.memory.test_near import shelf

ANN, BOB = Whose("ada", "acme", "ann"), Whose("ada", "acme", "bob")
SIZE, ALL = 12_000, 1 << 30


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    """Return a file in which `harbour` is in all texts, `pier` in a third, `lantern` in 60; few of them are Bob's."""
    found = shelf(tmp_path_factory.mktemp("words") / "m.db")

    def text(number: int) -> str:
        return f"harbour {'pier ' * (number % 3 == 0)}{'lantern ' * (number % 200 == 0)}w{number}"

    for whose, begin, end in ((ANN, 0, SIZE), (BOB, SIZE, SIZE + 4)):
        drafts = [Draft(f"k{number}", text(number)) for number in range(begin, end)]
        found.add(whose, Turn("k", "", "", "", 1e6), drafts, working=False)
    yield found
    found.close()


def test_common_words_are_not_scored_where_rare_ones_find_enough(items: Shelf) -> None:
    """A question takes a small part of the steps, and has the same texts that hold the rare word at the front."""
    taken: dict[int, int] = {}
    found: dict[int, list[int]] = {}
    for enough in (20, ALL):
        count = 0

        def step() -> None:
            nonlocal count
            count += 1

        items._db.set_progress_handler(step, 10)
        found[enough] = list(Words(items._db).find(ANN.homes, telling("harbour lantern pier"), 1, 50, enough))
        items._db.set_progress_handler(None, 0)
        taken[enough] = count
    assert found[20] == found[ALL]
    assert len(found[20]) == 50
    assert 4 * taken[20] < taken[ALL]


def test_common_words_are_looked_for_where_rare_ones_find_too_few(items: Shelf) -> None:
    """Also in the home of somebody who has few texts, and when nothing else is asked for."""
    for question in ("harbour lantern", "harbour pier w17", "harbour"):
        assert len(items.find(BOB, Query(question, most=50))) == 4
    rows = list(Words(items._db).find(ANN.homes, telling("harbour w17"), 1, 50, 20))
    assert (rows[0], len(rows)) == (18, 50)  # rows begin with 1
    assert items.find(ANN, Query("nothing there", most=5)) == []


def test_no_words_find_nothing(items: Shelf) -> None:
    """A question without words asks for nothing."""
    assert Words(items._db).find(ANN.homes, telling("?!"), 1, 50, 5) == {}
