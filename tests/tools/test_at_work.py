"""Tools in the hands of an agent, from manifests to the outcome, and after a kill."""

import json
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import loomd
from loomd.errors import Permanent
from loomd.events.event import Event, ToolCompleted, ToolErred
from loomd.testing import run_manifests
from tests.engine.world import World, outcome

MANIFESTS = """
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: script}
spec: {type: scripted, replies: REPLIES}
---
apiVersion: loomd.dev/v1
kind: Tool
metadata: {name: numbers}
spec: {type: python, file: tool.py, function: numbers, effects: read, maxOutput: 1Ki, cost: 0.3}
---
apiVersion: loomd.dev/v1
kind: Tool
metadata: {name: more}
spec: {type: result, maxOutput: 2Ki}
---
apiVersion: loomd.dev/v1
kind: Tool
metadata: {name: sum}
spec: {type: calculator}
---
apiVersion: loomd.dev/v1
kind: Tool
metadata: {name: notes}
spec: {type: files, folder: .notes, write: true, effects: write}
---
apiVersion: loomd.dev/v1
kind: Tool
metadata: {name: count}
spec:
  type: shell
  sandbox: none
  description: Counts lines.
  command: [wc, -l]
  stdin: "{text}"
  parameters: {type: object, properties: {text: {type: string}}, required: [text]}
  effects: read
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: ada}
spec:
  description: Does things.
  provider: script
  tools: [numbers, more, sum, notes, count]
  toolContext: {tenant: acme, region: eu}
  limits: {cost: 1.0, steps: 12}
"""
TOOL = '''
from pathlib import Path
from loomd.tools.context import ToolContext

async def numbers(count: int, context: ToolContext) -> str:
    """Return many numbers."""
    with (Path(__file__).parent / "marks").open("a") as file:
        file.write("x\\n")
    return f"{context.metadata['tenant']} {context.agent} " + " ".join(str(n) for n in range(count))
'''


def call(tool: str, **arguments: object) -> dict[str, Any]:
    """Return a reply that calls a tool."""
    return {"toolCalls": [{"name": tool, "arguments": arguments}]}


def read_on(name: str, first: int) -> dict[str, Any]:
    """Return a reply that reads on in a result."""
    return call("more", **{"name": name, "from": first})


def write(folder: Path, *replies: Mapping[str, Any]) -> str:
    """Write what the manifests need, and return them."""
    (folder / "tool.py").write_text(textwrap.dedent(TOOL))
    (folder / ".notes").mkdir(exist_ok=True)
    text = MANIFESTS.replace("REPLIES", json.dumps(replies))
    (folder / "manifests.yaml").write_text(text)
    return text


WHOSE = """
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: script}
spec: {type: scripted, replies: REPLIES}
---
apiVersion: loomd.dev/v1
kind: Tool
metadata: {name: whose}
spec: {type: python, file: whose.py, function: whose, effects: read}
---
apiVersion: loomd.dev/v1
kind: Tool
metadata: {name: told}
spec:
  type: shell
  command: [printf, "%s|", "{word}", "{context.session}", "{context.tenant}/{context.user}",
    "{context.region}", "{context.no}"]
  parameters: {type: object, properties: {word: {type: string}}}
  sandbox: none
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: bo}
spec: {description: Is asked., provider: script, tools: [whose], toolContext: {region: us}}
---
apiVersion: loomd.dev/v1
kind: Tool
metadata: {name: bo}
spec: {type: agent, agent: bo, description: Asks Bo.}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: ada}
spec: {provider: script, tools: [whose, told, bo], toolContext: {tenant: acme, region: eu}}
"""
WHOSE_CODE = '''
from loomd.tools.context import ToolContext

def whose(context: ToolContext) -> list:
    """Return who asks."""
    return [context.session, context.tenant, context.user, context.region]
'''


async def test_a_tool_is_told_who_it_works_for(tmp_path: Path) -> None:
    """Session, tenant, user and what the manifest says are attributes and placeholders, below a delegation, too."""
    (tmp_path / "whose.py").write_text(WHOSE_CODE)
    replies = [
        {"when": "go", **call("whose")},
        {"when": "go", **call("told", **{"word": "w", "context.no": "forged"})},
        {"when": "go", **call("bo", goal="ask")},
        {"when": "ask", **call("whose")},
        {"text": "done", "times": None},
    ]
    (tmp_path / "manifests.yaml").write_text(WHOSE.replace("REPLIES", json.dumps(replies)))
    found: list[str] = []

    def hear(event: Event) -> None:
        if isinstance(event.data, ToolCompleted):
            found.append(event.data.result)

    async with loomd.open(tmp_path / "manifests.yaml", state=tmp_path / "state", listener=hear) as system:
        result = await system.run("go", agent="ada", session="s1", tenant="t", user="ann")
    assert result.phase == "Succeeded", result.error
    assert found == [
        '["s1","t","ann","eu"]',
        "w|s1|t/ann|eu|",
        '["s1","t","ann","us"]',
        "done",
    ]


async def test_an_agent_works_with_built_in_tools(tmp_path: Path) -> None:
    """It computes, runs a program, writes a note and reads it again."""
    text = write(
        tmp_path,
        call("sum", expression="6 * 7"),
        call("count", text="a\nb\n"),
        call("notes", action="write", path="a.md", text="forty-two"),
        call("notes", action="read", path="a.md"),
        {"text": "done"},
    )
    ran = await run_manifests(text, "go", tmp_path)
    assert [fact.result for fact in ran.facts(ToolCompleted)] == [
        "42",
        "2",
        '"a.md" was written, 9 characters',
        "forty-two",
    ]
    assert (tmp_path / ".notes" / "a.md").read_text() == "forty-two"


async def test_a_long_result_is_read_on(tmp_path: Path) -> None:
    """The model is shown the beginning of a long result with its name, and reads the rest piece by piece."""
    text = write(
        tmp_path,
        call("numbers", count=1000),
        read_on("r0-0", 1024),
        read_on("r0-0", 3800),
        read_on("r0-0", 9999),
        read_on("r9-9", 0),
        {"text": "done"},
    )
    ran = await run_manifests(text, "go", tmp_path)
    whole = "acme ada " + " ".join(str(n) for n in range(1000))
    pieces = [fact.result for fact in ran.facts(ToolCompleted)]
    assert pieces[0] == whole[:500]
    assert pieces[1] == whole[1024:1524]
    assert pieces[2].startswith(whole[3800:])
    assert pieces[2].endswith(f'\n[result "r0-0": characters 3800 to {len(whole)} of {len(whole)}; this is the end]')
    assert [fact.error for fact in ran.facts(ToolErred)] == [
        f'result "r0-0" has {len(whole)} characters, from 9999 there is nothing',
        'there is no result "r9-9" that was cut: the name stands in [cut: ...]',
    ]


async def test_what_tools_cost_is_part_of_the_budget(tmp_path: Path) -> None:
    """Calls are booked, and one that would exceed the budget is refused; calls of one turn count together."""
    many = {"toolCalls": [{"name": "numbers", "arguments": {"count": n}} for n in range(5)]}
    text = write(tmp_path, many, {"text": "done"})
    ran = await run_manifests(text, "go", tmp_path)
    assert ran.result.executed is not None
    assert ran.result.executed.outcome.cost == pytest.approx(0.9)
    assert len(ran.facts(ToolCompleted)) == 3
    refusals = {fact.error for fact in ran.facts(ToolErred)}
    assert refusals == {"the call costs 0.3 USD, and 0.1 USD are left: go on without it"}


async def test_after_a_kill(tmp_path: Path) -> None:
    """A task that goes on knows the long results and the costs of before, and makes no call again."""
    write(tmp_path, call("numbers", count=1000), read_on("r0-0", 3800), {"text": "done"})
    world = World(tmp_path)
    world.kill_at("step.completed tool:numbers")
    heard: list[str] = []
    async with world.open(apply=False) as system:
        system.bus.subscribe(
            lambda event: heard.append(event.data.result) if isinstance(event.data, ToolCompleted) else None
        )
        (task,) = await system.engine.resume()
        result = await system.engine.result(task)
    assert outcome(result) == ("Succeeded", "completed", "done")
    assert len(heard) == 1
    assert "characters 3800 to" in heard[0]
    assert result.executed is not None
    assert result.executed.outcome.cost == pytest.approx(0.3)
    assert world.marks == ["x"]


PACKAGED = """
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: script}
spec: {type: scripted, replies: [{toolCalls: [{name: dedent, arguments: {text: "  a"}}]}, {text: done}]}
---
apiVersion: loomd.dev/v1
kind: Tool
metadata: {name: dedent}
spec: {type: python, package: textwrap, function: dedent}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: ada}
spec: {description: Does things., provider: script, tools: [dedent]}
"""


async def test_a_package_that_the_daemon_allows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the settings allow reaches the tools of whatever system they are for."""
    monkeypatch.setenv("LOOMD_ALLOW_PACKAGES", "json, textwrap")
    ran = await run_manifests(PACKAGED, "go", tmp_path)
    assert [fact.result for fact in ran.facts(ToolCompleted)] == ["a"]
    monkeypatch.setenv("LOOMD_ALLOW_PACKAGES", "json")
    with pytest.raises(Permanent, match='"textwrap" is not allowed here, allowed are: json'):
        await run_manifests(PACKAGED, "go", tmp_path / "other")
