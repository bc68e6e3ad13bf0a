"""Changes single fields of objects in the text of a manifest file; every other byte stays: comments, order, quotes.

What comes out is read again and compared with what was meant. What cannot be edited in place, such as a value that
others share by an alias, is refused and never another manifest. Pure; called by the verb `adopt`.
"""

import copy
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from loomd.errors import Permanent
from loomd.manifest.claim import claimed
from loomd.manifest.document import read_documents
from loomd.manifest.json_text import write_json
from loomd.manifest.kind import API_VERSION
from loomd.manifest.object import Ref
from loomd.manifest.problem import Problems
from loomd.manifest.scalar import resolve
from loomd.manifest.spans import Edit, Node, apply, like, roots

_PLAIN = re.compile(r"[A-Za-z0-9][\w./-]*")
_GENERATED = re.compile(r"(?i)^#.*(?:@generated|do not edit)", re.MULTILINE)
_BREAKS = re.compile(r"\n+")
_HEAD = re.compile(r"^([|>])([-+]?)([0-9]?)([-+]?)")
"""What begins a block: its style, what of the line breaks at its end stays, and how far it is indented."""
_INDENT = "  "
_MARK = "\ufeff"


@dataclass(frozen=True)
class Put:
    """A field gets a value; mappings on the way to it that are not there are made.

    Attributes:
        path: names of the fields on the way to it.
        value: any JSON value.
    """

    path: tuple[str, ...]
    value: Any

    def of(self, before: Any) -> Any:
        """Return what the field is to hold; what it holds now is None when it is not there."""
        del before
        return self.value


@dataclass(frozen=True)
class Append:
    """A list gets one more item, unless it has it."""

    path: tuple[str, ...]
    item: Any

    def of(self, before: Any) -> Any:
        """Return the list as it is to be."""
        known = before if isinstance(before, list) else []
        return known if self.item in known else [*known, self.item]


@dataclass(frozen=True)
class Rewrite:
    """A text becomes what is made of it; made of `default` when it is not there."""

    path: tuple[str, ...]
    make: Callable[[str], str]
    default: str = ""

    def of(self, before: Any) -> Any:
        """Return the text as it is to be."""
        return self.make(before if isinstance(before, str) else self.default)


Change = Put | Append | Rewrite


def amend(data: bytes, file: str, changes: Mapping[Ref, Sequence[Change]], added: Sequence[str] = ()) -> bytes:
    """Return a manifest file with fields of some of its objects changed, and with documents added at its end.

    Args:
        data: the file.
        file: its name for positions.
        changes: what changes of each object, in order; what is as it is to be already changes nothing.
        added: texts of documents.

    Raises:
        Problems: the file cannot be read.
        Permanent: an object is not in it or has an old version, or the file cannot be edited in place.
    """
    documents, problems = read_documents(data, file)
    if problems:
        raise Problems(problems)
    text = data.decode("utf-8")
    wanted: list[Any] = json.loads(json.dumps([one.value for one in documents]))  # aliases share nothing any more
    known = {claimed(one): index for index, one in enumerate(wanted)}
    for ref in changes:
        if ref not in known:
            raise Permanent(f"{file}: {ref} is not declared there any more: apply what is there first")
        if wanted[known[ref]].get("apiVersion") != API_VERSION:
            raise Permanent(
                f"{file}: {ref} has an old apiVersion: `loomd convert -f {file} --write` brings it up to date"
            )
    for ref, several in changes.items():
        for change in several:
            index = known[ref]
            before = copy.deepcopy(wanted)
            _carry_out(wanted[index], change)
            if wanted != before:
                text = _edited(text, index, change, before[index], wanted, f"{file}: {ref} {'.'.join(change.path)}")
    return _extended(text, file, added, wanted).encode()


def is_generated(data: bytes) -> bool:
    """Return whether a file says in its first comment that no person writes it."""
    text = data.decode("utf-8", "replace").lstrip(f"{_MARK}\r\n -")
    head = re.match(r"(?:#.*\r?\n|\s*\r?\n)*", text)
    return head is not None and _GENERATED.search(head[0]) is not None


def _carry_out(document: Any, change: Change) -> None:
    *way, last = change.path
    for name in way:
        document = document.setdefault(name, {})
    document[last] = change.of(document.get(last))


def _edited(text: str, index: int, change: Change, before: Any, wanted: Sequence[Any], what: str) -> str:
    """Return the text with one change made in one of its documents.

    Raises:
        Permanent: it does not come out as it is meant.
    """
    mark = _MARK if text.startswith(_MARK) else ""
    plain = text.removeprefix(_MARK)
    try:
        root = list(roots(plain))[index]
        result = mark + apply(plain, [_Writer(plain).edit(root, change, before)])
        again, wrong = read_documents(result.encode(), what)
    except (yaml.YAMLError, _Unclear, IndexError):
        again, wrong, result = [], [], ""
    if wrong or [one.value for one in again] != list(wanted):
        hint = "write out what stands behind anchors and aliases, or change it by hand"
        raise Permanent(f"{what}: cannot be edited in place: {hint}")
    return result


def _extended(text: str, file: str, added: Sequence[str], wanted: Sequence[Any]) -> str:
    """Return the text with documents at its end.

    Raises:
        Permanent: they cannot be put there.
    """
    if not added:
        return text
    ending = _ending(text)
    whole = text if not text or text.endswith("\n") else text + ending
    whole += "".join(f"---{ending}{one.replace(chr(10), ending)}" for one in added)
    read = [read_documents(one.encode(), file)[0][0].value for one in added]
    again, wrong = read_documents(whole.encode(), file)
    if wrong or file.endswith(".json") or [one.value for one in again] != [*wanted, *read]:
        raise Permanent(f"{file}: no document can be added to it: add it by hand, see `loomd export`")
    return whole


class _Unclear(Exception):
    """Where to edit cannot be told."""


@dataclass(frozen=True)
class _Writer:
    """Finds where a text is to be edited."""

    text: str

    def edit(self, root: Node, change: Change, before: Any) -> Edit:
        """Return the edit that makes a change."""
        node, value, column = root, before, 0
        for at, name in enumerate(change.path):
            pair = node.pair(self.text, name)
            if pair is None:
                if node.pairs is None:
                    raise _Unclear
                wanted = change.of(None)
                for inner in reversed(change.path[at + 1 :]):
                    wanted = {inner: wanted}
                return self._insert(node, name, wanted)
            column = -1 if node.flow or column < 0 else self._column(pair[0].start)
            node, value = pair[1], value[name]
        if node.shared:
            raise _Unclear
        if isinstance(change, Append):
            return self._append(node, change.item)
        return self._replace(node, value, change.of(value), column)

    def _replace(self, node: Node, before: Any, value: Any, column: int) -> Edit:
        """Return the edit that puts a value in the place of another, in the style that it has if that can be.

        Args:
            node: where it stands.
            before: what stands there.
            value: what is to stand there.
            column: that of its key, or -1 inside brackets.
        """
        if node.pairs is not None or node.items is not None:
            raise _Unclear
        if isinstance(value, str) and node.style in {"|", ">"}:
            return self._replace_block(node, str(before), value)
        alone = column >= 0 and not self.text[node.end :].partition("\n")[0].strip()
        if isinstance(value, str) and "\n" in value and node.style != '"' and alone:
            return Edit(node.start, node.end, self._block(value, column).replace("\n", _ending(self.text)))
        return Edit(node.start, node.end, _inline(value, node.style))

    def _replace_block(self, node: Node, before: str, value: str) -> Edit:
        """Return the edit that puts a text in the place of one that is written as a block; empty lines behind it stay.

        Of a folded block the lines stay that are there.
        """
        written = self.text[node.start : node.end].rstrip()
        head, _, body = written.replace("\r\n", "\n").partition("\n")
        first = next((line for line in body.split("\n") if line.strip()), "")
        indent = first[: len(first) - len(first.lstrip(" "))]
        kept = before.rstrip("\n")
        if node.style == "|":
            body = _indented(value.rstrip("\n"), indent)
        elif value.startswith(kept):
            more = _BREAKS.sub(lambda found: f"{found[0]}\n", value[len(kept) :].rstrip("\n"))
            body += _indented(more, indent).removeprefix(indent) if more else ""
        else:
            raise _Unclear
        said = f"{_HEAD.sub(lambda found: found[1] + found[3] + _chomp(value), head)}\n{body}"
        return Edit(node.start, node.start + len(written), said.replace("\n", _ending(self.text)))

    def _append(self, node: Node, item: Any) -> Edit:
        """Return the edit that puts one more item at the end of a list."""
        if node.items is None:
            raise _Unclear
        if node.flow:
            quote = self.text[node.items[-1].start] if node.items else ""
            return self._behind(node, node.items, _inline(item, quote))
        column = self._column(self.text.rfind("-", 0, node.items[-1].start))
        return self._below(node.items[-1], f"{' ' * column}- {_inline(item, '')}")

    def _insert(self, node: Node, name: str, value: Any) -> Edit:
        """Return the edit that gives a mapping one more field, behind all others."""
        pairs = node.pairs or []
        quote = self.text[pairs[0][0].start] if pairs else ""
        key = like(quote, name) if _is_plain(name) else write_json(name, None)
        if node.flow or not pairs:
            return self._behind(node, [value for _, value in pairs], f"{key}: {_inline(value, quote)}")
        column = self._column(pairs[0][0].start)
        several = isinstance(value, str) and "\n" in value
        said = self._block(value, column) if several else _inline(value, quote)
        return self._below(pairs[-1][1], f"{' ' * column}{key}: {said}")

    def _behind(self, node: Node, before: Sequence[Node], said: str) -> Edit:
        """Return the edit that says one more thing in brackets."""
        if before:
            return Edit(before[-1].end, before[-1].end, f", {said}")
        return Edit(node.start + 1, node.start + 1, said)

    def _below(self, last: Node, said: str) -> Edit:
        """Return the edit that adds lines below the one on which a value ends, with its comment."""
        while not last.flow and (inner := (last.items or [value for _, value in last.pairs or ()])):
            last = inner[-1]
        end = last.start + len(self.text[last.start : last.end].rstrip())
        line = self.text.find("\n", end)
        at = len(self.text) if line < 0 else line - (self.text[line - 1 : line] == "\r")
        return Edit(at, at, f"\n{said}".replace("\n", _ending(self.text)))

    def _block(self, value: str, column: int) -> str:
        """Return a text of several lines as a block."""
        return f"|{_chomp(value)}\n{_indented(value.rstrip(chr(10)), ' ' * column + _INDENT)}"

    def _column(self, index: int) -> int:
        return index - self.text.rfind("\n", 0, index) - 1


def _inline(value: Any, quote: str) -> str:
    """Return a value on one line; in quotes where its neighbours have them."""
    if isinstance(value, dict):
        inside = (f"{_inline(name, quote)}: {_inline(one, quote)}" for name, one in value.items())
        return f"{{{', '.join(inside)}}}"
    if isinstance(value, list):
        return f"[{', '.join(_inline(one, quote) for one in value)}]"
    if isinstance(value, str) and _is_plain(value) and quote not in ("'", '"'):
        return value
    return write_json(value, None)


def _is_plain(text: str) -> bool:
    """Return whether a text may stand without quotes."""
    return _PLAIN.fullmatch(text) is not None and isinstance(resolve(text), str)


def _indented(value: str, indent: str) -> str:
    return "\n".join(f"{indent}{line}" if line else "" for line in value.split("\n"))


def _chomp(value: str) -> str:
    """Return what a block says of the line breaks at its end."""
    if not value.endswith("\n"):
        return "-"
    return "+" if value.endswith("\n\n") else ""


def _ending(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"
