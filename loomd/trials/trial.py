"""Runs one Test: on the manifests beside it, with the replies given, on a state of its own that is thrown away.

Nothing is reached: what a task would reach must be given, or the test fails and says what to give. Called by the verb
`test`.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from loomd.agents.kind import AgentSpec
from loomd.agents.work import Outcome
from loomd.amoeba.expect import Met, held
from loomd.amoeba.task import Result
from loomd.cassette import read
from loomd.clock import SystemClock
from loomd.cluster.kind import ClusterSpec
from loomd.engine.accept import resolve
from loomd.engine.intake import new_task
from loomd.engine.local import LocalEngine
from loomd.errors import LoomdError, Permanent, ToolFailed
from loomd.events.bus import Bus
from loomd.events.journal import Journal
from loomd.interceptors.approve import ApproveInterceptor
from loomd.interceptors.base import LiveInterceptor
from loomd.interceptors.redact import RedactInterceptor
from loomd.manifest.inside import inside
from loomd.manifest.object import Metadata, Object, Ref, Snapshot
from loomd.messages import Chunk, JsonObject, Request, ToolSchema
from loomd.providers.replay import Replay
from loomd.providers.scripted import Scripted
from loomd.replay.difference import Difference
from loomd.replay.player import replay
from loomd.replay.stage import closure, declared_tools, told_of
from loomd.replay.stand_in import StandIn, standing_in
from loomd.settings import allowed_packages
from loomd.store.sqlite import open_store
from loomd.tools.base import Approval, ToolSpec
from loomd.tools.check import Check, Checked
from loomd.tools.python import PythonTool
from loomd.tools.python_check import Checker
from loomd.tools.toolset import ToolSetSpec, name_of
from loomd.topology import Openable, Parts, Services, Topology
from loomd.trials.spec import ToolAnswer, TrialSpec
from loomd.trials.verdict import Miss, judge


@dataclass(frozen=True)
class Verdict:
    """How a test went.

    Attributes:
        test: the object.
        seconds: how long it took.
        misses: expectations that are not met.
        difference: the first difference to the recording, for a test with a cassette.
        error: why it could not be run, or empty.
    """

    test: Object
    seconds: float
    misses: Sequence[Miss] = ()
    difference: Difference | None = None
    error: str = ""

    @property
    def passed(self) -> bool:
        """Return whether all is as expected."""
        return not (self.misses or self.difference or self.error)


async def run_test(snapshot: Snapshot, test: Object, models_dir: Path) -> Verdict:
    """Run a test.

    Args:
        snapshot: all objects, the test among them.
        test: the test.
        models_dir: folder of the embedded models' files, for embedders.
    """
    clock = SystemClock()
    started = clock.monotonic()
    spec: TrialSpec = test.spec
    result: Result | None = None
    difference: Difference | None = None
    misses: list[Miss] = []
    try:
        async with asyncio.timeout(spec.timeout):
            if spec.cassette is not None:
                played = await replay(read(inside(test.root, spec.cassette)), snapshot)
                result, difference = played.result, played.difference
            else:
                result = await _perform(snapshot, test, models_dir)
            misses = [] if result is None else judge(spec.expect, result, await _held(test, result))
        error = ""
    except TimeoutError:
        error = f"it took longer than {spec.timeout:g} s (spec.timeout)"
    except LoomdError as failure:
        error = str(failure)
    return Verdict(test, clock.monotonic() - started, misses, difference, error)


async def _held(test: Object, result: Result) -> list[Met]:
    """Return what is expected of the answer, held against it.

    Raises:
        Permanent: a check is at fault.
    """
    spec: TrialSpec = test.spec
    outcome = result.executed.outcome if result.executed else Outcome("", "error")
    expect = spec.expect.output.carried(test.folder)
    with TemporaryDirectory(prefix="loomd-test-") as folder:
        checker = Checker(Path(folder))

        async def run(check: Check) -> Checked:
            return await checker.check(check, {"answer": outcome.output, "goal": result.task.goal})

        found = await held(expect, outcome.output, cites=bool(outcome.citations), run=run)
    for one in found:
        if one.broken:
            raise Permanent(f"expect.output.checks: {one.said}: {one.wrong}")
    return found


async def _perform(snapshot: Snapshot, test: Object, models_dir: Path) -> Result:
    """Run the task of a test for real, but for what is given.

    Raises:
        LoomdError: it cannot be run, or it reached for something that is not given.
    """
    spec: TrialSpec = test.spec
    stage, cluster = _target(snapshot, test)
    refused: list[str] = []
    needed = Snapshot.of(_cast(item, spec, refused) for item in closure(stage, cluster))
    with TemporaryDirectory(prefix="loomd-test-") as folder:
        async with open_store(Path(folder)) as store, _opened(needed, store, models_dir) as (services, topology):
            engine = LocalEngine(services, lambda: topology)
            task = new_task(
                spec.goal or "", services.clock, namespace=cluster.namespace, cluster=cluster.name, seed=spec.seed
            )
            try:
                result = await engine.result(await engine.submit(task))
            finally:
                await engine.drain(0)
    if refused:
        raise Permanent("; ".join(dict.fromkeys(refused)))
    return result


@asynccontextmanager
async def _opened(snapshot: Snapshot, store: Any, models_dir: Path) -> AsyncGenerator[tuple[Services, Topology], None]:
    clock = SystemClock()
    services = Services(store, Bus(clock, Journal(store).record), clock, models_dir, packages=allowed_packages())
    topology = Topology(snapshot)
    await topology.open(services)
    try:
        await topology.settled()
        yield services, topology
    finally:
        topology.retire()
        await topology.closed.wait()


def _target(snapshot: Snapshot, test: Object) -> tuple[Snapshot, Ref]:
    """Return the objects with the cluster that does the task, and its name; an agent alone gets one of its own.

    Raises:
        NotFound: it is not said which, and there are none or several.
    """
    spec: TrialSpec = test.spec
    namespace = test.ref.namespace
    if spec.agent is None:
        return snapshot, Ref("Cluster", resolve(snapshot, spec.cluster or "", namespace), namespace)
    alone = Ref("Cluster", f"alone-{spec.agent}"[:63], namespace)
    raw: dict[str, Any] = {"agents": [spec.agent], "match": {"type": "auction"}, "scale": {"type": "never"}}
    made = Object(
        alone,
        Metadata(name=alone.name, namespace=namespace),
        ClusterSpec.model_validate(raw),
        raw,
        test.root,
        test.position,
        refs=(("/spec/agents/0", Ref("Agent", spec.agent, namespace)),),
        digest=alone.name,
    )
    return Snapshot.of([*snapshot.objects.values(), made]), alone


def _cast(item: Object, spec: TrialSpec, refused: list[str]) -> Object:
    """Return an object with what is given in the place of what it would reach."""
    found: Any = item.spec
    if item.ref.kind == "Provider":
        if spec.replies:
            found = Scripted(replies=spec.replies)
        elif not isinstance(found, Scripted | Replay):
            text = f"{item.ref} would be asked: give spec.replies, or a cassette"
            found = standing_in(lambda parts: _Nobody(parts.name, text, refused))
    elif item.ref.kind == "Tool":
        found = _tool(item, found, spec.results, refused)
    elif isinstance(found, RedactInterceptor):
        found = found.model_copy(update={"secrets": []})  # a test has none
    elif isinstance(found, ApproveInterceptor):
        found = standing_in(partial(LiveInterceptor, found))  # nobody is asked
    elif isinstance(found, AgentSpec):
        found = found.model_copy(update={"permissions": found.permissions.unasked()})
    return replace(item, spec=found)


def _tool(item: Object, spec: ToolSpec, results: Mapping[str, list[ToolAnswer]], refused: list[str]) -> Openable:
    """Return a tool that answers as given, is called without asking anybody, or refuses."""
    answers = results.get(item.ref.name)
    if answers is None and isinstance(spec, PythonTool) and spec.effects == "read":
        return spec.model_copy(update={"approval": Approval()})
    if isinstance(spec, ToolSetSpec):
        tools = tuple(_set(item, spec, answers or [], refused))
        return standing_in(lambda _: _GivenSet(tools))
    why = "" if answers else f"{item.ref} would be called: give spec.results for it"
    if not answers and isinstance(spec, PythonTool):
        why += ", or declare effects: read"

    @asynccontextmanager
    async def opened(parts: Parts) -> AsyncGenerator[_Given, None]:
        told = declared_tools(item)
        if told is None:
            async with spec.open(parts) as live:
                told = told_of(item, live)
        yield _Given(told[0].tool, answers or [], why, refused)

    return StandIn(opened)


def _set(item: Object, spec: ToolSetSpec, answers: Sequence[ToolAnswer], refused: list[str]) -> Iterator["_Given"]:
    """Yield the tools of a set: those that the manifest declares, and those that only give an answer here."""
    schemas = {one.tool: one.schema for one in spec.declared_in(item.folder, item.ref.name)}
    for name in dict.fromkeys([*schemas, *(answer.tool for answer in answers if answer.tool)]):
        schema = schemas.get(name) or ToolSchema(name_of(item.ref.name, spec.prefix, name), name, {"type": "object"})
        own = [answer for answer in answers if answer.tool == name]
        why = "" if own else f'{item.ref} would be called: give spec.results for it, with tool: "{name}"'
        yield _Given(schema, own, why, refused)


class _Nobody:
    """A model that must not be asked."""

    def __init__(self, name: str, why: str, refused: list[str]) -> None:
        self.name = name
        self._why = why
        self._refused = refused

    async def stream(self, request: Request) -> AsyncGenerator[Chunk, None]:
        """Refuse.

        Raises:
            Permanent: always.
        """
        for chunk in self._refuse(request):
            yield chunk

    def _refuse(self, request: Request) -> list[Chunk]:
        del request
        self._refused.append(self._why)
        raise Permanent(self._why)


@dataclass(frozen=True)
class _GivenSet:
    """A tool set whose results are given."""

    tools: tuple["_Given", ...]


class _Given:
    """A tool whose results are given."""

    effects = "read"
    idempotent = True
    withdrawn = ""
    on_uncertain = "fail"
    approval = None
    max_output = 64 << 10

    def __init__(self, schema: ToolSchema, answers: Sequence[ToolAnswer], why: str, refused: list[str]) -> None:
        self.schema = schema
        self._answers = answers
        self._why = why
        self._refused = refused
        self._calls = count()

    async def call(self, arguments: JsonObject, context: object = None) -> str:
        """Return the next result.

        Raises:
            ToolFailed: the result is a failure, or none is given.
        """
        del arguments, context
        if self._why:
            self._refused.append(self._why)
            raise ToolFailed(self._why)
        answer = self._answers[min(next(self._calls), len(self._answers) - 1)]
        if answer.error is not None:
            raise ToolFailed(answer.error)
        return answer.text or ""
