"""A small system whose tools count their effects in files, and processes that run it and may be killed."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from loomd.amoeba.task import Durability, Result, Task
from loomd.daemon import Settings, System, open_system
from loomd.engine.intake import new_task
from loomd.events.event import Event
from loomd.events.journal import Journal
from loomd.manifest.delivery import Delivery
from loomd.manifest.source import read_path
from tests import nursery

MANIFESTS = """
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: script}
spec:
  type: scripted
  replies: REPLIES
---
apiVersion: loomd.dev/v1
kind: Tool
metadata: {name: mark}
spec: {type: python, file: tool.py, function: mark, effects: write, MORE}
---
apiVersion: loomd.dev/v1
kind: Tool
metadata: {name: steady}
spec: {type: python, file: tool.py, function: steady, effects: write, idempotent: true}
---
apiVersion: loomd.dev/v1
kind: Tool
metadata: {name: nap}
spec: {type: wait}
---
apiVersion: loomd.dev/v1
kind: Tool
metadata: {name: post}
spec: {type: signal, signal: post}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: ada}
spec: {description: Does things., provider: script, tools: [mark, steady, nap, post], AGENT}
---
apiVersion: loomd.dev/v1
kind: Cluster
metadata: {name: default}
spec: {agents: [ada], CLUSTER}
"""
TOOL = '''
from pathlib import Path
from loomd.tools.context import ToolContext

HERE = Path(__file__).parent

def mark(word: str = "") -> str:
    """Add a line to the file beside this one."""
    with (HERE / "marks").open("a") as file:
        file.write(f"x{word}\\n")
    return "marked"

async def steady(context: ToolContext) -> str:
    """Do two parts, a nap between them."""
    async def part() -> str:
        with (HERE / "parts").open("a") as file:
            file.write(f"{context.key}\\n")
        return "part"
    await context.step("first", part, str)
    at, draw = context.now(), context.random()
    await context.sleep(0.05)
    await context.step("second", part, str)
    with (HERE / "draws").open("a") as file:
        file.write(f"{at} {draw}\\n")
    return "steady"
'''
_CHILD = "import asyncio, sys; from tests.engine.world import child; asyncio.run(child(*sys.argv[1:]))"


@dataclass
class World:
    """A folder with manifests and a state directory."""

    folder: Path

    def write(self, replies: list[dict[str, Any]], more: str = "", agent: str = "", cluster: str = "") -> None:
        """Write the manifests; what is given goes into the tool that marks, the agent and the cluster."""
        script = [{"times": None, **reply} for reply in replies] if cluster == "again" else replies
        text = MANIFESTS.replace("REPLIES", json.dumps(script)).replace("MORE", more or "timeout: 30s")
        text = text.replace("AGENT", agent or "maxTokens: 1000").replace("CLUSTER", cluster or "merge: model")
        (self.folder / "manifests.yaml").write_text(text)
        (self.folder / "tool.py").write_text(TOOL)

    @property
    def settings(self) -> Settings:
        """Return the settings."""
        return Settings(self.folder / "state", self.folder / "models", self.folder / "s")

    @property
    def marks(self) -> list[str]:
        """Return the effects that were had."""
        path = self.folder / "marks"
        return path.read_text().split() if path.exists() else []

    @asynccontextmanager
    async def open(self, *, apply: bool = True) -> AsyncGenerator[System, None]:
        """Open the system; its manifests serve."""
        async with open_system(self.settings) as system:
            if apply:
                await system.reconciler.apply(self.delivery())
            else:
                await system.reconciler.restore()
            yield system

    def edit(self, before: str, after: str) -> None:
        """Replace a text in the manifests."""
        path = self.folder / "manifests.yaml"
        path.write_text(path.read_text().replace(before, after))

    def delivery(self) -> Delivery:
        """Return the manifests as they are now."""
        return Delivery("test", tuple(read_path(self.folder / "manifests.yaml")))

    def kill_at(self, at: str, goal: str = "go", session: str = "", retries: int = 0) -> None:
        """Let another process run a task, and kill it once the first event of a type is on disk."""
        command = [sys.executable, "-c", _CHILD, str(self.folder), at, goal, session, str(retries)]
        done = nursery.run(command)
        assert done.returncode == -signal.SIGKILL, done.stderr


def task_of(system: System, goal: str = "go", durability: Durability | None = None) -> Task:
    """Return a new task."""
    return msgspec.structs.replace(new_task(goal, system.clock), durability=durability)


async def until(system: System, fits: Callable[[Event], bool], task: str) -> Event:
    """Return the first event that fits, of those that happened and those that will; of all tasks without one."""
    found: asyncio.Queue[Event] = asyncio.Queue()
    unsubscribe = system.bus.subscribe(lambda event: found.put_nowait(event) if fits(event) else None)
    try:
        async for event in Journal(system.store).replay(task=task):
            if fits(event):
                return event
        async with asyncio.timeout(60):
            return await found.get()
    finally:
        unsubscribe()


async def child(folder: str, at: str, goal: str, session: str, retries: str) -> None:
    """Run a task, and die once the first event `TYPE [NAME]` is on disk."""
    world = World(Path(folder))
    async with world.open() as system:

        def hear(event: Event) -> None:
            if f"{event.type} {getattr(event.data, 'name', '')}".strip() == at:
                asyncio.get_running_loop().create_task(die(event.seq))  # it dies

        async def die(seq: int) -> None:
            await system.store.durable(seq)
            os.kill(os.getpid(), signal.SIGKILL)

        system.bus.subscribe(hear)
        task = msgspec.structs.replace(task_of(system, goal), session=session, retries=int(retries))
        result = await system.engine.result(await system.engine.submit(task))
        while result.retried:
            result = await system.engine.result(result.retried)


def outcome(result: Result) -> tuple[str, str, str]:
    """Return phase, stop reason and answer."""
    assert result.executed is not None, result
    return result.phase, result.executed.outcome.stop_reason, result.executed.outcome.output
