"""Names that are spoken of: what is refused, what is a warning, and what has no end."""

import itertools
import random
import time
from dataclasses import replace
from pathlib import Path

import pytest

from loomd.agents import done
from loomd.agents.skills import TOOL
from loomd.interceptors.base import OWN
from loomd.manifest.call_pattern import read_calls
from loomd.manifest.convert import Converted, convert
from loomd.manifest.document import read_documents
from loomd.manifest.kind import find_kinds
from loomd.manifest.load import load
from loomd.manifest.mention import Mention
from loomd.manifest.mentioned import MAX_TOLD, find_unknown
from loomd.manifest.object import Ref
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


def converted(text: str) -> list[Converted]:
    """Return what became of the documents of a file."""
    return [convert(one, find_kinds(), Path("/")) for one in read_documents(text.encode(), "it.yaml")[0]]


@pytest.mark.parametrize(
    ("spoken", "unknown"), [("tool-{}-x", 0), ("tool-{}-*", 0), ("*-{}-x", 0), ("tip-{}", 101), ("*-{}-y", 101)]
)
def test_very_many_names_are_judged_at_once(spoken: str, unknown: int) -> None:
    """Each is looked up among all that there are, instead of compared with every one."""
    limit, tool = converted(LIMIT.replace("NAMES", "nap: 1"))
    ((pointer, _, mention),) = limit.mentions
    tools = [replace(tool, ref=Ref("Tool", f"tool-{number}-x")) for number in range(8_000)]
    mentions = tuple((pointer, spoken.format(number), mention) for number in range(4_000))
    begun = time.process_time()
    assert len(list(find_unknown([replace(limit, mentions=mentions), *tools], pending=False))) == unknown
    assert time.process_time() - begun < 5  # each with each are 32 million


def test_a_name_is_known_when_it_meets_one_that_is_there() -> None:
    """Among many names and beginnings of names it is found as when it is compared with each of them."""
    dice = random.Random(3)
    _, tool = converted(LIMIT.replace("NAMES", "nap: 1"))
    (toolset,) = converted("{apiVersion: loomd.dev/v1, kind: Tool, metadata: {name: b}, spec: {type: mcp, url: []}}")
    assert toolset.object is None  # what it brings begins as its name does
    texts = ["".join(one) for size in (1, 2, 3) for one in itertools.product("ab", repeat=size)]
    globs = ["".join(one) for size in (1, 2, 3, 4) for one in itertools.product("ab*", repeat=size)]
    mention = Mention("Tool")
    for _ in range(30):
        names, begin = dice.sample(texts, dice.randint(0, 4)), dice.sample(texts, dice.randint(0, 1))
        there = [replace(tool, ref=Ref("Tool", name)) for name in names]
        there += [replace(toolset, ref=Ref("Tool", name)) for name in begin if name not in names]
        patterns = [*names, *(f"{name}*" for name in begin if name not in names)]
        for glob in globs:
            meets = any(read_calls(glob).tool.meets(read_calls(one).tool) for one in patterns)
            asking = replace(tool, ref=Ref("Interceptor", "few"), mentions=(("/spec", glob, mention),))
            assert bool(list(find_unknown([asking, *there], pending=False))) is not meets, (glob, patterns)


def test_the_names_of_our_own_tools_are_known() -> None:
    """Interceptors know the tools that agents have from loomd, whose names are declared where those are."""
    assert set(OWN) == {TOOL, done.NAME}
