"""Budgets on the command line: `get budgets` and `describe`, at a real daemon."""

import json

import pytest

from tests.cli.terminal import Folder

TEAM = """
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: script, namespace: SPACE}
spec: {type: scripted, replies: [{text: Hello., times: null, usage: {input: 80, output: 20}}]}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: ada, namespace: SPACE}
spec: {provider: script, maxTokens: 20, budgets: {daily: {tokens: 250, cost: 5}}}
---
apiVersion: loomd.dev/v1
kind: Cluster
metadata: {name: team, namespace: SPACE}
spec: {agents: [ada], budgets: {daily: {calls: 9}}}
"""


@pytest.fixture
def house(folder: Folder) -> Folder:
    """Return a folder whose agent has a budget and has used some of it."""
    (folder.path / "team.yaml").write_text(TEAM.replace("SPACE", folder.space))
    folder.apply()
    folder.said("submit", "hello", "-n", folder.space, "--wait")
    return folder


def test_budgets_are_listed(house: Folder) -> None:
    """Used of what may be used, by agent and for the namespace; and as data with what is left."""
    table = house.said("get", "budgets", "-n", house.space).splitlines()
    assert table[0].split("  ")[0] == "BUDGET"
    rows = {line.split()[0]: line for line in table[1:]}
    assert list(rows) == ["namespace", "agent.ada"]
    assert "100/250" in rows["agent.ada"]
    assert "0/5" in rows["agent.ada"]
    assert "1/9" in rows["namespace"]
    item = json.loads(house.said("get", "budgets", "agent.ada", "-n", house.space, "-o", "json"))
    assert (item["kind"], item["spec"]["of"]) == ("Budget", "Agent/ada")
    assert item["status"]["measures"]["tokens"] == {"used": 100, "held": 0, "limit": 250, "left": 150}
    assert item["status"]["opens"].endswith("T00:00:00Z")
    assert "agent.ada" in house.loomd("get", "budgets", "agent.adda", "-n", house.space).stderr


def test_a_budget_is_described(house: Folder) -> None:
    """By its own name, and with the agent or the cluster that declares it."""
    for what in ("budget/agent.ada", "agent/ada"):
        lines = [line.split() for line in house.said("describe", what, "-n", house.space).splitlines()]
        assert ["tokens", "100", "250", "150"] in lines
    lines = [line.split() for line in house.said("describe", "cluster/team", "-n", house.space).splitlines()]
    assert ["calls", "1", "9", "8"] in lines
    assert ["tokens", "100"] in lines
