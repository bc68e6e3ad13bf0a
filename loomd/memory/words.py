"""What holds the words of a question, in the homes of one file, by SQLite's FTS5. Synchronous; called by `shelf`.

FTS5 scores every text that has one of the words, and very common words are in most of them. So the rarest words are
looked for first. They weigh most: when enough texts that hold them fit, the common ones would come after these, and
only count how much of the question a text holds.
"""

import json
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
"""Words are looked for together as long as the next one is in no more than so many times the texts of those before, and
as long as a text that holds all of them would hold too few."""
_RANKED = (
    "SELECT item.row FROM item_word JOIN item ON item.row = item_word.rowid WHERE item_word MATCH ?"
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

    def find(self, homes: Sequence[str], words: Sequence[str], least: float, most: int, enough: int) -> dict[int, int]:
        """Return the rows of items that hold enough of some words, best first, each with how many it holds.

        Args:
            homes: where to look.
            words: what is looked for, in any form.
            least: how many of them an item has to hold.
            most: how many items are looked at.
            enough: how many have to fit, so that texts that hold only the most common of the words are left out.
        """
        fitting: dict[int, int] = {}
        (last,) = self._db.execute("SELECT ifnull(max(row), 0) FROM item").fetchone()
        counted = sorted((self._count(word) if last > _FEW else 0, at) for at, word in enumerate(words))
        total = 0
        for place, (count, _) in enumerate(counted, 1):
            total += count
            if place < len(counted) and (place < least or counted[place][0] <= max(_FEW, _STEP * total)):
                continue
            rarest = [words[at] for _, at in counted[:place]]
            rows = self._ranked(homes, rarest, words, most)
            held = self._held(rows, words)
            fitting = {row: held[row] for row in rows if held[row] >= least}
            if len(fitting) >= enough:
                break
        return fitting

    def _count(self, word: str) -> int:
        """Return how many texts have a word."""
        return int(self._db.execute(_COUNT, (f'"{word}"',)).fetchone()[0])

    def _ranked(self, homes: Sequence[str], needed: Sequence[str], words: Sequence[str], most: int) -> list[int]:
        """Return the items that hold one of the needed words, ranked by all of the words."""
        wanted = _any_of(words) if len(needed) == len(words) else f"({_any_of(needed)}) AND ({_any_of(words)})"
        return [row for (row,) in self._db.execute(_RANKED, (wanted, json.dumps(homes), most))]

    def _held(self, rows: Sequence[int], words: Sequence[str]) -> dict[int, int]:
        """Return how many of the words each item holds, in any form of theirs."""
        held = dict.fromkeys(rows, 0)
        named = json.dumps(rows)
        for word in words if rows else ():
            for (row,) in self._db.execute(_HELD, (f'"{word}"', named)):
                held[row] += 1
        return held


def _any_of(words: Sequence[str]) -> str:
    return " OR ".join(f'"{word}"' for word in words)
