"""Only what manifests name is imported: the specs of their kinds, and of each folder the types that they name."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any, cast

import pytest
from pydantic import TypeAdapter, ValidationError

from loomd.amoeba.policies.threshold import Threshold
from loomd.cluster.kind import ClusterSpec
from loomd.interceptors.base import InterceptorSpec
from loomd.manifest.oneof import OneOf, find_type, find_types, read_written
from loomd.providers.base import ProviderSpec
from loomd.tools.base import ToolSpec

LOADS = """
import sys
from pathlib import Path
from loomd.manifest.load import load
from loomd.manifest.source import SourceFile
text = '''
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: canned}
spec: {type: scripted, replies: [{text: hello}]}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: helper}
spec: {provider: canned}
'''
load([SourceFile(Path(), "manifests.yaml", text.encode())])
print(*(name for name in sys.modules if name.startswith("loomd.")))
"""


def test_what_no_manifest_names_is_not_imported() -> None:
    """No other type of provider, no spec of another kind, no policy that is not the default."""
    core = {**os.environ, "LOOMD_TYPES": "core"}
    done = subprocess.run([sys.executable, "-c", LOADS], env=core, capture_output=True, text=True, check=True)  # noqa: S603  # our own words
    loaded = set(done.stdout.split())
    assert {"loomd.providers.scripted", "loomd.agents.kind", "loomd.amoeba.policies.auction"} <= loaded
    others = {"providers.openai", "providers.gemini", "knowledge.spec", "memory.base", "tools.base", "trials.spec"}
    parts = ("amoeba.policies.judge", "agents.strategies.react", "memory.summary")
    assert not {f"loomd.{one}" for one in (*others, *parts)} & loaded


def test_a_type_is_the_same_however_it_is_found() -> None:
    """By its name alone or among all of its folder; a module that is called so and holds no type is none."""
    for folder, base in (
        ("loomd.providers", ProviderSpec),
        ("loomd.tools", ToolSpec),
        ("loomd.interceptors", InterceptorSpec),
    ):
        for name, found in find_types(folder, base).items():
            assert find_type(folder, base, name) is found
        for name in ("base", "kind", "nothing.here", "../x", ""):
            assert find_type(folder, base, name) is None


def test_python_programs_may_use_the_names_of_fields() -> None:
    """On every level, by words or by JSON; a manifest has names of its own, and is refused those of fields."""
    given = {"agents": ["a"], "scale": {"type": "threshold", "max_depth": 1}}
    for made in (
        ClusterSpec(**cast("Any", given)),
        ClusterSpec.model_validate(given),
        ClusterSpec.model_validate_json('{"agents": ["a"], "scale": {"type": "threshold", "max_depth": 1}}'),
        ClusterSpec.model_validate({**given, "scale": {"type": "threshold", "maxDepth": 1}}),
    ):
        assert made.scale == Threshold(type="threshold", max_depth=1)
    adapter = TypeAdapter(ClusterSpec)
    written = {**given, "scale": {"type": "threshold", "maxDepth": 1}}
    assert read_written(adapter, written).scale == Threshold(type="threshold", max_depth=1)
    with pytest.raises(ValidationError, match=r"scale\.threshold\.max_depth\s+Extra inputs are not permitted"):
        read_written(adapter, given)


SHAPES = """
from abc import ABC, abstractmethod
from typing import Literal
from loomd.manifest.kind import Spec

class Shape(Spec, ABC):
    @abstractmethod
    def area(self) -> float: ...
"""
BOX = """
from typing import Literal
from shapes_of_a_test.base import Shape

class Box(Shape):
    type: Literal["box"]
    sides: tuple[float, float]

    def area(self) -> float:
        return self.sides[0] * self.sides[1]
"""


def test_json_is_read_as_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """JSON has no tuples, so a list of it is one; a list in Python is none. Errors name what was to be read."""
    folder = tmp_path / "shapes_of_a_test"
    folder.mkdir()
    for name, text in (("__init__", ""), ("base", SHAPES), ("box", BOX)):
        (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    base = __import__("shapes_of_a_test.base", fromlist=["Shape"]).Shape
    adapter = TypeAdapter[Any](cast("Any", Annotated)[base, OneOf("shapes_of_a_test")])
    assert adapter.validate_json('{"type": "box", "sides": [2, 3]}').area() == 6
    with pytest.raises(ValidationError, match=r"(?s)\[Shape.*box\.sides\s+Input should be a valid tuple"):
        adapter.validate_python({"type": "box", "sides": [2.0, 3.0]})
