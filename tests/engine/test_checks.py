"""What interceptors and permissions decided stays decided when a task goes on; what is tightened holds at once."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loomd.agents.approval import Decision
from loomd.daemon import System
from loomd.events.event import CallChecked, Event, ToolErred
from loomd.events.journal import Journal
from tests.clocks import hold
from tests.engine.world import World, outcome, task_of, until

HOOK = '''
from pathlib import Path
from loomd.errors import Refused

HERE = Path(__file__).parent

def look(call):
    """Refuse as long as a file says so, and count."""
    with (HERE / "looks").open("a") as looks:
        looks.write(call["moment"] + "\\\\n")
    if (HERE / "refuse").exists():
        raise Refused("not now")
    if call["moment"] == "beforeTool":
        return {"arguments": {"word": "patched"}}
'''
LAST = {"when": "go", "text": "done", "delay": "300ms", "times": None}


def mark(word: str) -> dict[str, Any]:
    """Return a reply that marks."""
    return {"when": "go", "toolCalls": [{"name": "mark", "arguments": {"word": word}}]}


def interceptor(name: str, spec: str) -> str:
    """Return the manifest of an interceptor."""
    return f"\n---\napiVersion: loomd.dev/v1\nkind: Interceptor\nmetadata: {{name: {name}}}\nspec: {spec}\n"


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Return a world with a hook beside its manifests."""
    (tmp_path / "hook.py").write_text(HOOK.replace("\\\\n", "\\n"))
    return World(tmp_path)


def add(world: World, text: str) -> None:
    """Add manifests."""
    path = world.folder / "manifests.yaml"
    path.write_text(path.read_text() + text)


async def stop_at(system: System, task: str, fits: Callable[[Event], bool]) -> None:
    """Stop the engine as a shutdown does, once an event is there."""
    await until(system, fits, task)
    await system.engine.drain(0)


async def facts(system: System, task: str, kind: type) -> list[Any]:
    """Return the journaled facts of a type."""
    return [one.data async for one in Journal(system.store).replay(task=task) if isinstance(one.data, kind)]


@pytest.mark.parametrize("refused", [False, True])
async def test_what_was_decided_about_a_call_stays_decided(world: World, *, refused: bool) -> None:
    """An interceptor that would decide otherwise now is not asked again about a call that it has seen."""
    world.write([mark("a"), LAST], agent="interceptors: [hook]")
    add(world, interceptor("hook", "{type: python, file: hook.py, function: look, at: [beforeTool]}"))
    refuse = world.folder / "refuse"
    if refused:
        refuse.touch()
    async with world.open() as system:
        task = await system.engine.submit(task_of(system))
        await stop_at(
            system,
            task,
            lambda event: event.key == "step/execute/tool/0/0" or (refused and event.key == "step/execute/before/0/0"),
        )
    refuse.unlink(missing_ok=True) if refused else refuse.touch()
    async with world.open() as system:
        assert await system.engine.resume() == [task]
        assert outcome(await system.engine.result(task)) == ("Succeeded", "completed", "done")
    assert world.marks == ([] if refused else ["xpatched"])
    assert (world.folder / "looks").read_text() == "beforeTool\n"


async def test_a_killed_task_asks_about_no_call_twice(world: World) -> None:
    """Killed right after the decision, before the call: the recorded decision is what is called."""
    world.write([mark("a"), {"text": "done", "times": None}], agent="interceptors: [hook]")
    add(world, interceptor("hook", "{type: python, file: hook.py, function: look, at: [beforeTool, beforeRun]}"))
    world.kill_at("step.completed interceptors")
    before = (world.folder / "looks").read_text().count("beforeRun")
    async with world.open() as system:
        (task,) = await system.engine.resume()
        assert outcome(await system.engine.result(task)) == ("Succeeded", "completed", "done")
    looks = (world.folder / "looks").read_text().split()
    assert before == 1
    assert looks.count("beforeRun") == 1
    assert looks.count("beforeTool") == 1
    assert world.marks == ["xpatched"]


async def test_a_refused_model_call_stays_refused(world: World) -> None:
    """The refusal is the recorded answer of the step: on resume the work ends as it did."""
    world.write([{"text": "done", "times": None}], agent="interceptors: [hook]")
    add(world, interceptor("hook", "{type: python, file: hook.py, function: look, at: [afterModel]}"))
    (world.folder / "refuse").touch()
    world.kill_at("step.completed model")
    (world.folder / "refuse").unlink()
    async with world.open() as system:
        (task,) = await system.engine.resume()
        result = await system.engine.result(task)
        assert outcome(result) == ("Failed", "refused", "")
        assert "Interceptor/hook refused the model call: not now" in result.error


async def test_calls_are_counted_over_an_interruption(world: World) -> None:
    """Two calls before, one after: the third is beyond the limit, though the interceptor was opened anew."""
    slow = {**mark("c"), "delay": "300ms"}
    world.write([mark("a"), mark("b"), slow, LAST], agent="interceptors: [limit]")
    add(world, interceptor("limit", "{type: limit, perTool: {mark: 2}}"))
    async with world.open() as system:
        task = await system.engine.submit(task_of(system))
        await stop_at(system, task, lambda event: event.key == "step/execute/tool/1/0")
    async with world.open() as system:
        assert await system.engine.resume() == [task]
        assert outcome(await system.engine.result(task))[0] == "Succeeded"
        (erred,) = await facts(system, task, ToolErred)
        assert "a task may call mark 2 times" in erred.error
    assert world.marks == ["xa", "xb"]


@pytest.mark.parametrize("agent", ["permissions: {ask: ['mark(word=a)']}", "interceptors: [it]"], ids=["rule", "type"])
@pytest.mark.parametrize(
    ("verdict", "marks", "reason"), [("approved", ["xa"], "completed"), ("denied", [], "approval_denied")]
)
async def test_people_are_asked_about_a_call(
    world: World, agent: str, verdict: Any, marks: list[str], reason: str
) -> None:
    """The question outlives a restart, is about the arguments, and its answer holds for that one call."""
    world.write([mark("b"), mark("a"), {"when": "go", "text": "done", "times": None}], agent=agent)
    add(world, interceptor("it", "{type: approve, calls: ['mark(word=a)']}"))
    async with world.open() as system:
        task = await system.engine.submit(task_of(system))
        await stop_at(system, task, lambda event: event.type == "approval.requested")
    assert world.marks == ["xb"]
    async with world.open() as system:
        assert await system.engine.resume() == [task]
        async with asyncio.timeout(60):
            while not (asked := await system.store.list_approvals(pending=True)):  # noqa: ASYNC110  # nobody tells
                await asyncio.sleep(0.01)
        (question,) = asked
        assert b'"word":"a"' in question.body
        await system.engine.decide(question.id, Decision(verdict, "ann"))
        assert outcome(await system.engine.result(task))[1] == reason
    assert world.marks == ["xb", *marks]


@pytest.mark.parametrize(
    ("before", "after", "marks"),
    [
        ("permissions: {}", "permissions: {deny: [mark]}", ["xa"]),
        ("permissions: {}", "permissions: {deny: ['mark(word=b)']}", ["xa"]),
        ("permissions: {allow: [mark]}", "permissions: {allow: [nap]}", ["xa"]),
        ("permissions: {deny: ['mark(word=b)']}", "permissions: {}", ["xa"]),
        ("permissions: {deny: ['mark(word=c)']}", "permissions: {}", ["xa", "xb"]),
    ],
)
async def test_what_is_tightened_holds_for_running_tasks(
    world: World, before: str, after: str, marks: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rule that is added refuses the next call of a running task; one that is removed stays for those that run."""
    go = hold(monkeypatch)
    slow = {**mark("b"), "delay": "1s"}
    world.write([mark("a"), slow, {"when": "go", "text": "done", "times": None}], agent=before)
    async with world.open() as system:
        task = await system.engine.submit(task_of(system))
        await until(system, lambda event: event.key == "step/execute/tool/0/0", task)
        world.edit(before, after)
        await system.reconciler.apply(world.delivery())
        go.set()
        assert outcome(await system.engine.result(task)) == ("Succeeded", "completed", "done")
        checked = await facts(system, task, CallChecked)
        assert [one.by for one in checked] == ["permissions"] * (2 - len(marks))
    assert world.marks == marks
