"""What a task costs besides the model: all six phases, journal on, with a scripted provider that answers at once.

    python benchmarks/loop/run.py [--quick] [--json FILE] [--profile]

CPU (user + system, all threads) per task at concurrency 1 and 100, the least of several rounds in one runtime; a task
ends when its result is on disk. `tool` tasks call a Python tool once, so they have two model steps and a tool step.
`N agents` is a cluster of so many that bid for each task. `late` is a system that has done thousands of tasks beside a
new one, block by block in turn: nothing may grow with the number of tasks done. `unkept` tasks leave nothing on disk
(`durability: none`); `step` is what one of their steps costs beside the call itself. `past` is a cluster that compares
tasks by meaning and has kept 10,000 of them: what SENSE looks at for a goal whose vector is known, and the first time,
when they are read.
"""

import argparse
import asyncio
import cProfile
import json
import pstats
import resource
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from loomd.amoeba.task import Durability
from loomd.cluster.cluster import Cluster
from loomd.daemon import Settings, System, open_system
from loomd.engine.intake import new_task
from loomd.engine.lent import Lent
from loomd.engine.mailbox import Mailbox
from loomd.engine.record import TaskRecorder
from loomd.events.bus import Scope
from loomd.garbage import collect_seldom
from loomd.manifest.delivery import Delivery
from loomd.manifest.object import Ref
from loomd.manifest.source import SourceFile
from loomd.store.records import Experience, Learned

MANIFEST = """
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: script}
spec: {type: scripted, replies: [{text: "It is sunny and 21 degrees in Paris today, with a light wind.", times: null}]}
---
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: calls}
spec:
  type: scripted
  replies:
    - {toolCalls: [{name: weather, arguments: {city: Paris}}]}
    - {text: "It is sunny and 21 degrees in Paris today, with a light wind.", times: null}
---
apiVersion: loomd.dev/v1
kind: Tool
metadata: {name: weather}
spec: {type: python, file: weather.py, function: weather}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: ada}
spec: {description: Answers questions about the weather., provider: script}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: bob}
spec: {description: Looks up the weather., provider: calls, tools: [weather]}
---
apiVersion: loomd.dev/v1
kind: Cluster
metadata: {name: plain}
spec: {agents: [ada]}
---
apiVersion: loomd.dev/v1
kind: Cluster
metadata: {name: tool}
spec: {agents: [bob]}
"""
MEMBER = """
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: member-NUMBER}
spec: {description: Knows subject NUMBER., provider: script, domains: {subject-NUMBER: 0.6, weather: 0.5}}
"""
CROWD = """
---
apiVersion: loomd.dev/v1
kind: Cluster
metadata: {name: crowd-SIZE}
spec: {agents: [MEMBERS]}
"""
PAST = """
---
apiVersion: loomd.dev/v1
kind: Embedder
metadata: {name: words}
spec: {type: hash}
---
apiVersion: loomd.dev/v1
kind: Cluster
metadata: {name: past}
spec: {agents: [ada], embedder: words}
"""
KEPT = 10_000
SIZES = (10, 100)
TOOL = '''
async def weather(city: str) -> str:
    """Return the weather in a city."""
    return f"{city}: sunny-21C"
'''


def manifest() -> str:
    """Return all manifests; the agents of the crowds declare a domain of their own and one that all have."""
    text = MANIFEST + PAST + "".join(MEMBER.replace("NUMBER", str(number)) for number in range(max(SIZES)))
    for size in SIZES:
        members = ", ".join(f"member-{number}" for number in range(size))
        text += CROWD.replace("SIZE", str(size)).replace("MEMBERS", members)
    return text


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def block(
    system: System, cluster: str, tasks: int, concurrency: int, durability: Durability = "steps"
) -> tuple[float, float]:
    """Run tasks in lanes and return CPU microseconds and wall microseconds per task."""

    async def lane(count: int) -> None:
        for _ in range(count):
            task = new_task("What is the weather in Paris?", system.clock, cluster=cluster, seed=1)
            task = msgspec.structs.replace(task, durability=durability)
            result = await system.engine.result(await system.engine.submit(task))
            outcome = result.executed.outcome if result.executed else None
            if outcome is None or "21 degrees" not in outcome.output or len(outcome.tools) != (cluster == "tool"):
                raise RuntimeError(f"not the expected answer: {result}")

    before, start = cpu(), time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(lane(tasks // concurrency))
    done = tasks // concurrency * concurrency
    return (cpu() - before) / done * 1e6, (time.perf_counter() - start) / done * 1e6


async def step(system: System) -> float:
    """Return the CPU microseconds of one step of a task of which nothing is kept, beside the call itself."""

    async def do() -> str:
        return "done"

    async def nothing(*_: object) -> Any:
        return None

    task = msgspec.structs.replace(new_task("go", system.clock), durability="none")
    mailbox = Mailbox(system.store, system.clock)
    lent = Lent(system.services, mailbox, nothing, nothing, nothing, nothing, lambda: None, lambda: False)
    recorder = TaskRecorder(task, lent, Scope(system.bus, task.id, kept=False), {})
    count, before = 50_000, time.process_time()
    for _ in range(count):
        await do()
    between = time.process_time()
    for number in range(count):
        await recorder.step(f"execute/model/{number}", "model", do, str, once=True)
    return ((time.process_time() - between) - (between - before)) / count * 1e6


async def past(system: System) -> dict[str, float]:
    """Return the microseconds in which SENSE has what it looks at, where 10,000 tasks are kept: least, and first."""
    cluster = system.reconciler.topology.live[Ref("Cluster", "past", "default")]
    if not isinstance(cluster, Cluster) or cluster.roster.embedder is None:
        raise TypeError("no cluster with an embedder")
    kept: list[Experience] = []
    for number in range(KEPT):
        goal = f"What is the weather in place {number} on day {number * 7 % 365}?"
        task = new_task(goal, system.clock)
        vector = await cluster.roster.vector(goal)
        assert vector is not None
        mark, data = cluster.roster.embedder.fingerprint, vector.astype("float16").tobytes()
        one = Experience(
            task=task.id,
            namespace="default",
            cluster="past",
            goal=goal,
            embedder=mark,
            vector=data,
            domains={"ada": 1.0},
            complexity=0.1,
            tokens=100,
            seconds=1.0,
            steps=1,
            children=0,
            reward=0.8,
            created=float(number),
        )
        kept.append(one)
    for at in range(0, KEPT, 500):
        await system.store.learning.change(Learned(experience=kept[at : at + 500]))
    asked = new_task("What is the weather in place 77 on day 174?", system.clock)
    times: list[float] = []
    for _ in range(200):
        before = time.perf_counter()
        signals = await cluster.signals(asked)
        times.append((time.perf_counter() - before) * 1e6)
        if len(signals.neighbours) != cluster.learning.history.neighbours:
            raise RuntimeError(f"expected past tasks, got {signals.neighbours}")
    return {"past, first wall us": times[0], "past, wall us": min(times[1:])}


@asynccontextmanager
async def opened() -> AsyncGenerator[System, None]:
    """Yield a system with the clusters, which has done a few tasks."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "weather.py").write_text(TOOL, "utf-8")
        async with open_system(Settings(folder / "state", folder / "models", folder / "socket")) as system:
            await system.reconciler.apply(Delivery("bench", (SourceFile(folder, "bench.yaml", manifest().encode()),)))
            await block(system, "plain", 100, 10)
            await block(system, "tool", 100, 10)
            yield system


async def late(system: System, rounds: int, tasks: int) -> float:
    """Return the CPU of a task in a system that has done many over that in a new one, of each the least."""
    async with opened() as new:
        both = [[(await block(one, "plain", tasks, 100))[0] for one in (system, new)] for _ in range(rounds)]
    return min(used for used, _ in both) / min(used for _, used in both)


async def measure(rounds: int, tasks: int) -> dict[str, float]:
    """Return all figures."""
    async with opened() as system:
        found: dict[str, float] = {}
        shapes = {"plain, 100 at once": ("plain", tasks, 100), "plain, one by one": ("plain", tasks // 10, 1)}
        shapes["tool, 100 at once"] = ("tool", tasks, 100)
        for size in SIZES:
            shapes[f"{size} agents, 100 at once"] = (f"crowd-{size}", tasks, 100)
            await block(system, f"crowd-{size}", 100, 10)
        for _ in range(rounds):
            for label, shape in shapes.items():
                used, wall = await block(system, *shape)
                found[f"{label}, cpu us"] = min(used, found.get(f"{label}, cpu us", used))
                found[f"{label}, wall us"] = min(wall, found.get(f"{label}, wall us", wall))
        unkept = [(await block(system, "plain", tasks, 100, "none"))[0] for _ in range(rounds)]
        found["unkept, 100 at once, cpu us"] = min(unkept)
        found["unkept step, cpu us"] = min([await step(system) for _ in range(rounds)])
        found |= await past(system)
        found["late over first"] = await late(system, rounds, tasks // 2)
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--profile", action="store_true", help="show where the time goes instead")
    given = parser.parse_args()
    collect_seldom()  # as the daemon does
    if given.profile:
        with cProfile.Profile(time.process_time) as profile:
            asyncio.run(measure(1, 2000))
        pstats.Stats(profile).sort_stats("tottime").print_stats(40)
        return
    found = asyncio.run(measure(3, 500) if given.quick else measure(6, 2000))
    for key, value in found.items():
        print(f"{key:32}{value:10.2f}")
    if given.json:
        given.json.write_text(json.dumps(found, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
