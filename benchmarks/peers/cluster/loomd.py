"""loomd: a cluster from manifests, its tasks through all six phases with the journal on (steps, fsync).

`submit` and `loop` are the same thing here: there is no way around the phases. A task's domain is told by its words.
The split is decided by the words too, so that big tasks are spelled as such; their plan comes from the model.
"""

import asyncio
import itertools
import json
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

PEER = "loomd (six phases, journal)"
BIG = ("First find what is known about {0}, then compare three sources, then write a report, and finally check it; "
       "also list what is missing, step by step, for every part of {0}. ")


def wrap(llm):
    from loomd.messages import Reply, TextDelta, Usage

    class Model:
        name = "bench/model"

        async def stream(self, request):
            system = next((m.text for m in request.turns if m.role == "system"), "")
            planning = request.output_schema is not None
            first = "You are a task planner" if planning else system
            text = await llm.answer([("system", first), *((m.role, m.text) for m in request.messages)])
            if planning:
                text = json.dumps({"parts": [{"goal": p["description"], "needs": []} for p in json.loads(text)]})
            yield TextDelta(text)
            yield Reply(text, (), Usage(40, 20), "stop", self.name)

    return Model()


class Rt:
    pass


def make(llm, nodes, domains=("code", "data", "writing", "research")):
    rt = Rt()
    rt.llm, rt.nodes, rt.system, rt.ran = llm, nodes, None, {}
    rt.lock, rt.stack, rt.numbers = asyncio.Lock(), AsyncExitStack(), itertools.count()
    documents = [{"kind": "Provider", "metadata": {"name": "model"},
                  "spec": {"type": "scripted", "replies": [{"text": "never used", "times": None}]}}]
    for i in range(nodes):
        spec = {"provider": "model", "prompt": "You are a helpful assistant.",
                "domains": {domains[i % len(domains)]: min(1.0, 0.6 + 0.3 * (i % 3))}}
        documents.append({"kind": "Agent", "metadata": {"name": f"agent-{i}"}, "spec": spec})
    rt.text = "\n---\n".join(json.dumps({"apiVersion": "loomd.dev/v1", **one}) for one in documents)
    return rt


async def ready(rt):
    async with rt.lock:
        if rt.system is None:
            from loomd.agents.agent import Agent
            from loomd.daemon import Settings, open_system
            from loomd.events.cluster import AuctionAwarded
            from loomd.manifest.delivery import Delivery
            from loomd.manifest.source import SourceFile
            folder = Path(tempfile.mkdtemp(prefix="perf-"))
            system = await rt.stack.enter_async_context(open_system(
                Settings(folder / "state", folder / "models", folder / "loomd.sock")))
            await system.reconciler.apply(Delivery("bench", (SourceFile(folder, "bench.yaml", rt.text.encode()),)))
            model = wrap(rt.llm)
            for live in system.reconciler.topology.live.values():
                if isinstance(live, Agent):
                    live.model = model  # the harness' own model instead of the scripted one

            def count(event):
                if isinstance(event.data, AuctionAwarded):
                    rt.ran[event.data.winner] = rt.ran.get(event.data.winner, 0) + 1

            system.bus.subscribe(count)
            rt.system = system
    return rt.system


async def submit(rt, text, domain, complexity):
    from loomd.engine.intake import new_task
    system = await ready(rt)
    goal = f"{text} about {domain}" if complexity <= 0.6 else BIG.format(domain) + text
    result = await system.engine.result(await system.engine.submit(new_task(goal, system.clock, seed=next(rt.numbers))))
    if result.error or result.executed is None:
        raise RuntimeError(result.error)
    return result.executed.outcome.output


async def loop(rt, text):
    return await submit(rt, text, "code", 0.9 if text.startswith("big") else 0.3)


def counts(rt):
    return rt.ran


def alive(rt):
    return rt.nodes


def bus(n):
    from loomd.clock import SystemClock
    from loomd.events.bus import Bus
    from loomd.events.event import ModelDelta
    b, seen = Bus(SystemClock()), [0]

    def handler(_event):
        seen[0] += 1

    for _ in range(n):
        b.subscribe(handler)
    fact = ModelDelta("x")

    async def emit():
        b.emit(fact)

    return emit, seen
