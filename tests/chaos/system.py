"""What the crash suite runs: an agent system whose effects are lines in a file outside, and the tasks given to it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Literal

Sort = Literal["plain", "mark", "fixed", "nap", "post", "guard", "split", "slow"]
"""What a task does: nothing, three writes, two repeatable writes, wait, wait for a signal, ask people, split, take
longer than anybody waits."""

SHARES: dict[Sort, int] = {
    "plain": 10,
    "mark": 30,
    "fixed": 20,
    "nap": 10,
    "post": 8,
    "guard": 8,
    "split": 10,
    "slow": 4,
}
"""Of a hundred tasks, how many are of each sort."""
GOALS: dict[Sort, str] = {
    "split": "Compare and analyse, then split; then report in detail; and also conclude",
}
PARTS = ("left mark", "right fixed", "both plain")
"""Goals of the parts of every split; the third needs the others."""
NAP = 0.2
"""Seconds that a task of that sort waits."""


def _call(*calls: tuple[str, dict[str, object]]) -> dict[str, object]:
    return {"delay": "5ms", "toolCalls": [{"name": name, "arguments": arguments} for name, arguments in calls]}


def _say(text: str) -> dict[str, object]:
    return {"times": None, "delay": "10ms", "text": text}


_PLAN = {"parts": [{"goal": goal, "needs": [1, 2] if at == 2 else []} for at, goal in enumerate(PARTS)]}
_SLOW = {"parts": [{"goal": f"{side} slow", "needs": []} for side in ("left", "right")]}
_REPLIES: list[dict[str, object]] = [
    {"when": "split*slow", "system": "You split a request", "times": None, "json": _SLOW},
    {"when": "split", "system": "You split a request", "times": None, "delay": "10ms", "json": _PLAN},
    {"when": "slow", "times": None, "delay": "10m", "text": "late"},
    {"when": "both", **_say("LR")},
    {"when": "left", **_call(("mark", {"word": "left"}))},
    {"when": "left", **_say("L")},
    {"when": "right", **_call(("fixed", {"word": "right"}))},
    {"when": "right", **_say("R")},
    {"when": "mark", **_call(("mark", {"word": "a"}), ("mark", {"word": "b"}))},
    {"when": "mark", **_call(("mark", {"word": "c"}))},
    {"when": "mark", **_say("marked")},
    {"when": "fixed", **_call(("fixed", {"word": "a"}), ("fixed", {"word": "b"}))},
    {"when": "fixed", **_say("fixed")},
    {"when": "nap", **_call(("nap", {"seconds": NAP}))},
    {"when": "nap", **_say("rested")},
    {"when": "post", **_call(("post", {}))},
    {"when": "post", **_say("read")},
    {"when": "guard", **_call(("guard", {"word": "g"}))},
    {"when": "guard", **_say("guarded")},
    _say("plain"),
]
_TOOL = "apiVersion: loomd.dev/v1\nkind: Tool\nmetadata: {name: NAME}\nspec: {SPEC}\n---\n"
_TOOLS = {
    "mark": "type: python, file: tool.py, function: effect, effects: write",
    "fixed": "type: python, file: tool.py, function: effect, effects: write, idempotent: true",
    "guard": "type: python, file: tool.py, function: effect, effects: external, approval: {required: always}",
    "nap": "type: wait",
    "post": "type: signal, signal: post",
}
_AGENT = """apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: NAME}
spec:
  description: Does things.
  provider: script
  domains: {work: 0.5}
  tools: [mark, fixed, guard, nap, post]
---
"""
_PROVIDER = """apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: script}
spec: {type: scripted, replies: REPLIES}
---
"""
_CLUSTER = "apiVersion: loomd.dev/v1\nkind: Cluster\nmetadata: {name: team}\nspec: {agents: [ada, bob], merge: join}\n"
_CODE = '''
import os
import time
from pathlib import Path
from loomd.tools.context import ToolContext

EFFECTS = os.open(Path(__file__).parent.parent / "effects", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def effect(context: ToolContext, word: str) -> str:
    """Add a line to a file."""
    time.sleep(0.002)
    os.write(EFFECTS, f"{context.key} {word} {time.time():.6f}\\n".encode())
    time.sleep(0.002)
    return word
'''


def write_system(folder: Path) -> None:
    """Write the manifests into a folder; the effects go into the file `effects` beside that folder."""
    folder.mkdir(parents=True, exist_ok=True)
    text = _PROVIDER.replace("REPLIES", json.dumps(_REPLIES))
    text += "".join(_TOOL.replace("NAME", name).replace("SPEC", spec) for name, spec in _TOOLS.items())
    text += "".join(_AGENT.replace("NAME", name) for name in ("ada", "bob")) + _CLUSTER
    (folder / "team.yaml").write_text(text)
    (folder / "tool.py").write_text(_CODE)


@dataclass(frozen=True)
class Wish:
    """A task that is to be submitted."""

    number: int
    sort: Sort

    @property
    def goal(self) -> str:
        """Return it in words; the number tells it from all others."""
        return f"{GOALS.get(self.sort, self.sort)} #{self.number}"


def wishes(draw: Random, count: int) -> Iterator[Wish]:
    """Yield so many tasks, of all sorts."""
    sorts: list[Sort] = list(SHARES)
    for number, sort in enumerate(draw.choices(sorts, list(SHARES.values()), k=count)):
        yield Wish(number, sort)


def sort_of(goal: str) -> Sort:
    """Return the sort of a task by its goal."""
    sorts: list[Sort] = list(SHARES)
    for sort in sorts:
        if goal.startswith(GOALS.get(sort, sort)):
            return sort
    return "plain"
