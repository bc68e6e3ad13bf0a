"""What is remembered, over the API: pages of it, what narrows them, and what is refused."""

import pytest

from loomd.api.client import Client
from loomd.errors import LoomdError, NotFound, Permanent
from tests.api.talk import apply, ask

NOTES = """
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: script}
spec: {type: scripted, replies: [{text: Noted., times: null}]}
---
apiVersion: loomd.dev/v1
kind: Memory
metadata: {name: notes}
spec: {recall: {enabled: true}}
---
apiVersion: loomd.dev/v1
kind: Memory
metadata: {name: "off"}
spec: {}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: ada}
spec: {provider: script, memory: notes}
---
apiVersion: loomd.dev/v1
kind: Cluster
metadata: {name: team}
spec: {agents: [ada]}
"""
ITEMS = ("namespaces", "default", "memoryitems")
FORGET = ("namespaces", "default", "memories", "notes", "forget")


async def told(client: Client, *goals: str) -> None:
    """Let an agent be told things."""
    await apply(client, NOTES)
    for goal in goals:
        task = (await ask(client.post, "namespaces", "default", "tasks", body={"goal": goal}))["id"]
        await ask(client.get, "namespaces", "default", "tasks", task, wait="1")


async def test_pages(client: Client) -> None:
    """A list is read in pages in the order of the ids, each item once; one item is read by its id."""
    await told(client, "One.", "Two.", "Three.")
    first = await ask(client.get, *ITEMS, limit="2")
    rest = await ask(client.get, *ITEMS, limit="2", **{"continue": first["metadata"]["continue"]})
    names = [item["metadata"]["name"] for item in (*first["items"], *rest["items"])]
    assert "metadata" not in rest
    assert names == sorted(set(names))
    assert len(names) == 3
    one = await ask(client.get, *ITEMS, names[1])
    assert one == first["items"][1]
    assert len((await ask(client.get, "memoryitems", agent="ada"))["items"]) == 3
    assert (await ask(client.get, *ITEMS, memory="off"))["items"] == []


async def test_what_is_refused(client: Client) -> None:
    """Words that there are not, memories and items that are not there, and a wish to forget that says nothing."""
    await told(client, "One.")
    cases: list[tuple[type[LoomdError], str, tuple[str, ...], dict[str, str]]] = [
        (Permanent, "scope: expected one of agent, session, user, tenant, shared", ITEMS, {"scope": "planet"}),
        (Permanent, "level: expected one of working, long", ITEMS, {"level": "high"}),
        (NotFound, "no Memory 'nots'", ITEMS, {"memory": "nots"}),
        (NotFound, "nothing of the id 'm0'", (*ITEMS, "m0"), {}),
    ]
    for kind, said, parts, query in cases:
        with pytest.raises(kind, match=said):
            await ask(client.get, *parts, **query)
    for body in ({}, {"all": True, "user": "ann"}, {"scope": "planet"}, {"colour": "red"}):
        with pytest.raises(Permanent):
            await ask(client.post, *FORGET, body=body)
    with pytest.raises(NotFound, match="nothing of the id 'm0' is remembered that fits"):
        await ask(client.post, *FORGET, body={"ids": ["m0"]})
    with pytest.raises(NotFound, match="no Memory"):
        await ask(client.post, "namespaces", "other", *FORGET[2:], body={"all": True})
    assert len((await ask(client.get, *ITEMS))["items"]) == 1
    assert len((await ask(client.post, *FORGET, body={"all": True}))["forgotten"]) == 1


async def test_what_two_tasks_said_is_parted(client: Client) -> None:
    """It names both tasks, is left to one of them when the other one is forgotten, and goes with the last one."""
    await told(client, "One.", "One.")
    (item,) = (await ask(client.get, *ITEMS))["items"]
    (also,) = item["status"]["also"]
    name, tasks = item["metadata"]["name"], [item["spec"]["task"], also["task"]]
    assert item["status"]["count"] == 2
    done = await ask(client.post, *FORGET, body={"task": tasks[0]})
    assert done == {"forgotten": [], "parted": [name]}
    (item,) = (await ask(client.get, *ITEMS, task=tasks[1]))["items"]
    assert (item["spec"]["task"], item["status"]["count"]) == (tasks[1], 1)
    assert await ask(client.post, *FORGET, body={"task": tasks[1]}) == {"forgotten": [name], "parted": []}
