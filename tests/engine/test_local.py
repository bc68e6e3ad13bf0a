"""The engine on a real store: what is recorded is never done twice."""

import asyncio
import gc
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from loomd.amoeba.expect import Expect
from loomd.amoeba.task import Budget
from loomd.daemon import Settings, System, open_system
from loomd.engine.intake import new_task
from loomd.errors import Conflict, NotFound
from loomd.events.cluster import AgentSplit
from loomd.events.event import (
    Event,
    PhaseCompleted,
    PhaseStarted,
    TaskCompleted,
    TaskFailed,
    TaskStarted,
)
from loomd.manifest.delivery import Delivery
from loomd.manifest.source import SourceFile, read_path
from loomd.testing import run_manifests
from tests import nursery
from tests.clocks import be_late

PHASES = ["sense", "match", "scale", "execute", "evaluate", "adapt"]
SYSTEM = """
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: script}
spec:
  type: scripted
  replies:
    - {when: mark, toolCalls: [{name: mark, arguments: {}}]}
    - {when: mark, text: marked}
    - {when: slow, text: late, delay: 1m}
    - {when: fail, error: permanent, text: the account is closed}
    - {when: "split*ann@example", system: You split a request, times: null, json: {leaked: true}}
    - when: split
      system: You split a request
      times: null
      json: {parts: [{goal: left, needs: []}, {goal: right, needs: []}, {goal: both, needs: [1, 2]}]}
    - {when: left, text: L}
    - {when: right, text: R}
    - {when: "both", text: LR}
    - {when: "*", text: plain}
---
apiVersion: loomd.dev/v1
kind: Tool
metadata: {name: mark}
spec:
  type: python
  file: tool.py
  function: mark
  description: Makes a mark.
  effects: write
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: ada}
spec: {description: Does things., provider: script, tools: [mark]}
"""
TOOL = '''
from pathlib import Path

def mark() -> str:
    """Add a line to the file beside this one."""
    with (Path(__file__).parent / "marks").open("a") as file:
        file.write("x")
    return "done"
'''
KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from loomd.daemon import Settings, open_system
from loomd.engine.intake import new_task
from loomd.manifest.delivery import Delivery
from loomd.manifest.source import read_path

folder, at, goal = Path(sys.argv[1]), sys.argv[2], sys.argv[3]

def hear(event):
    if f"{event.type} {getattr(event.data, 'phase', '') or getattr(event.data, 'name', '')}".strip() == at:
        asyncio.get_running_loop().create_task(die(event.seq))

async def die(seq):
    await store.durable(seq)
    os.kill(os.getpid(), signal.SIGKILL)

async def main():
    global store
    async with open_system(Settings(folder / "state", folder / "models", folder / "s")) as system:
        store = system.store
        await system.reconciler.apply(Delivery("test", tuple(read_path(folder / "manifests.yaml"))))
        system.bus.subscribe(hear)
        await system.engine.result(await system.engine.submit(new_task(goal, system.clock)))

asyncio.run(main())
"""


SPLIT = "Compare and analyse, then split; then report in detail; and also conclude"
HIDE = """---
apiVersion: loomd.dev/v1
kind: Interceptor
metadata: {name: hide}
spec: {type: redact, detectors: [email]}
"""


async def until_execute(events: AsyncIterator[Event], task: str) -> None:
    """Wait until a task executes."""
    async for event in events:
        if event.task == task and isinstance(event.data, PhaseStarted) and event.data.phase == "execute":
            return


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a working system."""
    (tmp_path / "tool.py").write_text(TOOL)
    (tmp_path / "manifests.yaml").write_text(SYSTEM)
    return tmp_path


def settings(folder: Path) -> Settings:
    """Return the settings for a folder."""
    return Settings(folder / "state", folder / "models", folder / "s")


async def apply(system: System, folder: Path) -> None:
    """Make the folder's manifests serve."""
    await system.reconciler.apply(Delivery("test", (SourceFile(folder, "manifests.yaml", SYSTEM.encode()),)))


async def test_six_phases_are_recorded_in_order(folder: Path) -> None:
    """Every phase leaves a checkpoint with its explanation, and the task an answer."""
    ran = await run_manifests(SYSTEM, "anything", folder)
    assert ran.result.phase == "Succeeded"
    assert [fact.phase for fact in ran.facts(PhaseCompleted)] == PHASES
    assert all(fact.why for fact in ran.facts(PhaseCompleted))
    assert ran.result.executed is not None
    assert ran.result.executed.outcome.output == "plain"
    assert len(ran.facts(TaskCompleted)) == 1


async def test_all_that_a_task_held_goes_when_it_ends(folder: Path) -> None:
    """Nothing of it refers to itself in a circle, so that Python has not to look for it among everything that lives."""
    async with open_system(settings(folder)) as system:
        await apply(system, folder)
        await system.engine.result(
            await system.engine.submit(new_task("left", system.clock))
        )  # loads what is loaded once
        gc.collect()
        gc.disable()
        try:
            for goal in ("right", "both", "anything"):
                await system.engine.result(await system.engine.submit(new_task(goal, system.clock)))
            found = gc.collect()
        finally:
            gc.enable()
    assert found < 30


@pytest.mark.parametrize("at", [*(f"phase.completed {phase}" for phase in PHASES), "step.completed tool:mark"])
async def test_a_killed_task_goes_on_and_repeats_nothing(folder: Path, at: str) -> None:
    """Kill -9 after any checkpoint: the restarted engine finishes the task, and the tool ran once."""
    killed = await asyncio.to_thread(nursery.run, [sys.executable, "-c", KILLED, str(folder), at, "mark"])
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    async with open_system(settings(folder)) as system:
        await apply(system, folder)
        events: list[Event] = []
        system.bus.subscribe(events.append)
        (record,) = await system.store.list_tasks()
        resumed = await system.engine.resume()
        assert resumed == ([] if record.result else [record.id])
        result = await system.engine.result(record.id)
        rerun = [e.data.phase for e in events if isinstance(e.data, PhaseCompleted)]
    assert result.phase == "Succeeded"
    assert result.executed is not None
    assert result.executed.outcome.output == "marked"
    assert (folder / "marks").read_text() == "x"
    first = PHASES.index(at.split()[1]) + 1 if at.startswith("phase") else PHASES.index("execute")
    assert rerun == PHASES[len(PHASES) - len(rerun) :]
    assert len(rerun) <= len(PHASES) - first


async def test_an_effect_that_may_have_happened_is_not_repeated(folder: Path) -> None:
    """Killed between the intent and the record of a write: the task ends and says that the outcome is unknown."""
    await asyncio.to_thread(nursery.run, [sys.executable, "-c", KILLED, str(folder), "step.started tool:mark", "mark"])
    made = (folder / "marks").read_text() if (folder / "marks").exists() else ""
    async with open_system(settings(folder)) as system:
        await apply(system, folder)
        (task,) = await system.engine.resume()
        result = await system.engine.result(task)
    assert result.executed is not None
    assert (result.phase, result.executed.outcome.stop_reason) == ("Failed", "uncertain")
    assert "tool:mark was begun before an interruption" in result.error
    assert ((folder / "marks").read_text() if (folder / "marks").exists() else "") == made


async def test_a_split_runs_children_and_passes_results_along_the_edges(folder: Path) -> None:
    """Siblings start before either ends; the dependent part sees both results; usage adds up."""
    ran = await run_manifests(SYSTEM, SPLIT, folder)
    assert ran.result.executed is not None
    (split,) = ran.facts(AgentSplit)
    assert split.goals == ("left", "right", "both")
    assert ran.result.executed.children == split.children
    order = [(e.type, e.task.rpartition(".")[2]) for e in ran.events if e.parent and e.type.startswith("task.")]
    assert order.index(("task.started", "2")) < order.index(("task.completed", "1"))
    assert order.index(("task.started", "3")) > order.index(("task.completed", "2"))
    third = next(e for e in ran.events if isinstance(e.data, TaskStarted) and e.task.endswith(".3"))
    assert third.parent == ran.result.task.id
    assert ran.result.executed.outcome.steps == 4
    assert ran.result.phase == "Succeeded"


async def test_a_failed_part_does_not_lose_the_others(folder: Path) -> None:
    """What there is is put together, what is missing is named, and the evaluation knows."""
    broken = SYSTEM.replace("{when: right, text: R}", "{when: right, error: permanent, text: gone}")
    ran = await run_manifests(
        broken, "Compare and analyse, then split; then report in detail; and also conclude", folder
    )
    assert ran.result.phase == "Succeeded"
    assert ran.result.executed is not None
    assert ran.result.evaluated is not None
    assert ran.result.executed.missing == ("right",)
    assert ran.result.evaluated.reliability < 1.0
    assert [fact.error for fact in ran.facts(TaskFailed)] == ["script/scripted: gone"]


async def test_a_failing_provider_fails_the_task_with_its_words(folder: Path) -> None:
    """The task ends Failed, with the provider's message, and teaches that the agent failed."""
    ran = await run_manifests(SYSTEM, "fail", folder)
    assert ran.result.phase == "Failed"
    assert ran.result.error == "script/scripted: the account is closed"
    assert ran.result.evaluated is not None
    assert ran.result.evaluated.reward == 0.0
    assert ran.result.adapted is not None
    assert ran.result.adapted.moves[0].after < ran.result.adapted.moves[0].before


async def test_expectations_count(folder: Path) -> None:
    """What the task expects becomes evidence."""
    ran = await run_manifests(SYSTEM, "anything", folder, expect=Expect(contains=("purple",)))
    assert ran.result.evaluated is not None
    assert 'it contains "purple": 0.00' in ran.result.evaluated.evidence


async def test_what_was_learned_survives_a_restart(folder: Path) -> None:
    """The second run starts from the score that the first one left."""
    first = await run_manifests(SYSTEM, "anything", folder)
    second = await run_manifests(SYSTEM, "anything", folder)
    assert first.result.adapted is not None
    assert second.result.adapted is not None
    before = second.result.adapted.moves[0].before
    assert before == pytest.approx(first.result.adapted.moves[0].after, abs=1e-4), "moments take nothing of it"


@pytest.mark.parametrize(
    ("old", "new", "keep", "count"),
    [
        pytest.param("Does things.", "Does all sorts of things.", 0.3, 3, id="description"),
        pytest.param("spec: {description", "spec: {prompt: Be brief., description", 0.5, 2, id="prompt"),
        pytest.param("type: scripted", "type: scripted\n  model: other", 0.3, 1, id="model"),
        pytest.param("type: scripted", "type: scripted\n  model: other", 0.0, 1, id="learned-anew"),
    ],
)
async def test_scores_belong_to_what_the_agent_does(folder: Path, old: str, new: str, keep: float, count: int) -> None:
    """Another prompt or model starts from what was learned, which counts less; other words about it change nothing."""
    team = "---\napiVersion: loomd.dev/v1\nkind: Cluster\nmetadata: {name: default}\n"
    system = f"{SYSTEM}{team}spec: {{agents: [ada], learning: {{keep: {keep}}}}}\n"
    await run_manifests(system, "anything", folder)
    first = await run_manifests(system, "anything", folder)
    second = await run_manifests(system.replace(old, new), "anything", folder)
    assert first.result.adapted is not None
    assert second.result.adapted is not None
    before, after = first.result.adapted.moves[0], second.result.adapted.moves[0]
    assert after.before == pytest.approx(before.after if keep else 0.3, abs=1e-4)
    assert after.count == count
    assert f"step {1 / (count + 1):.2f}" in after.reason, "the less sure, the larger the step"


async def test_cancel_ends_a_task_at_once(folder: Path) -> None:
    """A cancelled task is stored as such and not resumed."""
    async with open_system(settings(folder)) as system:
        await apply(system, folder)
        at_once = await system.engine.submit(new_task("slow", system.clock))
        await system.engine.cancel(at_once)
        async with system.bus.stream() as events:
            task = await system.engine.submit(new_task("slow", system.clock))
            await until_execute(events, task)
            await system.engine.cancel(task)
        for ended in (at_once, task):
            assert (await system.engine.result(ended)).phase == "Cancelled"
        assert await system.engine.resume() == []


async def test_cancel_reaches_the_parts(folder: Path) -> None:
    """A split task that is cancelled leaves no part running."""
    slow = SYSTEM.replace("{when: left, text: L}", "{when: left, text: L, delay: 1m}")
    async with open_system(settings(folder)) as system:
        await system.reconciler.apply(Delivery("test", (SourceFile(folder, "manifests.yaml", slow.encode()),)))
        async with system.bus.stream() as events:
            task = await system.engine.submit(new_task(SPLIT, system.clock))
            await until_execute(events, f"{task}.1")
            await system.engine.cancel(task)
        records = {record.id: record.phase for record in await system.store.list_tasks()}
    assert records[task] == records[f"{task}.1"] == "Cancelled"


async def test_a_cancelled_split_keeps_what_its_parts_brought(folder: Path) -> None:
    """The answers of parts that have ended are its partial result, with what they used."""
    slow = SYSTEM.replace("{when: right, text: R}", "{when: right, text: R, delay: 1m}")
    async with open_system(settings(folder)) as system:
        await system.reconciler.apply(Delivery("test", (SourceFile(folder, "manifests.yaml", slow.encode()),)))
        async with system.bus.stream() as events:
            task = await system.engine.submit(new_task(SPLIT, system.clock))
            async for event in events:
                if event.task == f"{task}.1" and isinstance(event.data, TaskCompleted):
                    break
            await system.engine.cancel(task)
        result = await system.engine.result(task)
    assert result.executed is not None
    outcome = result.executed.outcome
    assert (result.phase, outcome.stop_reason, outcome.output) == ("Cancelled", "cancelled", "left\nL")
    assert outcome.usage.total > 0


async def test_a_task_waits_for_a_cluster_that_does_not_serve(folder: Path) -> None:
    """A restart on broken manifests fails no task: it goes on when they are mended."""
    async with open_system(settings(folder)) as system:
        await apply(system, folder)
        task = await system.engine.submit(new_task("slow", system.clock))
        await system.engine.drain(0)
    async with open_system(settings(folder)) as system:
        assert await system.engine.resume() == []
        record = await system.store.get_task(task)
        assert record is not None
        assert record.result == b""
        await apply(system, folder)
        assert await system.engine.resume() == [task]


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        pytest.param("{when: empty, text: ''}", "there is no answer", id="empty"),
        pytest.param("{when: empty, text: late, delay: 1h}", "ended as budget_time", id="out-of-time"),
    ],
)
async def test_no_answer_is_a_failure(folder: Path, reply: str, error: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task without an answer never counts as done, whatever was not raised."""
    be_late(120, monkeypatch)
    silent = SYSTEM.replace("    - {when: slow", f"    - {reply}\n    - {{when: slow")
    ran = await run_manifests(silent, "empty", folder, budget=Budget(seconds=120.0))
    assert ran.result.phase == "Failed"
    assert error in ran.result.error


async def test_the_deadline_holds_for_the_whole_tree(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts that follow each other share one deadline; a part that missed it is missing."""
    be_late(120, monkeypatch)
    slow = SYSTEM.replace("text: R}", "text: R, delay: 1h}")
    ran = await run_manifests(slow, SPLIT, folder, budget=Budget(seconds=120.0))
    assert ran.result.executed is not None
    assert "right" in ran.result.executed.missing
    assert ran.result.executed.outcome.seconds < 240
    assert ran.result.executed.outcome.stop_reason == "budget_time"


async def test_planning_goes_through_the_interceptors(folder: Path) -> None:
    """What an interceptor hides never reaches the model or its answers, not even in the plan."""
    hidden = SYSTEM.replace("tools: [mark]", "tools: [mark], interceptors: [hide]") + HIDE
    ran = await run_manifests(hidden, f"{SPLIT} to ann@example.com", folder)
    assert [fact.goals[0] for fact in ran.facts(AgentSplit)] == ["left"]
    assert ran.result.phase == "Succeeded"


async def test_a_drained_engine_takes_nothing_and_leaves_tasks_resumable(folder: Path) -> None:
    """Shutting down loses no task: it is unfinished, and goes on later."""
    async with open_system(settings(folder)) as system:
        await apply(system, folder)
        task = await system.engine.submit(new_task("slow", system.clock))
        await system.engine.drain(0)
        with pytest.raises(Conflict, match="shutting down"):
            await system.engine.submit(new_task("more", system.clock))
        with pytest.raises(Conflict, match="when the daemon starts again"):
            await system.engine.result(task)
    async with open_system(settings(folder)) as system:
        await apply(system, folder)
        assert await system.engine.resume() == [task]


OTHER = """---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: bob}
spec: {description: Compares and analyses and splits., provider: script, domains: {things: 1.0}}
---
apiVersion: loomd.dev/v1
kind: Cluster
metadata: {name: desk}
spec: {agents: [bob]}
---
apiVersion: loomd.dev/v1
kind: Cluster
metadata: {name: bench}
spec: {agents: [ada]}
"""


async def test_a_task_may_name_its_agent(folder: Path) -> None:
    """It goes to the cluster of that agent, which does it alone, whatever others would bid and however large it is."""
    (folder / "manifests.yaml").write_text(SYSTEM + OTHER)
    async with open_system(settings(folder)) as system:
        await system.reconciler.apply(Delivery("test", tuple(read_path(folder / "manifests.yaml"))))
        result = await system.engine.result(await system.engine.submit(new_task(SPLIT, system.clock, agent="ada")))
        assert result.matched is not None
        assert result.executed is not None
        assert (result.task.cluster, result.matched.winner, result.matched.bids) == ("bench", "ada", ())
        assert result.executed.children == ()
        with pytest.raises(NotFound, match="Agent/bob is not a member of the cluster; members: ada"):
            await system.engine.submit(new_task("x", system.clock, cluster="bench", agent="bob"))
        with pytest.raises(NotFound, match='there is no agent "adda" in namespace "default": did you mean "ada"'):
            await system.engine.submit(new_task("x", system.clock, agent="adda"))


async def test_a_task_for_nobody_is_refused(folder: Path) -> None:
    """An unknown cluster, or a namespace without agents, is said before the task is accepted."""
    async with open_system(settings(folder)) as system:
        with pytest.raises(NotFound, match="has no agents"):
            await system.engine.submit(new_task("x", system.clock))
        await apply(system, folder)
        with pytest.raises(NotFound, match="there: default"):
            await system.engine.submit(new_task("x", system.clock, cluster="team"))
        assert await system.store.list_tasks() == []
