"""Comparing snapshots."""

from pathlib import Path

import pytest

from loomd.manifest.load import load
from loomd.manifest.object import EMPTY, Snapshot
from loomd.manifest.source import SourceFile
from loomd.reconcile.plan import diff

BASE = """
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: script}
spec:
  type: scripted
  replies: [{text: hello}]
"""


def snapshot(text: str, root: Path = Path("/r")) -> Snapshot:
    """Load one file."""
    return load([SourceFile(root, "a.yaml", text.encode())])


def lines(old: Snapshot, new: Snapshot) -> list[str]:
    """Return the plan's lines."""
    return [str(change) for change in diff(old, new).changes]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (BASE, "Provider/script unchanged"),
        (BASE.replace("type: scripted", "type: scripted\n  model: scripted"), "Provider/script unchanged"),
        (BASE.replace("hello", "bye"), "Provider/script changed: spec.replies"),
        (BASE.replace("type: scripted", "type: scripted\n  model: x"), "Provider/script changed: spec.model"),
        (
            BASE.replace("{name: script}", "{name: script, labels: {a: b}}"),
            "Provider/script changed: metadata.labels.a",
        ),
    ],
    ids=["same", "default-spelled-out", "list", "field", "label"],
)
def test_an_object_is_compared_field_by_field(text: str, expected: str) -> None:
    """A change names the fields that differ; a default that is written out is no change."""
    assert lines(snapshot(BASE), snapshot(text)) == [expected]


def test_objects_come_and_go() -> None:
    """What is new is created, what is gone is deleted, last."""
    other = BASE.replace("name: script", "name: other")
    assert lines(EMPTY, snapshot(BASE)) == ["Provider/script created"]
    assert lines(snapshot(BASE), snapshot(other)) == ["Provider/other created", "Provider/script deleted"]


def test_another_root_is_a_change() -> None:
    """Relative paths mean other files when the root moves."""
    assert lines(snapshot(BASE), snapshot(BASE, Path("/s"))) == ["Provider/script changed: root"]


AGENT = """---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: ada, labels: {team: law}}
spec: {description: Knows law., provider: script}
"""
CLUSTER = """---
apiVersion: loomd.dev/v1
kind: Cluster
metadata: {name: desk}
spec: {agentSelector: {matchLabels: {team: law}}}
"""


def test_what_selectors_select_is_named() -> None:
    """Nothing stands in the cluster of who comes and goes by labels, so the plan says it."""
    old, bob = snapshot(BASE + AGENT + CLUSTER), AGENT.replace("name: ada", "name: bob")
    new = snapshot(BASE + bob + CLUSTER)
    assert "Cluster/desk changed: it selects Agent/bob, it no longer selects Agent/ada" in lines(old, new)
    edited = snapshot(BASE + AGENT.replace("Knows", "Knows all") + CLUSTER)
    assert lines(old, edited)[1:] == ["Agent/ada changed: spec.description", "Cluster/desk unchanged"]
