"""What the API shows of objects and tasks: metadata, spec as written, status. Secrets are references and stay so."""

import msgspec

from loomd.amoeba.task import Result, Task
from loomd.daemon import System
from loomd.manifest.kind import API_VERSION
from loomd.manifest.object import Object, Snapshot
from loomd.store.base import TaskRecord

Body = dict[str, object]


def show_object(item: Object, system: System) -> Body:
    """Return an object with its conditions."""
    return {
        "apiVersion": API_VERSION,
        "kind": item.ref.kind,
        "metadata": item.metadata.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        | {"name": item.ref.name, "namespace": item.ref.namespace},
        "spec": dict(item.raw),
        "status": {
            "revision": system.reconciler.revision,
            "digest": item.digest,
            "conditions": [_ready(item, system)],
        },
    }


def select(snapshot: Snapshot, namespace: str, kind: str | None) -> list[Object]:
    """Return the objects of a namespace, of one kind or of all, ordered by kind and name."""
    found = [
        item
        for ref, item in snapshot.objects.items()
        if ref.namespace == namespace and (kind is None or ref.kind == kind)
    ]
    return sorted(found, key=lambda item: item.ref)


def show_task(record: TaskRecord, full: bool = False) -> Body:
    """Return a task with its status; `full` adds what every phase made of it."""
    task = msgspec.json.decode(record.body, type=Task)
    status: Body = {"phase": record.phase}
    if record.result:
        status |= _outcome(msgspec.json.decode(record.result, type=Result))
        if full:
            status["result"] = msgspec.Raw(record.result)
    spec = msgspec.to_builtins(task)
    return {
        "apiVersion": API_VERSION,
        "kind": "Task",
        "metadata": {"name": spec.pop("id"), "namespace": record.namespace, "created": record.created},
        "spec": spec,
        "status": status,
    }


def _ready(item: Object, system: System) -> Body:
    live = item.ref in system.reconciler.topology.live
    return {
        "type": "Ready",
        "status": "True" if live else "False",
        "reason": "Open" if live else "NotOpen",
        "message": "it is open and serves" if live else "it is not open",
    }


def _outcome(result: Result) -> Body:
    outcome: Body = {"error": result.error} if result.error else {}
    if result.matched is not None:
        outcome["agent"] = result.matched.winner
    if result.executed is not None:
        done = result.executed.outcome
        outcome |= {
            "output": done.output,
            "stopReason": done.stop_reason,
            "citations": msgspec.to_builtins(done.citations),
            "usage": msgspec.to_builtins(done.usage),
            "cost": done.cost,
            "seconds": done.seconds,
        }
    if result.evaluated is not None:
        outcome["reward"] = result.evaluated.reward
    return outcome
