"""The stage on which a recorded task runs again: its cluster, with stand-ins for all that would reach out.

Agents, skills, windows of memories and those interceptors that look at nothing but the call are real, because they make
the prompts, and so is delegation; other interceptors let everything pass. Models, other tools, knowledge bases and
embedders are not opened. Called by `player` and `export`.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import msgspec

from loomd.accounts.account import Accounts
from loomd.agents.base import Tool, ToolSet
from loomd.agents.skills import TOOL, SkillTool
from loomd.cassette import Cassette, TapedTool
from loomd.clock import Clock
from loomd.cluster.cluster import Cluster
from loomd.errors import NotFound, Permanent
from loomd.events.bus import Bus
from loomd.interceptors.base import LiveInterceptor
from loomd.interceptors.redact import RedactInterceptor
from loomd.manifest.kind import find_kinds
from loomd.manifest.object import Metadata, Object, Ref, Snapshot
from loomd.manifest.problem import Position
from loomd.memory.base import MemorySpec
from loomd.messages import ToolSchema
from loomd.replay.stand_in import StandIn, TapedCalls, TapedEmbedder, TapedKnowledge, TapedModel, TapedSet, standing_in
from loomd.settings import allowed_packages
from loomd.store.sqlite import open_store
from loomd.tools.agent import AgentTool
from loomd.tools.base import ToolSpec
from loomd.tools.toolset import ToolSetSpec
from loomd.topology import Parts, Services, Topology

Known = Mapping[str, tuple[str, Sequence[TapedTool]]]
"""What models are told of tools, by the names of their objects, each with the digest of the object that says it."""


class Frozen:
    """A clock that stands at the moment at which a task was accepted; fits `clock.Clock`."""

    def __init__(self, now: float) -> None:
        self._now = now

    def now(self) -> float:
        """Return that moment."""
        return self._now

    def monotonic(self) -> float:
        """Return 0: on the stage nothing takes time."""
        return 0.0


@dataclass(frozen=True)
class Stage:
    """A live cluster with stand-ins.

    Attributes:
        cluster: the cluster.
        services: what it borrows; nothing of it outlives the stage.
        tools: what models are told of the tools, by name.
    """

    cluster: Cluster
    services: Services
    tools: Mapping[str, TapedTool]


@asynccontextmanager
async def staged(
    snapshot: Snapshot,
    cluster: Ref,
    clock: Clock,
    known: Known,
    *,
    secrets: bool = False,
) -> AsyncGenerator[Stage, None]:
    """Open the stage for a cluster.

    Args:
        snapshot: where it is declared.
        cluster: its name.
        clock: the time on the stage.
        known: what is known of tools that need not be opened.
        secrets: let interceptors hide the secrets that they name; in a cassette there are none left.

    Raises:
        NotFound: it is not declared.
        LoomdError: something that it needs cannot be opened.
    """
    if cluster not in snapshot.objects:
        names = ", ".join(item.ref.name for item in snapshot.of_kind("Cluster")) or "none"
        raise NotFound(f"{cluster} is not declared; there: {names}")
    told: dict[str, TapedTool] = {}
    if any(item.ref.kind == "Skill" for item in closure(snapshot, cluster)):
        told[TOOL] = TapedTool(SkillTool.schema, SkillTool.effects, SkillTool.idempotent)
    needed = Snapshot.of(_cast(item, known, told, secrets=secrets) for item in closure(snapshot, cluster))
    with TemporaryDirectory(prefix="loomd-replay-") as folder:
        async with open_store(Path(folder)) as store:
            services = Services(
                store,
                Bus(clock),
                clock,
                Path(folder) / "models",
                packages=allowed_packages(),
                accounts=Accounts(limited=False),
            )
            topology = Topology(needed)
            await topology.open(services)
            try:
                async with topology.lease():
                    yield Stage(cast("Cluster", topology.live[cluster]), services, told)
            finally:
                topology.retire()
                await topology.closed.wait()


def closure(snapshot: Snapshot, root: Ref) -> list[Object]:
    """Return an object and all that it refers to, directly or through others, in the snapshot's order."""
    needed, waiting = {root}, [root]
    while waiting:
        fresh = {to for _, to in snapshot.objects[waiting.pop()].refs} - needed
        needed |= fresh
        waiting += fresh
    return [item for ref, item in snapshot.objects.items() if ref in needed]


def declared(cassette: Cassette, folder: Path) -> Snapshot:
    """Return the objects that a cassette holds.

    Args:
        cassette: what was recorded.
        folder: where the files go that they read, each object's below a folder of its own.

    Raises:
        Permanent: it holds none, or one is not valid any more.
    """
    if not cassette.objects:
        raise Permanent(
            f"the cassette of task {cassette.task} holds no manifests: when it was written, revision "
            f"{cassette.revision} was not kept any more, or what came of it was not what the task did; name the folder "
            "with --against"
        )
    kinds, objects = find_kinds(), list[Object]()
    for one in cassette.objects:
        if one.kind not in kinds:
            raise Permanent(f"the cassette of task {cassette.task} holds a {one.kind}, a kind that there is not")
        ref = Ref(one.kind, one.name, cassette.namespace)
        metadata = Metadata(name=one.name, namespace=cassette.namespace)
        refs = tuple((pointer, _target(to, cassette.namespace)) for pointer, to in one.refs)
        try:
            spec = kinds[one.kind].adapter.validate_python(one.spec)
        except ValueError as error:
            raise Permanent(f"the cassette of task {cassette.task}: {ref} is not valid here: {error}") from error
        position, root = Position(f"{cassette.task} (cassette)"), (folder / one.kind / one.name).resolve()
        _write(root, one.files)
        objects.append(Object(ref, metadata, spec, one.spec, root, position, refs=refs, digest=one.digest))
    return Snapshot.of(objects)


def _write(root: Path, files: Mapping[str, str]) -> None:
    """Write files below a folder.

    Raises:
        Permanent: a path leads out of it.
    """
    for path, text in files.items():
        place = (root / path).resolve()
        if not place.is_relative_to(root):
            raise Permanent(f'the cassette holds a file "{path}", which leads out of its folder')
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8", newline="")


def _target(text: str, namespace: str) -> Ref:
    kind, _, name = text.partition("/")
    return Ref(kind, name, namespace)


def _cast(item: Object, known: Known, told: dict[str, TapedTool], *, secrets: bool) -> Object:
    """Return an object with its stand-in; those that make prompts stay as they are, without what reaches out."""
    spec: Any = item.spec
    match item.ref.kind:
        case "Provider":
            spec = standing_in(lambda parts: TapedModel(parts.name))
        case "KnowledgeBase":
            spec = standing_in(lambda parts: TapedKnowledge(parts.name))
        case "Embedder":
            spec = standing_in(lambda _: TapedEmbedder())
        case "Tool":
            digest, taped = known.get(item.ref.name, ("", None))
            spec = _tool(item, taped if digest == item.digest else declared_tools(item), told)
        case "Memory" if isinstance(spec, MemorySpec):
            spec = standing_in(spec.blank)
        case "Interceptor" if isinstance(spec, RedactInterceptor) and not secrets:
            spec = spec.model_copy(update={"secrets": []})
        case "Interceptor" if not spec.pure:
            spec = standing_in(partial(LiveInterceptor, spec))
        case _:
            pass
    return replace(item, spec=spec)


def _tool(item: Object, taped: Sequence[TapedTool] | None, told: dict[str, TapedTool]) -> StandIn:
    """Return the stand-in for a tool: what a model is told of it is known, or asked of the tool itself.

    Delegated work is a part of the task, and done again like the rest of it.
    """
    spec: ToolSpec = item.spec

    @asynccontextmanager
    async def opened(parts: Parts) -> AsyncGenerator[object, None]:
        found = taped
        if isinstance(spec, AgentTool):
            async with spec.open(replace(parts, declared=replace(parts.declared, spec=spec))) as live:
                told[live.schema.name] = describe(live.schema, spec)
                yield live
                return
        if found is None:
            async with spec.open(parts) as live:
                found = told_of(item, live)
        told.update({one.tool.name: one for one in found})
        tools = tuple(TapedCalls(one) for one in found)
        yield tools[0] if len(tools) == 1 and not found[0].of else TapedSet(tools)

    return StandIn(opened)


def told_of(item: Object, live: object) -> tuple[TapedTool, ...]:
    """Return what models are told of an open tool, or of each tool of an open set that may be called."""
    if not isinstance(live, ToolSet):
        return (describe(cast("Tool", live).schema, item.spec),)
    return tuple(
        TapedTool(
            tool.schema,
            tool.effects,
            tool.idempotent,
            tool.on_uncertain,
            None if tool.approval is None else tool.approval.on_denied,
            of=item.ref.name,
            max_output=tool.max_output,
        )
        for tool in live.tools
        if not tool.withdrawn
    )


def declared_tools(item: Object) -> tuple[TapedTool, ...] | None:
    """Return what models are told of a tool whose manifest says it; None of one that must be opened to know it.

    A set is never opened for that: it might start a process, or reach out.
    """
    spec = item.spec
    if isinstance(spec, ToolSetSpec):
        told = spec.declared_in(item.folder, item.ref.name)
        return tuple(msgspec.structs.replace(describe(one.schema, one.spec), of=item.ref.name) for one in told)
    schema = spec.declared(item.ref.name) if isinstance(spec, ToolSpec) else None
    return None if schema is None else (describe(schema, spec),)


def describe(schema: ToolSchema, spec: ToolSpec) -> TapedTool:
    """Return what models are told of a tool, with what its manifest says to the loop."""
    denied = None if spec.approval.required == "never" else spec.approval.on_denied
    return TapedTool(schema, spec.effects, spec.idempotent, spec.on_uncertain, denied, max_output=spec.max_output)
