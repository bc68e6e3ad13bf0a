"""What a model call costs over loomd's own wire, beside the plain `openai` client in the same process.

    python benchmarks/wire/run.py [--quick] [--json FILE] [--only CASE,...] [--profile CASE]

The model is a stub in another process (`benchmarks/peers/stub.py`). Three ways are measured in turn, in short blocks:
`raw`, the least a user can write with the official client; `wire`, loomd's provider alone; `agent`, the whole loop of
an agent with limits, events and tool calls, as the manifest below declares it. Figures are `x raw`: CPU (user + system,
all threads) over CPU, wall over wall; of each the least of several rounds.

An agent's model is asked in both ways there are: in pieces, as it is by default, and for the whole answer
(`spec.stream: false` of the Provider), which is what the plain client is asked for as well. Where a way is `whole`,
like is compared with like; `x raw streamed` is the other pair of equals.

    turn       one question, one answer
    tools      ten tool calls and an answer: eleven model calls
    history    one more question after 100 KiB of conversation
    lanes      runs per second, 100 at once
    stream     an answer of 2,000 pieces: pieces per second
    first      time to the first piece of it
    burst      1,000 runs at once against a model that thinks for one second, in a fresh process each
"""

import argparse
import asyncio
import cProfile
import gc
import json
import os
import pstats
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "peers"))

from adapters import raw  # noqa: E402
from adapters.common import ANSWER, MODEL, PROMPT, SYSTEM, get_weather, openai_tool  # noqa: E402

from loomd.agents.agent import Agent  # noqa: E402
from loomd.agents.loop import Loop  # noqa: E402
from loomd.agents.work import Work  # noqa: E402
from loomd.clock import SystemClock  # noqa: E402
from loomd.daemon import Settings, open_system  # noqa: E402
from loomd.events.bus import Bus, Scope  # noqa: E402
from loomd.events.event import ModelDelta  # noqa: E402
from loomd.manifest.delivery import Delivery  # noqa: E402
from loomd.manifest.object import Ref  # noqa: E402
from loomd.manifest.source import SourceFile  # noqa: E402
from loomd.messages import Message, Reply, Request, TextDelta, ToolSchema  # noqa: E402
from loomd.testing import Unrecorded  # noqa: E402

MANIFEST = """
apiVersion: loomd.dev/v1
kind: Provider
metadata: {{name: model}}
spec: {{type: openai, model: {model}, baseUrl: "{url}", client: {client}, stream: {stream}}}
---
apiVersion: loomd.dev/v1
kind: Tool
metadata: {{name: get-weather}}
spec: {{type: python, file: common.py, function: get_weather, effects: read}}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {{name: assistant}}
spec:
  description: Tells the weather.
  provider: model
  prompt: {prompt}
  tools: [get-weather]
  limits: {{steps: 30}}
"""
HISTORY = 100 << 10
TURNS = 50
RUNS = 1000
Measured = dict[str, float]


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def check(text: object) -> None:
    if ANSWER not in str(text):
        raise RuntimeError(f"not the expected answer: {str(text)[:200]}")


class Raw:
    """The official client, used as its documentation says."""

    def __init__(self, url: str) -> None:
        from openai import AsyncOpenAI  # noqa: PLC0415  # the other ways must not pay for it

        self.client = AsyncOpenAI(api_key="sk-stub", base_url=url, max_retries=0)
        self.app = raw.App.__new__(raw.App)
        self.tools: list[Any] = [openai_tool()]
        self.history: list[Any] = [{"role": r, "content": t} for r, t in conversation()]

    async def run(self) -> None:
        self.app.client, self.app.extra = self.client, {"tools": self.tools}
        check(await raw.run(self.app, PROMPT))

    async def ask(self, number: int) -> None:
        messages = [*self.history, {"role": "user", "content": f"{PROMPT} {number}"}]
        reply = await self.client.chat.completions.create(model=MODEL, messages=messages, tools=self.tools)
        check(reply.choices[0].message.content)

    async def streamed(self) -> None:
        messages: list[Any] = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": PROMPT}]
        create, pieces = self.client.chat.completions.create, list[str]()
        async for chunk in await create(model=MODEL, messages=messages, tools=self.tools, stream=True):
            if chunk.choices and (text := chunk.choices[0].delta.content):
                pieces.append(text)
        check("".join(pieces))

    async def stream(self) -> AsyncIterator[str]:
        messages: list[Any] = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": PROMPT}]
        async for chunk in await self.client.chat.completions.create(model=MODEL, messages=messages, stream=True):
            if chunk.choices and chunk.choices[0].delta.content:
                yield chunk.choices[0].delta.content

    async def close(self) -> None:
        await self.client.close()


class Wire:
    """loomd's provider alone, with a loop as short as that of `raw`."""

    def __init__(self, model: Any) -> None:
        self.model = model
        schema = openai_tool()["function"]
        self.tools = (ToolSchema(schema["name"], schema["description"], schema["parameters"]),)
        self.history = tuple(Message(r, t) for r, t in conversation())

    async def reply(self, messages: tuple[Message, ...]) -> Reply:
        async for chunk in self.model.stream(Request(messages, self.tools)):
            if isinstance(chunk, Reply):
                return chunk
        raise RuntimeError("no reply")

    async def run(self) -> None:
        messages: tuple[Message, ...] = (Message("system", SYSTEM), Message("user", PROMPT))
        while (reply := await self.reply(messages)).tool_calls:
            messages += (Message("assistant", reply.text, reply.tool_calls),)
            for call in reply.tool_calls:
                messages += (Message("tool", await get_weather(**call.arguments), call_id=call.id),)
        check(reply.text)

    async def ask(self, number: int) -> None:
        check((await self.reply((*self.history, Message("user", f"{PROMPT} {number}")))).text)

    async def stream(self) -> AsyncIterator[str]:
        request = Request((Message("system", SYSTEM), Message("user", PROMPT)))
        async for chunk in self.model.stream(request):
            if isinstance(chunk, TextDelta):
                yield chunk.text


class Whole:
    """An agent's loop, without the journal: what the peers' runs are."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self.clock = SystemClock()
        self.bus = Bus(self.clock)

    def loop(self, bus: Bus | None = None) -> Loop:
        return Loop(self.agent, Work(PROMPT), Unrecorded(self.clock), Scope(bus or self.bus, "task"))

    async def run(self) -> None:
        check((await self.loop().run()).output)

    async def pieces(self, seen: Callable[[str], None]) -> None:
        bus = Bus(self.clock)
        bus.subscribe(lambda event: seen(event.data.text) if isinstance(event.data, ModelDelta) else None)
        await self.loop(bus).run()


def conversation() -> list[tuple[Any, str]]:
    """Return 100 KiB of earlier turns, with what encoders have to look at: line ends, quotes, letters beyond ASCII."""
    text = 'The wind in "Orléans" came from the west,\nat 21 degrees and 3 m/s. '
    size = HISTORY // TURNS
    turns = [("assistant" if n % 2 else "user", f"{n}: {text * size}"[:size]) for n in range(TURNS)]
    return [("system", SYSTEM), *turns]


@asynccontextmanager
async def opened(url: str, *, client: str = "http", stream: bool = True) -> AsyncIterator[tuple[Wire, Whole]]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "common.py").write_text(
            (HERE.parent / "peers" / "adapters" / "common.py").read_text("utf-8"), "utf-8"
        )
        text = MANIFEST.format(model=MODEL, url=url, client=client, stream=str(stream).lower(), prompt=SYSTEM)
        async with open_system(Settings(folder / "state", folder / "models", folder / "socket")) as system:
            await system.reconciler.apply(Delivery("bench", (SourceFile(folder, "bench.yaml", text.encode()),)))
            live = system.reconciler.topology.live
            model, agent = live[Ref("Provider", "model")], live[Ref("Agent", "assistant")]
            assert isinstance(agent, Agent)
            yield Wire(model), Whole(agent)


class Stub:
    """The model in a process of its own."""

    def __enter__(self) -> Self:
        command = [sys.executable, str(HERE.parent / "peers" / "stub.py"), "--port", "0"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.port = json.loads(self.process.stdout.readline())["port"]
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait()

    def url(self, *, steps: int = 0, latency: int = 0, chunks: int = len(ANSWER.split(" "))) -> str:
        return f"http://127.0.0.1:{self.port}/s/{steps}/{latency}/{chunks}/0/v1"


class Rounds:
    """The least of what was measured, by case and way."""

    def __init__(self) -> None:
        self.least: Measured = {}

    def keep(self, name: str, value: float) -> None:
        self.least[name] = min(value, self.least.get(name, value))

    async def cost(self, name: str, count: int, run: Callable[[int], Awaitable[None]]) -> None:
        before, start = cpu(), time.perf_counter()
        for number in range(count):
            await run(number)
        self.keep(f"{name}, cpu us", (cpu() - before) / count * 1e6)
        self.keep(f"{name}, wall us", (time.perf_counter() - start) / count * 1e6)

    async def lanes(self, name: str, count: int, run: Callable[[], Awaitable[None]]) -> None:
        async def lane() -> None:
            for _ in range(count // 100):
                await run()

        before, start = cpu(), time.perf_counter()
        await asyncio.gather(*(lane() for _ in range(100)))
        self.keep(f"{name}, wall us", (time.perf_counter() - start) / count * 1e6)
        self.keep(f"{name}, cpu us", (cpu() - before) / count * 1e6)

    async def pieces(self, name: str, count: int, stream: Callable[[Callable[[str], None]], Awaitable[None]]) -> None:
        seen: list[float] = []  # each piece of the model is a word and a space; those that came together are one text
        before, start = cpu(), time.perf_counter()
        await stream(lambda text: seen.extend([time.perf_counter()] * text.count(" ")))
        if len(seen) < count:
            raise RuntimeError(f"{name}: only {len(seen)} of {count} pieces")
        self.keep(f"first {name}, wall us", (seen[0] - start) * 1e6)
        self.keep(f"stream {name}, wall us", (seen[-1] - seen[0]) / count * 1e6)
        self.keep(f"stream {name}, cpu us", (cpu() - before) / count * 1e6)


def listened(stream: Callable[[], AsyncIterator[str]]) -> Callable[[Callable[[str], None]], Awaitable[None]]:
    async def listen(seen: Callable[[str], None]) -> None:
        async for text in stream():
            seen(text)

    return listen


def always(run: Callable[[], Awaitable[None]]) -> Callable[[int], Awaitable[None]]:
    return lambda _: run()


async def calls(found: Rounds, stub: Stub, case: str, rounds: int, count: int) -> None:
    """Measure `turn`, `tools`, `history` or `lanes`."""
    url = stub.url(steps=10 if case == "tools" else 0)
    raw = Raw(url)
    async with opened(url) as (wire, agent), opened(url, stream=False) as (wire_whole, agent_whole):
        for number in range(rounds + 1):
            kept = found if number else Rounds()  # the first round only warms up
            if case == "lanes":
                await kept.lanes("lanes raw", count, raw.run)
                await kept.lanes("lanes raw streamed", count, raw.streamed)
                await kept.lanes("lanes wire", count * 4, wire.run)
                await kept.lanes("lanes wire whole", count * 4, wire_whole.run)
                await kept.lanes("lanes agent", count * 4, agent.run)
                await kept.lanes("lanes agent whole", count * 4, agent_whole.run)
            elif case == "history":
                await kept.cost("history raw", count, raw.ask)
                await kept.cost("history wire", count * 4, wire.ask)
            else:
                await kept.cost(f"{case} raw", count, always(raw.run))
                if case == "turn":
                    await kept.cost("turn raw streamed", count, always(raw.streamed))
                await kept.cost(f"{case} wire", count * 4, always(wire.run))
                await kept.cost(f"{case} wire whole", count * 4, always(wire_whole.run))
                await kept.cost(f"{case} agent", count * 4, always(agent.run))
                await kept.cost(f"{case} agent whole", count * 4, always(agent_whole.run))
    await raw.close()


async def streams(found: Rounds, stub: Stub, rounds: int) -> None:
    """Measure `stream` and `first`."""
    url, count = stub.url(chunks=2000), 2000
    raw = Raw(url)
    async with opened(url) as (wire, whole):
        for number in range(rounds + 1):
            kept = found if number else Rounds()
            await kept.pieces("raw", count, listened(raw.stream))
            for _ in range(4):
                await kept.pieces("wire", count, listened(wire.stream))
                await kept.pieces("agent", count, whole.pieces)
    await raw.close()


async def burst(way: str, url: str, warm: str) -> Measured:
    """Run all at once, in a process that has answered one request before."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, RUNS * 4)), hard))

    async def go(run: Callable[[], Awaitable[None]], first: Callable[[], Awaitable[None]]) -> Measured:
        await first()
        gc.freeze()  # as `loomd serve` does, and for all ways alike
        base = memory("VmRSS")
        before, start = cpu(), time.perf_counter()
        await asyncio.gather(*(run() for _ in range(RUNS)))
        wall, used = time.perf_counter() - start, cpu() - before
        return {"wall s": wall, "cpu s": used, "KiB per run": (memory("VmHWM") - base) / RUNS}

    if way == "raw":
        cold, hot = Raw(warm), Raw(url)
        return await go(hot.run, cold.run)
    stream = not way.endswith("whole")
    async with opened(warm, stream=stream) as (wire0, agent0), opened(url, stream=stream) as (wire1, agent1):
        return await go(wire1.run, wire0.run) if way == "wire" else await go(agent1.run, agent0.run)


def memory(field: str) -> float:
    """Return a line of the kernel's account of this process, in KiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return float(line.split()[1])
    return 0.0


def bursts(found: Rounds, stub: Stub, rounds: int) -> None:
    for _ in range(rounds):
        for way in ("raw", "wire", "agent", "agent whole"):
            command = [sys.executable, __file__, "--burst", way, stub.url(latency=1000), stub.url()]
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
            for name, value in json.loads(done.stdout).items():
                found.keep(f"burst {way}, {name}", value)


def ratios(least: Measured) -> Measured:
    """Return what counts: each way over `raw`; speeds the other way round, too."""
    shown: Measured = {}
    for name, value in least.items():
        case, _, unit = name.partition(", ")
        word, _, way = case.partition(" ")
        base = least.get(f"{word} raw, {unit}")
        other = least.get(f"{word} raw streamed, {unit}")
        if other and way in ("wire", "agent"):
            shown[f"{case}, {'cpu' if unit.startswith('cpu') else 'time'} x raw streamed"] = value / other
        if way == "raw" or not base:
            continue
        if unit.startswith("cpu") and word not in ("lanes", "stream", "first"):
            shown[f"{case}, cpu x raw"] = value / base
        if unit == "wall us" and word in ("lanes", "stream", "first"):
            shown[f"{case}, time x raw"] = value / base
            shown[f"{case}, speed x raw"] = base / value
    return shown


async def measure(cases: set[str], found: Rounds, stub: Stub, *, quick: bool) -> None:
    rounds = 3 if quick else 8
    counts = (
        {"turn": 50, "tools": 8, "history": 25, "lanes": 200}
        if quick
        else {"turn": 150, "tools": 20, "history": 50, "lanes": 600}
    )
    for case, count in counts.items():
        if case in cases:
            await calls(found, stub, case, rounds, count)
    if cases & {"stream", "first"}:
        await streams(found, stub, rounds)


async def profiled(case: str, stub: Stub) -> None:
    url = stub.url(steps=10 if case == "tools" else 0, chunks=2000 if case == "stream" else 17)
    async with opened(url) as (wire, whole):
        run = {"history": lambda: wire.ask(1), "stream": lambda: whole.pieces(lambda: None)}.get(case, whole.run)
        for _ in range(20):
            await run()
        with cProfile.Profile(time.process_time) as profile:
            for _ in range(20 if case == "stream" else 1000):
                await run()
    pstats.Stats(profile).sort_stats("tottime").print_stats(45)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", default="turn,tools,history,lanes,stream,first,burst")
    parser.add_argument("--profile", metavar="CASE", help="show where the time of an agent goes instead")
    parser.add_argument("--burst", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    os.environ.setdefault("OPENAI_API_KEY", "sk-stub")
    if given.burst:
        print(json.dumps(asyncio.run(burst(*given.burst))))
        return
    cases, found = set(given.only.split(",")), Rounds()
    with Stub() as stub:
        if given.profile:
            asyncio.run(profiled(given.profile, stub))
            return
        asyncio.run(measure(cases, found, stub, quick=given.quick))
        if "burst" in cases:
            bursts(found, stub, 1 if given.quick else 3)
    figures = found.least | ratios(found.least)
    for name in sorted(figures):
        print(f"{name:40}{figures[name]:12.2f}")
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
