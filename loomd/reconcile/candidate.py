"""What could serve next: the files of all sources after a change, and the snapshot that they make.

Every change is made here first, whatever it is: a delivery, a deletion, an edit, a rollback. Nothing is opened or
stored, so a candidate that is refused leaves no trace. Runs in a thread; called by the reconciler.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from loomd.errors import Conflict, Permanent, Stale
from loomd.manifest.convert import Converted
from loomd.manifest.delivery import Delivery
from loomd.manifest.files import Copy
from loomd.manifest.graph import referrers
from loomd.manifest.load import Loader
from loomd.manifest.object import EMPTY, Ref, Snapshot
from loomd.manifest.problem import Problems
from loomd.manifest.resolve import IMPLICIT
from loomd.manifest.source import SourceFile
from loomd.reconcile.keep import left_out, without
from loomd.reconcile.state import SourceState

Files = Mapping[str, tuple[SourceFile, ...]]
"""The files of every source, by the source's name."""

_TOLD = 3


@dataclass(frozen=True)
class Candidate:
    """What could serve.

    Attributes:
        files: the files of all sources.
        changed: the sources whose files differ from what serves.
        snapshot: what they make.
        owners: the source that declares each object.
        about: the objects that whoever wants it declares or deletes.
    """

    files: Files
    changed: frozenset[str]
    snapshot: Snapshot
    owners: Mapping[Ref, str]
    about: frozenset[Ref] = frozenset()

    def inventory(self) -> dict[str, list[str]]:
        """Return the objects of every source, as `Kind/namespace/name`."""
        found: dict[str, list[str]] = {}
        for ref, owner in self.owners.items():
            if ref in self.snapshot.objects:
                found.setdefault(owner, []).append(f"{ref.kind}/{ref.namespace}/{ref.name}")
        return found


class Candidates:
    """Makes candidates from what serves.

    Attributes:
        files: what serves; the reconciler sets both when it swaps.
        snapshot: what those files make.
    """

    def __init__(self) -> None:
        self._loader = Loader()
        self.files: Files = {}
        self.snapshot = EMPTY

    def deliver(self, deliveries: Sequence[Delivery], sources: Mapping[str, SourceState]) -> Candidate:
        """Return what serves with the files of some sources replaced.

        Raises:
            Problems: the manifests are not valid, or something that others refer to would be deleted.
            Conflict: another source declares one of their objects.
            Permanent: one is empty, and that would delete everything.
            Stale: something else comes of it than was planned.
            LoomdError: a delivery does not admit what would serve.
        """
        new = {one.source: self._loader.documents(one.files) for one in deliveries}
        declared = [document for documents in new.values() for document in documents]
        changed: dict[str, tuple[SourceFile, ...]] = {}
        for one in deliveries:
            for owner, refs in self._taken_over(one, new, sources).items():
                changed[owner] = tuple(self._without(owner, refs, changed.get(owner)))
        for one in deliveries:
            old = self._loader.documents(self.files.get(one.source, ()))
            if old and not new[one.source] and one.type != "apply" and not one.allow_empty:
                self._loader.load(one.files, pending=True)  # what cannot be read declares nothing either, and says why
                raise Permanent(
                    f"{one.source} declares nothing any more, {len(old)} documents serve on: nothing is deleted"
                )
            changed[one.source] = (*one.files, *left_out(old, declared, one.prune))
        candidate = self._load(changed, sources, copies=self._copies(new))
        for one in deliveries:
            got = candidate.snapshot.revision
            if one.planned and one.planned != got:
                raise Stale(f"expected that revision {one.planned} comes of it, it would be {got}: plan it again")
            if one.admits is not None:
                one.admits(candidate.snapshot)
        return replace(candidate, about=frozenset(one.ref for one in declared if one.ref is not None))

    def delete(self, refs: Sequence[Ref], sources: Mapping[str, SourceState]) -> Candidate:
        """Return what serves without some objects.

        Raises:
            NotFound: one of them is not there.
            Conflict: a source that is followed declares one of them.
            Problems: something refers to one of them.
        """
        owners = self._owners(self.files)
        changed: dict[str, tuple[SourceFile, ...]] = {}
        for source in {self._owner(ref, owners, sources) for ref in refs}:
            changed[source] = tuple(self._without(source, refs))
        return replace(self._load(changed, sources, refs), about=frozenset(refs))

    def replace(self, file: SourceFile, sources: Mapping[str, SourceState]) -> Candidate:
        """Return what serves with the objects of one file in place of those of the same names.

        Raises:
            NotFound: there is no such object.
            Conflict: a source that is followed declares one of them.
            Problems: the file is not valid.
        """
        owners = self._owners(self.files)
        refs = [one.ref for one in self._loader.documents([file]) if one.ref is not None]
        found = {self._owner(ref, owners, sources) for ref in refs}
        if len(found) > 1:
            raise Conflict(f"these objects are declared by several sources ({', '.join(sorted(found))}): edit one")
        for source in found:
            candidate = self._load({source: (*self._without(source, refs), file)}, sources)
            return replace(candidate, about=frozenset(refs))
        return self._load({file.path: (file,)}, sources)  # nothing in it has a name: validation says why

    def restore(
        self, files: Files, sources: Mapping[str, SourceState], copies: Mapping[Ref, Copy] | None = None
    ) -> Candidate:
        """Return other files of all sources as a candidate.

        Args:
            files: the files.
            sources: what is known of the sources.
            copies: what was kept of the files that objects name, for where they are others by now.
        """
        gone = dict.fromkeys(self.files.keys() - files.keys(), tuple[SourceFile, ...]())
        return self._load({**gone, **files}, sources, copies=copies or {})

    def _load(
        self,
        changed: Mapping[str, tuple[SourceFile, ...]],
        sources: Mapping[str, SourceState],
        deleted: Collection[Ref] = (),
        copies: Mapping[Ref, Copy] | None = None,
    ) -> Candidate:
        """Return the candidate that some sources' files make together with all others.

        A reference to nothing is wrong as long as nobody else can declare what is missing. With another source it may
        still come: then the object waits, unless it is one that serves now. What serves with copies of its files goes
        on with them, unless others are given.
        """
        copies = self._copies() if copies is None else copies
        files = {name: items for name, items in {**self.files, **changed}.items() if items}
        everything = [file for _, items in sorted(files.items()) for file in items]
        try:
            snapshot = self._loader.load(everything, pending=True, copies=copies)
        except Problems:
            snapshot = self._loader.load(everything, copies=copies)  # tells of references to nothing, too
        owners = self._owners(files)
        self._refuse_referenced(snapshot, owners, changed, deleted)
        several = len(files.keys() | sources.keys()) > 1 or bool(snapshot.of_kind("GitSource"))
        refused = (
            ref
            for ref in snapshot.pending
            if not several or (ref in self.snapshot.objects and ref not in self.snapshot.pending)
        )
        problems = {problem for ref in refused for problem in snapshot.pending[ref]}
        if problems:
            raise Problems(problems)
        differ = frozenset(name for name, items in changed.items() if items != self.files.get(name, ()))
        return Candidate(files, differ, snapshot, owners)

    def _refuse_referenced(
        self, snapshot: Snapshot, owners: Mapping[Ref, str], changed: Collection[str], deleted: Collection[Ref]
    ) -> None:
        """Refuse to delete what others refer to; a source that deletes what it refers to itself has a dangling name."""
        gone = self.snapshot.objects.keys() - snapshot.objects.keys()
        if not gone:
            return
        staying = {
            ref: item for ref, item in snapshot.objects.items() if deleted or owners.get(ref, IMPLICIT) not in changed
        }
        problems = referrers(staying, gone)
        if problems:
            raise Problems(problems)

    def _taken_over(
        self, delivery: Delivery, new: Mapping[str, Iterable[Converted]], sources: Mapping[str, SourceState]
    ) -> dict[str, set[Ref]]:
        """Return what a source takes over from others that deliver nothing now.

        A file and the folder that it is in are one place: what was applied by one name may be applied by the other.

        Raises:
            Conflict: another source declares it, and it is not to be taken over, or is followed.
        """
        others = self._owners({name: files for name, files in self.files.items() if name not in new})
        taken: dict[str, set[Ref]] = {}
        told: list[str] = []
        for one in new[delivery.source]:
            owner = others.get(one.ref) if one.ref is not None else None
            if owner is None or one.ref is None:
                continue
            state = sources.get(owner)
            followed = state is not None and state.followed and not state.suspended
            if not followed and (delivery.force or _inside(delivery.source, owner) or _inside(owner, delivery.source)):
                taken.setdefault(owner, set()).add(one.ref)
            else:
                act = "take it over with `loomd apply --force`"
                if followed:
                    act = f"suspend it first (loomd suspend {owner})"
                told.append(f"{one.document.position}: {one.ref} is declared by {owner}: change it there, or {act}")
        if told:
            more = [f"and {len(told) - _TOLD} more"] if len(told) > _TOLD else []
            raise Conflict("\n".join([*told[:_TOLD], *more]))
        return taken

    def _copies(self, delivered: Collection[str] = ()) -> dict[Ref, Copy]:
        """Return the copies with which objects serve, without those of sources that deliver anew: they bring theirs."""
        items = [item for item in self.snapshot.objects.values() if item.copies is not None]
        owners = self._owners(self.files) if items and delivered else {}
        return {
            item.ref: Copy(item.reads, partial(Path, item.folder))
            for item in items
            if owners.get(item.ref) not in delivered
        }

    def _without(
        self, source: str, refs: Collection[Ref], left: tuple[SourceFile, ...] | None = None
    ) -> Iterable[SourceFile]:
        files = self.files[source] if left is None else left
        return without(files, self._loader.documents(files), refs)

    def _owners(self, files: Files) -> dict[Ref, str]:
        return {
            one.ref: source
            for source, items in files.items()
            for one in self._loader.documents(items)
            if one.ref is not None
        }

    def _owner(self, ref: Ref, owners: Mapping[Ref, str], sources: Mapping[str, SourceState]) -> str:
        """Return the source of an object that a person may change by hand.

        Raises:
            NotFound: there is no such object.
            Conflict: it is declared by nobody, or by a source that is followed.
        """
        owner = owners.get(ref)
        if owner is None and ref in self.snapshot.objects:
            raise Conflict(f"{ref} is implied and cannot be changed: declare one of that kind")
        if owner is None:
            raise ref.missing()
        state = sources.get(owner)
        if state is not None and state.followed and not state.suspended:
            where = self.snapshot.objects[ref].position if ref in self.snapshot.objects else owner
            raise Conflict(
                f"{ref} is declared at {where}, which is followed: change it there, or suspend {owner} first"
            )
        return owner


def _inside(path: str, folder: str) -> bool:
    """Return whether a source is a path below another."""
    return folder.startswith("/") and path.startswith(f"{folder.rstrip('/')}/")
