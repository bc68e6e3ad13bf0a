"""Manifest files to a snapshot, or to everything that is wrong with them. Reads no manifest itself and opens nothing.

A `Loader` remembers what became of each file, so that looking again at a thousand unchanged files costs next to
nothing. Called by the command line and by `reconcile`.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from loomd.manifest.convert import Converted, convert
from loomd.manifest.document import read_documents
from loomd.manifest.graph import Link, find_dangling, find_duplicates, in_order
from loomd.manifest.kind import API_VERSION, Kind, Spec, find_kinds
from loomd.manifest.marks import find_marked
from loomd.manifest.object import Object, Ref, Snapshot
from loomd.manifest.places import Document
from loomd.manifest.problem import Position, Problem, Problems
from loomd.manifest.source import SourceFile
from loomd.manifest.wording import dotted

IMPLICIT = "(implicit)"
"""File name in the position of an object that no file declares."""

MAX_PROBLEMS = 100
"""Most problems told of one file; whoever has more has one."""


def load(files: Sequence[SourceFile], kinds: Mapping[str, Kind] | None = None) -> Snapshot:
    """Return the snapshot of manifest files.

    Args:
        files: what was read.
        kinds: the kinds that exist, by name; by default those of loomd.

    Raises:
        Problems: the files are not valid; all that is wrong with all of them.
    """
    return Loader(kinds).load(files)


@dataclass(frozen=True)
class _Read:
    """What became of a file."""

    source: SourceFile
    documents: tuple[Converted, ...]
    problems: tuple[Problem, ...]


class Loader:
    """Loads the same files again and again, working only on those that changed."""

    def __init__(self, kinds: Mapping[str, Kind] | None = None) -> None:
        self._kinds = find_kinds() if kinds is None else kinds
        self._known: dict[tuple[Path, str], _Read] = {}

    def load(self, files: Sequence[SourceFile]) -> Snapshot:
        """Return the snapshot of manifest files.

        Raises:
            Problems: the files are not valid; all that is wrong with all of them.
        """
        reads = [self._read(file) for file in files]
        self._known = {(read.source.root, read.source.path): read for read in reads}
        return _resolve(reads, self._kinds)

    def documents(self, files: Iterable[SourceFile]) -> list[Converted]:
        """Return what became of every document of some files, each for itself; what is wrong stands in it."""
        return [one for file in files for one in self._read(file).documents]

    def _read(self, file: SourceFile) -> _Read:
        key = (file.root, file.path)
        last = self._known.get(key)
        if last is None or last.source.data != file.data:
            last = self._known[key] = self._convert(file)
        return last

    def _convert(self, file: SourceFile) -> _Read:
        documents, problems = read_documents(file.data, file.name)
        root = file.root.resolve()
        converted = tuple(convert(document, self._kinds, root) for document in documents)
        told = {problem.position for problem in problems}
        for one in converted:
            problems.extend(problem for problem in one.problems if problem.position not in told)
        return _Read(file, converted, tuple(_cut(problems)))


def _resolve(reads: Iterable[_Read], kinds: Mapping[str, Kind]) -> Snapshot:
    """Put all documents together.

    Raises:
        Problems: something is wrong with one of them, or between them.
    """
    documents = [one for read in reads for one in read.documents]
    problems = [problem for read in reads for problem in read.problems]
    claims = [(one.ref, _name_of(one)) for one in documents if one.ref is not None]
    problems += find_duplicates(claims)
    objects: dict[Ref, Object] = {}
    for one in documents:
        if one.object is not None:
            objects.setdefault(one.object.ref, one.object)
    for implied in _implied(objects, kinds):
        problems += implied.problems
        if implied.object is not None:
            objects[implied.object.ref] = implied.object
    problems += find_dangling(_links(documents), (ref for ref, _ in claims))
    ordered, circles = in_order(objects)
    problems += circles
    for item in objects.values():
        problems += _check_files(item)
    if problems:
        raise Problems(problems)
    return Snapshot.of(_with_files(item) for item in ordered)


def _implied(objects: Mapping[Ref, Object], kinds: Mapping[str, Kind]) -> list[Converted]:
    """Return the documents that namespaces get because they declare none of their kind."""
    found: list[Converted] = []
    for namespace in sorted({ref.namespace for ref in objects}):
        names: dict[str, list[str]] = {}
        for ref in sorted(objects):
            if ref.namespace == namespace:
                names.setdefault(ref.kind, []).append(ref.name)
        for kind in kinds.values():
            spec = kind.implicit(names) if kind.implicit and kind.name not in names else None
            if spec is not None:
                metadata = {"name": "default", "namespace": namespace}
                value = {"apiVersion": API_VERSION, "kind": kind.name, "metadata": metadata, "spec": spec}
                found.append(convert(Document(value, Position(IMPLICIT), {}, {}), kinds, Path()))
    return found


def _links(documents: Iterable[Converted]) -> Iterator[Link]:
    for one in documents:
        for pointer, to in one.refs:
            if one.ref is not None:
                yield Link(one.ref, pointer, one.document.where(pointer), to)


def _name_of(one: Converted) -> Position:
    return one.document.where("/metadata/name")


def _check_files(item: Object) -> Iterator[Problem]:
    """Yield what specs say of the files that they name."""
    for marked in find_marked(item.spec, "/spec"):
        if marked.marker is not None or type(marked.value).check is Spec.check:
            continue
        for place, message, *code in marked.value.check(item.root):
            pointer = marked.pointer + place
            text = f"{item.ref} {dotted(pointer)}: {message}"
            yield Problem(item.where(pointer), code[0] if code else "bad-file", text, pointer)


def _with_files(item: Object) -> Object:
    """Return the object with the contents of the files that it reads in its digest."""
    digest = hashlib.sha256(item.digest.encode())
    read = False
    for marked in find_marked(item.spec, "/spec"):
        if marked.marker is not None or type(marked.value).reads is Spec.reads:
            continue
        for path in marked.value.reads(item.root):
            read = True
            digest.update(f"\n{path.relative_to(item.root).as_posix()} ".encode())
            try:
                digest.update(hashlib.sha256(path.read_bytes()).digest())
            except OSError as error:  # whoever opens the object reports it; it counts as another content
                digest.update(str(error.errno).encode())
    return replace(item, digest=digest.hexdigest()) if read else item


def _cut(problems: list[Problem]) -> list[Problem]:
    if len(problems) <= MAX_PROBLEMS:
        return problems
    ordered = sorted(problems, key=lambda one: (one.position, one.code))
    first, rest = ordered[MAX_PROBLEMS], len(ordered) - MAX_PROBLEMS
    message = f"and at least {rest} more problems in this file"
    return [*ordered[:MAX_PROBLEMS], Problem(first.position, "too-many-problems", message)]
