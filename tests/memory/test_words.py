"""Texts by their words: the rarest are looked for first, and the most common ones only when these find too few."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loomd.memory.item import Draft, Turn, Whose
from loomd.memory.shelf import Query, Shelf
from loomd.memory.words import Words, telling
from tests.memory.test_near import shelf

ANN, BOB = Whose("ada", "acme", "ann"), Whose("ada", "acme", "bob")
SIZE = 12_000


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


def scored(items: Shelf, whose: Whose, words: list[str], most: int) -> list[int]:
    """Return the rows that come first when every text is scored that holds one of some words."""
    rows = items._db.execute(
        "SELECT row FROM item_word JOIN item ON row = item_word.rowid WHERE item_word MATCH ?"
        " AND home IN (SELECT value FROM json_each(?)) ORDER BY bm25(item_word), row LIMIT ?",
        (" OR ".join(f'"{word}"' for word in words), json.dumps(whose.homes), most),
    )
    return [row for (row,) in rows]


def test_common_words_are_not_scored_where_rare_ones_find_enough(items: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """A question has no texts scored but those with its rare word, however many are wanted in the end."""
    needed, ranked = list[Sequence[str]](), Words._ranked

    def noted(words: Words, homes: Sequence[str], all_of_them: Sequence[str], some: Sequence[str], most: int) -> Any:
        needed.append(some)
        return ranked(words, homes, all_of_them, some, most)

    monkeypatch.setattr(Words, "_ranked", noted)
    words = telling("harbour lantern pier")
    for most in (3, 13, 50):
        assert list(Words(items._db).find(ANN.homes, words, 1, most)) == scored(items, ANN, words, most)
        items.find(ANN, Query("harbour lantern pier", most=most))
    assert needed == [["lantern"]] * 6


def test_common_words_are_looked_for_where_rare_ones_find_too_few(items: Shelf) -> None:
    """Also in the home of somebody who has few texts, and when nothing else is asked for."""
    for question in ("harbour lantern", "harbour pier w17", "harbour"):
        assert len(items.find(BOB, Query(question, most=50))) == 4
    rows = list(Words(items._db).find(ANN.homes, telling("harbour w17"), 1, 50))
    assert (rows[0], len(rows)) == (18, 50)  # rows begin with 1
    assert items.find(ANN, Query("nothing there", most=5)) == []


def test_what_is_found_is_what_scoring_every_text_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the words are, how often and in how long a text they stand, and however many texts are wanted."""
    monkeypatch.setattr("loomd.memory.words._FEW", 50)
    rng = np.random.default_rng(3)
    share = 1 / np.arange(1, 301)
    words = [f"word{number}" for number in range(300)]
    found = shelf(tmp_path / "m.db")
    for whose, size in ((ANN, 2000), (BOB, 100)):
        texts = [rng.choice(words, rng.integers(1, 30), p=share / share.sum()) for _ in range(size)]
        drafts = [Draft(f"k{at}", f"{' '.join(text)} n{at}") for at, text in enumerate(texts)]
        found.add(whose, Turn("k", "", "", "", 1e6), drafts, working=False)
    for _ in range(200):
        whose, most = (ANN, BOB)[int(rng.integers(2))], int(rng.choice([3, 13, 50]))
        asked = rng.choice(words, int(rng.integers(1, 7)), replace=False).tolist()
        assert list(Words(found._db).find(whose.homes, asked, 0, most)) == scored(found, whose, asked, most)
    found.close()


def test_no_words_find_nothing(items: Shelf) -> None:
    """A question without words asks for nothing."""
    assert Words(items._db).find(ANN.homes, telling("?!"), 1, 50) == {}
