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
