"""What is remembered on the command line: get, describe, forget and export, at a real daemon."""

import json
import re
from typing import Any

import pytest

from tests.cli.terminal import Folder

NOTES = """
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: script, namespace: SPACE}
spec: {type: scripted, replies: [{text: Noted., times: null}]}
---
apiVersion: loomd.dev/v1
kind: Memory
metadata: {name: notes, namespace: SPACE}
spec: {recall: {enabled: true, scope: user}}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: ada, namespace: SPACE}
spec: {provider: script, memory: notes}
---
apiVersion: loomd.dev/v1
kind: Cluster
metadata: {name: team, namespace: SPACE}
spec: {agents: [ada], embedder: words}
---
apiVersion: loomd.dev/v1
kind: Embedder
metadata: {name: words, namespace: SPACE}
spec: {type: hash}
"""


@pytest.fixture
def house(folder: Folder) -> Folder:
    """Return a folder whose agent was told things by two people."""
    (folder.path / "team.yaml").write_text(NOTES.replace("SPACE", folder.space))
    folder.apply()
    for said, user in (("My boat is red.", "ann"), ("My boat is blue and has 3 sails.", "cat")):
        folder.said("submit", said, "-n", folder.space, "--wait", "--user", user, "--session", "s1", "--tenant", "acme")
    folder.said("submit", "The key is 77.", "-n", folder.space, "--wait")
    return folder


def items(house: Folder, *more: str) -> list[dict[str, Any]]:
    """Return remembered items as data."""
    found: list[dict[str, Any]] = json.loads(house.said("get", "memory", "-n", house.space, "-o", "json", *more))[
        "items"
    ]
    return found


def test_what_is_remembered_is_listed(house: Folder) -> None:
    """All of it, or what narrows it: by memory, scope, agent, tenant, user, session; as a table, wide, or data."""
    table = house.said("get", "memory", "-n", house.space).splitlines()
    assert table[0].split()[:4] == ["ITEM", "MEMORY", "LEVEL", "WHAT"]
    assert len(table) == 4
    assert any("My boat is red." in line and "working" in line for line in table)
    assert "TENANT" in house.said("get", "memory/notes", "-n", house.space, "-o", "wide").splitlines()[0]
    (ann,) = items(house, "--user", "ann", "--tenant", "acme")
    assert (ann["kind"], ann["spec"]["text"], ann["spec"]["scope"]) == ("MemoryItem", "My boat is red.", "user")
    assert ann["status"]["place"].endswith("/step/execute/model/0")
    assert {one["spec"]["user"] for one in items(house, "--level", "working")} == {"ann", "cat"}
    assert len(items(house, "--scope", "user")) == 3
    assert items(house, "--agent", "bob") == []
    assert "kind: MemoryItem" in house.said("get", "memory", "-n", house.space, "-o", "yaml")
    named = house.said("get", "memoryitems", ann["metadata"]["name"], "-n", house.space, "-o", "name")
    assert named.strip().endswith(ann["metadata"]["name"])
    assert "1 items are shown" in house.loomd("get", "memory", "-n", house.space, "--limit", "1").stderr
    assert len(json.loads(house.said("get", "memories", "-n", house.space, "-o", "json"))["items"]) == 1
    assert "nots" in house.loomd("get", "memory/nots", "-n", house.space).stderr
    refused = house.loomd("get", "agents", "-n", house.space, "--user", "ann")
    assert "--user: only what is remembered is narrowed by it" in refused.stderr


def test_a_memory_is_described(house: Folder) -> None:
    """With counts, sizes and times; an item with all that is known of it."""
    text = house.said("describe", "memory/notes", "-n", house.space)
    assert re.search(r"Remembered:\n  3 items, \d+ tokens, \d+\.\d KiB, \d with a vector\n", text), text
    assert "2 working" in text
    assert "3 of scope user" in text
    (one,) = items(house, "--user", "ann")
    item = house.said("describe", f"memoryitem/{one['metadata']['name']}", "-n", house.space)
    assert "My boat is red." in item
    assert "acme" in item


def test_forget(house: Folder) -> None:
    """By id, by whose it is, or all; what is gone is told by an event, and what is not there is refused."""
    (ann,) = items(house, "--user", "ann")
    name = ann["metadata"]["name"]
    assert "say what" in house.loomd("forget", "memory/notes", "-n", house.space).stderr
    assert "takes nothing" in house.loomd("forget", "memory/notes", "--all", name, "-n", house.space).stderr
    wrong = house.loomd("forget", "memory/notes", name, "m0", "-n", house.space)
    assert "'m0'" in wrong.stderr
    assert len(items(house)) == 3
    assert f"{name} forgotten" in house.said("forget", "memory/notes", name, "-n", house.space)
    assert items(house, "--user", "ann") == []
    assert house.said("forget", "memory", "notes", "--tenant", "acme", "-n", house.space).count("forgotten") == 1
    assert "nothing fits" in house.loomd("forget", "memory/notes", "--tenant", "acme", "-n", house.space).stderr
    house.said("forget", "memory/notes", "--all", "-n", house.space)
    assert items(house) == []
    told = house.said("events", "-n", house.space, "--type", "memory.forgotten", "-o", "json")
    assert name in told
    assert "boat" not in told
    assert "expected a memory" in house.loomd("forget", "agent/ada", "x", "-n", house.space).stderr
    assert "loomd forget" in house.loomd("delete", "memoryitem", name, "-n", house.space).stderr


def test_export(house: Folder) -> None:
    """Each item is a line of JSON with its provenance."""
    lines = house.said("export", "memory/notes", "-n", house.space).splitlines()
    found = [json.loads(line) for line in lines]
    assert {one["spec"]["text"] for one in found} >= {"My boat is red.", "The key is 77.\nNoted."}
    assert all(one["status"]["place"] and one["spec"]["agent"] == "ada" for one in found)
    house.said("export", "memory/notes", "-n", house.space, "-o", str(house.path / "notes.jsonl"))
    assert (house.path / "notes.jsonl").read_text().splitlines() == lines
    assert "expected a memory" in house.loomd("export", "memory", "-n", house.space).stderr
    assert "memory/NAME or blueprint/NAME" in house.loomd("export", "agent/ada", "-n", house.space).stderr


def test_past_tasks_of_a_cluster_are_forgotten(house: Folder) -> None:
    """Those of a tenant or all, told by an event that does not say whose; nothing else narrows them."""
    assert "say what: --tenant, --user, or --all" in house.loomd("forget", "cluster/team", "-n", house.space).stderr
    refused = house.loomd("forget", "cluster/team", "--session", "s1", "-n", house.space)
    assert "forgotten by --tenant and --user, or --all" in refused.stderr
    assert "teem" in house.loomd("forget", "cluster/teem", "--all", "-n", house.space).stderr
    assert house.said("forget", "cluster/team", "--user", "ann", "-n", house.space) == "1 past task forgotten\n"
    assert house.said("forget", "cluster/team", "--all", "-n", house.space) == "2 past tasks forgotten\n"
    assert "nothing fits" in house.loomd("forget", "cluster/team", "--tenant", "acme", "-n", house.space).stderr
    told = house.said("events", "-n", house.space, "--type", "history.forgotten", "-o", "json")
    assert '"count": 2' in told or '"count":2' in told
    assert "ann" not in told
