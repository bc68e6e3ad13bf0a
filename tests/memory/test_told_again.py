"""What several tasks say in the same words is one item, as all of them told it; each may be forgotten alone."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from loomd.events.room import MemoryRemembered
from loomd.memory.entry import _MOST
from loomd.memory.facts import facts_of
from loomd.memory.item import Draft, Turn, Which, Whose
from loomd.memory.layout import prepare
from loomd.memory.shelf import Shelf
from loomd.memory.summary import Line
from tests.memory.test_refill import CODE, EVE, LIMITS, ROME, Kept, turn

ANN = Whose("ada", "", "ann", "", "t7")
SHARED: dict[str, Any] = {"recall": {"enabled": True, "scope": "tenant"}}


def answer(task: str, began: float, boost: float = 1.0) -> Turn:
    """Return a turn that is kept as a whole."""
    return Turn(task, "When does it open?", "At seven.", "step/execute/model/0", began, boost)


def who(user: str, task: str) -> Whose:
    """Return somebody of one tenant, in a task without a session."""
    return Whose("ada", "acme", user, "", task)


async def test_equal_answers_of_two_tasks_are_one(memory: Any) -> None:
    """Its count, importance and time are those of both, and it names both places; a task that goes on adds nothing."""
    async with memory(SHARED) as live:
        first = await live.remember(who("ann", "t1"), answer("t1", 5.0))
        for _ in range(2):
            assert await live.remember(who("eve", "t2"), answer("t2", 9.0, 1.6)) == first
        (item,) = await live.items(Which())
        assert (item.count, item.importance, item.created, item.told) == (2, 0.8, 5.0, 9.0)
        assert item.places == ("t1/step/execute/model/0", "t2/step/execute/model/0")
        for which in (Which(user="ann"), Which(user="eve"), Which(task="t2", user="eve")):
            assert await live.items(which) == [item]
        assert await live.items(Which(task="t2", user="ann")) == []
        assert await live.recall(who("cat", "t3"), "When open?") == ["When does it open?\nAt seven."]


async def test_scopes_stay_apart(memory: Any) -> None:
    """What users say for themselves alone is not merged with what others say."""
    async with memory({"recall": {"enabled": True, "scope": "user"}}) as live:
        await live.remember(who("ann", "t1"), answer("t1", 5.0))
        await live.remember(who("eve", "t2"), answer("t2", 9.0))
        assert [one.count for one in await live.items(Which())] == [1, 1]


@pytest.mark.parametrize(("gone", "left"), [("ann", "eve"), ("eve", "ann")])
async def test_who_is_forgotten_leaves_the_text_to_the_others(memory: Any, gone: str, left: str) -> None:
    """Nothing of them stays; when nobody is left, the text goes, and no work that began before tells it again."""
    async with memory(SHARED) as live:
        for task, user in (("t1", "ann"), ("t2", "eve")):
            await live.remember(who(user, task), answer(task, 5.0))
        (before,) = await live.items(Which())
        assert await live.forget(Which(user=gone)) == []
        (item,) = await live.items(Which())
        assert (item.id, item.user, item.count, item.also) == (before.id, left, 1, ())
        assert await live.remember(who(gone, "t9"), answer("t9", 4.0)) == []
        assert await live.items(Which(user=gone)) == []
        assert await live.forget(Which(user=left)) == [item.id]
        assert await live.items(Which()) == []
        for task, user in (("t1", "ann"), ("t2", "eve"), ("t3", "cat")):
            assert await live.remember(who(user, task), answer(task, 5.0)) == []


def test_what_the_journal_has_is_merged_as_it_was() -> None:
    """A new file has both tellings, and the one that stays when the other one is forgotten."""
    kept = Kept()
    other = Whose("ada", "", "eve", "", "t7")
    (first,) = kept.say(EVE, turn(CODE, 1.0), working=False)
    assert kept.say(other, turn(CODE, 2.0, "k7"), working=False) == [first]
    before = kept.shelf.items(Which())
    assert kept.lose() == [CODE]
    assert kept.shelf.items(Which()) == before
    assert kept.forget(Which(task="t1"), 3.0) == []
    (item,) = kept.shelf.items(Which())
    assert (item.task, item.count, kept.lose()) == ("t7", 1, [CODE])
    assert kept.shelf.items(Which()) == [item]
    assert kept.forget(Which(task="t7"), 4.0) == [first]
    assert kept.lose() == kept.texts == []
    assert kept.ledger.result().lacking == 0


def test_only_the_last_tellings_are_named() -> None:
    """A text that thousands of tasks say does not grow with them; it counts all."""
    kept = Kept()
    for number in range(100):
        kept.say(Whose("ada", "", "eve", "", f"t{number}"), turn(CODE, float(number), f"k{number}"), working=False)
    (item,) = kept.shelf.items(Which())
    assert (item.count, len(item.also), item.task, item.also[-1].task) == (100, _MOST, "t0", "t99")


def test_a_task_that_goes_on_does_not_tell_what_a_summary_stands_for() -> None:
    """The fact does not come back beside the summary; what is told later does, and a lost file has the fact."""
    kept = Kept()
    fact = turn(CODE, 1.0)
    (name,) = kept.shelf.add(EVE, fact, facts_of(CODE, "", 9, -1.0), working=True)  # killed before it was noted
    items = kept.shelf.items(Which())
    (line,) = kept.shelf.replace(EVE, turn("", 2.0, "c"), [Line("Code: 4471.", tuple(items))], items)
    assert kept.say(EVE, fact) == [name]
    assert kept.texts == ["Code: 4471."]
    assert [one.item.text for one in kept.ledger.result().entries] == [CODE]
    assert kept.say(EVE, turn(CODE, 3.0, "k3")) == [name]
    assert kept.texts == ["Code: 4471.", CODE]
    kept.forget(Which(ids=(name,)), 4.0)
    kept.forget(Which(ids=(line.item,)), 4.0)
    assert kept.say(EVE, fact) == []
    assert kept.say(EVE, turn(CODE, 5.0, "k5")) == [name]  # nothing stands for it any more
    assert kept.texts == [CODE]


def test_a_forgotten_summary_takes_the_facts_along_that_go_on_to_be_told() -> None:
    """Work that began before tells none of them again, in another conversation neither."""
    kept = Kept()
    kept.say(EVE, turn(CODE, 1.0))
    items = kept.shelf.items(Which())
    (line,) = kept.shelf.replace(EVE, turn("", 2.0, "c"), [Line("Code: 4471.", tuple(items))], items)
    assert kept.forget(Which(ids=(line.item,)), 10.0) == [line.item]
    for whose in (EVE, Whose("ada", "", "eve", "s2", "t2")):
        assert kept.say(whose, turn(CODE, 9.0)) == []
    assert kept.lose() == []


def test_a_file_of_layout_3_is_taken_over(tmp_path: Path) -> None:
    """What it kept twice is read as before, and told again once."""
    path = tmp_path / "m.db"
    db = sqlite3.connect(path, isolation_level=None)
    prepare(db, "o", 0.0)
    for statement in (
        *("DROP TRIGGER replaced_drop", "DROP TABLE replaced", "DROP INDEX item_said"),
        *(f"ALTER TABLE item DROP COLUMN {name}" for name in ("said", "also", "count")),
        "PRAGMA user_version = 3",
    ):
        db.execute(statement)
    home = ANN.home("user")
    db.executemany(
        "INSERT INTO item (id, home, key, text, what, level, scope, importance, tokens, created, told, agent, tenant,"
        " user, session, task, step) VALUES (?, ?, ?, ?, 'answer', 'long', 'user', 0.5, 2, 1, 1, 'ada', '', 'ann', '',"
        " ?, '')",
        [(f"m{one}", home, one, ROME, one) for one in ("t1", "t2")],
    )
    prepare(db, "o", 0.0)
    fresh = sqlite3.connect(":memory:", isolation_level=None)
    prepare(fresh, "o", 0.0)
    query = "SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' ORDER BY name"
    found, made = ([(name, "".join(sql.split())) for name, sql in one.execute(query)] for one in (db, fresh))
    assert found == made
    shelf = Shelf(db, "o", LIMITS)
    assert [(one.id, one.count) for one in shelf.items(Which())] == [("mt1", 1), ("mt2", 1)]
    assert shelf.add(ANN, turn("", 5.0, "t7"), [Draft("t7", ROME)], working=False) == ["mt1"]
    assert [one.count for one in shelf.items(Which())] == [2, 1]
    assert shelf.meant(Which(ids=("mt1",))).left == ("mt2",)
    shelf.close()
    fresh.close()


def test_what_was_told_late_is_not_lacking() -> None:
    """An event that names the item of another task by its words is no item that the journal lacks."""
    kept = Kept()
    (first,) = kept.say(EVE, turn(CODE, 1.0), working=False)
    again = turn(CODE, 2.0, "k7")
    kept.take(MemoryRemembered((first,), kept._told(Whose("ada", "", "eve", "", "t7"), again)), 2.0)
    found = kept.ledger.result()
    assert ([one.item.count for one in found.entries], found.lacking) == ([2], 0)
