"""Checks manifests without a daemon: what they say themselves, as far as it does not hang on what others declare.

Called by `apply --dry-run=client` and `delete -f`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from loomd.manifest.claim import claimed
from loomd.manifest.document import read_documents
from loomd.manifest.kind import API_VERSION
from loomd.manifest.load import load
from loomd.manifest.object import Ref
from loomd.manifest.problem import Problem, Problems
from loomd.manifest.source import SourceFile


@dataclass(frozen=True)
class Checked:
    """A manifest that is valid: its object, its content, and what only the daemon can tell."""

    object: str
    value: dict[str, Any]
    notes: tuple[str, ...]


def check(files: Sequence[SourceFile]) -> list[Checked]:
    """Return what some files declare.

    Raises:
        Problems: they are not valid.
    """
    snapshot = load(files, pending=True)
    found: list[Checked] = []
    for ref, item in snapshot.objects.items():
        metadata = item.metadata.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        value = {"apiVersion": API_VERSION, "kind": ref.kind, "metadata": metadata, "spec": dict(item.raw)}
        notes = tuple(f"{problem.message}: only the daemon knows" for problem in snapshot.pending.get(ref, ()))
        found.append(Checked(str(ref), value, notes))
    return found


def named(files: Sequence[SourceFile]) -> list[Ref]:
    """Return what some files name, each once, whether it is valid or not.

    Raises:
        Problems: a file is no YAML, or a document has no kind or no name.
    """
    refs: dict[Ref, None] = {}
    problems: list[Problem] = []
    for file in files:
        documents, wrong = read_documents(file.data, file.name)
        problems += wrong
        for document in documents:
            ref = claimed(document.value)
            if ref is None:
                message = "it has no kind or no metadata.name: nobody can tell what it is about"
                problems.append(Problem(document.position, "missing-field", message))
            else:
                refs[ref] = None
    if problems:
        raise Problems(problems)
    return list(refs)
