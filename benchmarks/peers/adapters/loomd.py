"""loomd in this process: manifests applied, tasks through all six phases, every step journaled to disk (fsync).

Nothing is turned off: this is what `loomd run` and the daemon do. The journal is on in every bench, also where the
peers keep nothing; `loomd_loop` is the agent's loop alone.
"""

import asyncio
import json
import os
import tempfile
import threading
from contextlib import AsyncExitStack
from pathlib import Path

from .common import ANSWER, KEY, MAX_STEPS, MODEL, SYSTEM

PEER, DISTS = "loomd (six phases, journal)", ["loomd", "openai"]
TOOL = "get-weather"  # names of objects have no underscores


def manifest(provider, tools):
    agent = {"provider": "model", "prompt": SYSTEM, "maxTokens": 4096, "limits": {"steps": MAX_STEPS}}
    documents = [("Provider", "model", provider), ("Agent", "assistant", agent)]
    if tools:
        agent["tools"] = [TOOL]
        tool = {"type": "python", "file": "common.py", "function": "get_weather", "effects": "read"}
        documents.append(("Tool", TOOL, tool))
    return "\n---\n".join(json.dumps({"apiVersion": "loomd.dev/v1", "kind": kind, "metadata": {"name": name},
                                      "spec": spec}) for kind, name, spec in documents)


class App:
    def __init__(self, provider, tools):
        from loomd.manifest.load import load
        from loomd.manifest.source import SourceFile
        self.files = [SourceFile(Path(__file__).parent, "bench.yaml", manifest(provider, tools).encode())]
        self.snapshot = load(self.files)
        self.stack, self.system, self.parts = AsyncExitStack(), None, None
        self.state = Path(tempfile.mkdtemp(prefix="perf-"))

    async def ready(self):
        if self.system is None:
            from loomd.daemon import Settings, open_system
            from loomd.manifest.delivery import Delivery
            settings = Settings(self.state / "state", self.state / "models", self.state / "loomd.sock")
            self.system = await self.stack.enter_async_context(open_system(settings))
            await self.system.reconciler.apply(Delivery("bench", tuple(self.files)))
            self.system.ready = True
        return self.system


def setup(base_url, tools=True):
    os.environ.setdefault("OPENAI_API_KEY", KEY)
    return App({"type": "openai", "model": MODEL, "baseUrl": base_url}, tools)


def setup_fake(steps):
    calls = [{"toolCalls": [{"name": TOOL, "arguments": {"city": f"city-{n}"}}]} for n in range(steps)]
    return App({"type": "scripted", "replies": [*calls, {"text": ANSWER, "times": None}]}, True)


async def run(app, prompt):
    from loomd.engine.intake import new_task
    system = await app.ready()
    result = await system.engine.result(await system.engine.submit(new_task(prompt, system.clock)))
    if result.executed is None or result.error:
        raise RuntimeError(result.error)
    return result.executed.outcome.output


async def stream(app, prompt):
    from loomd.engine.intake import new_task
    from loomd.events.event import ModelDelta, TaskCompleted, TaskFailed
    system = await app.ready()
    async with system.bus.stream() as events:
        task = await system.engine.submit(new_task(prompt, system.clock))
        async for event in events:
            if event.task != task:
                continue
            if isinstance(event.data, ModelDelta):
                yield event.data.text
            elif isinstance(event.data, (TaskCompleted, TaskFailed)):
                return


def make_agent(app):
    """Open the Agent of the manifest once more over the open provider and tool; its `open` never waits."""
    if app.parts is None:
        app.parts = _open_parts(app)
    spec, parts = app.parts
    context = spec.open(parts)
    try:
        context.__aenter__().send(None)
    except StopIteration as done:
        app.kept = context  # so that the generator is not closed outside a loop
        return done.value
    raise RuntimeError("Agent.open waits for something")


def _open_parts(app):
    """Open everything below the agent in a loop of its own, because callers have none, or a running one."""
    from loomd.clock import SystemClock
    from loomd.events.bus import Bus
    from loomd.topology import Parts, Services
    clock = SystemClock()
    services = Services(None, Bus(clock), clock, app.state)
    live, agent = {}, []

    async def go():
        for ref, item in app.snapshot.objects.items():
            if ref.kind == "Agent":
                agent.append(item)
            elif ref.kind != "Cluster":
                context = item.spec.open(Parts(item, services, live))
                live[ref] = await context.__aenter__()
                app.stack.push_async_exit(context)

    thread = threading.Thread(target=lambda: asyncio.run(go()))
    thread.start()
    thread.join()
    return agent[0].spec, Parts(agent[0], services, live)


async def close(app):
    await app.stack.aclose()
