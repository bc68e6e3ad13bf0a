"""Puts all documents together: names taken once, references followed, implicit objects added, everything in order.

Pure but for the files that specs name, which `files` looks at. Called by `load`.
"""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from loomd.manifest.convert import Converted, convert
from loomd.manifest.files import MAX_TOLD, Contents, Copy, Files
from loomd.manifest.foreign import unusable
from loomd.manifest.graph import Link, find_dangling, find_duplicates, in_order, spread
from loomd.manifest.kind import API_VERSION, Kind
from loomd.manifest.marks import Marked
from loomd.manifest.mentioned import find_unknown
from loomd.manifest.object import Object, Ref, Snapshot
from loomd.manifest.places import Document
from loomd.manifest.problem import Position, Problem, Problems
from loomd.manifest.selection import choose
from loomd.manifest.shorthand import derive

IMPLICIT = "(implicit)"
"""File name in the position of an object that no file declares."""


@dataclass
class Resolver:
    """Resolves documents again and again; what is implied by the same names is made once.

    Attributes:
        kinds: the kinds that exist, by name.
        files: the files that specs read.
    """

    kinds: Mapping[str, Kind]
    files: Files
    _implicit: dict[tuple[str, str], tuple[dict[str, object], Converted]] = field(default_factory=dict)
    _order: tuple[dict[Ref, tuple[tuple[str, Ref], ...]], list[Ref]] | None = None

    def resolve(
        self,
        documents: Sequence[Converted],
        problems: Sequence[Problem],
        warnings: Sequence[Problem],
        contents: Mapping[Ref, Contents],
        pending: bool,
    ) -> Snapshot:
        """Return the snapshot of documents.

        Args:
            documents: all of them.
            problems: what is wrong with them each for itself, and with the files that they name.
            warnings: what else should be looked at, as `look` returned it.
            contents: what `look` returned.
            pending: accept references to what is not there.

        Raises:
            Problems: something is wrong with one of them, or between them.
        """
        wrong = list(problems)
        derived, astray = derive(documents, self.kinds)
        wrong += [problem for one in derived for problem in one.problems]
        documents = [*documents, *derived]
        claims = [(one.ref, one.document) for one in documents if one.ref is not None]
        wrong += find_duplicates(claims)
        known = dict(claims)
        unknown = list(find_unknown(documents, pending))
        wrong += [one for one in unknown if one.severity == "error"]
        dangling = find_dangling(_lost(documents, known, astray), known)
        for (owner, _), problem in astray.items():
            if problem is not None:
                dangling.setdefault(owner, []).append(problem)
        objects, nowhere, lost = _select(documents, dangling, pending)
        if not pending:
            wrong += [problem for found in nowhere.values() for problem in found]
        for implied in self._implied(objects, lost):
            wrong += implied.problems
            if implied.object is not None:
                objects[implied.object.ref] = implied.object
        ordered, circles = self._in_order(objects)
        wrong += circles
        if wrong:
            raise Problems(wrong)
        told = [*unusable(), *unknown, *warnings, *(problem for one in documents for problem in one.warnings)]
        return Snapshot.of((_with(item, contents) for item in ordered), lost, told)

    def _in_order(self, objects: Mapping[Ref, Object]) -> tuple[list[Object], list[Problem]]:
        """Return what `in_order` does; as long as all refer to the same, the order is the same."""
        refs = {ref: item.refs for ref, item in objects.items()}
        known = self._order
        if known is not None and known[0] == refs:
            return [objects[ref] for ref in known[1]], []
        ordered, circles = in_order(objects)
        self._order = None if circles else (refs, [item.ref for item in ordered])
        return ordered, circles

    def look(
        self, documents: Iterable[Converted], copies: Mapping[Ref, Copy]
    ) -> tuple[list[Problem], dict[Ref, Contents]]:
        """Return what is wrong with the files that documents name, warnings too, and what is in them by who reads them.

        Args:
            documents: all of them.
            copies: what was kept of the files of some, for where they are others by now.
        """
        self.files.begin()
        problems: list[Problem] = []
        contents: dict[Ref, Contents] = {}
        told: Counter[str] = Counter()
        for one in documents:
            file = one.document.position.file
            if one.specs and one.object is not None and one.object.ref not in contents and told[file] < MAX_TOLD:
                ref = one.object.ref
                found, contents[ref] = self.files.look(one.object, one.specs, copies.get(ref))
            elif one.specs and one.draft is not None and told[file] < MAX_TOLD:
                found, _ = self.files.look(one.draft, one.specs)
            else:
                continue
            told[file] += len(found)
            problems += found
        return problems, contents

    def _implied(self, objects: Mapping[Ref, Object], lost: Mapping[Ref, object]) -> Iterator[Converted]:
        """Yield the documents that namespaces get because they declare none of their kind; they use nothing lost."""
        declared: dict[str, set[str]] = {}
        names: dict[str, dict[str, list[str]]] = {}
        for ref in sorted(objects):
            declared.setdefault(ref.namespace, set()).add(ref.kind)
            if ref not in lost:
                names.setdefault(ref.namespace, {}).setdefault(ref.kind, []).append(ref.name)
        for namespace, found in sorted(names.items()):
            for kind in self.kinds.values():
                spec = kind.implicit(found) if kind.implicit and kind.name not in declared[namespace] else None
                if spec is not None:
                    yield self._imply(kind, namespace, spec)

    def _imply(self, kind: Kind, namespace: str, spec: dict[str, object]) -> Converted:
        known = self._implicit.get((kind.name, namespace))
        if known is None or known[0] != spec:
            metadata = {"name": "default", "namespace": namespace}
            value = {"apiVersion": API_VERSION, "kind": kind.name, "metadata": metadata, "spec": spec}
            known = spec, convert(Document(value, Position(IMPLICIT), {}, {}), self.kinds, Path())
            self._implicit[kind.name, namespace] = known
        return known[1]


def _select(
    documents: Sequence[Converted], dangling: Mapping[Ref, list[Problem]], pending: bool
) -> tuple[dict[Ref, Object], Mapping[Ref, list[Problem]], dict[Ref, tuple[Problem, ...]]]:
    """Return the objects with what they select, what leads nowhere by who refers, and what cannot come alive.

    Nothing that cannot come alive is selected, and who then selects nothing cannot come alive either.
    """
    declared: dict[Ref, Object] = {}
    selectors: dict[Ref, Sequence[Marked]] = {}
    for one in documents:
        if one.object is not None and declared.setdefault(one.object.ref, one.object) is one.object and one.selectors:
            selectors[one.object.ref] = one.selectors
    invalid = (
        {one.ref: _labels(one.document) for one in documents if one.object is None and one.ref}
        if any(one.selectors for one in documents)
        else {}
    )
    drafts = {one.ref: one for one in documents if one.object is None and one.draft and one.ref and one.selectors}
    nowhere = dangling
    while True:
        lost = spread(nowhere, declared) if pending else {}
        objects, empty = choose(selectors, declared, lost, invalid)
        if drafts and not pending:  # a document that is not valid hides nothing that its selectors say
            among = {**declared, **{ref: one.draft for ref, one in drafts.items() if one.draft and ref not in declared}}
            told = {ref: one.selectors for ref, one in drafts.items() if ref not in declared}
            empty = {**empty, **choose(told, among, {}, invalid)[1]}
        more = {owner: [*dangling.get(owner, ()), *found] for owner, found in empty.items()}
        before, nowhere = nowhere, {**dangling, **more}
        if not pending or nowhere.keys() == before.keys():
            return objects, nowhere, lost


def _labels(document: Document) -> dict[str, str] | None:
    """Return the labels of a document that is not valid, or None when they are not what they should be."""
    labels = document.value["metadata"].get("labels", {})
    return labels if isinstance(labels, dict) and all(isinstance(value, str) for value in labels.values()) else None


def _lost(
    documents: Iterable[Converted], known: Mapping[Ref, Document], told: Collection[tuple[Ref, str]]
) -> Iterator[Link]:
    """Yield the references to what is not there, but for those that are told of already."""
    for one in documents:
        for pointer, to in one.refs:
            if to not in known and one.ref is not None and (one.ref, pointer) not in told:
                yield Link(one.ref, pointer, one.document, to)


def _with(item: Object, contents: Mapping[Ref, Contents]) -> Object:
    """Return the object with what it reads, which is part of its digest."""
    found = contents.get(item.ref)
    if found is None or not found.digest:
        return item
    digest = hashlib.sha256(f"{item.digest} {found.digest}".encode()).hexdigest()
    return replace(item, digest=digest, reads=found.kept, copies=found.copies)
