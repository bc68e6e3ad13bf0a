"""Rewrites manifests of an old version as text: comments, order and style stay, only what moved is written anew.

What comes out is read again and compared with what the conversion says; a document that cannot be rewritten in place
is a problem, never a different document. Pure; called by the verb `convert`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from loomd.manifest.claim import claimed
from loomd.manifest.convert import problems_of
from loomd.manifest.document import read_documents
from loomd.manifest.envelope import check_envelope, in_todays_form
from loomd.manifest.json_text import write_json
from loomd.manifest.kind import API_VERSION, Kind
from loomd.manifest.places import Document
from loomd.manifest.problem import Problem, Problems
from loomd.manifest.spans import Edit, Node, apply, like, roots
from loomd.manifest.version import Move, OldVersion, Upgrade

_PLAIN = re.compile(r"[A-Za-z0-9][\w.-]*")
_COMMA = re.compile(r"\s*,")
_REST = re.compile(r"[ \t]*\r?\n")
_INDENT = "  "


@dataclass(frozen=True)
class Rewritten:
    """A file in the form of today.

    Attributes:
        text: the whole file.
        changes: name of each object that was rewritten, with the version that it had.
    """

    text: str
    changes: tuple[tuple[str, str], ...]


def rewrite(data: bytes, file: str, kinds: Mapping[str, Kind]) -> Rewritten:
    """Return a manifest file with every document in the form of today.

    Args:
        data: the file.
        file: its name for positions.
        kinds: the kinds that exist, by name.

    Raises:
        Problems: the file cannot be read, a document of an old version is not valid, or it cannot be rewritten.
    """
    documents, problems = read_documents(data, file)
    outdated = [(document, check_envelope(document.value, kinds)[2]) for document in documents]
    past = [in_todays_form(document, version) if version else None for document, version in outdated]
    for document, found in zip(documents, past, strict=True):
        problems += problems_of(document, claimed(document.value), found[1] if found else ())
    if problems:
        raise Problems(problems)
    text = data.decode("utf-8-sig")
    wanted = [found[0].document.value if found else one.value for one, found in zip(documents, past, strict=True)]
    names = [(str(claimed(one.value) or one.value["kind"]), version) for one, version in outdated if version]
    try:
        edits = [
            edit
            for (_, version), node, found in zip(outdated, roots(text), past, strict=True)
            if version and found
            for edit in _document_edits(text, node, version, found[0])
        ]
        result = apply(text, edits)
    except yaml.YAMLError:  # the reader joins halves of characters that JSON writes apart
        result = ""
    again, wrong = read_documents(result.encode(), file)
    if wrong or [one.value for one in again] != wanted:
        raise Problems(_unwritable(document, version) for document, version in outdated if version)
    return Rewritten(result, tuple((name, version.api_version) for name, version in names))


def _unwritable(document: Document, version: OldVersion) -> Problem:
    name = str(claimed(document.value) or document.value["kind"])
    message = f"{name} apiVersion: {version.api_version} cannot be rewritten in place"
    hint = "write out first what stands behind aliases or in unusual places, or rewrite it by hand"
    return Problem(
        document.where("/apiVersion"),
        "deprecated-version",
        message,
        "/apiVersion",
        hint,
        object=name,
        got=version.api_version,
    )


def _document_edits(text: str, root: Node, version: OldVersion, past: Upgrade) -> Iterator[Edit]:
    """Yield the edits of one document."""
    today = past.document.value
    found = root.pair(text, "apiVersion")
    if found is not None:
        start, end = found[1].start, found[1].end
        yield Edit(start, end, text[start:end].replace(version.api_version, API_VERSION))
    groups: dict[tuple[str, str], list[Move]] = {}
    for move in past.moved:
        groups.setdefault((move.old.rpartition("/")[0], move.new.rpartition("/")[0]), []).append(move)
    for (above, inside), moves in groups.items():
        holder = _find(text, root, above)
        entries = sorted(_entries(text, holder, moves, today), key=lambda entry: entry.key.start) if holder else []
        if not entries or not holder:
            continue  # it stands behind an alias: the comparison tells
        if not inside:
            yield from (edit for entry in entries for edit in entry.renamed(text))
        elif holder.flow:
            yield from _gather_flow(text, holder, entries, inside)
        else:
            yield from _gather_block(text, entries, inside)


def _entries(text: str, holder: Node, moves: Iterable[Move], today: Any) -> Iterator["_Entry"]:
    for move in moves:
        pair = holder.pair(text, move.old.rpartition("/")[2])
        if pair is not None:
            yield _Entry(*pair, move.new.rpartition("/")[2], _new_text(move, today))


def _find(text: str, node: Node, pointer: str) -> Node | None:
    for name in pointer.split("/")[1:]:
        pair = node.pair(text, name)
        if pair is None:
            return None
        node = pair[1]
    return node


def _new_text(move: Move, today: Any) -> Any:
    """Return the value that a move changed, or None when the text of the value stays."""
    if move.convert is None:
        return None
    for name in move.pointer.split("/")[1:]:
        today = today[name]
    return today


@dataclass(frozen=True)
class _Entry:
    """A field that moves: its key and value in the text, its name today, and its value where that is another."""

    key: Node
    value: Node
    name: str
    changed: Any

    def renamed(self, text: str) -> Iterator[Edit]:
        """Yield the edits that give the field its name and value."""
        yield Edit(self.key.start, self.key.end, like(text[self.key.start : self.key.end], self.name))
        if self.changed is not None:
            yield Edit(self.value.start, self.value.end, _scalar(self.changed, text[self.key.start]))

    def written(self, text: str, start: int, end: int) -> str:
        """Return a piece of the text around the field with its name and value of today."""
        return apply(text, self.renamed(text), start, end)


def _gather_flow(text: str, holder: Node, entries: list[_Entry], inside: str) -> Iterator[Edit]:
    """Yield the edits that put fields of a flow mapping into one mapping in the place of the first."""
    parts = [entry.written(text, entry.key.start, entry.value.end) for entry in entries]
    first = entries[0]
    name = like(text[first.key.start : first.key.end], inside)
    yield Edit(first.key.start, first.value.end, f"{name}: {{{', '.join(parts)}}}")
    gone = {entry.key.start for entry in entries[1:]}
    for entry in entries[1:]:
        yield _removed(text, entry)
    kept = [value.end for key, value in holder.pairs or () if key.start not in gone]
    last = (holder.pairs or [])[-1]
    comma = _COMMA.match(text, kept[-1])
    if last[0].start in gone and comma and not _COMMA.match(text, last[1].end):
        yield Edit(comma.end() - 1, comma.end(), "")


def _removed(text: str, entry: _Entry) -> Edit:
    """Return the edit that removes a field of a flow mapping with the comma behind it, and its line if it has one."""
    start, end = entry.key.start, entry.value.end
    while text[start - 1] in " \t":
        start -= 1
    comma = _COMMA.match(text, end)
    end = comma.end() if comma else end
    rest = _REST.match(text, end)
    if text[start - 1] == "\n" and rest:
        end = rest.end()
    return Edit(start, end, "")


def _gather_block(text: str, entries: list[_Entry], inside: str) -> Iterator[Edit]:
    """Yield the edits that put fields of a block mapping, with their comments, into one mapping at the first."""
    pieces: list[str] = []
    lines = [_lines(text, entry) for entry in entries]
    for entry, (start, end) in zip(entries, lines, strict=True):
        piece = entry.written(text, start, end)
        piece += "" if piece.endswith("\n") else "\n"
        pieces.append("".join(_INDENT + line if line.strip() else line for line in piece.splitlines(keepends=True)))
    first = entries[0].key
    begin = text.rfind("\n", 0, first.start) + 1
    ending = "\r\n" if "\r\n" in text else "\n"
    head = text[begin : first.start] + like(text[first.start : first.end], inside) + ":" + ending
    yield Edit(*lines[0], head + "".join(pieces))
    for start, end in lines[1:]:
        yield Edit(start, end, "")


def _lines(text: str, entry: _Entry) -> tuple[int, int]:
    """Return where the lines of a field begin and end, comments right above it included."""
    start = text.rfind("\n", 0, entry.key.start) + 1
    indent = text[start : entry.key.start]
    while start:
        above = text.rfind("\n", 0, start - 1) + 1
        if not text[above:start].startswith(f"{indent}#"):
            break
        start = above
    last = entry.key.end + len(text[entry.key.end : entry.value.end].rstrip())
    end = text.find("\n", last)
    return start, len(text) if end < 0 else end + 1


def _scalar(value: Any, quote: str) -> str:
    """Return a value as text; in quotes where the keys have them."""
    if isinstance(value, str) and _PLAIN.fullmatch(value) and quote not in ("'", '"'):
        return value
    return write_json(value, None)
