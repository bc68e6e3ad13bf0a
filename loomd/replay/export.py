"""Makes the cassette of a task that has ended: its checkpoints from the journal, its objects from the history.

What models were asked is no part of the journal: the task is run again from what was recorded, on the objects that it
was pinned to, and the fingerprints in the journal prove that the requests are the same. Nothing is asked of anybody.
Called by the API and by the verb `export`.
"""

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from pydantic import ValidationError

from loomd.amoeba.task import Result, Task
from loomd.cassette import (
    MODEL,
    VERSION,
    Cassette,
    Declared,
    Step,
    Taped,
    TapedTool,
    fold,
    named_secrets,
    plain,
    redacted,
)
from loomd.engine.images import filled
from loomd.errors import Conflict, LoomdError, NotFound, Unauthorized
from loomd.events.event import AnyFact, Event, StepCompleted, StepFailed, StepStarted
from loomd.events.journal import decode
from loomd.manifest.load import load
from loomd.manifest.object import EMPTY, Object, Ref, Snapshot
from loomd.manifest.secret import Secret
from loomd.manifest.source import SourceFile
from loomd.messages import Request
from loomd.replay.player import Played, play
from loomd.replay.reel import accepted
from loomd.replay.stage import Frozen, Known, closure, staged, told_of
from loomd.skills.base import SkillSpec
from loomd.store.base import Store
from loomd.store.records import TaskRecord

_log = logging.getLogger("loomd.replay")


@dataclass(frozen=True)
class Serving:
    """What serves where a task is exported, so that tools need not be opened again."""

    snapshot: Snapshot
    live: Mapping[Ref, object]


async def export(store: Store, task: str, serving: Serving | None = None) -> Cassette:
    """Return the cassette of a task with its parts.

    Args:
        store: where it is recorded.
        task: its id.
        serving: what serves here, if anything does.

    Raises:
        NotFound: there is no such task.
        Conflict: it has not ended, or its steps are not kept.
    """
    record = await store.get_task(task)
    if record is None:
        raise NotFound(f"no task {task!r}: `loomd get tasks` lists them")
    if not record.result:
        raise Conflict(f"Task/{task} is {record.phase}: it can be exported once it has ended")
    tapes = [await _taped(store, one, recorded) for one, recorded in await _tree(store, record)]
    if not tapes or not any(step.key.startswith("phase/") for step in tapes[0].steps):
        raise Conflict(f"Task/{task} has no recorded steps: only a task with durability `steps` can be exported")
    root = msgspec.json.decode(record.body, type=Task)
    snapshot = await _snapshot(store, root.revision, serving)
    cluster = Ref("Cluster", record.cluster, record.namespace)
    objects = closure(snapshot, cluster) if cluster in snapshot.objects else []
    raw = _cassette(root, record, tuple(tapes), objects)
    secrets = [*_secrets(objects), *named_secrets(raw.tasks)]
    clean = redacted(raw, Cassette, secrets)
    known = _known(serving, record.namespace)
    proven, tools = await _play(raw, snapshot, cluster, known, secrets=True)
    asked = proven
    if clean.tasks != raw.tasks:  # what was hidden is hidden in what follows from it, too
        asked, _ = await _play(_unmarked(clean), snapshot, cluster, known)
    if not proven.whole:
        clean = msgspec.structs.replace(clean, objects=())
    return redacted(_with_requests(clean, proven, asked, tools), Cassette, secrets)


def _cassette(task: Task, record: TaskRecord, tapes: tuple[Taped, ...], objects: Sequence[Object]) -> Cassette:
    result = msgspec.json.decode(record.result, type=Result)
    return Cassette(
        api_version=VERSION,
        kind="Cassette",
        task=task.id,
        goal=task.goal,
        seed=task.seed,
        namespace=task.namespace,
        cluster=task.cluster,
        revision=task.revision,
        phase=result.phase,
        answer=result.executed.outcome.output if result.executed else "",
        objects=tuple(_declared(item) for item in objects),
        tools={},
        tasks=tapes,
    )


async def _tree(store: Store, root: TaskRecord) -> list[tuple[TaskRecord, list[tuple[str, Event]]]]:
    """Return a task and its parts in the order of their ids, each with its checkpoints by key."""
    recorded: dict[str, list[tuple[str, Event]]] = {root.id: []}
    after = 0
    while rows := await store.read(after=after, task=root.id, tree=True):
        for row in rows:
            if row.key:
                recorded.setdefault(row.task, []).append((row.key, decode(row)))
        after = rows[-1].seq
    found: list[tuple[TaskRecord, list[tuple[str, Event]]]] = []
    for name in sorted(recorded, key=_order):
        record = await store.get_task(name)
        if record is not None and record.result:
            found.append((record, recorded[name]))
    return found


def _order(task: str) -> tuple[int, ...]:
    """Return what sorts a task before its parts, and parts by their ordinals."""
    return tuple(int(part) for part in task.split(".")[1:])


async def _taped(store: Store, record: TaskRecord, recorded: Sequence[tuple[str, Event]]) -> Taped:
    result = msgspec.json.decode(record.result, type=Result)
    steps = tuple(
        Step(key, _marked(event.data), round(event.ts - record.created, 3), event.agent) for key, event in recorded
    )
    task = await filled(store, msgspec.json.decode(record.body, type=Task))
    return Taped(msgspec.Raw(msgspec.json.encode(task)), result.phase, result.error, steps)


def _marked(fact: AnyFact) -> AnyFact:
    """Return a fact with the fingerprint of what was asked only where nothing else tells it."""
    known = isinstance(fact, StepStarted | StepCompleted) or (isinstance(fact, StepFailed) and fact.name not in MODEL)
    return msgspec.structs.replace(fact, asked="") if known else fact


async def _snapshot(store: Store, revision: str, serving: Serving | None) -> Snapshot:
    """Return the objects of a revision, as far as they are still known; the files that they read are those of now."""
    if serving is not None and serving.snapshot.revision == revision:
        return serving.snapshot
    number = next((one.number for one in await store.revisions() if one.revision == revision), None)
    if number is None:
        return EMPTY
    files = [SourceFile(Path(one.root), one.path, one.data, one.base) for one in await store.files(number)]
    try:
        return await asyncio.to_thread(load, files, None, True)
    except LoomdError as error:
        _log.warning("the manifests of revision %s cannot be read any more: %s", revision, error)
        return EMPTY


def _known(serving: Serving | None, namespace: str) -> Known:
    """Return digest and description of the tools that are open, by the names of their objects."""
    if serving is None:
        return {}
    tools = (item for item in serving.snapshot.of_kind("Tool") if item.ref.namespace == namespace)
    return {
        item.ref.name: (item.digest, told_of(item, serving.live[item.ref]))
        for item in tools
        if item.ref in serving.live
    }


def _declared(item: Object) -> Declared:
    """Return an object as a cassette holds it: with the files of a skill, because what it says enters prompts."""
    files: dict[str, str] = {}
    if isinstance(item.spec, SkillSpec):
        with suppress(LoomdError, OSError):  # then its replay says that a file is not there
            files = {path.relative_to(item.folder).as_posix(): _text(path) for path in item.spec.reads(item.folder)}
    refs = tuple((pointer, f"{to.kind}/{to.name}") for pointer, to in item.refs)
    return Declared(item.ref.kind, item.ref.name, item.digest, refs, dict(item.raw), files)


def _text(path: Path) -> str:
    """Return what is in a file, or nothing when it is no text."""
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError:
        return ""


def _secrets(objects: Sequence[Object]) -> Iterator[str]:
    """Yield the secrets that objects name, as far as they can be read here."""
    for item in objects:
        for place in _places(dict(item.raw)):
            with suppress(Unauthorized, ValidationError):
                yield Secret.model_validate(place).read(str(item.ref), "spec")


def _places(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if value.keys() == {"valueFrom"}:
            yield value
        for one in value.values():
            yield from _places(one)
    elif isinstance(value, list):
        for one in value:
            yield from _places(one)


async def _play(
    cassette: Cassette,
    snapshot: Snapshot,
    cluster: Ref,
    known: Known,
    *,
    secrets: bool = False,
) -> tuple[Played, dict[str, TapedTool]]:
    """Run a task again to learn what was asked, as far as that goes; return the tools, too."""
    try:
        task = accepted(cassette.tasks[0])
        async with staged(snapshot, cluster, Frozen(task.created), known, secrets=secrets) as stage:
            played = await play(cassette, stage)
    except Unauthorized:
        if secrets:  # they cannot be read here; most tasks hold none
            return await _play(cassette, snapshot, cluster, known)
        raise
    except LoomdError as error:
        _log.warning("what Task/%s asked cannot be told: %s", cassette.task, error)
        return Played(), {}
    if played.difference is not None:
        found = played.difference
        _log.warning(
            "Task/%s is not what its manifests say now: %s of task %s: %s",
            cassette.task,
            found.step,
            found.task,
            found.what,
        )
    return played, dict(stage.tools)


def _unmarked(cassette: Cassette) -> Cassette:
    """Return a cassette without fingerprints: what was hidden has other ones."""
    tasks = tuple(
        msgspec.structs.replace(taped, steps=tuple(_without_mark(step) for step in taped.steps))
        for taped in cassette.tasks
    )
    return msgspec.structs.replace(cassette, tasks=tasks)


def _without_mark(step: Step) -> Step:
    fact = step.fact
    if isinstance(fact, StepFailed):
        return msgspec.structs.replace(step, fact=StepFailed(fact.name, ended=fact.ended))
    if not isinstance(fact, StepCompleted) or fact.name not in MODEL:
        return step
    reply: dict[str, Any] = msgspec.json.decode(fact.value)
    reply.pop("asked", None)
    return msgspec.structs.replace(step, fact=StepCompleted(fact.name, msgspec.Raw(msgspec.json.encode(reply))))


def _with_requests(cassette: Cassette, proven: Played, asked: Played, tools: dict[str, TapedTool]) -> Cassette:
    """Return a cassette that holds what models and tools were asked, where that is proven."""
    tasks: list[Taped] = []
    for taped in cassette.tasks:
        name = accepted(taped).id
        before: Request | None = None
        steps: list[Step] = []
        for step in taped.steps:
            take = asked.takes.get((name, step.key)) if (name, step.key) in proven.takes else None
            if take is not None and take.request is not None:
                request = plain(take.request)
                steps.append(msgspec.structs.replace(_without_mark(step), request=fold(request, before)))
                before = request
            elif take is not None and take.arguments is not None:
                steps.append(msgspec.structs.replace(step, arguments=take.arguments))
            else:
                steps.append(step)
        tasks.append(msgspec.structs.replace(taped, steps=tuple(steps)))
    return msgspec.structs.replace(cassette, tasks=tuple(tasks), tools=tools)
