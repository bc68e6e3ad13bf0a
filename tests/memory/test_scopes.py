import itertools
from pathlib import Path
from typing import Any

import pytest

from loomd.memory.item import ScopeOf, Turn, Which, Whose

PEOPLE = [
    Whose(agent, tenant, user, session, "t1")
    for agent, tenant, user, session in itertools.product(
        ("ada", "bob"), ("acme", "bear"), ("ann", "cat"), ("s1", "s2")
    )
]
SAME: dict[ScopeOf, tuple[str, ...]] = {
    "agent": ("agent", "tenant", "user"),
    "session": ("tenant", "user", "session"),
    "user": ("tenant", "user"),
    "tenant": ("tenant",),
    "shared": (),
}
"""What must be the same for one to be told what another said."""


def spec(scope: ScopeOf) -> dict[str, Any]:
    """Return a memory of a scope."""
    return {"recall": {"enabled": True, "scope": scope, "topK": 50, "threshold": 0}, "working": {"enabled": False}}


def shares(one: Whose, other: Whose, scope: ScopeOf) -> bool:
    """Return whether two may know the same."""
    return all(getattr(one, name) == getattr(other, name) for name in SAME[scope])


@pytest.mark.parametrize("scope", list(SAME))
async def test_each_sees_what_its_scope_shares(memory: Any, scope: ScopeOf) -> None:
    """Of what 16 agents, tenants, users and sessions say, each is told exactly what the scope says."""
    async with memory(spec(scope)) as live:
        for number, one in enumerate(PEOPLE):
            await live.remember(one, Turn(f"key {number}", "", f"harbour {number}", began=1.0))
        for one in PEOPLE:
            told = set(await live.recall(one, "harbour"))
            assert told == {f"harbour {number}" for number, other in enumerate(PEOPLE) if shares(one, other, scope)}


HOSTILE = [
    Whose("ada", "acme", "ann"),
    Whose("ada", "acme|ann", ""),
    Whose("ada", "", "acme|ann"),
    Whose("ada", "acme/ann", ""),
    Whose("ada/acme", "ann", ""),
    Whose("ada", 'acme","ann', ""),
    Whose("ada", "acme", "ann]"),
    Whose('ada", "acme', "ann", ""),
    Whose("ada", "acme", "ann", "s"),
    Whose("ada", "acme", "ann", "", "s"),
    Whose("ada", "%", "_"),
    Whose("ada", "acme' OR '1'='1", "ann"),
    Whose("session", "acme", "ann"),
    Whose("ada", "acme", "ANN"),
    Whose("ada", "acme\0", "ann"),
]


@pytest.mark.parametrize("scope", ["agent", "session", "user", "tenant"])
async def test_names_with_separators_reach_nobody_else(memory: Any, scope: ScopeOf) -> None:
    """No name, whatever signs are in it, reads what was said by others."""
    async with memory(spec(scope)) as live:
        for number, one in enumerate(HOSTILE):
            await live.remember(one, Turn("k", "", f"harbour {number}", began=1.0))
            await live.remember(one, Turn("k2", "", f"harbour again {number}", began=1.0))
        for one in HOSTILE:
            alike = [number for number, other in enumerate(HOSTILE) if _alike(one, other, scope)]
            first = {f"harbour {number}" for number in alike} | {f"harbour again {number}" for number in alike}
            told = set(await live.recall(one, "harbour"))
            assert told
            assert told <= first


def _alike(one: Whose, other: Whose, scope: ScopeOf) -> bool:
    if scope == "session" and one.session == other.session == "" and one.task != other.task:
        return False
    return shares(one, other, scope)


async def test_a_wider_scope_shows_nothing_that_was_said_before(memory: Any) -> None:
    """An item keeps the scope under which it was remembered; a narrower one hides nothing from its own."""
    ann, cat = Whose("ada", "acme", "ann"), Whose("bob", "acme", "cat")
    async with memory(spec("user")) as live:
        await live.remember(ann, Turn("k1", "", "harbour of Ann", began=1.0))
    async with memory(spec("shared")) as live:
        await live.remember(ann, Turn("k2", "", "harbour of all", began=1.0))
        assert await live.recall(cat, "harbour") == ["harbour of all"]
        assert set(await live.recall(ann, "harbour")) == {"harbour of Ann", "harbour of all"}
    async with memory(spec("agent")) as live:
        assert await live.recall(cat, "harbour") == ["harbour of all"]


async def test_without_a_session_a_task_is_alone_with_its_parts(memory: Any) -> None:
    """With scope `session`, a task that belongs to none shares with its parts, and with no other task."""
    async with memory(spec("session")) as live:
        await live.remember(Whose("ada", task="t1"), Turn("k", "", "harbour one", began=1.0))
        assert await live.recall(Whose("bob", task="t1.0.2"), "harbour") == ["harbour one"]
        assert await live.recall(Whose("ada", task="t10"), "harbour") == []
        assert await live.recall(Whose("ada", session="t1"), "harbour") == []


async def test_where_an_item_came_from(memory: Any) -> None:
    """Agent, tenant, user, session, task, step and time of an item are known, and found again by each of them."""
    ann = Whose("ada", "acme", "ann", "s1", "t1.0")
    async with memory(spec("tenant")) as live:
        kept = await live.remember(ann, Turn("t1.0", "When?", "At seven.", "step/execute/model/2", 17.0))
        await live.remember(Whose("bob"), Turn("t2", "", "other", began=18.0))
        (item,) = await live.items(Which(ids=tuple(kept)))
        assert (item.agent, item.tenant, item.user, item.session, item.task) == ("ada", "acme", "ann", "s1", "t1.0")
        assert (item.place, item.created, item.told) == ("t1.0/step/execute/model/2", 17.0, 17.0)
        assert (item.text, item.what, item.level, item.scope) == ("When?\nAt seven.", "answer", "long", "tenant")
        for which in (Which(agent="ada"), Which(session="s1"), Which(task="t1.0"), Which(tenant="acme", user="ann")):
            assert await live.items(which) == [item]
        assert await live.items(Which(agent="ada", user="cat")) == []
        assert len(await live.items(Which(scope="tenant"))) == 2


async def test_pages(memory: Any, tmp_path: Path) -> None:
    """Items are read in pages, in the order of their ids."""
    del tmp_path
    async with memory(spec("agent")) as live:
        for number in range(7):
            await live.remember(Whose("ada"), Turn(f"k{number}", "", f"text {number}", began=1.0))
        whole = await live.items(Which())
        first = await live.items(Which(), most=3)
        assert first + await live.items(Which(), first[-1].id) == whole
        assert [one.id for one in whole] == sorted(one.id for one in whole)
