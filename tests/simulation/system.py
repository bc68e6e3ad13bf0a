"""Agents, tools and a cluster without manifests, files or threads, for an engine that runs in virtual time.

What a tool does to the world outside is an entry in a list that outlives every process.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random
from types import MappingProxyType
from typing import Literal, cast

import msgspec

from loomd.agents.agent import Agent
from loomd.agents.approval import Approval
from loomd.agents.base import Effects, OnUncertain
from loomd.agents.budget import Limits
from loomd.amoeba.loop import Policies
from loomd.amoeba.policies.auction import Auction
from loomd.amoeba.policies.ema import Ema
from loomd.amoeba.policies.heuristic import Heuristic
from loomd.amoeba.policies.rules import Rules
from loomd.amoeba.policies.threshold import Threshold
from loomd.cluster.capability import Priors
from loomd.cluster.cluster import Cluster
from loomd.cluster.condition import Past
from loomd.cluster.limits import TreeLimits
from loomd.cluster.terms import Terms
from loomd.engine.local import LocalEngine
from loomd.errors import NotFound, Temporary
from loomd.events.bus import Bus
from loomd.events.journal import Journal
from loomd.manifest.object import Metadata, Object, Ref, Snapshot
from loomd.manifest.problem import Position
from loomd.messages import Chunk, JsonObject, Reply, Request, ToolSchema
from loomd.providers.scripted import ScriptedModel, ScriptedReply
from loomd.store.base import Store
from loomd.store.records import Capability
from loomd.tools.context import ToolContext
from loomd.topology import Services, Topology
from tests.simulation.loop import VirtualLoop
from tests.simulation.store import SimulatedStore

TTL = 60.0
"""Seconds after which a question expires."""
NAP = 30.0
"""Seconds that a nap takes."""
SPLIT = "Compare and analyse, then split; then report in detail; and also conclude"
PARTS = ("left mark", "right fixed", "both plain")
"""Goals of the parts of a split; the third needs the others."""


@dataclass
class Outside:
    """What cannot be taken back.

    Attributes:
        effects: wall-clock times at which it happened, by the key of the call.
        told: what a call was told, by its key: what the model had said, which it never says twice.
        trace: everything that happened, in order.
        now: the wall-clock time, as of the last thing that happened.
    """

    effects: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    told: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    trace: list[str] = field(default_factory=list[str])
    now: float = 1_000_000.0

    def tell(self, what: str, now: float) -> None:
        """Note that something happened."""
        self.now = now
        self.trace.append(f"{now:.6f} {what}")


class WallClock:
    """The time of a loop, which begins where the process before it ended; fits `loomd.clock.Clock`."""

    def __init__(self, loop: VirtualLoop, epoch: float) -> None:
        self._loop = loop
        self._epoch = epoch

    def now(self) -> float:
        """Return the wall-clock time."""
        return self._epoch + self._loop.time()

    def monotonic(self) -> float:
        """Return the time of the loop."""
        return self._loop.time()

    def set_by(self, seconds: float) -> None:
        """Set the wall clock ahead, or back."""
        self._epoch += seconds


@dataclass(frozen=True)
class _OnTerms:
    """On what terms people are asked."""

    ttl: float = TTL
    on_denied: Literal["stop", "continue"] = "stop"


@dataclass
class SimulatedTool:
    """Does something in one act of `run`; fits `loomd.agents.base.Tool`."""

    name: str
    run: Callable[[ToolContext], Awaitable[str]]
    outside: Outside
    effects: Effects = "write"
    idempotent: bool = False
    on_uncertain: OnUncertain = "fail"
    approval: Approval | None = None
    withdrawn: str = ""
    max_output: int = 64 << 10

    @property
    def schema(self) -> ToolSchema:
        """Return what a model is told."""
        return ToolSchema(self.name, "Does it.", {"type": "object"})

    async def call(self, arguments: JsonObject, context: ToolContext | None = None) -> str:
        """Do it."""
        assert context is not None
        self.outside.told.setdefault(context.key, set()).add(str(arguments.get("answer")))
        return await self.run(context)


_answers = count(1)


def _unique(reply: Reply) -> Reply:
    answer = next(_answers)
    calls = tuple(
        msgspec.structs.replace(one, arguments={**one.arguments, "answer": answer}) for one in reply.tool_calls
    )
    return msgspec.structs.replace(reply, text=f"answer {answer}", tool_calls=calls)


class _Model:
    """A scripted model that takes its time, is away now and then, and never says the same before a call of tools.

    So an answer that was used before it was recorded does not fit what came of it.
    """

    name = "script"

    def __init__(self, think: Callable[[], float], away: Callable[[], bool]) -> None:
        self._scripted = ScriptedModel("script", REPLIES)
        self._think = think
        self._away = away

    async def stream(self, request: Request) -> AsyncGenerator[Chunk, None]:
        await asyncio.sleep(self._think())
        if self._away():
            raise Temporary("the model is away")
        async with aclosing(self._scripted.stream(request)) as chunks:
            async for chunk in chunks:
                yield _unique(chunk) if isinstance(chunk, Reply) and chunk.tool_calls else chunk


def _call(*names: str) -> dict[str, object]:
    return {"toolCalls": [{"name": name, "arguments": {"at": at}} for at, name in enumerate(names)]}


def _say(text: str) -> dict[str, object]:
    return {"times": None, "text": text}


_PLAN = {"parts": [{"goal": goal, "needs": [1, 2] if at == 2 else []} for at, goal in enumerate(PARTS)]}
_SLOW = {"parts": [{"goal": f"{side} slow", "needs": []} for side in ("left", "right")]}
REPLIES = [
    ScriptedReply.model_validate(one)
    for one in (
        {"when": "split*slow", "system": "You split a request", "times": None, "json": _SLOW},
        {"when": "split", "system": "You split a request", "times": None, "json": _PLAN},
        {"when": "slow", "times": None, "delay": "10h", "text": "late"},
        {"when": "both", **_say("LR")},
        {"when": "left", **_call("mark")},
        {"when": "left", **_say("L")},
        {"when": "right", **_call("fixed")},
        {"when": "right", **_say("R")},
        {"when": "mark", **_call("mark", "mark")},
        {"when": "mark", **_call("mark")},
        {"when": "fixed", **_call("fixed", "fixed")},
        {"when": "asking", **_call("asking")},
        {"when": "again", **_call("again")},
        {"when": "nap", **_call("nap")},
        {"when": "post", **_call("post")},
        {"when": "guard", **_call("guard")},
        {"when": "pieces", **_call("pieces")},
        {"when": "late", "times": None, "delay": "10h", "text": "late"},
        _say("done"),
    )
]
CLUSTER = Ref("Cluster", "team", "default")
_POLICIES = Policies(Heuristic(), Auction(), Threshold(), "join", [Rules()], Ema())
_LIMITS = TreeLimits.model_validate({"time": "1000h"})
_OWN = Limits.model_validate({"time": "100h"})


def snapshot_of(revision: str) -> Snapshot:
    """Return a snapshot that has the cluster and nothing else."""
    item = Object(CLUSTER, Metadata(name="team"), None, {}, Path("/nowhere"), Position("simulated"), digest=revision)
    return Snapshot(MappingProxyType({CLUSTER: item}), revision)


class Process:
    """One life of a daemon: an engine, what serves, and the time.

    Attributes:
        revision: what serves.
        lost: revisions that cannot be opened any more.
    """

    def __init__(self, store: SimulatedStore, clock: WallClock, outside: Outside, draw: Random) -> None:
        self.store = store
        self.clock = clock
        self.outside = outside
        self.revision = "r1"
        self.lost: set[str] = set()
        self.away = 0.0
        self._draw = draw
        bus = Bus(self.clock, Journal(cast("Store", store)).record)
        self.services = Services(cast("Store", store), bus, self.clock, Path("/nowhere"))
        self._topologies: dict[str, Topology] = {}
        self._tools = {tool.name: tool for tool in self._make_tools()}
        self.engine = LocalEngine(self.services, lambda: self._topologies[self.revision], self._pinned)

    async def serve(self, revision: str) -> None:
        """Let a revision serve from now on."""
        await self.open(revision)
        self.revision = revision

    async def open(self, revision: str) -> Topology:
        """Return a revision, open."""
        if revision not in self._topologies:
            await self.services.accounts.load(self.services.store, self.clock)
            await self.services.averages.load(self.services.store, self.clock)
            cluster = self._cluster(await self.store.capabilities())
            self.services.bus.subscribe(cluster.book.hear)
            topology = self._topologies[revision] = Topology(snapshot_of(revision))
            topology.live = {CLUSTER: cluster}
        return self._topologies[revision]

    async def _pinned(self, revision: str) -> Topology:
        if revision in self.lost:
            raise NotFound(f"revision {revision} is not stored any more")
        return await self.open(revision)

    def _cluster(self, learned: Sequence[Capability]) -> Cluster:
        model = _Model(lambda: self._draw.random() * 3, lambda: self._draw.random() < self.away)
        agents = [
            Agent(
                name=name,
                namespace="default",
                digest="d",
                description="Does things.",
                domains={},
                model=model,
                prompt="You are {{ agent }}.",
                limits=_OWN,
                clock=self.clock,
                accounts=self.services.accounts,
                averages=self.services.averages,
                tools=self._tools,
            )
            for name in ("ada", "bob")
        ]
        terms = Terms(_POLICIES, Priors(), _LIMITS, lambda: _LIMITS)
        return Cluster(Ref("Cluster", "default", "default"), agents, terms, self.services, Past(learned))

    def _make_tools(self) -> list[SimulatedTool]:
        return [
            SimulatedTool("mark", self._act, self.outside),
            SimulatedTool("fixed", self._act, self.outside, idempotent=True),
            SimulatedTool("asking", self._act, self.outside, on_uncertain="ask"),
            SimulatedTool("again", self._act, self.outside, on_uncertain="retry"),
            SimulatedTool("guard", self._act, self.outside, approval=_OnTerms()),
            SimulatedTool("nap", self._nap, self.outside, "read"),
            SimulatedTool("post", self._post, self.outside, "read"),
            SimulatedTool("pieces", self._pieces, self.outside, idempotent=True),
        ]

    async def _act(self, context: ToolContext) -> str:
        """Have an effect after a moment, and take another moment to say so."""
        await self._have_effect(context.key)
        return "done"

    async def _pieces(self, context: ToolContext) -> str:
        """Have two effects, each a part of its own, the second at most once."""

        async def piece(name: str) -> str:
            await self._have_effect(f"{context.key}/{name}")
            return name

        await context.step("first", lambda: piece("first"), str)
        draw, at = context.random(), context.now()
        await context.step("second", lambda: piece("second"), str, once=True)
        return f"{draw} {at}"

    async def _nap(self, context: ToolContext) -> str:
        began = context.now()
        await context.sleep(NAP)
        assert self.clock.now() >= began + NAP, "it woke too early"
        return "rested"

    async def _post(self, context: ToolContext) -> str:
        return str(await context.receive("post", 3600.0))

    async def _have_effect(self, key: str) -> None:
        await asyncio.sleep(self._draw.random())
        now = self.clock.now()
        self.outside.effects.setdefault(key, []).append(now)
        self.outside.tell(f"effect {key}", now)
        await asyncio.sleep(self._draw.random())
