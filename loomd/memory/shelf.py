"""Remembered items in one SQLite file: kept, found by words and vectors, moved up, forgotten. Synchronous.

Everything that is told as kept is on disk. What is forgotten is gone from the table, the word index and the vectors,
and work that began before is not able to bring it back. Called by `recall`, in a thread of its own.
"""

import json
import re
import sqlite3
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import msgspec

from loomd.events.room import Condensed
from loomd.memory.entry import Entry, entry_of
from loomd.memory.facts import key_of
from loomd.memory.gone import Meant, filter_of, is_noted, is_refused, note
from loomd.memory.item import Draft, Item, Report, ScopeOf, Turn, Which, Whose, id_of
from loomd.memory.layout import has, writing
from loomd.memory.near import Near
from loomd.memory.rank import Candidate, Weights, fuse, order
from loomd.memory.refill import Contents, Refilled
from loomd.memory.summary import Line

_WORD = re.compile(r"\w{3,}")
_WORDS = """
    about all and any are been but can could did does for from had has have her his how into its just more most not off
    our out over shall she should some such than that the their them then there these they this those was were what when
    where which who whom whose why will with would you your
"""
_COMMON = frozenset(_WORDS.split())
"""Words that tell nothing of what is asked; left out unless the question holds nothing else."""
_MOST_WORDS = 64
_INSERT = """INSERT INTO item (
    id, home, key, text, what, level, scope, importance, tokens, created, told, agent, tenant, user, session, task,
    step, absorbed, replaces, next_home)
VALUES (
    :id, :home, :key, :text, :what, :level, :scope, :importance, :tokens, :created, :told, :agent, :tenant, :user,
    :session, :task, :step, :absorbed, :replaces, :next_home)"""
_REFILL = _INSERT.replace("INSERT", "INSERT OR IGNORE", 1)
_UNMADE = """SELECT row, text FROM item WHERE NOT EXISTS (
    SELECT 1 FROM vector WHERE vector.item = item.row AND made_by = ?) ORDER BY row LIMIT ?"""
_UNMADE_OF = _UNMADE.replace("WHERE", "WHERE row IN (SELECT value FROM json_each(?)) AND", 1)
_MARKS = """WITH RECURSIVE mark (name) AS (
    SELECT min(made_by) FROM vector UNION ALL
    SELECT (SELECT min(made_by) FROM vector WHERE made_by > name) FROM mark WHERE name IS NOT NULL)
    SELECT name FROM mark WHERE name IS NOT NULL"""
"""The fingerprints of which there are vectors, each found by one look at an index."""
_MEANT = """SELECT * FROM item WHERE id > :after
    AND (:ids IS NULL OR id IN (SELECT value FROM json_each(:ids)))
    AND (:scope IS NULL OR scope = :scope) AND (:level IS NULL OR level = :level)
    AND (:agent IS NULL OR agent = :agent) AND (:tenant IS NULL OR tenant = :tenant)
    AND (:user IS NULL OR user = :user) AND (:session IS NULL OR session = :session)
    AND (:task IS NULL OR task = :task) ORDER BY id LIMIT :most"""


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
        words = _telling(query.text)
        likeness: dict[int, float] = {}
        if query.vector is not None:
            likeness = self._near.likeness(homes, query.vector, query.mark, limits.candidates)
        likest = sorted(likeness, key=lambda row: (-likeness[row], row))[: limits.candidates]
        worded = self._by_words(homes, words)
        items = self._candidates({*likest, *worded}, whose.talk, since)
        held, least = self._held([row for row in worded if row in items], words), limits.threshold
        fresh = {row for row, one in items.items() if not any(one.text in text for text in query.seen)}
        weights = limits.weights
        by_words = [row for row in worded if row in fresh and held[row] >= max(1.0, least * len(words))]
        by_meaning = [row for row in likest if row in fresh and likeness[row] >= least]
        rankings = [(by_words, weights.keyword)]
        if query.vector is not None:
            rankings.append((by_meaning, weights.vector))
        best = order(fuse(rankings, weights.rrf_k), items, weights, query.now)
        return [items[row].text for row in best[: limits.top_k if query.most is None else query.most]]

    def add(self, whose: Whose, turn: Turn, drafts: Sequence[Draft], *, working: bool) -> list[str]:
        """Keep items, and return the ids of all that are there then; what is there already is told again.

        Work that began before an item was forgotten does not bring it back.
        """
        with self._writing():
            return self._add(whose, turn, drafts, working=working)

    def working(self, whose: Whose) -> list[Item]:
        """Return the working facts of a conversation that are too many, those that leave first at the front."""
        found = self._db.execute("SELECT * FROM item WHERE home = ? ORDER BY importance, told, row", (whose.talk,))
        items = [_item(row) for row in found.fetchall()]
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
                ids = self._add(whose, turn, [_summary(line)], working=False)
                kept += [Condensed(one, tuple(fact.id for fact in line.facts)) for one in ids]
            leaving = [(one, whose.talk) for line in kept for one in line.facts]
            self._db.executemany("DELETE FROM item WHERE id = ? AND home = ?", leaving)
            self._promote([one.id for one in self.working(whose)])
        return kept

    def items(self, which: Which, after: str = "", most: int = -1) -> list[Item]:
        """Return items in the order of their ids, those after a given one."""
        return [_item(row) for row in self._meant(which, after, most)]

    def meant(self, which: Which) -> Meant:
        """Return what somebody means to forget, as the journal is told of it before it is deleted."""
        entries = [_entry(row) for row in self._meant(which)]
        items = {one.item.id for one in entries}
        names = frozenset[str]().union(*(one.names(self._owner) for one in entries))
        keys = json.dumps(sorted({one.key for one in entries}))
        alike = self._db.execute("SELECT * FROM item WHERE key IN (SELECT value FROM json_each(?))", (keys,)).fetchall()
        left = {one.item.id for one in map(_entry, alike) if one.names(self._owner) & names}
        asked = filter_of(which)
        if asked is not None and asked.level is not None:
            left |= {str(row["id"]) for row in self._meant(msgspec.structs.replace(which, level=None))}
        places = tuple(dict.fromkeys(place for one in entries for place in one.item.replaces))
        return Meant(tuple(sorted(items)), tuple(sorted(names)), tuple(sorted(left - items)), places, asked)

    def forget(self, which: Which, now: float) -> list[str]:
        """Delete items, also from the word index and the vectors, and return their ids.

        What is noted is each id under which the same may be told again, and whose items were meant.
        """
        asked = filter_of(which)
        with writing(self._db):
            entries = [_entry(row) for row in self._meant(which)]
            names = frozenset[str]().union(*(one.names(self._owner) for one in entries))
            note(self._db, dict.fromkeys(names, now), [] if asked is None else [(asked, now)])
            self._db.executemany("DELETE FROM item WHERE id = ?", [(one.item.id,) for one in entries])
            if entries:
                self._purge()
        self._empty_log()
        return [one.item.id for one in entries]

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
                rows = self._db.execute(_UNMADE_OF, (json.dumps(list(self._kept)), mark, most)).fetchall()
        elif self._count("item") > self._count("vector WHERE made_by = ?", mark):
            rows = self._db.execute(_UNMADE, (mark, most)).fetchall()
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
        unwanted = [mark for (mark,) in self._db.execute(_MARKS) if mark not in marks]
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
            kept = sum(self._insert(one, _REFILL).rowcount for one in contents.entries)
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
        for draft in drafts:
            one = entry_of(id_of(self._owner, home, draft.key), draft, whose, turn, scope, working=working)
            item = one.item
            told = self._tell_again(one.next_home or home, one.key, item.told, item.importance)
            if told := told or self._tell_again(home, one.key, item.told, item.importance):
                kept.append(told)
            elif not is_refused(self._db, item, turn.began) and not is_noted(
                self._db, self._names(whose, draft.key), turn.began
            ):
                kept.append(item.id)
                self._kept.add(self._insert(one, _INSERT).lastrowid or 0)
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
        return self._db.execute(_MEANT, values).fetchall()

    def _count(self, of: str, *values: object) -> int:
        """Return the number of rows of a table, which is one of ours, that fit."""
        return int(self._db.execute(f"SELECT count(*) FROM {of}", values).fetchone()[0])  # noqa: S608  # own text

    def _names(self, whose: Whose, key: str) -> tuple[str, str]:
        """Return the ids that an item with a key may have: in the conversation, and long-term."""
        return id_of(self._owner, whose.talk, key), id_of(self._owner, whose.home(self._limits.scope), key)

    def _tell_again(self, home: str, key: str, told: float, importance: float) -> str:
        """Note that an item was told once more, and return its id; an empty text when it is not there."""
        found = self._db.execute("SELECT id FROM item WHERE home = ? AND key = ?", (home, key)).fetchone()
        if found is None:
            return ""
        self._db.execute(
            "UPDATE item SET told = max(told, ?), importance = max(importance, ?) WHERE id = ?",
            (told, importance, found[0]),
        )
        return str(found[0])

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
            row = self._db.execute(
                "SELECT next_home, key, told, importance FROM item WHERE id = ? AND level = 'working'", (one,)
            ).fetchone()
            if row is None:
                continue
            home, key, told, importance = row
            homes.add(home)
            if self._tell_again(home, key, told, importance):
                self._db.execute("DELETE FROM item WHERE id = ?", (one,))
            else:
                self._db.execute("UPDATE item SET level = 'long', home = next_home WHERE id = ?", (one,))
        for home in homes:
            self._bound(home)

    def _cut(self, text: str) -> str:
        return text.encode("utf-8", "replace")[: self._limits.max_text].decode("utf-8", "ignore")

    def _by_words(self, homes: Sequence[str], words: Sequence[str]) -> list[int]:
        if not words:
            return []
        rows = self._db.execute(
            "SELECT item.row FROM item_word JOIN item ON item.row = item_word.rowid WHERE item_word MATCH ?"
            " AND home IN (SELECT value FROM json_each(?)) ORDER BY bm25(item_word), item.row LIMIT ?",
            (" OR ".join(f'"{word}"' for word in words), json.dumps(homes), self._limits.candidates),
        ).fetchall()
        return [row for (row,) in rows]

    def _held(self, rows: Sequence[int], words: Sequence[str]) -> dict[int, int]:
        """Return how many of the words each item holds, in any form of theirs."""
        held = dict.fromkeys(rows, 0)
        named = json.dumps(rows)
        for word in words if rows else ():
            found = self._db.execute(
                "SELECT rowid FROM item_word WHERE item_word MATCH ? AND rowid IN (SELECT value FROM json_each(?))",
                (f'"{word}"', named),
            )
            for (row,) in found:
                held[row] += 1
        return held

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


def _telling(text: str) -> list[str]:
    """Return the words of a question by which something is found, each once."""
    words = list(dict.fromkeys(_WORD.findall(text.lower())))
    return ([word for word in words if word not in _COMMON] or words)[:_MOST_WORDS]


def _summary(line: Line) -> Draft:
    """Return what a line of a summary is kept as: as important as any of its facts, with the places of all."""
    places = tuple(dict.fromkeys(place for one in line.facts for place in one.replaces or (one.place,)))
    return Draft(key_of(line.text), line.text, "summary", max(one.importance for one in line.facts), places)


def _entry(row: sqlite3.Row) -> Entry:
    return Entry(_item(row), row["key"], row["home"], row["next_home"])


def _item(row: sqlite3.Row) -> Item:
    fields = {name: row[name] for name in Item.__struct_fields__}
    fields["replaces"] = tuple(json.loads(fields["replaces"]))
    return msgspec.convert(fields, Item, strict=False)
