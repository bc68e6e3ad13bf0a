"""Only what manifests name is imported: the specs of their kinds, and of each folder the types that they name."""

import os
import subprocess
import sys

from loomd.interceptors.base import InterceptorSpec
from loomd.manifest.oneof import find_type, find_types
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
    assert not {f"loomd.{one}" for one in (*others, "amoeba.policies.judge", "agents.strategies.react")} & loaded


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
