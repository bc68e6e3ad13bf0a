"""Routes of objects: list, watch, show, replace, delete. Called by `server`; the reconciler changes what there is."""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import msgspec
from aiohttp import web

from loomd.amoeba.policies.judge import Judge
from loomd.api.address import kind_at, kind_called, ref_at, space_at
from loomd.api.body import Deletion
from loomd.api.exchange import decoded, flag, read_body, require_ready
from loomd.api.guard import answer
from loomd.api.label_query import LabelQuery
from loomd.api.memories import show_report
from loomd.api.moment import moment_of, past_object, show_past, snapshot_of
from loomd.api.path import PREFIX
from loomd.api.problem import BadRequest
from loomd.api.text import to_yaml
from loomd.api.view import Body, Viewer
from loomd.api.watch import Lookout, Shown, Sight, watch
from loomd.cluster.cluster import Cluster
from loomd.daemon import System
from loomd.errors import Permanent
from loomd.events.cluster import CapabilityUpdated
from loomd.events.event import (
    ConfigLoaded,
    ConfigRejected,
    ScheduleFired,
    ScheduleMissed,
    ScheduleResumed,
    ScheduleSuspended,
)
from loomd.manifest.document import read_documents
from loomd.manifest.extract import document_at
from loomd.manifest.object import Object, Ref
from loomd.manifest.problem import Problems
from loomd.manifest.source import SourceFile
from loomd.manifest.wording import HIDDEN, dotted
from loomd.memory.base import LiveMemory
from loomd.reconcile.condition import rfc3339
from loomd.store.records import RevisionRecord

_OBSERVED = frozenset(("uid", "generation", "resourceVersion", "creationTimestamp", "managedFields"))
"""Metadata that the daemon adds."""
_SCHEDULED = (ScheduleFired, ScheduleMissed, ScheduleSuspended, ScheduleResumed)
_MOVES = (ConfigLoaded, ConfigRejected, CapabilityUpdated, *_SCHEDULED)

_MOVEMENTS = 100_000
"""Most movements of an agent's scores that are looked at."""
_SHOWN = 11
"""One more than the movements by feedback that are shown of an agent."""


class _Text(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A manifest as text, so that its comments and its positions stay."""

    text: str


class ObjectRoutes:
    """Handlers of one system."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._lookout = Lookout(self._look)

    def add_to(self, app: web.Application) -> None:
        """Register the routes."""
        space = f"{PREFIX}/namespaces/{{namespace}}"
        app.add_routes(
            [
                web.post(f"{PREFIX}/delete", self.delete_many),
                web.get(f"{PREFIX}/{{plural}}", self.listed),
                web.get(f"{space}/{{plural}}", self.listed),
                web.get(f"{space}/{{plural}}/{{name}}", self.one),
                web.get(f"{space}/{{plural}}/{{name}}/status", self.one),
                web.put(f"{space}/{{plural}}/{{name}}", self.replace),
                web.delete(f"{space}/{{plural}}/{{name}}", self.delete),
            ]
        )

    async def listed(self, request: web.Request) -> web.StreamResponse:
        """Return the objects of one kind, or of `all`; with `watch=1` what becomes of them, with `at` what they were.

        `metadata.opening` has those that are being opened for the first time, and how far that is.
        """
        wanted = _wanted(request)
        if (moment := await moment_of(request, self._system)) is not None:
            return await self._past(moment.served, wanted)
        if flag(request, "watch"):

            async def look(moment: float, moved: frozenset[str]) -> Sight:
                del moved
                seen = await self._lookout.since(moment)
                keys = [str(one.ref) for one in self._objects() if wanted(one)]
                return Sight({key: seen[key] for key in keys if key in seen})

            return await watch(request, self._system, look, _MOVES)
        viewer = await Viewer.of(self._system)
        version = str(self._system.reconciler.number)
        items = [viewer.show(one) for one in self._objects() if wanted(one)]
        coming = [{"object": str(ref), "message": told} for ref, told in self._coming(request).items()]
        opening = {"opening": coming} if coming else {}
        return answer({"metadata": {"resourceVersion": version, **opening}, "items": items})

    async def one(self, request: web.Request) -> web.Response:
        """Return one object; the header `ETag` is its version.

        With `full=1` also what it refers to, what refers to it, and the text that declares it, with its comments; with
        `at` the object as it was declared then.
        """
        ref = ref_at(request)
        if (moment := await moment_of(request, self._system)) is not None:
            snapshot = await snapshot_of(self._system, moment.served)
            return answer(show_past(past_object(snapshot, moment.served, ref), moment.served))
        viewer = await Viewer.of(self._system)
        item = self._get(ref)  # nothing is awaited from here on: its spec and its version are of one moment
        body = viewer.show(item)
        if flag(request, "full"):
            body |= {"text": self._text(item), **self._related(item)}
            live = self._system.reconciler.topology.live.get(ref)
            if moved := await self._feedback(ref):
                body["status"] |= {"feedback": moved}
            if isinstance(live, Cluster) and (judges := _judges(live)):
                body["status"] |= {"judges": judges}
            if isinstance(live, Cluster) and (corrections := _corrections(live)):
                body["status"] |= {"corrections": corrections}
            if isinstance(live, LiveMemory):
                body["status"] |= {"memory": await show_report(live)}
        response = answer(body)
        response.headers["ETag"] = f'"{self._system.reconciler.status(item.ref).version}"'
        return response

    async def _past(self, record: RevisionRecord, wanted: Callable[[Object], bool]) -> web.Response:
        """Return the objects of a revision that is kept."""
        snapshot = await snapshot_of(self._system, record)
        items = sorted((one for one in snapshot.objects.values() if wanted(one)), key=lambda one: one.ref)
        return answer(
            {"metadata": {"resourceVersion": str(record.number)}, "items": [show_past(one, record) for one in items]}
        )

    async def _feedback(self, ref: Ref) -> list[Body]:
        """Return how what people said of answers moved an agent's scores last, the newest first."""
        if ref.kind != "Agent":
            return []
        found = await self._system.store.learning.movements(ref.name, limit=_MOVEMENTS)
        late = [one for one in found if "#feedback/" in one.task][:-_SHOWN:-1]
        return [
            {
                "task": one.task.partition("#")[0],
                "domain": one.domain,
                "before": one.before,
                "after": one.after,
                "at": rfc3339(one.at),
            }
            for one in late
        ]

    async def replace(self, request: web.Request) -> web.Response:
        """Put another manifest in the place of an object: the body is the manifest, or its text as `{"text": ...}`."""
        require_ready(self._system)
        ref = ref_at(request)
        item = self._get(ref)
        text, version = _manifest(await request.read())
        file = SourceFile(item.root, f"(edit)/{ref.kind}/{ref.namespace}/{ref.name}", text, item.base)
        await asyncio.to_thread(_require_only, file, ref)
        versions = _versions(request, ref) or ({ref: version} if version else {})
        manager, dry_run = request.query.get("manager", ""), flag(request, "dryRun")
        plan = await self._system.reconciler.replace(file, versions, manager, dry_run)
        return answer(plan.to_json() | {"dryRun": dry_run})

    async def delete(self, request: web.Request) -> web.Response:
        """Delete one object."""
        require_ready(self._system)
        ref = ref_at(request)
        self._get(ref)
        dry_run = flag(request, "dryRun")
        plan = await self._system.reconciler.delete([ref], _versions(request, ref), dry_run)
        return answer(plan.to_json() | {"dryRun": dry_run})

    async def delete_many(self, request: web.Request) -> web.Response:
        """Delete several objects at once, or none of them."""
        require_ready(self._system)
        body = await read_body(request, Deletion)
        known = self._system.reconciler.topology.snapshot.objects
        targets = {Ref(kind_called(one.kind), one.name, one.namespace): one.resource_version for one in body.objects}
        for ref in [] if body.ignore_missing else targets:
            self._get(ref)
        there = {ref: version for ref, version in targets.items() if ref in known}
        versions = {ref: version for ref, version in there.items() if version}
        plan = await self._system.reconciler.delete(list(there), versions, body.dry_run)
        return answer(plan.to_json() | {"dryRun": body.dry_run})

    def _objects(self) -> list[Object]:
        """Return all that serves, ordered by kind, name and namespace."""
        return sorted(self._system.reconciler.topology.snapshot.objects.values(), key=lambda item: item.ref)

    def _coming(self, request: web.Request) -> dict[Ref, str]:
        """Return what a request for a list asks for and is being opened for the first time."""
        kind, space = kind_at(request), space_at(request)
        opening = self._system.reconciler.opening()
        return {
            ref: told for ref, told in opening.items() if kind in {None, ref.kind} and space in {None, ref.namespace}
        }

    async def _look(self) -> Mapping[str, Shown]:
        viewer = await Viewer.of(self._system)
        return {str(one.ref): Shown(viewer.state(one), partial(viewer.show, one)) for one in self._objects()}

    def _text(self, item: Object) -> str:
        """Return the manifest of an object as it was written, or an empty text when it is implied."""
        reconciler = self._system.reconciler
        files = reconciler.files(reconciler.status(item.ref).source)
        data = next((file.data for file in files if file.name == item.position.file), b"")
        return document_at(data.decode("utf-8-sig", "replace"), item.position.line)

    def _related(self, item: Object) -> dict[str, list[dict[str, str]]]:
        """Return the references in an object and to it, each with the field that holds it."""
        objects = self._system.reconciler.topology.snapshot.objects.values()
        return {
            "references": [{"object": str(to), "field": dotted(pointer)} for pointer, to in item.refs],
            "referrers": [
                {"object": str(one.ref), "field": dotted(pointer)}
                for one in objects
                for pointer, to in one.refs
                if to == item.ref
            ],
        }

    def _get(self, ref: Ref) -> Object:
        found = self._system.reconciler.topology.snapshot.objects.get(ref)
        if found is None:
            raise self._system.reconciler.missing(ref)
        return found


def _wanted(request: web.Request) -> Callable[[Object], bool]:
    """Return what says whether an object is of the kind, namespace, name and labels that a request asks for."""
    kind, space, name = kind_at(request), space_at(request), request.query.get("name")
    labels = LabelQuery.parse(request.query.get("labelSelector", ""))

    def wanted(item: Object) -> bool:
        fits = kind in {None, item.ref.kind} and space in {None, item.ref.namespace} and name in {None, item.ref.name}
        return fits and labels.accepts(item.metadata.labels)

    return wanted


def _versions(request: web.Request, ref: Ref) -> dict[Ref, str]:
    """Return the version that `If-Match` asks for.

    Raises:
        BadRequest: it asks for one of several.
    """
    said = request.headers.get("If-Match", "").strip()
    if "," in said:
        raise BadRequest(f"If-Match: expected one version, got {said!r}")
    return {} if said in {"", "*"} else {ref: said.removeprefix("W/").strip('"')}


def _manifest(data: bytes) -> tuple[bytes, str]:
    """Return the manifest in a body and the version that it was read at, if it says so.

    What the daemon adds to an object when it shows it is left out, so that what was read may be sent back.

    Raises:
        BadRequest: it is no JSON object, or nested too deeply.
    """
    body = decoded(data, dict[str, Any])
    if body.keys() == {"text"}:
        return decoded(data, _Text).text.encode(), ""
    metadata = body.get("metadata")
    kept, version = metadata, ""
    if isinstance(metadata, dict):
        kept = {key: value for key, value in metadata.items() if key not in _OBSERVED}
        version = str(metadata.get("resourceVersion", ""))
    manifest = {key: value for key, value in body.items() if key != "status"} | {"metadata": kept}
    try:
        return to_yaml(manifest).encode(), version
    except RecursionError:
        raise BadRequest("the body: nested too deeply") from None


def _require_only(file: SourceFile, ref: Ref) -> None:
    """Refuse a text that declares something else than the one object.

    Raises:
        Problems: it is no YAML.
        Permanent: it declares nothing, something else, or more.
    """
    documents, problems = read_documents(file.data, file.name)
    if problems:
        raise Problems(problems)
    names = [_claimed(one.value) for one in documents]
    if names != [str(ref)]:
        said = ", ".join(names) or "nothing"
        raise Permanent(f"expected {ref} and nothing else, got {said}: kind, name and namespace cannot be changed")
    if _holds_hidden(documents[0].value):
        raise Permanent(f"{ref}: {HIDDEN} stands for a value that is not shown: change the file that declares it")


def _holds_hidden(value: object) -> bool:
    if isinstance(value, dict):
        return any(_holds_hidden(one) for one in value.values())
    if isinstance(value, list):
        return any(_holds_hidden(one) for one in value)
    return value == HIDDEN


def _claimed(value: object) -> str:
    metadata = value.get("metadata") if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(metadata, dict):
        return "something without metadata"
    return str(Ref(str(value.get("kind")), str(metadata.get("name")), str(metadata.get("namespace", "default"))))


def _judges(cluster: Cluster) -> list[Body]:
    """Return what is known of the errors of a cluster's judges."""
    found: list[Body] = []
    for one in cluster.evaluators:
        if isinstance(one, Judge):
            known = cluster.bias(one.name)
            found.append({"provider": one.provider, "bias": known.mean, "spread": known.spread, "count": known.count})
    return found


def _corrections(cluster: Cluster) -> list[Body]:
    """Return by how much a cluster takes tasks of a domain for too simple, and whether it goes by that."""
    return [
        {"domain": domain, "correction": value, "count": count, "applied": applied}
        for domain, (value, count, applied) in cluster.corrections().items()
    ]
