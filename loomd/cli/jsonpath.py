r"""Text out of JSON by a template as `kubectl get -o jsonpath` has it, or by one plain JSONPath.

`{.items[*].metadata.name}` and `$.items[*].metadata.name` say the same. Around braces stands text; inside them an
expression, a quoted text such as `{"\n"}`, or `{range .items[*]}` ... `{end}`. Called by `output`.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jsonpath

from loomd.errors import Permanent

_PIECE = re.compile(r"""\{((?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^{}"'])*)\}|([^{}]+)""")
_DOTTED = re.compile(r"\.((?:[^\s.\[\]()\\'\"]|\\.)*\\\.(?:[^\s.\[\]()\\'\"]|\\.)*)")
"""A name with an escaped dot in it: `.app\\.kubernetes\\.io/name`."""
_ESCAPE = re.compile(r"\\(.)")
_CONTROL = {"n": "\n", "t": "\t", "r": "\r"}
_RANGE, _END = "range ", "end"


@dataclass(frozen=True)
class _Text:
    text: str


@dataclass(frozen=True)
class _Query:
    path: jsonpath.JSONPath | jsonpath.CompoundJSONPath


@dataclass(frozen=True)
class _Loop:
    over: _Query
    body: tuple["_Text | _Query | _Loop", ...]


_Node = _Text | _Query | _Loop


class Template:
    """A template that was read.

    Raises:
        Permanent: it is none; the text says where.
    """

    def __init__(self, text: str) -> None:
        if "{" not in text:
            self._nodes: tuple[_Node, ...] = (_query(text),)
            return
        nodes, rest = _block(list(_pieces(text)), inside=False)
        if rest:
            raise Permanent("jsonpath: {end} without {range}: write {range .items[*]} before it")
        self._nodes = nodes

    def render(self, value: Any) -> str:
        """Return what it makes of a JSON value; a query that finds nothing makes nothing."""
        return "".join(_made(self._nodes, value))


def _pieces(text: str) -> Iterator[str | _Text | _Query]:
    """Yield texts, queries, and the words of loops as they stand."""
    at = 0
    while at < len(text):
        found = _PIECE.match(text, at)
        if found is None:
            raise Permanent(f"jsonpath: expected {{expression}} or text, got {text[at : at + 40]!r}: close the brace")
        at = found.end()
        if found[1] is None:
            yield _Text(found[2])
            continue
        inside = found[1].strip()
        if inside[:1] in {'"', "'"}:
            yield _Text(_ESCAPE.sub(lambda found: _CONTROL.get(found[1], found[1]), inside[1:-1]))
        elif inside == _END or inside.startswith(_RANGE):
            yield inside
        else:
            yield _query(inside)


def _block(pieces: list[str | _Text | _Query], inside: bool) -> tuple[tuple[_Node, ...], list[str | _Text | _Query]]:
    """Return the nodes up to the end of a loop, and the pieces behind it."""
    nodes: list[_Node] = []
    while pieces:
        piece = pieces.pop(0)
        if not isinstance(piece, str):
            nodes.append(piece)
        elif piece == _END:
            return tuple(nodes), pieces if inside else [piece]
        else:
            body, pieces = _block(pieces, inside=True)
            nodes.append(_Loop(_query(piece.removeprefix(_RANGE)), body))
    if inside:
        raise Permanent("jsonpath: {range} without {end}: write {end} behind what is repeated")
    return tuple(nodes), []


def _query(text: str) -> _Query:
    """Return an expression of kubectl as a JSONPath: with its `$`, and names with escaped dots in quotes."""
    path = _DOTTED.sub(_quoted, text.strip())
    if not path.startswith("$"):
        path = path.removeprefix("@")
        path = f"${path}" if path[:1] in {"", ".", "["} else f"$.{path}"
    path = "$" if path == "$." else path
    try:
        return _Query(jsonpath.compile(path))
    except jsonpath.JSONPathError as error:
        raise Permanent(f"jsonpath: {text.strip()!r} is not valid: {str(error).splitlines()[0]}") from error


def _quoted(found: re.Match[str]) -> str:
    name = _ESCAPE.sub(r"\1", found[1])
    return f"[{json.dumps(name)}]"


def _made(nodes: Sequence[_Node], value: Any) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, _Text):
            yield node.text
        elif isinstance(node, _Query):
            yield " ".join(_shown(one) for one in node.path.findall(value))
        else:
            for one in node.over.path.findall(value):
                yield from _made(node.body, one)


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
