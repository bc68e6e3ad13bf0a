"""Manifest files to a snapshot, or to everything that is wrong with them. Reads no manifest itself and opens nothing.

A `Loader` remembers what became of each file, so that looking again at a thousand unchanged files costs next to
nothing. Called by the command line and by `reconcile`.
"""

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import msgspec

from loomd.clock import Clock, SystemClock
from loomd.manifest.claim import claimed
from loomd.manifest.convert import Converted, convert
from loomd.manifest.document import read_documents
from loomd.manifest.files import Contents, Copy, Files
from loomd.manifest.kind import Kind, find_kinds
from loomd.manifest.object import Ref, Snapshot
from loomd.manifest.problem import Position, Problem
from loomd.manifest.resolve import Resolver
from loomd.manifest.source import SourceFile

MAX_PROBLEMS = 100
"""Most problems told of one file; whoever has more has one."""


def load(files: Sequence[SourceFile], kinds: Mapping[str, Kind] | None = None, pending: bool = False) -> Snapshot:
    """Return the snapshot of manifest files.

    Args:
        files: what was read.
        kinds: the kinds that exist, by name; by default those of loomd.
        pending: see `Loader.load`.

    Raises:
        Problems: the files are not valid; all that is wrong with all of them.
    """
    return Loader(kinds).load(files, pending)


def load_kept(files: Sequence[SourceFile], copies: Mapping[Ref, Copy]) -> Snapshot:
    """Return the snapshot of the files of a revision that is kept; see `Loader.load`.

    Args:
        files: its manifests.
        copies: what was kept of the files that its objects name.

    Raises:
        Problems: the files are not valid any more.
    """
    return Loader().load(files, pending=True, copies=copies)


class _Read(msgspec.Struct, frozen=True):
    """What became of a file below a root whose links are resolved."""

    source: SourceFile
    root: Path
    documents: tuple[Converted, ...]
    problems: tuple[Problem, ...]


class _Done(msgspec.Struct, frozen=True):
    """A load that succeeded, and all that it depended on."""

    reads: tuple[_Read, ...]
    pending: bool
    contents: Mapping[Ref, Contents]
    warnings: Sequence[Problem]
    snapshot: Snapshot


class Loader:
    """Loads the same files again and again, working only on those that changed. Threads may share it."""

    def __init__(self, kinds: Mapping[str, Kind] | None = None, clock: Clock | None = None) -> None:
        self._kinds = find_kinds() if kinds is None else kinds
        self._resolver = Resolver(self._kinds, Files(clock or SystemClock()))
        self._known: dict[tuple[Path, str], tuple[_Read, ...]] = {}
        self._named: dict[tuple[str, str], _Read] = {}
        self._roots: dict[Path, Path] = {}
        self._last: _Done | None = None
        self._lock = threading.Lock()

    def load(
        self, files: Sequence[SourceFile], pending: bool = False, copies: Mapping[Ref, Copy] = MappingProxyType({})
    ) -> Snapshot:
        """Return the snapshot of manifest files.

        Args:
            files: what was read.
            pending: accept references to what is not there: who refers so, and all that depends on those, is in the
                snapshot and in its `pending`; implicit objects leave them out.
            copies: what was kept of the files that some objects name, for where they are others by now.

        Raises:
            Problems: the files are not valid; all that is wrong with all of them.
        """
        with self._lock:
            self._roots = {}
            reads = tuple(self._read(file) for file in files)
            self._forget(reads)
            self._named = {(read.source.base, read.source.path): read for read in reads if read.source.base}
            documents = [one for read in reads for one in read.documents]
            found, contents = self._resolver.look(documents, copies)
            wrong = [one for one in found if one.severity == "error"]
            warnings = [one for one in found if one.severity == "warning"]
            last, now = self._last, (pending, contents, warnings)
            if last and not wrong and _same(last.reads, reads) and (last.pending, last.contents, last.warnings) == now:
                return last.snapshot
            wrong += [problem for read in reads for problem in read.problems]
            snapshot = self._resolver.resolve(documents, wrong, warnings, contents, pending)
            self._last = _Done(reads, pending, contents, warnings, snapshot)
            return snapshot

    def documents(self, files: Iterable[SourceFile]) -> list[Converted]:
        """Return what became of every document of some files, each for itself; what is wrong stands in it."""
        with self._lock:
            self._roots = {}
            return [one for file in files for one in self._read(file).documents]

    def warnings(self, files: Iterable[SourceFile]) -> list[Problem]:
        """Return what of some files is not wrong and should be looked at, whether they are valid or not."""
        documents = self.documents(files)
        with self._lock:
            found, _ = self._resolver.look(documents, {})
        of_machine = [one for one in found if one.severity == "warning"]
        return [*of_machine, *(problem for one in documents for problem in one.warnings)]

    def _forget(self, reads: Sequence[_Read]) -> None:
        """Forget the files that are neither among these nor among those of the last success."""
        used = [*reads, *(self._last.reads if self._last else ())]
        keys = {(read.source.root, read.source.path) for read in used}
        if len(keys) < len(self._known):
            self._known = {key: known for key, known in self._known.items() if key in keys}

    def _read(self, file: SourceFile) -> _Read:
        root = self._roots.get(file.root)
        if root is None:
            root = self._roots[file.root] = file.root.resolve()  # a link may lead elsewhere since the last load
        key = (file.root, file.path)
        known = self._known.get(key, ())
        for read in known:
            if read.root == root and read.source.data == file.data and read.source.base == file.base:
                return read
        named = self._named.get((file.base, file.path))
        same = named is not None and named.source.data == file.data
        fresh = _moved(named, file, root) if named and same else self._convert(file, root)
        self._known[key] = (fresh, *known[:1])  # what serves and what may serve next are asked for in turn
        return fresh

    def _convert(self, file: SourceFile, root: Path) -> _Read:
        documents, problems = read_documents(file.data, file.name)
        told = {problem.position for problem in problems}
        converted: list[Converted] = []
        skipped: Position | None = None
        for document in documents:
            if len(problems) >= MAX_PROBLEMS:  # it counts as there, so that references to it lead somewhere
                skipped = skipped or document.position
                converted.append(Converted(claimed(document.value), document))
                continue
            one = convert(document, self._kinds, root, file.base)
            converted.append(one)
            problems.extend(problem for problem in one.problems if problem.position not in told)
        return _Read(file, root, tuple(converted), tuple(_cut(problems, skipped)))


def _moved(read: _Read, file: SourceFile, root: Path) -> _Read:
    """Return what became of a file that now lies below another root of the same name; its text is the same."""
    documents = tuple(
        replace(
            one,
            object=replace(one.object, root=root) if one.object else None,
            draft=replace(one.draft, root=root) if one.draft else None,
        )
        for one in read.documents
    )
    return _Read(file, root, documents, read.problems)


def _same(one: Sequence[_Read], other: Sequence[_Read]) -> bool:
    return len(one) == len(other) and all(a is b for a, b in zip(one, other, strict=True))


def _cut(problems: list[Problem], skipped: Position | None) -> list[Problem]:
    """Return the first problems of a file, and one that says that there may be more.

    Args:
        problems: all that were found.
        skipped: the first document that was not looked at any more.
    """
    ordered = sorted(problems, key=lambda one: (one.position, one.code))
    rest = ordered[MAX_PROBLEMS].position if len(ordered) > MAX_PROBLEMS else skipped
    if rest is None:
        return problems
    message = f"{rest.file} has {MAX_PROBLEMS} problems before this place and may have more: mend them first"
    return [*ordered[:MAX_PROBLEMS], Problem(rest, "too-many-problems", message)]
