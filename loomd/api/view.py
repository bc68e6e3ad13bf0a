"""What the API shows of objects, tasks, sources and revisions. Secrets are references and stay so."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from loomd.accounts.account import Owner
from loomd.amoeba.task import Result, Task
from loomd.api.budgets import show_budget
from loomd.cluster.cluster import Cluster
from loomd.daemon import System
from loomd.knowledge.standing import Searchable
from loomd.manifest.kind import API_VERSION
from loomd.manifest.object import Object, Ref
from loomd.manifest.wording import masked
from loomd.providers.calls import Calling
from loomd.reconcile.condition import rfc3339
from loomd.reconcile.state import SourceState
from loomd.reconcile.status import ObjectStatus
from loomd.schedules.agenda import Run
from loomd.schedules.entry import Standing
from loomd.store.records import Capability, RevisionRecord, TaskRecord
from loomd.tools.toolset import Listed, Listing

Body = dict[str, Any]


@dataclass(frozen=True)
class Viewer:
    """Shows objects as they are at one moment.

    Attributes:
        system: what they are objects of.
        learned: learned scores by agent and behaviour.
    """

    system: System
    learned: Mapping[tuple[str, str], list[Capability]]

    @staticmethod
    async def of(system: System) -> "Viewer":
        """Return a viewer of a system."""
        learned: dict[tuple[str, str], list[Capability]] = {}
        for one in await system.store.capabilities():
            learned.setdefault((one.agent, one.spec), []).append(one)
        return Viewer(system, learned)

    def state(self, item: Object) -> tuple[ObjectStatus, list[Capability], Standing | None, Sequence[Listed]]:
        """Return what tells two states of an object apart.

        That are its status, what was learned of it, how a schedule does, and how the tools of a set stand.
        """
        standing = self.system.schedules.standing(item.ref)
        return self.system.reconciler.status(item.ref), self._learned(item.ref), standing, self._tools(item.ref)

    def show(self, item: Object) -> Body:
        """Return an object with its identity, who manages it, and its status."""
        reconciler = self.system.reconciler
        known, learned, standing, tools = self.state(item)
        written = item.metadata.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        status: Body = {
            "observedGeneration": known.observed_generation,
            "revision": reconciler.revision,
            "digest": item.digest,
            "source": known.source,
            "position": str(item.position),
            "conditions": msgspec.to_builtins(known.conditions),
        }
        if learned:
            status["capabilities"] = [_score(one) for one in learned]
        if standing is not None:
            status |= _schedule(standing)
        if isinstance(provider := self.system.reconciler.topology.live.get(item.ref), Calling):
            status["calls"] = msgspec.to_builtins(provider.calls())
        if tools:
            status["tools"] = msgspec.to_builtins(tools)
        if index := self._index(item.ref):
            status["index"] = index
        if (owner := self._owner(item.ref)) is not None:
            status["budget"] = show_budget(self.system.services.accounts, owner)["status"]
        if item.ref.kind == "Agent" and item.ref in self.system.reconciler.topology.live:
            status["health"] = health_of(item.ref.name, self._clusters(item.ref.namespace))
        declared = {"manager": f"declared:{known.source}", "actor": known.manager, "fields": list(_declared(item))}
        return {
            "apiVersion": API_VERSION,
            "kind": item.ref.kind,
            "metadata": {
                "name": item.ref.name,
                "namespace": item.ref.namespace,
                **masked(
                    {key: value for key, value in written.items() if key in {"labels", "annotations"}}, "/metadata"
                ),
                "uid": known.uid,
                "generation": known.generation,
                "resourceVersion": known.version,
                "creationTimestamp": rfc3339(known.created),
                "managedFields": [declared, {"manager": "runtime", "actor": "loomd", "fields": ["status"]}],
            },
            "spec": masked(item.raw, "/spec"),
            "status": status,
        }

    def _clusters(self, namespace: str) -> list[Cluster]:
        """Return the live clusters of a namespace."""
        live = self.system.reconciler.topology.live.items()
        return [one for ref, one in live if ref.namespace == namespace and isinstance(one, Cluster)]

    def _tools(self, ref: Ref) -> Sequence[Listed]:
        """Return how the tools of a live tool set stand; nothing of anything else."""
        live = self.system.reconciler.topology.live.get(ref)
        return live.listed() if isinstance(live, Listing) else ()

    def _owner(self, ref: Ref) -> Owner | None:
        """Return whose account an object is on that calls models; None of one that has none."""
        if ref.kind in {"Agent", "Cluster"}:
            return ref.namespace, ref.name if ref.kind == "Agent" else ""
        own = (ref.namespace, f"{ref.kind}/{ref.name}")
        return own if own in self.system.services.accounts.today() else None

    def _index(self, ref: Ref) -> Body:
        """Return how a live knowledge base stands; nothing of anything else."""
        live = self.system.reconciler.topology.live.get(ref)
        if not isinstance(live, Searchable):
            return {}
        standing = live.standing()
        sources = [
            {**msgspec.to_builtins(one), "read": _moment(one.read), "changed": _moment(one.changed)}
            for one in standing.sources
        ]
        return {**msgspec.to_builtins(standing), "refreshed": _moment(standing.refreshed), "sources": sources}

    def _learned(self, ref: Ref) -> list[Capability]:
        """Return what was learned of an object as it behaves now, with instructions that its clusters gave it."""
        behaviour = self.system.reconciler.topology.snapshot.behaviour(ref)
        if not behaviour:
            return []
        clusters = [one for one in self._clusters(ref.namespace) if ref.name in one.blueprints.declared]
        behaviours = dict.fromkeys([one.agents[ref.name].digest for one in clusters] or [behaviour])
        return [one for digest in behaviours for one in self.learned.get((ref.name, digest), [])]


def _moment(at: float) -> str | None:
    """Return a moment as it is shown, or None when it never came."""
    return rfc3339(at) if at else None


def health_of(agent: str, clusters: Iterable[Cluster]) -> str:
    """Return how a declared agent does in the cluster in which it does worst, in one word."""
    found = {one.conditions.word(one.agents[agent]) for one in clusters if agent in one.blueprints.declared}
    return next((word for word in ("retired", "dying", "warning", "good") if word in found), "unknown")


def show_source(state: SourceState) -> Body:
    """Return a source as an object without a manifest."""
    status: Body = msgspec.to_builtins(state)
    spec = {"type": status.pop("type"), "suspended": status.pop("suspended")}
    return {
        "apiVersion": API_VERSION,
        "kind": "Source",
        "metadata": {"name": status.pop("name")},
        "spec": spec,
        "status": status,
    }


def show_revision(record: RevisionRecord, serving: int) -> Body:
    """Return an entry of the history; `serving` is the number of the revision that serves."""
    return {
        "apiVersion": API_VERSION,
        "kind": "Revision",
        "metadata": {"name": str(record.number), "creationTimestamp": rfc3339(record.at)},
        "spec": {"revision": record.revision, "cause": record.cause, "source": record.source},
        "status": {"serving": record.number == serving, "changes": list(record.changes)},
    }


def show_task(record: TaskRecord, full: bool = False) -> Body:
    """Return a task with its status; `full` adds what every phase made of it."""
    task = msgspec.json.decode(record.body, type=Task)
    status: Body = {"phase": record.phase}
    if record.reason and not record.result:
        status["reason"] = record.reason
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


def _score(one: Capability) -> Body:
    return {
        "domain": one.domain,
        "score": one.score,
        "variance": one.variance,
        "count": one.count,
        "updated": rfc3339(one.updated),
    }


def _schedule(one: Standing) -> Body:
    """Return how a schedule does; its times are RFC 3339."""
    said: Body = {"suspended": one.suspended, "active": list(one.active), "runs": [_run(run) for run in one.runs]}
    if one.reason:
        said["reason"] = one.reason
    if one.waiting:
        said["waiting"] = one.waiting
    if one.last is not None:
        said |= {"lastScheduleTime": rfc3339(one.last.due), "lastTask": one.last.task}
    if one.next is not None:
        said["nextScheduleTime"] = rfc3339(one.next)
    return said


def _run(run: Run) -> Body:
    said: Body = {"due": rfc3339(run.due), "at": rfc3339(run.at)}
    return said | ({"task": run.task} if run.task else {"missed": run.missed, "count": run.count})


def _declared(item: Object) -> Iterator[str]:
    """Yield the fields that a manifest sets."""
    yield from (f"metadata.{name}" for name in ("labels", "annotations") if getattr(item.metadata, name))
    yield from (f"spec.{name}" for name in item.raw)


def _outcome(result: Result) -> Body:
    outcome: Body = {"error": result.error} if result.error else {}
    if result.retried:
        outcome["retried"] = result.retried
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
        if done.note:
            outcome["stopNote"] = done.note
        if done.reasoning:
            outcome["reasoning"] = done.reasoning
    if result.evaluated is not None:
        outcome["reward"] = result.evaluated.reward
    return outcome
