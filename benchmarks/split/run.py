"""Tasks that split: how much longer than the longest path they take, and what comes of them when parts fail.

    python benchmarks/split/run.py [--quick] [--json FILE]

`path`: a task is split into four parts of a model that takes 50 ms, journal on; its time over that of plan, part and
merge one after another, which is the critical path: the least of many runs, and their median.

`long`: 40 tasks that are split into five parts each with edges between them, twenty at a time, on two agents of which
each fails at a third of the parts, drawn by a fixed seed. A part that one of them failed goes to the other; what both
fail at must be named as missing, and nothing else. Told is in how many tasks the budget was exceeded, how many results
of parts are not in the answer, how many parts are missing that somebody could do, and which share of the parts came,
with and without another try.

`estimate`: the same 40 tasks, four at a time, with more to read, in a cluster that learns: by how much SENSE is off in
what they take, their parts included, in the mean of the first four, when nothing is known, and of the last ten. With
an embedder it hears of past tasks; without one it has the correction of the domain alone, which the parts share.
"""

import argparse
import asyncio
import json
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec

from loomd.amoeba.learning import Calibrate
from loomd.amoeba.task import Budget, Result
from loomd.daemon import Settings, System, open_system
from loomd.engine.intake import new_task
from loomd.manifest.delivery import Delivery
from loomd.manifest.source import SourceFile

MODEL = 0.05
"""Seconds that the model takes for an answer."""
FAILING = 1 / 3
"""Share of the parts at which each agent fails."""
TOKENS = 20_000
"""Budget of a long task."""
AT_ONCE = 20
NEEDS = ([], [1], [1], [2, 3], [])
"""The edges of each plan, part by part."""
USED = {"usage": {"input": 200, "output": 50}}
LONG = {"usage": {"input": 1800, "output": 400}}
"""What a part takes whose estimate is looked at."""
FEW = 4
"""Tasks at once, and how many are done when nothing is known."""
LAST = 10


def manifests(
    providers: dict[str, list[dict[str, Any]]],
    scale: dict[str, Any],
    planner: str,
    merge: str,
    more: dict[str, Any] | None = None,
) -> bytes:
    """Return a cluster with one agent for each provider; `more` are fields of it."""
    head = {"apiVersion": "loomd.dev/v1"}
    documents: list[dict[str, Any]] = []
    for name, replies in providers.items():
        spec = {"type": "scripted", "replies": replies}
        documents.append({**head, "kind": "Provider", "metadata": {"name": name}, "spec": spec})
        agent = {"provider": name, "description": "Does parts.", "domains": {"general": 0.5}}
        documents.append({**head, "kind": "Agent", "metadata": {"name": name}, "spec": agent})
    spec = {"agents": list(providers), "planner": planner, "merge": merge, "scale": scale}
    spec["learning"] = {"modes": {"calibrate": "off"}}  # these tasks are quick: a cluster would soon not split them
    if more is not None:
        spec = {**spec, **more}
        documents.append({**head, "kind": "Embedder", "metadata": {"name": "words"}, "spec": {"type": "hash"}})
    documents.append({**head, "kind": "Cluster", "metadata": {"name": "team"}, "spec": spec})
    return "\n---\n".join(map(json.dumps, documents)).encode()


async def serve(system: System, folder: Path, text: bytes) -> None:
    """Let manifests serve."""
    await system.reconciler.apply(Delivery("bench", (SourceFile(folder, "team.yaml", text),)))


async def path(folder: Path, rounds: int) -> dict[str, float]:
    """Return the time of a split over its critical path."""
    plan = {"parts": [{"goal": f"part {name}", "needs": []} for name in ("north", "east", "south", "west")]}
    delay = {"delay": f"{MODEL * 1000:.0f}ms", "times": None, **USED}
    replies = [{"system": "You split a request", "json": plan, **delay}, {"text": "done", **delay}]
    took: list[float] = []
    async with open_system(Settings(folder / "state", folder / "models", folder / "s")) as system:
        await serve(
            system,
            folder,
            manifests({"ada": replies}, {"type": "threshold", "complexity": 0.0, "maxDepth": 1}, "ada", "model"),
        )
        for _ in range(rounds):
            task = new_task("Look around", system.clock)
            began = time.perf_counter()
            result = await system.engine.result(await system.engine.submit(task))
            took.append(time.perf_counter() - began)
            if result.executed is None or len(result.executed.children) != len(plan["parts"]):
                raise SystemExit(f"not split: {result.error}")
    best, median = min(took) / (3 * MODEL), statistics.median(took) / (3 * MODEL)
    return {"1 to 4, time x path": round(median, 3), "1 to 4, least time x path": round(best, 3)}


def script(goals: list[list[str]], failing: set[str], used: dict[str, Any] = USED) -> list[dict[str, Any]]:
    """Return what an agent says: a plan for each task, an answer for each part but those at which it fails."""
    replies: list[dict[str, Any]] = []
    for number, parts in enumerate(goals):
        plan = {"parts": [{"goal": goal, "needs": needs} for goal, needs in zip(parts, NEEDS, strict=True)]}
        job = {"when": f"job {number:02} ", "system": "You split a request", "times": None, **used}
        replies.append({**job, "json": plan})
        for goal in parts:
            own = {"when": f"own part:*{goal}", "times": None}
            failed = {"error": "permanent", "text": "it cannot be done"}
            replies.append({**own, **failed} if goal in failing else {**own, "text": f"<{goal}>", **used})
    return replies


async def long(folder: Path, tasks: int, retries: int) -> dict[str, float]:
    """Return what came of tasks whose parts fail."""
    return judge(*await work(folder, tasks, retries, AT_ONCE))


async def work(
    folder: Path,
    tasks: int,
    retries: int,
    at_once: int,
    used: dict[str, Any] = USED,
    more: dict[str, Any] | None = None,
) -> tuple[list[Result], dict[str, set[str]]]:
    """Return what became of tasks whose parts fail, in the order in which they ended, and who fails at what."""
    draw = random.Random(7)  # the same failures in every run
    goals = [[f"job {number:02} step {step}" for step in range(1, len(NEEDS) + 1)] for number in range(tasks)]
    every = [goal for parts in goals for goal in parts]
    failing = {name: {goal for goal in every if draw.random() < FAILING} for name in ("ada", "bob")}
    scale = {"type": "threshold", "complexity": 0.0, "maxDepth": 1, "retries": retries}
    results: list[Result] = []
    limit = asyncio.Semaphore(at_once)
    async with open_system(Settings(folder / "state", folder / "models", folder / "s")) as system:
        providers = {name: script(goals, failing[name], used) for name in failing}
        await serve(system, folder, manifests(providers, scale, "ada", "join", more))

        async def one(number: int) -> None:
            async with limit:
                task = new_task(f"job {number:02} from begin to end", system.clock, seed=number)
                task = msgspec.structs.replace(task, budget=Budget(tokens=TOKENS))
                results.append(await system.engine.result(await system.engine.submit(task)))

        async with asyncio.TaskGroup() as group:
            for number in range(tasks):
                group.create_task(one(number))
    return results, failing


async def estimate(folder: Path, tasks: int, more: dict[str, Any]) -> dict[str, float]:
    """Return by how much complexity is estimated wrong at first and at last, of 1."""
    results, _ = await work(folder, tasks, 1, FEW, LONG, {"learning": {}, **more})
    rules = Calibrate()
    errors: list[float] = []
    for result in results:
        if result.executed is None or result.sensed is None or not result.scaled or not result.scaled.subtasks:
            raise SystemExit(f"{result.task.goal}: not split: {result.error}")
        outcome = result.executed.outcome
        errors.append(abs(result.sensed.complexity - rules.observed(outcome.usage.total, outcome.seconds)))
    first, last = statistics.mean(errors[:FEW]), statistics.mean(errors[-LAST:])
    return {"off at first": round(first, 3), "off at last": round(last, 3), "last over first": round(last / first, 3)}


def judge(results: list[Result], failing: dict[str, set[str]]) -> dict[str, float]:
    """Return the figures of long tasks."""
    hopeless = failing["ada"] & failing["bob"]
    exceeded = lost = avoidable = parts = missing = 0
    for result in results:
        executed, scaled = result.executed, result.scaled
        if executed is None or scaled is None or len(scaled.subtasks) != len(NEEDS):
            raise SystemExit(f"{result.task.goal}: not split: {result.error}")
        gone = set(executed.missing)
        parts, missing = parts + len(NEEDS), missing + len(gone)
        exceeded += executed.outcome.usage.total > TOKENS
        avoidable += len(gone - hopeless)
        lost += sum(f"<{part.goal}>" not in result.output for part in scaled.subtasks if part.goal not in gone)
    return {
        "budgets exceeded": float(exceeded),
        "results lost": float(lost),
        "missing that another could do": float(avoidable),
        "parts that came": round(1 - missing / parts, 3),
    }


async def measure(*, quick: bool) -> dict[str, Any]:
    """Return all figures."""
    with tempfile.TemporaryDirectory() as folder:
        figures: dict[str, Any] = await path(Path(folder), 10 if quick else 40)
    for name, retries in (("long", 1), ("long, without retries", 0)):
        with tempfile.TemporaryDirectory() as folder:
            figures[name] = await long(Path(folder), 10 if quick else 40, retries)
    for name, more in (("estimate", {"embedder": "words"}), ("estimate, without past tasks", {})):
        with tempfile.TemporaryDirectory() as folder:
            figures[name] = await estimate(Path(folder), 20 if quick else 40, more)
    return figures


def main() -> None:
    """Measure, print, and keep the figures where it is said."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer runs")
    parser.add_argument("--json", type=Path, help="write the figures there")
    chosen = parser.parse_args()
    figures = asyncio.run(measure(quick=chosen.quick))
    text = json.dumps(figures, indent=2)
    print(text)
    if chosen.json is not None:
        chosen.json.write_text(text)


if __name__ == "__main__":
    main()
