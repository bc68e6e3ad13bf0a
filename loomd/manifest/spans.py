"""Where the values of a YAML text stand in it, letter by letter, and edits of that text.

What is not edited stays as it is: comments, order, quotes. Pure. Called by `rewrite` and `amend`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from yaml import events
from yaml._yaml import CParser

_NOTHING = ("", "~", "null", "Null", "NULL")


@dataclass
class Node:
    """A value in the text, from its first character to behind its last.

    Attributes:
        start: index of its first character; of a block the dash or the first key.
        end: index behind its last character; behind a block, that of what follows it.
        flow: whether it is a list or mapping in brackets.
        pairs: keys and values of a mapping; None of anything else.
        items: those of a list; None of anything else.
        style: of a scalar: one of `|`, `>`, `'`, `"`, or empty when it is plain.
        shared: whether it is an alias, or has an anchor to which aliases may lead.
    """

    start: int
    end: int
    flow: bool = False
    pairs: list[tuple["Node", "Node"]] | None = None
    items: list["Node"] | None = None
    style: str = ""
    shared: bool = False

    def pair(self, text: str, name: str) -> tuple["Node", "Node"] | None:
        """Return the nodes of a key and its value."""
        for key, value in self.pairs or ():
            if text[key.start : key.end].strip("\"'") == name:
                return key, value
        return None


@dataclass(frozen=True)
class Edit:
    """A piece of the text, from `start` to before `end`, and what takes its place."""

    start: int
    end: int
    text: str


def roots(text: str) -> Iterator[Node]:
    """Yield the root of every document that is not empty."""
    get = CParser(text).get_event
    while (event := get()) is not None:
        if isinstance(event, events.DocumentStartEvent):
            first = get()
            root = _node(get, first)
            if not (isinstance(first, events.ScalarEvent) and first.implicit[0] and first.value in _NOTHING):
                yield root


def _node(get: Any, event: Any) -> Node:
    """Return the node that begins with an event; the reader has refused what is nested too deeply."""
    node = Node(event.start_mark.index, _end(event))
    node.shared = bool(getattr(event, "anchor", None))
    if isinstance(event, events.ScalarEvent):
        node.style = str(event.style or "")
    elif isinstance(event, events.MappingStartEvent):
        node.flow, node.pairs = bool(event.flow_style), []
        while not isinstance(last := get(), events.MappingEndEvent):
            node.pairs.append((_node(get, last), _node(get, get())))
        node.end = _end(last)
    elif isinstance(event, events.SequenceStartEvent):
        node.flow, node.items = bool(event.flow_style), []
        while not isinstance(last := get(), events.SequenceEndEvent):
            node.items.append(_node(get, last))
        node.end = _end(last)
    return node


def _end(event: Any) -> int:
    return int(event.end_mark.index)


def like(written: str, name: str) -> str:
    """Return a name in the quotes of another."""
    quote = written[:1] if written[:1] in ("'", '"') else ""
    return f"{quote}{name}{quote}"


def apply(text: str, edits: Iterable[Edit], start: int = 0, end: int | None = None) -> str:
    """Return a text, or a piece of it, with edits made; those at one place in their order."""
    parts: list[str] = []
    for edit in sorted(edits, key=lambda one: one.start):
        parts += [text[start : edit.start], edit.text]
        start = edit.end
    return "".join([*parts, text[start:end]])
