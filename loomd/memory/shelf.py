"""Remembered items in one SQLite file: kept, found by words and vectors, moved up, forgotten. Synchronous.

Everything that is told as kept is on disk. What is forgotten is gone from the table, the word index and the vectors,
and work that began before is not able to bring it back. Called by `recall`, in a thread of its own.
"""

import json
import sqlite3
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import msgspec

from loomd.events.room import Condensed
from loomd.memory.entry import Entry, entry_at, entry_of, merged, without
from loomd.memory.facts import key_of
from loomd.memory.gone import Meant, filter_of, is_noted, is_refused, note
from loomd.memory.item import Draft, Item, Report, ScopeOf, Turn, Which, Whose, id_of
from loomd.memory.layout import has, writing
from loomd.memory.near import Near
from loomd.memory.rank import Candidate, Weights, fuse, order
from loomd.memory.refill import Contents, Refilled
from loomd.memory.statement import (
    ALIKE,
    INSERT,
    MARKS,
    MEANT,
    REFILL,
    REPLACED,
    SAME,
    UNMADE,
    UNMADE_OF,
    UPDATE,
)
from loomd.memory.summary import Line
from loomd.memory.words import Words, telling


@dataclass(frozen=True)
class Limits:
    """How much is kept and returned; see `RecallSpec` and `WorkingSpec` for the meaning of each."""

    scope: ScopeOf
    top_k: int
    threshold: float
    candidates: int
    keep: int
    max_text: int
    ttl: float | None
    weights: Weights
    working: int = 0
    idle: float = 0.0


@dataclass(frozen=True)
class Query:
    """What is looked for.

    Attributes:
        text: the question.
        seen: texts that are known already: an item whose text is in one of them is left out.
        most: most items, or None for what the manifest says.
        now: wall-clock seconds.
        vector: of the question, `(dimension,) float32`; None without an embedder.
        mark: fingerprint of what made it.
    """

    text: str
    seen: Sequence[str] = ()
    most: int | None = None
    now: float = 0.0
    vector: Any = None
    mark: str = ""


class Shelf:
    """The items of one memory; `owner` names it."""

    def __init__(self, db: sqlite3.Connection, owner: str, limits: Limits) -> None:
        db.row_factory = sqlite3.Row
        self._db = db
        self._owner = owner
        self._limits = limits
        self._near = Near(db)
        self._words = Words(db)
        self._embedded: tuple[str, int] | None = None
        """The embedder, and the state in which others left the file, for which nothing but `_kept` is left to embed."""
        self._kept: set[int] = set()
        """Rows of items that were kept here since."""
        self._logged = True
        """Whether the log may hold what was forgotten: also when it opens, for whoever was killed meanwhile."""

    def find(self, whose: Whose, query: Query) -> list[str]:
        """Return the texts that one may see and that fit a question, best first."""
        self._move_idle(query.now)
        limits = self._limits
        homes, since = whose.homes, query.now - limits.ttl if limits.ttl is not None else None
        likeness: dict[int, float] = {}
        if query.vector is not None:
            likeness = self._near.likeness(homes, query.vector, query.mark, limits.candidates)
        likest = sorted(likeness, key=lambda row: (-likeness[row], row))[: limits.candidates]
        words, most = telling(query.text), limits.top_k if query.most is None else query.most
        least = max(1.0, limits.threshold * len(words))
        worded = self._words.find(homes, words, least, limits.candidates)
        items = self._candidates({*likest, *worded}, whose.talk, since)
        fresh = {row for row, one in items.items() if not any(one.text in text for text in query.seen)}
        weights = limits.weights
        by_words = [row for row in worded if row in fresh]
        by_meaning = [row for row in likest if row in fresh and likeness[row] >= limits.threshold]
        rankings = [(by_words, 1.0)]  # alone they rank whatever their weight beside meaning is
        if query.vector is not None:
            rankings = [(by_words, weights.keyword), (by_meaning, weights.vector)]
        best = order(fuse(rankings, weights.rrf_k), items, weights, query.now)
        return [items[row].text for row in best[:most]]

    def add(self, whose: Whose, turn: Turn, drafts: Sequence[Draft], *, working: bool) -> list[str]:
        """Keep items, and return the ids of all that are there then; what is there already is told again.

        Work that began before an item was forgotten does not bring it back.
        """
        with self._writing():
            return self._add(whose, turn, drafts, working=working)

    def working(self, whose: Whose) -> list[Item]:
        """Return the working facts of a conversation that are too many, those that leave first at the front."""
        found = self._db.execute("SELECT * FROM item WHERE home = ? ORDER BY importance, told, row", (whose.talk,))
        items = [entry_at(row).item for row in found.fetchall()]
        over = sum(one.tokens for one in items) - self._limits.working
        leaving: list[Item] = []
        for one in items:
            if over <= 0:
                break
            over -= one.tokens
            leaving.append(one)
        return leaving

    def move(self, whose: Whose) -> list[str]:
        """Let the working facts that are too many become long-term, and return their ids."""
        leaving = [one.id for one in self.working(whose)]
        with self._writing():
            self._promote(leaving)
        return leaving

    def replace(self, whose: Whose, turn: Turn, lines: Sequence[Line], asked: Sequence[Item]) -> list[Condensed]:
        """Keep lines of a summary in place of working facts, and return which of them are there.

        The facts that they do not stand for become long-term as they are. When one of the facts was forgotten
        meanwhile, the lines may tell it in other words: none of them is kept.

        Args:
            whose: whose conversation it is.
            turn: the work in which it is done.
            lines: the lines, each with its facts.
            asked: all facts that whoever made the summary was shown.
        """
        with self._writing():
            names = [name for one in asked for name in (one.id, *self._names(whose, key_of(one.text)))]
            kept: list[Condensed] = []
            for line in () if is_noted(self._db, names, turn.began) else lines:
                for one in self._add(whose, turn, [line.draft], working=False):
                    kept.append(Condensed(one, tuple(fact.id for fact in line.facts)))
                    self._stand_for(one, whose, line.facts)
            leaving = [(one, whose.talk) for line in kept for one in line.facts]
            self._db.executemany("DELETE FROM item WHERE id = ? AND home = ?", leaving)
            self._promote([one.id for one in self.working(whose)])
        return kept

    def items(self, which: Which, after: str = "", most: int = -1) -> list[Item]:
        """Return items in the order of their ids, those after a given one."""
        return [entry_at(row).item for row in self._meant(which, after, most)]

    def meant(self, which: Which) -> Meant:
        """Return what somebody means to forget, as the journal is told of it before it is deleted."""
        asked = filter_of(which)
        going, parted = self._parted(which)
        items, names = {one.item.id for one in going}, self._gone(going)
        values = (sorted({key for one in going for key in (one.key, one.said)}), sorted(names))
        rows = self._db.execute(ALIKE, [json.dumps(values[0]), json.dumps(values[0]), json.dumps(values[1])])
        left = {one.item.id for one in map(entry_at, rows.fetchall()) if one.names(self._owner) & names}
        if asked is not None and asked.level is not None:
            left |= {str(row["id"]) for row in self._meant(msgspec.structs.replace(which, level=None))}
        staying = {one.item.id for one in parted}
        places = tuple(dict.fromkeys(place for one in going for place in one.item.replaces))
        others = (tuple(sorted(names)), tuple(sorted(left - items - staying)), places, asked, tuple(sorted(staying)))
        return Meant(tuple(sorted(items)), *others)

    def forget(self, which: Which, now: float) -> list[str]:
        """Delete items, also from the word index and the vectors, and return their ids.

        An item that others told, too, stays as theirs. What is noted is each id under which the same may be told again,
        and whose items were meant.
        """
        asked = filter_of(which)
        with writing(self._db):
            going, parted = self._parted(which)
            note(self._db, dict.fromkeys(self._gone(going), now), [] if asked is None else [(asked, now)])
            self._db.executemany("DELETE FROM item WHERE id = ?", [(one.item.id,) for one in going])
            self._db.executemany(UPDATE, [one.row for one in parted])
            if going or parted:
                self._purge()
        self._empty_log()
        return [one.item.id for one in going]

    def expire(self, now: float) -> None:
        """Delete what was not told for longer than its time to live, as `forget` does.

        Nothing is written unless something is due, or the log is still to be emptied.
        """
        before = now - (self._limits.ttl or 0.0)
        found = self._db.execute("SELECT 1 FROM item WHERE told < ? LIMIT 1", (before,)).fetchone()
        if self._limits.ttl is not None and found is not None:
            with writing(self._db):
                self._db.execute("DELETE FROM item WHERE told < ?", (before,))
                self._purge()
        self._try_to_empty_log()

    def report(self, mark: str) -> Report:
        """Return how many items there are, and how large they are."""
        db = self._db
        levels = dict(db.execute("SELECT level, count(*) FROM item GROUP BY level").fetchall())
        scopes = dict(db.execute("SELECT scope, count(*) FROM item GROUP BY scope").fetchall())
        total = db.execute(
            "SELECT ifnull(sum(tokens), 0), ifnull(min(told), 0), ifnull(max(told), 0) FROM item"
        ).fetchone()
        vectors = self._count("vector WHERE made_by = ?", mark)
        size = db.execute("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size").fetchone()[0]
        return Report(levels, scopes, total[0], size, vectors, total[1], total[2])

    def unmade(self, mark: str, most: int) -> list[tuple[int, str]]:
        """Return items that an embedder has not embedded, as row and text."""
        (version,) = self._db.execute("PRAGMA data_version").fetchone()
        rows: list[tuple[int, str]] = []
        if self._embedded == (mark, version):
            if self._kept:
                rows = self._db.execute(UNMADE_OF, (json.dumps(list(self._kept)), mark, most)).fetchall()
        elif self._count("item") > self._count("vector WHERE made_by = ?", mark):
            rows = self._db.execute(UNMADE, (mark, most)).fetchall()
        if not rows:
            self._embedded = (mark, version)
            self._kept.clear()
        return rows

    def put_vectors(self, made: Iterable[tuple[int, str, str, bytes]]) -> None:
        """Keep vectors, each as row, text, embedder and vector; those of items that left meanwhile are dropped.

        The row of an item that left is given to a later one: the text tells whether it is still the one that was meant.
        """
        there = "SELECT ?1, ?3, ?4 WHERE EXISTS (SELECT 1 FROM item WHERE row = ?1 AND text = ?2)"
        with self._writing():
            self._db.executemany(f"INSERT OR IGNORE INTO vector (item, made_by, vector) {there}", made)

    def drop_vectors(self, marks: Sequence[str]) -> None:
        """Delete the vectors of all embedders but some."""
        unwanted = [mark for (mark,) in self._db.execute(MARKS) if mark not in marks]
        if unwanted:
            self._embedded = None
            with self._writing():
                self._db.executemany("DELETE FROM vector WHERE made_by = ?", [(mark,) for mark in unwanted])

    @property
    def refilled(self) -> Refilled | None:
        """Return what a file that began anew has from the journal; None while that is still to be looked through."""
        found = self._db.execute("SELECT items, lacking FROM refill").fetchone() if has(self._db, "refill") else (0, 0)
        return None if found[0] is None else Refilled(int(found[0]), int(found[1]))

    def refill(self, contents: Contents) -> Refilled:
        """Keep what the journal says was remembered, and what was forgotten, all at once; return `refilled`.

        What is there already stays as it is. Nothing is done when somebody else who has the file open did it: of that,
        some may be forgotten by now.
        """
        with self._writing():
            if (known := self.refilled) is not None:
                return known
            new = (one for one in contents.entries if not self._tell_again(one.home, one))
            kept = sum(self._insert(one, REFILL).rowcount for one in new)
            for home in {one.home for one in contents.entries}:
                self._bound(home)
            note(self._db, contents.gone, contents.filters)
            self._db.execute("UPDATE refill SET items = ?, lacking = ?", (kept, contents.lacking))
        self._embedded = None
        return Refilled(kept, contents.lacking)

    def close(self) -> None:
        """Close the file, after another try to empty its log."""
        try:
            with suppress(sqlite3.Error):
                self._empty_log()
        finally:
            self._db.close()

    @contextmanager
    def _writing(self) -> Generator[None]:
        """Do all that is done within in one transaction, then empty the log if that is still to be done."""
        with writing(self._db):
            yield
        self._try_to_empty_log()

    def _purge(self) -> None:
        """Take what was deleted out of the word index and out of memory, and note that the log may hold it."""
        self._db.execute("INSERT INTO item_word (item_word) VALUES ('optimize')")
        self._near.clear()
        self._logged = True

    def _try_to_empty_log(self) -> None:
        """Empty the log if that is still to be done and nobody reads the file."""
        if not self._logged:
            return
        (patience,) = self._db.execute("PRAGMA busy_timeout").fetchone()
        self._db.execute("PRAGMA busy_timeout = 0")  # whoever writes does not wait for whoever reads
        try:
            with suppress(sqlite3.OperationalError):  # what was written is kept all the same
                self._empty_log()
        finally:
            self._db.execute(f"PRAGMA busy_timeout = {patience:d}")

    def _empty_log(self) -> None:
        """Bring all of the log into the file, if it may hold what was forgotten.

        That is refused while somebody else reads the file in the state of before: the next write tries again.
        """
        if self._logged:
            (refused, _, _) = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            self._logged = bool(refused)

    def _add(self, whose: Whose, turn: Turn, drafts: Sequence[Draft], *, working: bool) -> list[str]:
        scope = self._limits.scope
        home = whose.talk if working else whose.home(scope)
        kept: list[str] = []
        (is_any,) = self._db.execute("SELECT EXISTS (SELECT 1 FROM gone) OR EXISTS (SELECT 1 FROM replaced)").fetchone()
        for draft in drafts:
            one = entry_of(id_of(self._owner, home, draft.key), draft, whose, turn, scope, working=working)
            names = self._names(whose, one.key, one.said) if is_any else ()
            if is_any and is_refused(self._db, one.item, turn.began):
                continue
            if told := (one.next_home and self._tell_again(one.next_home, one)) or self._tell_again(home, one):
                kept.append(told)
            elif not (names and is_noted(self._db, names, turn.began)):
                kept.append(one.item.id)
                if not (names and self._is_replaced(names, turn.began)):
                    self._kept.add(self._insert(one, INSERT).lastrowid or 0)
        self._bound(home)
        return kept

    def _insert(self, one: Entry, statement: str) -> sqlite3.Cursor:
        return self._db.execute(statement, one.cut(self._cut(one.item.text)).row)

    def _meant(self, which: Which, after: str = "", most: int = -1) -> list[sqlite3.Row]:
        """Return the rows of the items that are meant, in the order of their ids."""
        values = {
            name: getattr(which, name) for name in ("scope", "level", "agent", "tenant", "user", "session", "task")
        }
        values |= {"ids": json.dumps(which.ids) if which.ids else None, "after": after, "most": most}
        return self._db.execute(MEANT, values).fetchall()

    def _count(self, of: str, *values: object) -> int:
        """Return the number of rows of a table, which is one of ours, that fit."""
        return int(self._db.execute(f"SELECT count(*) FROM {of}", values).fetchone()[0])  # noqa: S608  # own text

    def _names(self, whose: Whose, *keys: str) -> tuple[str, ...]:
        """Return the ids that an item with some keys may have: in the conversation, and long-term."""
        homes = (whose.talk, whose.home(self._limits.scope))
        return tuple(id_of(self._owner, home, key) for home in homes for key in dict.fromkeys(keys))

    def _parted(self, which: Which) -> tuple[list[Entry], list[Entry]]:
        """Return the items that go, and those that stay because others told the same, as these told them."""
        asked = filter_of(which)
        going: list[Entry] = []
        parted: list[Entry] = []
        for one in map(entry_at, self._meant(which)):
            kept = None if asked is None else without(one.item, asked)
            if kept is None:
                going.append(one)
            else:
                parted.append(one._replace(item=kept))
        return going, parted

    def _gone(self, entries: Iterable[Entry]) -> frozenset[str]:
        """Return each id under which the same may be told again, also of the facts that a summary stands for."""
        known = list(entries)
        rows = self._db.execute(
            "SELECT name FROM replaced WHERE summary IN (SELECT value FROM json_each(?))",
            (json.dumps([one.item.id for one in known]),),
        ).fetchall()
        return frozenset(name for (name,) in rows).union(*(one.names(self._owner) for one in known))

    def _stand_for(self, summary: str, whose: Whose, facts: Iterable[Item]) -> None:
        """Note that a summary stands for facts: work that told them before it does not tell them again."""
        rows = [(name, summary, one.told) for one in facts for name in {one.id, *self._names(whose, key_of(one.text))}]
        self._db.executemany(REPLACED, rows)

    def _is_replaced(self, names: Sequence[str], began: float) -> bool:
        """Return whether a summary stands for what some work tells again."""
        query = "SELECT 1 FROM replaced WHERE name IN (SELECT value FROM json_each(?)) AND told >= ?"
        return self._db.execute(query, (json.dumps(names), began)).fetchone() is not None

    def _tell_again(self, home: str, one: Entry) -> str:
        """Note that an item of a home was told once more, and return its id; an empty text when it is not there."""
        found = self._db.execute(SAME, {"home": home, "key": one.key, "said": one.said}).fetchone()
        if found is None:
            return ""
        entry = entry_at(found)
        if (item := merged(entry.item, one.item)) != entry.item:
            self._db.execute(UPDATE, entry._replace(item=item).row)
        return item.id

    def _bound(self, home: str) -> None:
        """Delete what is too much: the oldest leaves first, an important one up to a half-life later."""
        limits = self._limits
        if self._count("item WHERE home = ?", home) <= limits.keep:
            return
        self._db.execute(
            "DELETE FROM item WHERE row IN (SELECT row FROM item WHERE home = ? "
            "ORDER BY told + ? * importance DESC, row DESC LIMIT -1 OFFSET ?)",
            (home, limits.weights.half_life, limits.keep),
        )

    def _move_idle(self, now: float) -> None:
        """Let all working facts of conversations in which nothing was told lately become long-term."""
        before = now - self._limits.idle
        leaving = self._db.execute(
            "SELECT id FROM item WHERE home IN "
            "(SELECT home FROM item WHERE level = 'working' GROUP BY home HAVING max(told) < ?)",
            (before,),
        ).fetchall()
        if leaving:
            with self._writing():
                self._promote([one for (one,) in leaving])

    def _promote(self, ids: Sequence[str]) -> None:
        homes: set[str] = set()
        for one in ids:
            row = self._db.execute("SELECT * FROM item WHERE id = ? AND level = 'working'", (one,)).fetchone()
            if row is None:
                continue
            entry = entry_at(row)
            homes.add(entry.next_home)
            if self._tell_again(entry.next_home, entry):
                self._db.execute("DELETE FROM item WHERE id = ?", (one,))
            else:
                self._db.execute("UPDATE item SET level = 'long', home = next_home WHERE id = ?", (one,))
        for home in homes:
            self._bound(home)

    def _cut(self, text: str) -> str:
        return text.encode("utf-8", "replace")[: self._limits.max_text].decode("utf-8", "ignore")

    def _candidates(self, rows: Iterable[int], talk: str, since: float | None) -> dict[int, Candidate]:
        found = self._db.execute(
            "SELECT row, text, importance, told, home FROM item WHERE row IN (SELECT value FROM json_each(?))",
            (json.dumps(list(rows)),),
        ).fetchall()
        return {
            row: Candidate(text, importance, told, home == talk)
            for row, text, importance, told, home in found
            if since is None or told >= since
        }
