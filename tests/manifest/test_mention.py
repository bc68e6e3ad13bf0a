"""Names that are spoken of: what is refused, what is a warning, and what has no end."""

from pathlib import Path

import pytest

from loomd.agents import done
from loomd.agents.skills import TOOL
from loomd.interceptors.base import OWN
from loomd.manifest.load import load
from loomd.manifest.mentioned import MAX_TOLD
from loomd.manifest.problem import Problems
from loomd.manifest.source import SourceFile

LIMIT = """
apiVersion: loomd.dev/v1
kind: Interceptor
metadata: {name: few}
spec: {type: limit, perTool: {NAMES}}
---
apiVersion: loomd.dev/v1
kind: Tool
metadata: {name: nap}
spec: {type: wait}
"""
AGENT = """
---
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: p}
spec: {type: scripted, replies: [{text: x}]}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: ada}
spec: {provider: p, tools: [nap], permissions: {deny: [nip]}}
"""


def files(text: str) -> list[SourceFile]:
    """Return a set of one file."""
    return [SourceFile(Path("/"), "it.yaml", text.encode())]


def test_what_may_still_come_is_a_warning() -> None:
    """Where references may lead to what is not there yet, a name may, too; the same set alone is refused."""
    text = LIMIT.replace("NAMES", "nip: 1")
    (warning,) = load(files(text), pending=True).warnings
    assert (warning.severity, warning.code, warning.hint) == ("warning", "unresolved-reference", 'did you mean "nap"?')
    with pytest.raises(Problems, match=r'it.yaml:5:31: .*expected the name of a tool, got "nip"'):
        load(files(text))


def test_a_permission_that_means_nothing_is_never_accepted() -> None:
    """What an agent may not do is about its own tools, which are listed beside it: there is nothing to wait for."""
    with pytest.raises(Problems, match=r'expected a tool of this agent, got "nip" \(did you mean "nap"'):
        load(files(LIMIT.replace("NAMES", "nap: 1") + AGENT), pending=True)


def test_many_wrong_names_have_an_end() -> None:
    """Of a file with very many of them the first are told, and that there are more."""
    names = ", ".join(f"x{number}: 1" for number in range(3 * MAX_TOLD))
    with pytest.raises(Problems) as caught:
        load(files(LIMIT.replace("NAMES", names)))
    codes = [one.code for one in caught.value.problems]
    assert (codes.count("unresolved-reference"), codes.count("too-many-problems")) == (MAX_TOLD, 1)


def test_the_names_of_our_own_tools_are_known() -> None:
    """Interceptors know the tools that agents have from loomd, whose names are declared where those are."""
    assert set(OWN) == {TOOL, done.NAME}
