"""The moment that a request looks back at: a revision, a time, or so long ago; and what served then.

Called by the routes that take `at`.
"""

import asyncio
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from aiohttp import web

from loomd.api.exchange import whole_number
from loomd.api.problem import BadRequest
from loomd.api.view import Body
from loomd.daemon import System
from loomd.errors import NotFound
from loomd.manifest.duration import parse_duration
from loomd.manifest.kind import API_VERSION
from loomd.manifest.load import load_kept
from loomd.manifest.object import Object, Ref, Snapshot
from loomd.manifest.wording import masked
from loomd.reconcile.condition import rfc3339
from loomd.reconcile.copies import stored_copies
from loomd.reconcile.pinned import stored
from loomd.store.records import RevisionRecord

_AGO = re.compile(r"\s+ago$")


@dataclass(frozen=True)
class Moment:
    """A moment that is over.

    Attributes:
        at: wall-clock seconds.
        record: the revision that served then; None when it is not kept, or nothing served.
        oldest: the oldest revision that is kept; None before the first.
    """

    at: float
    record: RevisionRecord | None
    oldest: RevisionRecord | None

    @property
    def served(self) -> RevisionRecord:
        """Return the revision that served then.

        Raises:
            NotFound: it is not kept.
        """
        if self.record is not None:
            return self.record
        if self.oldest is None:
            raise NotFound("nothing was applied yet")
        since = f"revision {self.oldest.number}, which served from {rfc3339(self.oldest.at)} on"
        raise NotFound(f"what served at {rfc3339(self.at)} is not kept: the oldest that is kept is {since}")


async def moment_of(request: web.Request, system: System) -> Moment | None:
    """Return the moment that a request asks about, None when it asks about now.

    `at` is the number of a revision, whose beginning is meant, a time as RFC 3339, or how long ago: `2h`, `2h ago`.

    Raises:
        BadRequest: it is none of them, or not over.
        NotFound: there is no such revision, or it is not kept.
    """
    said = request.query.get("at", "").strip()
    if not said:
        return None
    now, records = system.clock.now(), await system.reconciler.history()
    oldest = records[-1] if records else None
    if said.isdecimal():
        record = await system.reconciler.recorded(whole_number(said, "at"))
        return Moment(record.at, record, oldest)
    at = _seconds(said, now)
    if at > now:
        raise BadRequest(f"at: {said[:40]} is not over yet")
    return Moment(at, next((one for one in records if one.at <= at), None), oldest)


def _seconds(said: str, now: float) -> float:
    """Return wall-clock seconds of a time, or of so long ago.

    Raises:
        BadRequest: it is neither.
    """
    try:
        return now - parse_duration(_AGO.sub("", said))
    except ValueError:
        pass  # it may be a time
    found = None
    with suppress(ValueError):
        found = datetime.fromisoformat(said)
    if found is None or found.tzinfo is None:
        expected = "expected a revision (7), a time (2026-11-30T12:00:00Z) or how long ago (2h)"
        raise BadRequest(f"at: {expected}, got {said[:40]!r}")
    return found.timestamp()


async def snapshot_of(system: System, record: RevisionRecord) -> Snapshot:
    """Return all objects of a revision that is kept, as it had them; nothing of it is opened.

    Raises:
        Damaged: what is stored of it cannot be read.
        Problems: it is not valid any more.
    """
    files = await stored(system.store, record.number)
    kept = stored_copies(system.store.directory, await system.store.copies(record.number))
    everything = [file for _, items in sorted(files.items()) for file in items]
    return await asyncio.to_thread(load_kept, everything, kept)


def show_past(item: Object, record: RevisionRecord) -> Body:
    """Return an object as a revision declared it."""
    written = item.metadata.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    kept = {key: value for key, value in written.items() if key in {"labels", "annotations"}}
    return {
        "apiVersion": API_VERSION,
        "kind": item.ref.kind,
        "metadata": {"name": item.ref.name, "namespace": item.ref.namespace, **masked(kept, "/metadata")},
        "spec": masked(item.raw, "/spec"),
        "status": {
            "past": record.number,
            "revision": record.revision,
            "since": rfc3339(record.at),
            "digest": item.digest,
            "position": str(item.position),
        },
    }


def past_object(snapshot: Snapshot, record: RevisionRecord, ref: Ref) -> Object:
    """Return an object of a revision.

    Raises:
        NotFound: it did not declare it.
    """
    found = snapshot.objects.get(ref)
    if found is None:
        raise NotFound(f"no {ref.kind} {ref.name!r} in namespace {ref.namespace} at revision {record.number}")
    return found
