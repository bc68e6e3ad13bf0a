"""The files of a source with some of its objects left out, taken over or kept: what partial changes are made of.

Objects that no file declares any more become files of their own, so that one which is declared again, in whichever
file, replaces what was kept. Pure; called by the reconciler.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace

from loomd.manifest.convert import Converted
from loomd.manifest.extract import without_documents
from loomd.manifest.json_text import write_json
from loomd.manifest.kind import API_VERSION
from loomd.manifest.object import Object, Ref
from loomd.manifest.problem import Problems
from loomd.manifest.source import SourceFile

KEPT = "(kept)"
"""Folder in the name of a file that keeps an object which no file declares any more."""

PRUNE = "loomd.dev/prune"
"""Annotation with which an object is kept when its source does not declare it any more: `disabled`."""


def left_out(old: Iterable[Converted], new: Iterable[Converted], prune: bool) -> tuple[SourceFile, ...]:
    """Return a file for every object of the old documents that stays although no new document declares it.

    Args:
        old: what the source declared.
        new: what it declares now.
        prune: whether only those stay that ask for it by annotation.

    Raises:
        Problems: an object that is to be kept is not valid any more.
    """
    declared = {one.ref for one in new}
    gone = [one for one in old if one.ref not in declared and (not prune or _stays(one))]
    return tuple(_kept(gone))


def without(files: Sequence[SourceFile], documents: Sequence[Converted], refs: Collection[Ref]) -> Iterator[SourceFile]:
    """Yield the files of a source without some objects; what else is in a file stays on its lines, with its comments.

    Args:
        files: the files.
        documents: what became of all documents in them.
        refs: the objects to leave out.
    """
    gone: dict[str, list[int]] = {}
    rest: set[str] = set()
    for one in documents:
        at = one.document.position
        if one.ref in refs:
            gone.setdefault(at.file, []).append(at.line)
        else:
            rest.add(at.file)
    for file in files:
        if file.name not in gone:
            yield file
        elif file.name in rest:
            text = without_documents(file.data.decode("utf-8"), gone[file.name])
            yield replace(file, data=text.encode("utf-8"))


def _stays(one: Converted) -> bool:
    return one.object is not None and one.object.metadata.annotations.get(PRUNE) == "disabled"


def _kept(documents: Iterable[Converted]) -> Iterator[SourceFile]:
    """Yield a file for each of some documents."""
    found = list(documents)
    wrong = [problem for one in found for problem in one.problems]
    if wrong:
        raise Problems(wrong)
    for one in found:
        if one.object is not None:
            yield _file(one.object)


def _file(item: Object) -> SourceFile:
    metadata = item.metadata.model_dump(mode="json", by_alias=True)
    body = {"apiVersion": API_VERSION, "kind": item.ref.kind, "metadata": metadata, "spec": dict(item.raw)}
    path = f"{KEPT}/{item.ref.kind}/{item.ref.namespace}/{item.ref.name}"
    return SourceFile(item.root, path, write_json(body).encode(), item.base)
