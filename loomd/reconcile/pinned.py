"""What served once, open again for the tasks that began on it and go on after a restart.

It is opened beside what serves, shares what did not change, and closes after its last task. Called by the engine
through the reconciler; it changes nothing of what serves.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from loomd.errors import Conflict, NotFound, Permanent
from loomd.manifest.object import Object, Ref, Snapshot
from loomd.manifest.problem import Position, Problem
from loomd.manifest.source import SourceFile
from loomd.reconcile.candidate import Candidate
from loomd.reconcile.stage import Stage
from loomd.reconcile.state import SourceBook, SourceState
from loomd.reconcile.turns import Turns
from loomd.store.base import Store
from loomd.store.records import RevisionRecord
from loomd.topology import Topology

_SHOWN = 3
"""Files that a message names."""


class Pinned:
    """Opens stored revisions, one at a time.

    Args:
        store: where they are.
        stage: what serves, and what is open beside it.
        turns: whose turn it is to change what serves.
        sources: returns what is known of the sources.
    """

    def __init__(
        self, store: Store, stage: Stage, turns: Turns, sources: Callable[[], Mapping[str, SourceState]]
    ) -> None:
        self._store = store
        self._stage = stage
        self._turns = turns
        self._sources = sources

    async def open(self, revision: str) -> Topology:
        """Return what served once, open for the tasks that began on it; lease it at once, it closes after the last.

        Args:
            revision: digest of the snapshot.

        Raises:
            NotFound: it is not stored any more.
            Conflict: something else comes of it now, because files that its manifests name have changed.
            LoomdError: it cannot be opened any more.
        """
        while True:
            if (found := self._stage.find(revision)) is not None:
                return found
            async with self._turns.turn():
                if (found := self._stage.find(revision)) is not None:
                    return found
                if self._stage.live <= self._stage.most:
                    return await self._reopen(revision)
            await self._stage.room()

    async def _reopen(self, revision: str) -> Topology:
        record = next((one for one in await self._store.revisions() if one.revision == revision), None)
        if record is None:
            raise NotFound(f"revision {revision} is not stored any more")
        files = await stored(self._store, record.number)
        candidate = await self._stage.recall(record.number, files, self._sources())
        if candidate.snapshot.revision != revision:
            raise Conflict((await asyncio.to_thread(differs, record, candidate.snapshot)).message)
        topology = await self._stage.open_beside(candidate)
        asyncio.get_running_loop().call_soon(topology.retire)  # by then it is leased
        return topology


async def stored(store: Store, number: int, source: str | None = None) -> dict[str, tuple[SourceFile, ...]]:
    """Return the files of a stored revision by source, of all or of one.

    Raises:
        Damaged: the contents of one are not what was stored.
    """
    files: dict[str, list[SourceFile]] = {}
    for file in await store.files(number, source):
        files.setdefault(file.source, []).append(SourceFile(Path(file.root), file.path, file.data, file.base))
    return {name: tuple(items) for name, items in files.items()}


def differs(target: RevisionRecord, snapshot: Snapshot) -> Problem:
    """Return the warning that a stored revision does not come out as it was, with the files that were written since.

    It looks at them, so call it in a thread.

    Args:
        target: the revision.
        snapshot: what comes of it now.
    """
    since: set[str] = set()
    for item in snapshot.objects.values():
        with suppress(OSError, Permanent):  # one that is gone was not written
            since |= {str(path) for path in item.spec.reads(item.folder) if path.stat().st_mtime > target.at}
    which = f" ({', '.join(sorted(since)[:_SHOWN])}{', ...' if len(since) > _SHOWN else ''})" if since else ""
    message = f"files that the manifests of revision {target.number} name have changed since{which}: it is not the same"
    return Problem(Position(f"revision {target.number}"), "changed-since", message, severity="warning")


def find(records: Sequence[RevisionRecord], wanted: int | None, serving: int) -> RevisionRecord:
    """Return a revision, by default the one before the one that serves.

    Raises:
        NotFound: it is not stored.
    """
    for record in records:
        if record.number == wanted or (wanted is None and record.number < serving):
            return record
    kept = f"kept are {records[-1].number} to {records[0].number}" if records else "nothing was applied yet"
    what = "no earlier revision" if wanted is None else f"no revision {wanted}"
    raise NotFound(f"{what}: {kept}; loomd rollout history lists them")


def undone(candidate: Candidate, book: SourceBook, serving: Mapping[Ref, Object]) -> dict[str, str]:
    """Return the sources that would bring back what a rollback takes away, each with the revision that it undoes.

    One that comes back with the rollback, or follows something else then, has none: it waits to be resumed.
    """
    states = {name: book.find(name) for name in sorted(candidate.changed)}
    found = {name: state.last_attempted_revision for name, state in states.items() if state.followed}
    for item in candidate.snapshot.of_kind("GitSource"):
        name, old = f"git/{item.ref.namespace}/{item.ref.name}", serving.get(item.ref)
        if old is None or (name in found and old.digest != item.digest):
            found[name] = ""
    return found
