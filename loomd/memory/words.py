"""What holds the words of a question, in the homes of one file, by SQLite's FTS5. Synchronous; called by `shelf`.

FTS5 scores every text that has one of the words, and very common words are in most of them. So only texts that hold one
of the rarest words are scored first. They come before all others when they score more than a text could that holds all
of the common words: what is found is what scoring every text finds.
"""

import json
import math
import re
import sqlite3
from collections.abc import Sequence

_WORD = re.compile(r"\w{3,}")
_WORDS = """
    about all and any are been but can could did does for from had has have her his how into its just more most not off
    our out over shall she should some such than that the their them then there these they this those was were what when
    where which who whom whose why will with would you your
"""
_COMMON = frozenset(_WORDS.split())
"""Words that tell nothing of what is asked; left out unless the question holds nothing else."""
_MOST = 64
_FEW = 1000
"""Texts that are scored without asking whether fewer would do: also all of a file that has no more."""
_STEP = 4
"""Words are looked for together as long as the next one is in no more than so many times the texts of those before."""
_MOST_OF, _LEAST_OF = 2.2, 1e-6
"""What FTS5 multiplies the weight of a word with at most, however often a short text says it, and the least weight."""
_RANKED = (
    "SELECT item.row, -bm25(item_word) FROM item_word JOIN item ON item.row = item_word.rowid WHERE item_word MATCH ?"
    " AND (? IS NULL OR +item_word.rowid IN (SELECT rowid FROM item_word WHERE item_word MATCH ?))"
    " AND home IN (SELECT value FROM json_each(?)) ORDER BY bm25(item_word), item.row LIMIT ?"
)
_COUNT = "SELECT count(*) FROM item_word WHERE item_word MATCH ?"
_HELD = "SELECT rowid FROM item_word WHERE item_word MATCH ? AND rowid IN (SELECT value FROM json_each(?))"


def telling(text: str) -> list[str]:
    """Return the words of a question by which something is found, each once."""
    words = list(dict.fromkeys(_WORD.findall(text.lower())))
    return ([word for word in words if word not in _COMMON] or words)[:_MOST]


class Words:
    """Texts of one file by their words."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def find(self, homes: Sequence[str], words: Sequence[str], least: float, most: int) -> dict[int, int]:
        """Return the rows of items that hold enough of some words, best first, each with how many it holds.

        Args:
            homes: where to look.
            words: what is looked for, in any form.
            least: how many of them an item has to hold.
            most: how many items are looked at.
        """
        (last,) = self._db.execute("SELECT ifnull(max(row), 0) FROM item").fetchone()
        counted = sorted((self._count(word) if last > _FEW else 0, at) for at, word in enumerate(words))
        counts, rarest = [count for count, _ in counted], [words[at] for _, at in counted]
        best = [_MOST_OF * _weight(count, last) for count in counts]
        ranked: list[tuple[int, float]] = []
        needed = 0
        while needed < len(words):
            if len(ranked) == most:  # a text without the needed words would have to be better than the last of these
                others = next(at for at in range(len(words) + 1) if sum(best[at:]) < ranked[-1][1])
                if others <= needed:
                    break
                needed = others
            else:
                needed = _together(counts, needed + 1, most)
            ranked = self._ranked(homes, words, rarest[:needed], most)
        rows = [row for row, _ in ranked]
        return {row: held for row, held in self._held(rows, words).items() if held >= least}

    def _count(self, word: str) -> int:
        """Return how many texts have a word."""
        return int(self._db.execute(_COUNT, (f'"{word}"',)).fetchone()[0])

    def _ranked(
        self, homes: Sequence[str], words: Sequence[str], needed: Sequence[str], most: int
    ) -> list[tuple[int, float]]:
        """Return items that hold one of the needed words, with their scores by all of the words, best first."""
        among = _any_of(needed) if len(needed) < len(words) else None
        return self._db.execute(_RANKED, (_any_of(words), among, among, json.dumps(homes), most)).fetchall()

    def _held(self, rows: Sequence[int], words: Sequence[str]) -> dict[int, int]:
        """Return how many of the words each item holds, in any form of theirs."""
        held = dict.fromkeys(rows, 0)
        named = json.dumps(rows)
        for word in words if rows else ():
            for (row,) in self._db.execute(_HELD, (f'"{word}"', named)):
                held[row] += 1
        return held


def _together(counts: Sequence[int], least: int, most: int) -> int:
    """Return how many of the rarest words are looked for at once: those that few texts have beside the ones before."""
    place, total = least, sum(counts[:least])
    while place < len(counts) and (total < most or counts[place] <= max(_FEW, _STEP * total)):
        total += counts[place]
        place += 1
    return place


def _weight(count: int, texts: int) -> float:
    """Return what FTS5 weighs a word with that so many of the texts have: next to nothing in more than half of them."""
    return max(_LEAST_OF, math.log((texts - count + 0.5) / (count + 0.5)))


def _any_of(words: Sequence[str]) -> str:
    return " OR ".join(f'"{word}"' for word in words)
