"""Reload after reload while tasks run: what the storm test and its benchmark share."""

import asyncio
import gc
import time
from dataclasses import dataclass, field
from pathlib import Path

from loomd.daemon import System
from loomd.engine.intake import new_task
from loomd.manifest.delivery import Delivery
from loomd.manifest.source import SourceFile

TOOL = '''
async def weather(city: str) -> str:
    """Return the weather in a city."""
    return f"{city}: sunny"
'''
TEAM = """
apiVersion: loomd.dev/v1
kind: Provider
metadata: {{name: model}}
spec:
  type: scripted
  replies:
    - {{toolCalls: [{{name: weather, arguments: {{city: Paris}}}}]}}
    - {{text: It is sunny., delay: {delay}, times: null}}
---
apiVersion: loomd.dev/v1
kind: Tool
metadata: {{name: weather}}
spec: {{type: python, file: weather.py, function: weather, description: Looks the weather up ({number}).}}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {{name: ada}}
spec: {{description: Looks up the weather., prompt: "Answer briefly ({number}).", provider: model, tools: [weather]}}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {{name: bob}}
spec: {{description: Looks up the weather too., provider: model, tools: [weather]}}
---
apiVersion: loomd.dev/v1
kind: Cluster
metadata: {{name: desk}}
spec: {{agents: [ada, bob]}}
"""


@dataclass
class Storm:
    """What was seen.

    Attributes:
        tasks: how many ended as they should.
        failures: what became of those that did not.
        reloads: seconds that each reload took.
        live: the most topologies that were open at a time.
        memory: resident KiB of the process, at the start, at every tenth of the reloads, and at the end.
    """

    tasks: int = 0
    failures: list[str] = field(default_factory=list)
    reloads: list[float] = field(default_factory=list)
    live: int = 0
    memory: list[int] = field(default_factory=list)


async def storm(system: System, folder: Path, reloads: int, lanes: int, delay: str) -> Storm:
    """Reload a system again and again while every lane runs one task after another.

    Args:
        system: a system that serves nothing yet.
        folder: where the tool is written.
        reloads: how many.
        lanes: how many tasks run at a time.
        delay: how long the model takes for an answer.
    """
    seen = Storm()
    (folder / "weather.py").write_text(TOOL)
    over = asyncio.Event()

    async def lane() -> None:
        while not over.is_set():
            task = new_task("What is the weather in Paris?", system.clock, cluster="desk")
            result = await system.engine.result(await system.engine.submit(task))
            outcome = result.executed.outcome if result.executed else None
            if result.phase == "Succeeded" and outcome is not None and outcome.tools == ("weather",):
                seen.tasks += 1
            else:
                seen.failures.append(f"{result.phase}: {result.error or outcome}")

    await _serve(system, folder, 0, delay)
    async with asyncio.TaskGroup() as group:
        for _ in range(lanes):
            group.create_task(lane())
        for number in range(1, reloads + 1):
            begun = time.perf_counter()
            await _serve(system, folder, number, delay)
            seen.reloads.append(time.perf_counter() - begun)
            seen.live = max(seen.live, system.reconciler.live)
            if number == 1 or number % max(1, reloads // 10) == 0:
                gc.collect()
                seen.memory.append(resident())
            await asyncio.sleep(0)
        over.set()
    return seen


async def _serve(system: System, folder: Path, number: int, delay: str) -> None:
    text = TEAM.format(number=number, delay=delay)
    await system.reconciler.apply(Delivery("storm", (SourceFile(folder, "team.yaml", text.encode()),)))


def resident() -> int:
    """Return the KiB of memory that this process holds now."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))
