"""What the git sources that manifests declare may bring: references to it wait, as they do in the daemon.

A source with manifests of its own brings what these declare; of any other nobody can tell before it is looked at.
Called by `validate`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from loomd.manifest.claim import claimed
from loomd.manifest.convert import Converted
from loomd.manifest.document import read_documents
from loomd.manifest.load import Loader
from loomd.manifest.object import Ref, Snapshot
from loomd.manifest.problem import Problem, Problems
from loomd.manifest.source import SourceFile
from loomd.manifest.wording import listed, quoted

_KIND = "GitSource"
_LEADS_NOWHERE = frozenset({"unresolved-reference", "ambiguous-reference", "empty-selection", "too-many-problems"})
"""Codes of what the daemon lets wait."""
_GUESS = "did you mean"
"""How a hint begins that may be right all the same."""


def load_as_followed(loader: Loader, files: Sequence[SourceFile], wrong: Problems) -> tuple[Snapshot, list[Problem]]:
    """Return the snapshot of files whose references lead to what their sources may bring, and a warning for each.

    Args:
        loader: loads them.
        files: all files.
        wrong: what is wrong with them where no source brings anything.

    Raises:
        Problems: what is wrong with them whatever the sources bring, and warnings of the rest.
    """
    documents = loader.documents(files)
    sources = _sources(documents)
    if not sources:
        raise wrong
    snapshot, errors = None, list[Problem]()
    try:
        snapshot = loader.load(files, pending=True)
    except Problems as error:
        errors = [one for one in error.problems if one.severity == "error"]
    refs = {str(one.ref): [to for _, to in one.refs] for one in documents if one.ref is not None}
    told = [
        one if one in errors or one.code not in _LEADS_NOWHERE else _told(one, refs.get(one.object, ()), sources)
        for one in wrong.problems
    ]
    if snapshot is None or any(one.severity == "error" for one in told):
        raise Problems(told)
    return snapshot, told


def _sources(documents: Iterable[Converted]) -> dict[Ref, frozenset[Ref] | None]:
    """Return the git sources of documents with what each brings, None where nobody can tell."""
    found: dict[Ref, frozenset[Ref] | None] = {}
    for one in documents:
        if one.ref is not None and one.ref.kind == _KIND:
            manifests = one.object.spec.manifests if one.object is not None else ""
            found[one.ref] = _declared(manifests) if manifests else None
    return found


def _declared(manifests: str) -> frozenset[Ref]:
    documents, _ = read_documents(manifests.encode(), _KIND)
    return frozenset(ref for one in documents if (ref := claimed(one.value)) is not None)


def _told(problem: Problem, refs: Iterable[Ref], sources: dict[Ref, frozenset[Ref] | None]) -> Problem:
    """Return a reference that leads nowhere as a warning that says who may bring what it leads to, if one may."""
    meant = next((to for to in refs if f": no {to.kind} {quoted(to.name)}" in problem.message), None)
    who = [str(source) for source, brings in sources.items() if brings is None or meant is None or meant in brings]
    if not who:
        return problem
    text = f"{problem.message}: it waits until there is one, which {listed(who)} may bring"
    if problem.hint.startswith(_GUESS) and not any(meant in (brings or ()) for brings in sources.values()):
        return replace(problem, severity="warning", message=text)
    return replace(problem, severity="warning", message=text, hint="", related=None)
