import asyncio
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loomd.errors import Damaged
from loomd.manifest.object import Ref
from loomd.memory import recall
from loomd.memory.item import Which, Whose
from loomd.memory.rank import Candidate, Weights, fuse, order
from loomd.testing import VirtualClock
from tests.memory.test_memory import ON, Letters, turn

DAY = 86_400.0
ADA = Whose("ada")
WEIGHTS = Weights(10, 1.0, 1.0, 0.2, 0.2, 30 * DAY)


def test_what_is_first_everywhere_scores_one() -> None:
    """The fusion is 1 for what words and meaning both put first, and less for all else."""
    fused = fuse([([1, 2, 3], 1.0), ([1, 3], 1.0)], 10)
    assert fused[1] == pytest.approx(1.0)
    assert fused[1] > fused[3] > fused[2] > 0
    assert fuse([], 10) == {}


def test_importance_and_age_decide_between_equals() -> None:
    """Of two that fit alike, the more important and the fresher one comes first; age takes off a bounded share."""
    now = 400 * DAY
    items = {
        1: Candidate("old", 0.5, 0.0),
        2: Candidate("new", 0.5, now),
        3: Candidate("important", 1.0, now),
        4: Candidate("of this talk", 0.5, 0.0, fresh=True),
    }
    alike = dict.fromkeys(items, 0.5)
    assert order(alike, items, WEIGHTS, now) == [3, 2, 4, 1]
    assert order({1: 1.0, 2: 0.7}, items, WEIGHTS, now) == [1, 2]
    halved = order({1: 1.0, 2: 0.89}, {1: Candidate("", 0.5, now - 30 * DAY), 2: items[2]}, WEIGHTS, now)
    assert halved == [1, 2]


async def test_words_and_meaning_together(memory: Any) -> None:
    """What only its words find, and what only its meaning finds, are both offered; what both find comes first."""
    spec = {"recall": {"enabled": True, "embedder": "e", "threshold": 0.6, "topK": 5}}
    async with memory(spec, live={Ref("Embedder", "e"): Letters()}) as live:
        for key, text in (("1", "zzz zebra qqqqqqqqqqqqqqqqqqqqq"), ("2", "bzare"), ("3", "zebra"), ("4", "mmm")):
            await live.remember(ADA, turn(key, text))
        assert await live.recall(ADA, "zebra") == ["zebra", "bzare", "zzz zebra qqqqqqqqqqqqqqqqqqqqq"]


async def test_what_is_seen_already_is_left_out(memory: Any) -> None:
    """A text that the prompt holds makes room for the next one."""
    async with memory({"recall": {"enabled": True, "topK": 1}}) as live:
        await live.remember(ADA, turn("1", "harbour one"))
        await live.remember(ADA, turn("2", "harbour two"))
        assert await live.recall(ADA, "harbour", ["said: harbour one, and more"]) == ["harbour two"]


async def test_time_to_live(memory: Any) -> None:
    """What was not told for longer than the time to live is neither offered nor kept; what was told again is."""
    clock = VirtualClock(100 * DAY)
    spec = {"recall": {"enabled": True, "ttl": "10d", "topK": 5}}
    async with memory(spec, clock=clock) as live:
        for key in ("1", "2"):
            await live.remember(ADA, turn(key, f"harbour {key}", clock.now()))
        clock.advance(6 * DAY)
        await live.remember(ADA, turn("2", "harbour 2", clock.now()))
        clock.advance(6 * DAY)
        assert await live.recall(ADA, "harbour") == ["harbour 2"]
        await live.remember(ADA, turn("3", "lighthouse", clock.now()))
        assert sorted(one.text for one in await live.items(Which(agent="ada"))) == ["harbour 2", "lighthouse"]
        await live.forget(Which(ids=tuple(one.id for one in await live.items(Which()) if one.text == "lighthouse")))
    async with memory(spec, clock=clock) as live:
        assert [one.text for one in await live.items(Which())] == ["harbour 2"]


async def test_what_is_too_old_leaves_by_itself(memory: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the time to live no list or count has a text, and no byte of the files soon after, though nobody asks."""
    monkeypatch.setattr(recall, "_LEAST", 0.01)
    clock = VirtualClock()
    async with memory({"recall": {"enabled": True, "ttl": "100ms"}}, clock=clock) as live:
        for number in range(20):
            await live.remember(ADA, turn(f"f{number}", f"filler {number}", clock.now() + 100))
        await live.remember(ADA, turn("1", "the xylophone password is quixotic", clock.now()))
        clock.advance(1.0)
        async with asyncio.timeout(60):
            while any(word in data for data in _bytes(tmp_path) for word in _BURIED):  # noqa: ASYNC110  # files tell nobody
                await asyncio.sleep(0.01)
        assert (await live.report()).items == {"long": 20}
    monkeypatch.undo()
    async with memory({"recall": {"enabled": True, "ttl": "1h"}}, clock=clock) as live:
        await live.remember(ADA, turn("2", "lighthouse", clock.now()))
        clock.advance(3601.0)
        assert [one for one in await live.items(Which()) if "lighthouse" in one.text] == []
        assert not any(b"lighthous" in data for data in _bytes(tmp_path))


_BURIED = (b"xylophon", b"quixot")


def _bytes(folder: Path) -> list[bytes]:
    return [one.read_bytes() for one in folder.rglob("recall.db*")]


async def test_forgotten_is_gone(memory: Any, tmp_path: Path) -> None:
    """What is forgotten is in no byte of the files; interrupted work does not bring it back, saying it again does."""
    spec = {"recall": {"enabled": True, "embedder": "e", "threshold": 0.1}}
    async with memory(spec, live={Ref("Embedder", "e"): Letters()}) as live:
        for number in range(50):
            await live.remember(ADA, turn(f"f{number}", f"filler {number}"))
        (kept,) = await live.remember(ADA, turn("t1", "the xylophone password is quixotic"))
        assert await live.forget(Which(ids=(kept,))) == [kept]
        assert await live.forget(Which(ids=(kept,))) == []
        assert not any("xylophone" in text for text in await live.recall(ADA, "xylophone quixotic"))
        assert await live.remember(ADA, turn("t1", "the xylophone password is quixotic")) == []
        assert (await live.report()).vectors == 50
        files = [one for one in tmp_path.rglob("recall.db*") if one.stat().st_size]  # noqa: ASYNC240  # local files
        for file in files:
            data = file.read_bytes()
            assert b"quixot" not in data
            assert b"xylophon" not in data
        assert await live.remember(ADA, turn("t1", "the xylophone again", began=5e9)) == [kept]


async def test_forget_by_whose(memory: Any) -> None:
    """A user's items are forgotten by the user's name, and nobody else's."""
    async with memory(ON) as live:
        await live.remember(Whose("ada", "acme", "ann"), turn("1", "harbour of Ann"))
        await live.remember(Whose("ada", "acme", "cat"), turn("2", "harbour of Cat"))
        assert len(await live.forget(Which(tenant="acme", user="ann"))) == 1
        assert await live.recall(Whose("ada", "acme", "ann"), "harbour") == []
        assert await live.recall(Whose("ada", "acme", "cat"), "harbour") == ["harbour of Cat"]


async def test_what_is_off_is_still_there(memory: Any) -> None:
    """With recall switched off nothing is offered or added, but what there was can be seen and forgotten."""
    async with memory(ON) as live:
        await live.remember(ADA, turn("1", "harbour"))
    async with memory({}) as live:
        assert not live.recalls
        assert await live.recall(ADA, "harbour") == []
        assert await live.remember(ADA, turn("2", "harbour")) == []
        assert [one.text for one in await live.items(Which())] == ["harbour"]
        assert len(await live.forget(Which(agent="ada"))) == 1


async def test_report(memory: Any) -> None:
    """Counts, sizes and times are told."""
    async with memory(ON) as live:
        await live.remember(ADA, turn("1", "harbour" * 4, 7.0))
        await live.remember(ADA, turn("2", "harbour", 9.0))
        found = await live.report()
        assert (found.items, found.scopes, found.tokens) == ({"long": 2}, {"agent": 2}, 8)
        assert (found.oldest, found.newest, found.error) == (7.0, 9.0, "")
        assert found.bytes > 0


OLD = """
CREATE TABLE memory (
    id INTEGER PRIMARY KEY, scope TEXT NOT NULL, key TEXT NOT NULL, text TEXT NOT NULL,
    made_by TEXT NOT NULL DEFAULT '', vector BLOB, UNIQUE (scope, key));
CREATE VIRTUAL TABLE word USING fts5 (text, content='memory', content_rowid='id', tokenize='porter unicode61');
CREATE TRIGGER word_add AFTER INSERT ON memory BEGIN INSERT INTO word (rowid, text) VALUES (new.id, new.text); END;
CREATE TRIGGER word_drop AFTER DELETE ON memory BEGIN
    INSERT INTO word (word, rowid, text) VALUES ('delete', old.id, old.text); END;
CREATE TABLE embedding (
    memory INTEGER NOT NULL, made_by TEXT NOT NULL, vector BLOB NOT NULL, PRIMARY KEY (memory, made_by)) WITHOUT ROWID;
CREATE TRIGGER embedding_drop AFTER DELETE ON memory BEGIN DELETE FROM embedding WHERE memory = old.id; END;
"""


async def test_a_file_of_before_is_taken_over(memory: Any, tmp_path: Path) -> None:
    """Texts of the earlier layout are all there, for whom they were, with their vectors; once, however often opened."""
    async with memory(ON):
        path = next(tmp_path.rglob("recall.db"))  # noqa: ASYNC240  # a look at a local folder
    for file in path.parent.glob("recall.db*"):
        file.unlink()
    db = sqlite3.connect(path)
    db.executescript(OLD)
    rows = [("ada", "t1", "harbour plain"), ("ada/acme/ann", "t1", "harbour of Ann"), ("ada//cat", "t1", "harbour Cat")]
    rows += [("ada/acme/", "t2", "harbour of the tenant")]
    db.executemany("INSERT INTO memory (scope, key, text) VALUES (?, ?, ?)", rows)
    unit = np.zeros(26, np.float32)
    unit[7] = 1.0
    db.executemany("INSERT INTO embedding VALUES (?, 'letters-1', ?)", [(n, unit.tobytes()) for n in range(1, 4)])
    db.commit()
    db.close()
    embedder = Letters()
    spec = {"recall": {"enabled": True, "embedder": "e", "threshold": 0.1}}
    for _ in range(2):
        async with memory(spec, live={Ref("Embedder", "e"): embedder}) as live:
            assert await live.recall(Whose("ada"), "harbour") == ["harbour plain"]
            assert await live.recall(Whose("ada", "acme", "ann"), "harbour") == ["harbour of Ann"]
            assert await live.recall(Whose("ada", "", "cat"), "harbour") == ["harbour Cat"]
            assert await live.recall(Whose("ada", "acme"), "harbour") == ["harbour of the tenant"]
            assert await live.remember(Whose("ada"), turn("t1", "harbour once more"))
            assert len(await live.items(Which())) == 4
    assert embedder.embedded.count("harbour of the tenant") == 1  # it had no vector; the others kept theirs
    assert "harbour plain" not in embedder.embedded


async def test_a_file_of_a_later_version_is_refused(memory: Any, tmp_path: Path) -> None:
    """What a later loomd wrote is left as it is."""
    async with memory(ON):
        path = next(tmp_path.rglob("recall.db"))  # noqa: ASYNC240  # a look at a local folder
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(Damaged, match="a later loomd made it"):
        async with memory(ON):
            pass


WRITER = """
import asyncio, sys
from pathlib import Path
from loomd.memory.item import Turn, Whose
from loomd.testing import open_spec

async def main():
    async with open_spec("Memory", {"recall": {"enabled": True, "keep": 100000}}, folder=Path(sys.argv[1])) as live:
        number = 0
        while True:
            kept = await live.remember(Whose("ada"), Turn(f"t{number}", "", f"harbour {number}", began=1.0))
            print(number, *kept, flush=True)
            number += 1

asyncio.run(main())
"""


def test_what_is_told_survives_a_kill(tmp_path: Path) -> None:
    """Each item whose id was told is there after kill -9, once, and found by its words."""
    told: dict[str, str] = {}
    for _ in range(3):
        with subprocess.Popen(  # noqa: S603  # ourselves
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
        ) as child:
            assert child.stdout is not None
            for line in child.stdout:
                number, one = line.split()
                assert told.setdefault(number, one) == one
                if len(told) % 37 == 0 and int(number) == len(told) - 1:
                    break
            child.send_signal(signal.SIGKILL)
    db = sqlite3.connect(next(tmp_path.rglob("recall.db")))
    kept = dict(db.execute("SELECT key, id FROM item").fetchall())
    assert {f"t{number}": one for number, one in told.items()}.items() <= kept.items()
    assert db.execute("SELECT count(*) FROM item").fetchone()[0] == len(kept)
    found = db.execute("SELECT count(*) FROM item_word WHERE item_word MATCH 'harbour'").fetchone()[0]
    assert found == len(kept)
    assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    db.close()
