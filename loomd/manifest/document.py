"""Bytes to documents: plain values, and the line and column of every value and every key.

Built from the C parser's *event* stream with a stack of its own, because `yaml.load` and `yaml.compose` recurse in C
and crash the interpreter on hostile nesting. Limits hold while the events come: depth, nodes counted after aliases
are expanded, bytes. Never raises for bad input: everything wrong becomes a `Problem`. Called by `load`.
"""

from typing import Any, NoReturn

import yaml
from yaml import events
from yaml._yaml import CParser

from loomd.manifest.places import Document, Mark, Places, escape
from loomd.manifest.problem import Position, Problem
from loomd.manifest.scalar import resolve
from loomd.manifest.source import MAX_BYTES

MAX_DEPTH = 64
"""Deepest nesting of lists and mappings."""
MAX_NODES = 200_000
"""Most values and keys in one file, each alias counted as all that it stands for."""
MAX_RESTARTS = 20
"""Most documents of one file that are given up before the rest of the file is."""


def read_documents(data: bytes, file: str) -> tuple[list[Document], list[Problem]]:
    """Return the documents of a file, empty ones left out, and all that is wrong with its text.

    Args:
        data: UTF-8, with or without a byte-order mark.
        file: its name for positions.
    """
    if len(data) > MAX_BYTES:
        message = f"the file is larger than {MAX_BYTES >> 20} MiB: split it"
        return [], [Problem(Position(file), "too-large", message)]
    data = data.removeprefix(b"\xef\xbb\xbf")
    bad = _check_encoding(data, file)
    if bad is not None:
        return [], [bad]
    reader = _Reader(file)
    start = line = 0
    for _ in range(MAX_RESTARTS):
        try:
            reader.read(data[start:] if start else data, line)
            break
        except _GiveUp as error:
            reader.problems.append(error.problem)
            start, line = _next_document(data, start, line, error.problem.position.line)
            if start < 0 or error.whole_file:
                break
    return reader.documents, reader.problems


def _check_encoding(data: bytes, file: str) -> Problem | None:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
            return Problem(Position(file, 1, 1), "not-utf8", "the file is UTF-16", hint="save it as UTF-8")
        message = f"byte 0x{data[error.start]:02x} is not UTF-8"
        return Problem(_offset(data, error.start, file, 0), "not-utf8", message, hint="save the file as UTF-8")
    return None


def _offset(data: bytes, offset: int, file: str, line: int) -> Position:
    """Return the position of a byte of data that begins after `line` lines of the file."""
    before = data[:offset]
    column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8", "replace"))
    return Position(file, line + before.count(b"\n") + 1, column + 1)


def _next_document(data: bytes, start: int, line: int, bad_line: int) -> tuple[int, int]:
    """Return offset and line count of the first `---` at or after a bad line, or (-1, 0)."""
    at = start
    for _ in range(bad_line - line - 1):
        at = data.find(b"\n", at) + 1
        if at == 0:
            return -1, 0
    if at == start or not data.startswith(b"---", at):
        at = data.find(b"\n---", at) + 1
    return (at, line + data.count(b"\n", start, at)) if at > start else (-1, 0)


class _GiveUp(Exception):
    """The rest of a document cannot be read."""

    def __init__(self, problem: Problem, whole_file: bool = False) -> None:
        self.problem = problem
        self.whole_file = whole_file


class _Frame:
    """An open list or mapping."""

    __slots__ = ("anchor", "before", "height", "key", "pointer", "value")

    def __init__(self, value: Any, pointer: str, anchor: str | None, before: int) -> None:
        self.value = value
        self.pointer = pointer
        self.anchor = anchor
        self.before = before
        self.height = 1
        self.key: str | None = None


class _Reader:
    """Builds values from events."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.documents: list[Document] = []
        self.problems: list[Problem] = []
        self._nodes = 0
        self._line = 1
        self._reset()

    def _reset(self) -> None:
        self._stack: list[_Frame] = []
        self._anchors: dict[str, tuple[Any, int, int]] = {}
        self._marks: dict[str, Mark] = {}
        self._keys: dict[str, Mark] = {}
        self._root: Any = None

    def read(self, data: bytes, line: int) -> None:
        """Read all documents of data that begins after `line` lines of the file."""
        self._line = line + 1
        self._reset()
        try:
            get = CParser(data).get_event
            while (event := get()) is not None:
                self._take(event)
        except yaml.reader.ReaderError as error:
            at = _offset(data, error.position, self.file, line)
            code = error.character if isinstance(error.character, int) else 0
            raise _GiveUp(Problem(at, "yaml-syntax", f"the character U+{code:04X} is not allowed")) from None
        except yaml.MarkedYAMLError as error:
            raise _GiveUp(self._syntax(error, data)) from None

    def _syntax(self, error: yaml.MarkedYAMLError, data: bytes) -> Problem:
        mark = error.problem_mark or error.context_mark
        at = self._at(mark) if mark else Position(self.file)
        text = error.problem or "the text is not YAML"
        line = b"".join(data.split(b"\n", mark.line + 1)[mark.line : mark.line + 1]) if mark else b""
        hint = "indent with spaces, never with tabs" if b"\t" in line[: len(line) - len(line.lstrip())] else ""
        begun = error.context_mark
        related = self._at(begun) if begun and mark and begun.line != mark.line else None
        context = f" {error.context}" if error.context else ""
        return Problem(at, "yaml-syntax", f"{text}{context}", hint=hint, related=related)

    def _at(self, mark: Any) -> Position:
        return Position(self.file, mark.line + self._line, mark.column + 1)

    def _note(self, event: Any, code: str, message: str, hint: str = "", related: Position | None = None) -> None:
        pointer = self._here()
        self.problems.append(Problem(self._at(event.start_mark), code, message, pointer, hint, related))

    def _here(self) -> str:
        """Return the pointer of the value that comes next."""
        if not self._stack:
            return ""
        frame = self._stack[-1]
        if type(frame.value) is dict:
            return frame.pointer if frame.key is None else f"{frame.pointer}/{escape(frame.key)}"
        return f"{frame.pointer}/{len(frame.value)}"

    def _give_up(self, event: Any, code: str, message: str, hint: str = "", whole_file: bool = False) -> NoReturn:
        raise _GiveUp(Problem(self._at(event.start_mark), code, message, hint=hint), whole_file)

    def _count(self, event: Any, nodes: int) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            message = f"the file has more than {MAX_NODES:,} values, aliases expanded: split it"
            self._give_up(event, "too-large", message, whole_file=True)

    def _take(self, event: Any) -> None:
        kind = type(event)
        if kind is events.ScalarEvent:
            self._scalar(event)
        elif kind is events.MappingStartEvent:
            self._open(event, {})
        elif kind is events.SequenceStartEvent:
            self._open(event, [])
        elif kind is events.MappingEndEvent or kind is events.SequenceEndEvent:
            self._close()
        elif kind is events.AliasEvent:
            self._alias(event)
        elif kind is events.DocumentStartEvent:
            self._reset()
            self._count(event, 1)
        elif kind is events.DocumentEndEvent and self._root is not None:
            places, keys = Places(self.file, self._marks), Places(self.file, self._keys)
            self.documents.append(Document(self._root, places[""], places, keys))

    def _scalar(self, event: Any) -> None:
        stack = self._stack
        if stack and stack[-1].key is None and type(stack[-1].value) is dict:
            self._key(event, stack[-1])
            return
        value = event.value
        if event.tag is not None:
            self._tag(event)
        elif event.implicit[0]:
            try:
                value = resolve(value)
            except ValueError as error:
                self._note(event, "out-of-range", str(error), "quote it if it is meant as text")
        self._count(event, 1)
        self._put(event, value, 0)
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, 1, 0)

    def _key(self, event: Any, frame: _Frame) -> None:
        key = event.value
        if event.tag is not None:
            self._tag(event)
        pointer = f"{frame.pointer}/{escape(key)}"
        mark = event.start_mark
        if key == "<<" and event.implicit[0]:
            self._note(
                event, "merge-key", "merge keys are not read", "write the fields out, or use an alias as a value"
            )
        elif key in frame.value:
            first = Position(self.file, *self._keys[pointer])
            message = f'the key "{key}" is already set on line {first.line}'
            self.problems.append(Problem(self._at(mark), "duplicate-key", message, pointer, "remove one", first))
        self._keys[pointer] = (mark.line + self._line, mark.column + 1)
        self._count(event, 1)
        frame.key = key
        if event.anchor is not None:
            self._anchors[event.anchor] = (key, 1, 0)

    def _tag(self, event: Any) -> None:
        self._note(event, "custom-tag", f"the tag {event.tag} is not read", "remove it; quote a value to make it text")

    def _open(self, event: Any, value: Any) -> None:
        stack = self._stack
        if stack and stack[-1].key is None and type(stack[-1].value) is dict:
            self._give_up(event, "bad-key", "a key must be plain text", "quote it if it begins with [ or {")
        if event.tag is not None:
            self._tag(event)
        if len(stack) >= MAX_DEPTH:
            self._give_up(event, "too-deep", f"lists and mappings are nested deeper than {MAX_DEPTH}")
        before = self._nodes
        self._count(event, 1)
        pointer = self._put(event, value, 0)
        stack.append(_Frame(value, pointer, event.anchor, before))

    def _close(self) -> None:
        frame = self._stack.pop()
        if self._stack and frame.height >= self._stack[-1].height:
            self._stack[-1].height = frame.height + 1
        if frame.anchor is not None:
            self._anchors[frame.anchor] = (frame.value, self._nodes - frame.before, frame.height)

    def _alias(self, event: Any) -> None:
        stack = self._stack
        if stack and stack[-1].key is None and type(stack[-1].value) is dict:
            self._give_up(event, "bad-key", f"the alias *{event.anchor} cannot be a key", "write the key out")
        known = self._anchors.get(event.anchor)
        if known is None:
            message = f"the alias *{event.anchor} has no anchor &{event.anchor} before it in this document"
            self._give_up(event, "unknown-alias", message, "quote it if it is meant as text")
        value, nodes, height = known
        if len(stack) + height > MAX_DEPTH:
            self._give_up(event, "too-deep", f"aliases expanded, nesting is deeper than {MAX_DEPTH}")
        self._count(event, nodes)
        self._put(event, value, height)

    def _put(self, event: Any, value: Any, height: int) -> str:
        """Add a value to what is open and return its pointer."""
        mark = event.start_mark
        pointer = self._here()
        if not self._stack:
            self._root = value
        else:
            frame = self._stack[-1]
            if frame.key is not None:
                frame.value[frame.key] = value
                frame.key = None
            else:
                frame.value.append(value)
            if height >= frame.height:
                frame.height = height + 1
        self._marks[pointer] = (mark.line + self._line, mark.column + 1)
        return pointer
