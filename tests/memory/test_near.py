"""Vectors in memory: the same as the file has, in each home, whoever changes it; no more of it than is asked for."""

import sqlite3
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loomd.memory import near
from loomd.memory.item import Draft, Turn, Which, Whose
from loomd.memory.layout import prepare
from loomd.memory.near import Near
from loomd.memory.rank import Weights
from loomd.memory.shelf import Limits, Query, Shelf

T = TypeVar("T")

SIZE = 8
WHOSE = [Whose("ada", "acme", user, session, "t1") for user in ("ann", "bob") for session in ("s1", "s2")]
WEIGHTS = Weights(10, 0.0, 1.0, 0.0, 0.0, 1e9)


def shelf(path: Path, keep: int = 100_000) -> Shelf:
    """Return the items in a file."""
    db = sqlite3.connect(path, isolation_level=None)
    prepare(db, "o", 0.0)
    return Shelf(db, "o", Limits("user", 5, -1.0, 50, keep, 8192, None, WEIGHTS, 10, 1e12))


def vector(text: str, size: int = SIZE) -> Any:
    """Return a vector of length 1 that a text always has."""
    made = np.random.default_rng([ord(letter) for letter in text]).standard_normal(size).astype(np.float32)
    return made / np.linalg.norm(made)


def embed(items: Shelf, mark: str = "m", size: int = SIZE) -> None:
    """Embed all that is not embedded yet."""
    while rows := items.unmade(mark, 1000):
        items.put_vectors([(row, text, mark, vector(text, size).tobytes()) for row, text in rows])


def told(items: Shelf, whose: Whose, keys: list[int], *, working: bool = False) -> None:
    """Tell texts, which are longer than working facts may be in all when there are many."""
    drafts = [Draft(f"k{key}", f"text {key}", importance=key % 5 / 5) for key in keys]
    items.add(whose, Turn("k", "", "", "", 1e6), drafts, working=working)


def by_hand(db: sqlite3.Connection, whose: Whose, asked: Any, mark: str = "m") -> dict[int, float]:
    """Return the cosines of all items that one may see, one by one."""
    rows = db.execute("SELECT row, home, vector.vector FROM item JOIN vector ON item = row WHERE made_by = ?", (mark,))
    return {row: float(np.frombuffer(blob, np.float32) @ asked) for row, home, blob in rows if home in whose.homes}


Step = tuple[str, int, int, int]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["tell", "work", "move", "forget", "drop", "ask"]),
            st.integers(0, 1),
            st.integers(0, 3),
            st.integers(0, 60),
        ),
        max_size=30,
    )
)
def test_it_equals_the_file(tmp_path_factory: pytest.TempPathFactory, steps: list[Step]) -> None:
    """Whatever two that have it open do, in whatever order, each finds what the file has for whoever asks."""
    path = tmp_path_factory.mktemp("model") / "m.db"
    both = [shelf(path, keep=40), shelf(path, keep=40)]
    db = sqlite3.connect(path)
    nears = [one._near for one in both]
    for kind, which, who, number in steps:
        items, whose = both[which], WHOSE[who]
        if kind in {"tell", "work"}:
            told(items, whose, list(range(number, number + 30)), working=kind == "work")
            embed(items)
        elif kind == "move":
            items.move(whose)
        elif kind == "forget":
            some = [one.id for one in items.items(Which(user=whose.user))][number % 5 :: 5]
            items.forget(Which(ids=tuple(some)), 2.0) if some else None
        elif kind == "drop":
            items.drop_vectors([])
            embed(items)
        asked = vector(f"q{number}")
        found = nears[which].likeness(whose.homes, asked, "m", 1000)
        assert found == pytest.approx(by_hand(db, whose, asked), abs=1e-5)
    for one in both:
        one.close()
    db.close()


def test_others_are_never_shown(tmp_path: Path) -> None:
    """Whose vectors are in memory already makes no difference to what another one finds."""
    items = shelf(tmp_path / "m.db")
    ann, bob = Whose("ada", "acme", "ann"), Whose("ada", "acme", "bob")
    told(items, ann, list(range(50)))
    told(items, bob, list(range(50, 60)))
    embed(items)
    asked = vector("text 3")
    for whose, most in ((ann, 50), (bob, 10), (Whose("ada", "other", "ann"), 0)):
        found = items._near.likeness([*ann.homes, *bob.homes], asked, "m", 1000)
        assert len(found) == 60
        found = items._near.likeness(whose.homes, asked, "m", 1000)
        assert len(found) == most
    items.close()


def test_another_embedder_is_compared_with_its_own(tmp_path: Path) -> None:
    """Vectors of two embedders stand beside each other, also of another length; a question finds those of its own."""
    items = shelf(tmp_path / "m.db")
    told(items, WHOSE[0], list(range(20)))
    embed(items, "m")
    embed(items, "n", 4)
    for mark, size in (("m", SIZE), ("n", 4), ("m", SIZE)):
        asked = vector("text 7", size)
        query = Query("?", now=2.0, vector=asked, mark=mark)
        assert items.find(WHOSE[0], query)[0] == "text 7"
    items.close()


def test_who_is_far_behind_reads_all_again(tmp_path: Path) -> None:
    """What left is told for a while only; whoever missed some of it looks at what is there."""
    path = tmp_path / "m.db"
    first, second, db = shelf(path), shelf(path), sqlite3.connect(path)
    told(first, WHOSE[0], list(range(100)))
    embed(first)
    asked = vector("q")
    assert len(first._near.likeness(WHOSE[0].homes, asked, "m", 1000)) == 100
    for _ in range(102):
        second.drop_vectors([])
        embed(second)
    second.forget(Which(ids=tuple(one.id for one in second.items(Which())[:30])), 2.0)
    (kept,) = db.execute("SELECT count(*) FROM left_vector").fetchone()
    assert kept == 10_000
    found = first._near.likeness(WHOSE[0].homes, asked, "m", 1000)
    assert found == pytest.approx(by_hand(db, WHOSE[0], asked), abs=1e-5)
    for one in (first, second, db):
        one.close()


def test_homes_leave_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that were not asked about for longest make room; nothing that was forgotten stays there."""
    monkeypatch.setattr(near, "_HELD", 50)
    items = shelf(tmp_path / "m.db")
    users = [Whose("ada", "acme", f"u{number}") for number in range(6)]
    for number, whose in enumerate(users):
        told(items, whose, list(range(100 * number, 100 * number + 20)))
    embed(items)
    for whose in users:
        assert len(items._near.likeness(whose.homes, vector("q"), "m", 1000)) == 20
    assert list(items._near._homes) == [whose.home("user") for whose in users[3:]]
    items.forget(Which(user="u0"), 2.0)
    assert not items._near._homes
    items.close()


LAYOUT_2 = """
CREATE TABLE item (
    row INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, home TEXT NOT NULL, key TEXT NOT NULL, text TEXT NOT NULL,
    what TEXT NOT NULL, level TEXT NOT NULL, scope TEXT NOT NULL, importance REAL NOT NULL, tokens INTEGER NOT NULL,
    created REAL NOT NULL, told REAL NOT NULL, agent TEXT NOT NULL, tenant TEXT NOT NULL, user TEXT NOT NULL,
    session TEXT NOT NULL, task TEXT NOT NULL, step TEXT NOT NULL, absorbed INTEGER NOT NULL DEFAULT 0,
    replaces TEXT NOT NULL DEFAULT '[]', next_home TEXT NOT NULL DEFAULT '', UNIQUE (home, key));
CREATE INDEX item_level ON item (level, home, told);
CREATE INDEX item_told ON item (told);
CREATE VIRTUAL TABLE item_word USING fts5 (text, content='item', content_rowid='row', tokenize='porter unicode61');
CREATE TRIGGER item_word_add AFTER INSERT ON item BEGIN
    INSERT INTO item_word (rowid, text) VALUES (new.row, new.text); END;
CREATE TRIGGER item_word_drop AFTER DELETE ON item BEGIN
    INSERT INTO item_word (item_word, rowid, text) VALUES ('delete', old.row, old.text); END;
CREATE TABLE vector (item INTEGER NOT NULL, made_by TEXT NOT NULL, vector BLOB NOT NULL);
CREATE UNIQUE INDEX vector_item ON vector (item, made_by);
CREATE TRIGGER vector_drop AFTER DELETE ON item BEGIN DELETE FROM vector WHERE item = old.row; END;
CREATE TABLE gone (id TEXT PRIMARY KEY, at REAL NOT NULL) WITHOUT ROWID;
INSERT INTO item (row, id, home, key, text, what, level, scope, importance, tokens, created, told, agent, tenant, user,
        session, task, step, next_home)
    SELECT value, 'm' || value, '["user", "acme", "ann"]', 'k' || value, 'text ' || value, 'fact', 'long', 'user', 0.5,
        2, 1.0, 1.0, 'ada', 'acme', 'ann', '', 't1', '', '' FROM json_each('[1, 2, 3]');
PRAGMA user_version = 2;
"""


def test_a_file_of_layout_2_is_taken_over(tmp_path: Path) -> None:
    """Its vectors are compared as they are, in one transaction, and the file is as one that was made anew."""
    path = tmp_path / "m.db"
    db = sqlite3.connect(path)
    db.executescript(LAYOUT_2)
    vectors = [(row, "m", vector(f"text {row}").tobytes()) for row in (1, 2, 3)]
    db.executemany("INSERT INTO vector VALUES (?, ?, ?)", vectors)
    db.commit()
    items, fresh = shelf(path), shelf(tmp_path / "n.db")
    assert items.unmade("m", 10) == []
    assert items.find(WHOSE[0], Query("?", now=2.0, vector=vector("text 2"), mark="m"))[0] == "text 2"
    items.forget(Which(ids=("m2",)), 2.0)
    assert items.report("m").vectors == 2
    query = "SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' ORDER BY name"
    found, made = ([(name, "".join(sql.split())) for name, sql in one._db.execute(query)] for one in (items, fresh))
    assert found == made
    for one in (items, fresh, db):
        one.close()


def steps_of(work: Callable[[], T]) -> tuple[int, int, T]:
    """Return how many bytecodes of Python some work is, how much memory it takes at most, and what it returns."""
    count = 0

    def look(frame: FrameType, event: str, _: object) -> Any:
        nonlocal count
        frame.f_trace_opcodes = True
        count += event == "opcode"
        return look

    before = sys.gettrace()
    tracemalloc.start()
    sys.settrace(look)
    try:
        done = work()
    finally:
        sys.settrace(before)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return count, peak, done


def test_a_recall_takes_as_long_however_much_is_remembered(tmp_path: Path) -> None:
    """Twenty times as many items take no more steps of Python and no more memory; what is told is found at once."""
    taken: dict[int, tuple[int, int]] = {}
    for size in (1_000, 20_000):
        path, asked = tmp_path / f"{size}.db", vector("text 17", 64)
        items = shelf(path)
        for at in range(0, size, 1000):
            told(items, WHOSE[0], list(range(at, at + 1000)))
        embed(items, "m", 64)
        items.close()
        _, opening, items = steps_of(lambda path=path: shelf(path))  # type: ignore[misc]  # a default is no parameter
        assert opening < 200_000
        assert not items._near._homes
        query = Query("?", now=2.0, vector=asked, mark="m")
        assert items.find(WHOSE[0], query)[0] == "text 17"
        told(items, WHOSE[0], [size + 1])

        def again(items: Shelf = items, size: int = size) -> list[str]:
            embed(items, "m", 64)
            return items.find(WHOSE[0], Query("?", now=2.0, vector=vector(f"text {size + 1}", 64), mark="m"))

        count, peak, found = steps_of(again)
        assert found[0] == f"text {size + 1}"
        taken[size] = count, peak
        items.close()
    (steps, memory), (more_steps, more_memory) = taken[1_000], taken[20_000]
    assert more_steps < 1.2 * steps
    assert more_memory < memory + 100_000


def test_an_empty_file_has_nothing(tmp_path: Path) -> None:
    """Nothing is found, and nothing is kept in memory."""
    items = shelf(tmp_path / "m.db")
    assert Near(items._db).likeness(WHOSE[0].homes, vector("q"), "m", 10) == {}
    assert not items._near._homes
    items.close()


def test_words_rank_alone_whatever_their_weight_beside_meaning_is(tmp_path: Path) -> None:
    """Without a vector of the question the text with more of its words comes first, though `keywordWeight` is 0."""
    items = shelf(tmp_path / "recall.db")
    drafts = [Draft("a", "the lamp is old"), Draft("b", "the green lamp of the hall is broken")]
    items.add(WHOSE[0], Turn("k", "", "", "", 1e6), drafts, working=False)
    found = items.find(WHOSE[0], Query("which green lamp of the hall is broken", now=1e6))
    assert found == ["the green lamp of the hall is broken", "the lamp is old"]
