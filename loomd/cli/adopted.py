"""What clusters learned, worked into the files that declare who learned it. Called by `adopt`."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from loomd.agents.kind import LEARNED
from loomd.api.client import Json
from loomd.api.text import to_yaml
from loomd.cli.output import spelled
from loomd.errors import LoomdError, Permanent
from loomd.manifest.amend import Append, Change, Put, Rewrite, amend, is_generated
from loomd.manifest.claim import claimed
from loomd.manifest.document import read_documents
from loomd.manifest.load import load
from loomd.manifest.object import Ref
from loomd.manifest.problem import Problems
from loomd.manifest.source import STDIN, SourceFile, read_path
from loomd.manifest.template import continued, holds

_OWN = frozenset(("description", "prompt", "domains", "locked", "budgets"))
"""Fields that an agent does not have from the one that it is made from."""
_APPLY = "does not serve as it is there: `loomd apply -f {path}` lets it serve; then adopt again"
"""Why what was learned of a field is not written over it, and what to do."""


@dataclass(frozen=True)
class Adopted:
    """A file with what was learned in it.

    Attributes:
        name: where it is: absolute, or below the top of its repository.
        source: name of its source.
        before: its contents.
        after: its contents with what was learned.
        local: whether it is on this machine, and not in a repository that is followed.
        told: what was changed, one line each.
    """

    name: str
    source: str
    before: bytes
    after: bytes
    local: bool
    told: tuple[str, ...]


@dataclass
class Adoption:
    """What came of it.

    Attributes:
        files: the files that change, sorted.
        refused: what was not taken over, and why.
        locked: what was left out, because a person locked it.
    """

    files: list[Adopted] = field(default_factory=list[Adopted])
    refused: list[str] = field(default_factory=list[str])
    locked: list[str] = field(default_factory=list[str])


def adopt(items: Sequence[Json]) -> Adoption:
    """Return the files with what was learned.

    Args:
        items: what was learned of each declared object, as the API tells it.
    """
    found = Adoption()
    groups: dict[tuple[str, str, str], list[Json]] = {}
    for item in items:
        groups.setdefault((item["source"], item["root"], item["path"]), []).append(item)
    for _, group in sorted(groups.items()):
        try:
            adopted = _file(group, found)
        except LoomdError as error:
            found.refused.append(f"{', '.join(_spelled(one) for one in group)}: {error}")
        else:
            found.files += [adopted] if adopted is not None else []
    return found


def _file(group: Sequence[Json], found: Adoption) -> Adopted | None:
    """Return one file with what was learned, or None when it holds all that already.

    What a person changed in the file since it was applied stays: a field with an edit that does not serve is refused,
    and so is an agent that is made from what serves.

    Raises:
        LoomdError: it cannot be edited.
    """
    first = group[0]
    file = _source_file(first)
    if is_generated(file.data):
        raise Permanent(f"{file.name} says that it is generated: adopt it where it is generated from")
    if "text" not in first:
        raise Permanent("the daemon is of an earlier version, and does not say what it serves: start this version")
    documents, served = _documents(file.data, file.name), _documents(first["text"].encode(), file.name)
    apply = _APPLY.format(path=first["source"])
    changes: dict[Ref, list[Change]] = {}
    told: list[tuple[Ref, Change, str]] = []
    unsure = {name for item in group for name in _unsure(item, documents, served)}
    for item in group:
        ref = Ref(item["kind"], item["name"], item["namespace"])
        for one in item["changes"]:
            if one.get("item") in unsure:
                continue
            path = ".".join(one["field"])
            if lock := lock_of(documents.get(ref), one["field"]):
                found.locked.append(f"{ref} {path}: {lock} is locked in {file.name}")
                continue
            held, was = (_held(one_of.get(ref), one["field"]) for one_of in (documents, served))
            change = _change(one, was)
            fresh = change.of(held) != held
            if fresh and ref in documents and "item" not in one and held not in (was, *_offered(one, was)):
                found.refused.append(f"{ref} {path} in {file.name} {apply}")
                continue
            changes.setdefault(ref, []).append(change)
            if fresh:
                told.append((ref, change, f"{ref} {path}: {_said(one)}"))
    known = _declared(first, file)
    added = [one for item in group for one in item["added"] if claimed(one) not in known]
    found.refused += [
        f"{claimed(one)}: what it is made from in {file.name} {apply}"
        for one in added
        if one["metadata"]["name"] in unsure
    ]
    added = [one for one in added if one["metadata"]["name"] not in unsure]
    possible = _possible(file, changes, found)
    after = amend(file.data, file.name, possible, [to_yaml(one) for one in added])
    if after == file.data:
        return None
    load([SourceFile(file.root, file.path, after, file.base)], pending=True)
    local = first["type"] != "git"
    name = os.path.realpath(file.root / file.path) if local else "/".join(filter(None, (first["folder"], file.path)))
    lines = [line for ref, change, line in told if change in possible.get(ref, ())]
    lines += [f"{claimed(one)}: declared" for one in added]
    return Adopted(name, first["source"], file.data, after, local, tuple(lines))


def _possible(file: SourceFile, changes: dict[Ref, list[Change]], found: Adoption) -> dict[Ref, list[Change]]:
    """Return the changes that can be made in a file; each other one is refused, and keeps none of the others back.

    Raises:
        Problems: the file cannot be read.
    """
    try:
        amend(file.data, file.name, changes)
    except Problems:
        raise
    except Permanent:
        possible: dict[Ref, list[Change]] = {ref: [] for ref in changes}
        for ref, change in ((ref, one) for ref, several in changes.items() for one in several):
            try:
                amend(file.data, file.name, {ref: [change]})
            except Permanent as error:
                found.refused.append(str(error))
            else:
                possible[ref].append(change)
        return {ref: several for ref, several in possible.items() if several}
    return changes


def _documents(data: bytes, name: str) -> Mapping[Ref | None, Any]:
    """Return what a file declares, as it is written there."""
    return {claimed(one.value): one.value for one in read_documents(data, name)[0]}


def _unsure(item: Json, documents: Mapping[Ref | None, Any], served: Mapping[Ref | None, Any]) -> Iterator[str]:
    """Yield the names of agents that are made from one that is another one in its file than the one that serves."""
    ref = Ref(item["kind"], item["name"], item["namespace"])
    there, before = (
        {name: value for name, value in (_held(found.get(ref), ["spec"]) or {}).items() if name not in _OWN}
        for found in (documents, served)
    )
    if there != before:
        yield from (one["metadata"]["name"] for one in item["added"])


def _source_file(item: Json) -> SourceFile:
    """Return the file that declares an object: of a repository as it serves, else as it is on disk now.

    Raises:
        LoomdError: no file declares it, or it cannot be read.
    """
    root, path = Path(item["root"]), item["path"]
    if item["type"] == "git":
        if "folder" not in item:
            raise Permanent(f"{item['source']}, which declares it, is not followed any more: declare it anew")
        if item["inline"]:
            raise Permanent(f"it is declared in spec.manifests of {item['source']}: change it there")
        return SourceFile(root, path, item["text"].encode(), item["source"])
    if path == STDIN or not (root / path).exists():
        why = "it was applied from standard input" if path == STDIN else f"{root / path} is no file"
        raise Permanent(f"{why}: `loomd export` prints what is to be declared")
    (file,) = read_path(root / path)
    return file


def _declared(item: Json, file: SourceFile) -> set[Ref | None]:
    """Return what is declared in a file, and in the others of its source that are on disk."""
    others: Iterable[SourceFile] = [file]
    if item["type"] != "git" and Path(item["source"]).is_dir():
        others = read_path(item["source"])
    return {claimed(one.value) for other in others for one in read_documents(other.data, other.name)[0]}


def _change(one: Json, was: object) -> Change:
    """Return a change of a field that held `was` when it was applied."""
    path = tuple(one["field"])
    if "item" in one:
        return Append(path, one["item"])
    if "text" in one:
        return Rewrite(path, partial(_rewritten, one, was), one["default"])
    return Put(path, one["value"])


def _offered(one: Json, was: object) -> Sequence[object]:
    """Return what an adoption before may have written into a field that held `was` when it was applied."""
    offered = one.get("offered", ())
    return [_with(text, _prompt(one, was)) for text in offered] if "text" in one else offered


def _rewritten(one: Json, was: object, prompt: str) -> str:
    """Return a prompt with what was learned, which takes the place of what an adoption before added."""
    return _with(one["text"], _prompt(one, was) if prompt in _offered(one, was) else prompt)


def _prompt(one: Json, was: object) -> str:
    return was if isinstance(was, str) else one["default"]


def _with(text: str, prompt: str) -> str:
    return prompt if holds(prompt, text) else continued(prompt, text)


def lock_of(document: Json | None, path: Sequence[str]) -> str:
    """Return by what a person keeps a field from being changed, or an empty string."""
    spec = (document or {}).get("spec")
    locked = spec.get("locked") if isinstance(spec, dict) else None
    names = [".".join(path[1:end]) for end in range(2, len(path) + 1)] + [LEARNED.get(path[1], "")]
    return next((name for name in names if name and name in (locked or ())), "")


def _held(document: Json | None, path: Sequence[str]) -> Any:
    held: Any = document
    for name in path:
        held = held.get(name) if isinstance(held, dict) else None
    return held


def _said(one: Json) -> str:
    if "item" in one:
        return f"with {one['item']}"
    return "with what it learned" if "text" in one else f"{one['value']:g}"


def _spelled(item: Json) -> str:
    return spelled(item["kind"], item["name"], item["namespace"])


def base_of(files: Sequence[Adopted], here: Path) -> tuple[Path, Iterator[str]]:
    """Return the folder from which paths are told, and the path of each file: here, if all are below.

    What is in a repository is told from its top.
    """
    place = Path(os.path.realpath(here))
    local = [Path(one.name) for one in files if one.local]
    if not all(one.is_relative_to(place) for one in local):
        place = Path(os.path.commonpath([one.parent for one in local]))
    return place, (Path(one.name).relative_to(place).as_posix() if one.local else one.name for one in files)
