"""Parser events to values, with a stack of its own: `yaml.load` and `yaml.compose` recurse in C and crash on nesting.

Limits hold while the events come: depth, nodes counted after aliases are expanded, lengths of keys. What is wrong and
can be read past is noted; what cannot is raised as `GiveUp`. Called by `document` only.
"""

from collections.abc import Callable
from dataclasses import replace
from itertools import count, islice
from typing import Any, ClassVar, NoReturn

import yaml
from yaml import events
from yaml._yaml import CParser

from loomd.manifest.claim import claimed
from loomd.manifest.places import COLUMN_BITS, Document, Keys, Marks, Places, counted, pack, unpack
from loomd.manifest.problem import Position, Problem
from loomd.manifest.scalar import NOT_TEXT, Scalar, resolve
from loomd.manifest.syntax import explain_syntax
from loomd.manifest.template import code_size
from loomd.manifest.verbatim import start_of
from loomd.manifest.wording import dotted, escape, is_secret, quoted

MAX_DEPTH = 64
"""Deepest nesting of lists and mappings."""
MAX_NODES = 200_000
"""Most values and keys in one file, each alias counted as all that it stands for."""
MAX_DOCUMENTS = 1_000
"""Most documents in one file, empty ones counted."""
MAX_CODE = 96 << 10
"""Most template code in one file, see `code_size`: each `{{ name }}` counts for about 30."""
MAX_KEY = 1024
"""Longest key of a mapping in characters."""
MAX_ANCHOR = 60
"""Characters of an alias that are told."""
MAX_NOTES = 200
"""Most problems of one file before the rest of it is not read."""


class GiveUp(Exception):
    """The rest of a document cannot be read.

    Attributes:
        problem: why.
        index: at which character of the text.
        whole_file: whether the documents behind it are not to be read either.
    """

    def __init__(self, problem: Problem, index: int, whole_file: bool = False) -> None:
        self.problem = problem
        self.index = index
        self.whole_file = whole_file


class _Frame:
    """An open list or mapping."""

    __slots__ = ("again", "anchor", "before", "height", "key", "keyed", "marks", "order", "value")

    def __init__(self, value: Any, marks: Marks, anchor: str | None, before: int) -> None:
        self.value = value
        self.keyed = type(value) is dict
        self.marks = marks
        self.anchor = anchor
        self.before = before
        self.height = 1
        self.key: str | None = None
        self.again = False  # the key is there already: its second value is dropped
        self.order: dict[str, int] | None = None

    def mark_of(self, key: str) -> int:
        """Return the mark of a key that is there."""
        if self.order is None:
            self.order = {}
        if key not in self.order:
            known = len(self.order)
            self.order.update(zip(islice(self.value, known, None), count(known)))
        mark: int = self.marks[2 * self.order[key] + 1]
        return mark


class Builder:
    """Builds the documents of one file; a text that begins later in the file may follow another.

    Attributes:
        documents: what was read, empty documents left out.
        problems: what was noted.
    """

    def __init__(self, file: str) -> None:
        self.documents: list[Document] = []
        self.problems: list[Problem] = []
        self._file = file
        self._nodes = 0
        self._started = 0
        self._code = 0
        self._text = ""
        self._line = 1
        self._offset = pack(1, 1)  # what a mark of the parser, which counts from 0, is short of
        self._reset()

    def _reset(self) -> None:
        self._stack: list[_Frame] = []
        self._top: _Frame | None = None
        self._anchors: dict[str, tuple[Any, int, int]] = {}
        self._texts: dict[int, int] = {}
        self._root: Any = None
        self._mark: Marks | int = 0
        self._begun = self._nodes
        self._noted = len(self.problems)

    def read(self, text: str, line: int) -> None:
        """Read all documents of a text that begins after `line` lines of the file.

        Raises:
            GiveUp: a document cannot be read to its end.
        """
        self._text = text
        self._line = line + 1
        self._offset = pack(self._line, 1)
        self._reset()
        act = self._ACT.get
        try:
            get = CParser(text).get_event
            while (event := get()) is not None:
                take = act(type(event))
                if take is not None:
                    take(self, event)
        except GiveUp as error:
            error.problem = replace(error.problem, object=self._name_problems())
            raise
        except yaml.MarkedYAMLError as error:
            found, index = explain_syntax(error, text, self._file, self._line)
            raise GiveUp(replace(found, object=self._name_problems()), index) from None

    def _at(self, mark: Any) -> Position:
        line, column = counted(mark, self._text)
        return Position(self._file, line + self._line, column + 1)

    def _note(self, event: Any, problem: Problem) -> None:
        self.problems.append(problem)
        if len(self.problems) >= MAX_NOTES:
            text = f"the file has more than {MAX_NOTES} problems: the rest of it is not read"
            self._give_up(event, "too-many-problems", text, whole_file=True)

    def _pointer(self) -> str:
        """Return the pointer of the value that comes next."""
        return "".join(
            f"/{escape(frame.key or '')}" if frame.keyed else f"/{self._items(frame)}" for frame in self._stack
        )

    def _items(self, frame: _Frame) -> int:
        """Return the index of the item that is open, or comes next, in a list."""
        return len(frame.value) - (frame is not self._stack[-1])

    def _name_problems(self) -> str:
        """Put the object's name into what was noted of the open document, and return it."""
        ref = claimed(self._root)
        name = str(ref) if ref else ""
        for index in range(self._noted, len(self.problems)):
            one = self.problems[index]
            where = " ".join(part for part in (name, dotted(one.pointer)) if part)
            self.problems[index] = replace(one, object=name, message=f"{where}: {one.message}")
        return name

    def _give_up(self, event: Any, code: str, message: str, hint: str = "", whole_file: bool = False) -> NoReturn:
        problem = Problem(self._at(event.start_mark), code, message, hint=hint)
        raise GiveUp(problem, event.start_mark.index, whole_file)

    def _count(self, event: Any, nodes: int) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            message = f"the file has more than {MAX_NODES:,} values, aliases expanded: split it"
            self._give_up(event, "too-large", message, whole_file=True)

    def _start(self, event: Any) -> None:
        self._reset()
        self._count(event, 1)
        self._started += 1
        if self._started > MAX_DOCUMENTS:
            message = f"the file has more than {MAX_DOCUMENTS:,} documents: split it"
            self._give_up(event, "too-large", message, whole_file=True)

    def _end(self, event: Any) -> None:
        del event
        if len(self.problems) > self._noted:
            self._name_problems()
            self._noted = len(self.problems)
        if self._root is not None:
            places = Places(self._file, self._root, self._mark)
            keys = Keys(self._file, self._root, self._mark)
            nodes = self._nodes - self._begun
            self.documents.append(Document(self._root, places[""], places, keys, nodes, self._texts))

    def _scalar(self, event: Any) -> None:
        # Most events come here, so what `_count`, `pack` and `_put` do is written out.
        self._nodes += 1
        if self._nodes > MAX_NODES:
            self._count(event, 0)
        top = self._top
        mark = event.start_mark
        place = (mark.line << COLUMN_BITS) + mark.column + self._offset
        if top is not None and top.keyed and top.key is None:
            self._key(event, top, place)
            return
        value = event.value
        if "{" in value or event.tag is not None or (event.implicit[0] and (not value or value[0] in NOT_TEXT)):
            value = self._value(event)
            if mark.index >= len(self._text):  # nothing, behind the last key
                line, column = counted(mark, self._text)
                place = pack(line, column) + self._offset
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, 1, 0)
        if top is None:
            self._root, self._mark = value, place
        elif not top.keyed:
            top.value.append(value)
            top.marks.append(place)
        else:
            if not top.again:
                top.value[top.key] = value
                top.marks.append(place)
            top.key = None

    def _value(self, event: Any) -> Scalar:
        """Return the value of a scalar that is more than plain text."""
        if event.tag is not None:
            self._tag(event)
            return str(event.value)
        if "{" in event.value:
            self._weigh(event)
        if not event.implicit[0]:
            return str(event.value)
        try:
            return resolve(event.value)
        except ValueError as error:
            self._number(event, str(error))
            return str(event.value)

    def _weigh(self, event: Any) -> None:
        """Count what a text may cost as a template, and keep where it stands."""
        self._code += code_size(event.value)
        if self._code > MAX_CODE:
            message = f"the file has more than {MAX_CODE:,} characters of template code: split it"
            self._give_up(event, "too-large", message, whole_file=True)
        start = start_of(event, self._text)
        if start is not None:
            mark = event.start_mark
            self._texts[pack(mark.line, mark.column) + self._offset] = pack(*start) + self._offset

    def _number(self, event: Any, message: str) -> None:
        hint, expected = "quote it if it is meant as text", "a finite number of at most 64 bits"
        found, pointer = quoted(event.value), self._pointer()
        at = self._at(event.start_mark)
        self._note(event, Problem(at, "out-of-range", message, pointer, hint, expected=expected, got=found))

    def _key(self, event: Any, frame: _Frame, place: int) -> None:
        frame.key = key = event.value
        if len(key) > MAX_KEY:
            self._give_up(event, "bad-key", f"the key is longer than {MAX_KEY:,} characters", "did you forget a quote?")
        if event.tag is not None:
            self._tag(event)
        frame.again = key in frame.value
        if key == "<<" and event.implicit[0]:
            hint = "write the fields out, or use an alias as a value"
            at, pointer = self._at(event.start_mark), self._pointer().rpartition("/")[0]
            self._note(event, Problem(at, "merge-key", "merge keys are not read", pointer, hint, got='the key "<<"'))
        elif frame.again:
            self._again(event, frame)
        if not frame.again:
            frame.marks.append(place)
        if event.anchor is not None:
            self._anchors[event.anchor] = (key, 1, 0)

    def _again(self, event: Any, frame: _Frame) -> None:
        """Note a key that is there already; its first value stays."""
        key = event.value
        pointer = self._pointer()
        first = unpack(self._file, frame.mark_of(key))
        message = f"the key {quoted(key)} is already set on line {first.line}"
        got = f"the key {quoted(key)} twice"
        at = self._at(event.start_mark)
        self._note(event, Problem(at, "duplicate-key", message, pointer, "remove one", first, "", "each key once", got))

    def _tag(self, event: Any) -> None:
        at, pointer = self._at(event.start_mark), self._pointer()
        found = "a tag (hidden)" if is_secret(pointer) else f"the tag {quoted(event.tag)}"
        message, hint = f"{found} is not read", "remove it; quote a value to make it text"
        self._note(event, Problem(at, "custom-tag", message, pointer, hint, None, "", "a value without tag", found))

    def _open_mapping(self, event: Any) -> None:
        self._open(event, {})

    def _open_list(self, event: Any) -> None:
        self._open(event, [])

    def _open(self, event: Any, value: Any) -> None:
        top = self._top
        if top is not None and top.keyed and top.key is None:
            self._give_up(event, "bad-key", "a key must be plain text", "quote it if it begins with [ or {")
        if event.tag is not None:
            self._tag(event)
        if len(self._stack) >= MAX_DEPTH:
            self._give_up(event, "too-deep", f"lists and mappings are nested deeper than {MAX_DEPTH}")
        before = self._nodes
        self._count(event, 1)
        mark = event.start_mark
        marks: Marks = [(mark.line << COLUMN_BITS) + mark.column + self._offset]
        self._put(value, marks)
        self._top = _Frame(value, marks, event.anchor, before)
        self._stack.append(self._top)

    def _close(self, event: Any) -> None:
        del event
        frame = self._stack.pop()
        if frame.anchor is not None:
            self._anchors[frame.anchor] = (frame.value, self._nodes - frame.before, frame.height)
        if self._stack:
            self._top = above = self._stack[-1]
            above.key = None
            if frame.height >= above.height:
                above.height = frame.height + 1
        else:
            self._top = None

    def _alias(self, event: Any) -> None:
        top = self._top
        if top is not None and top.keyed and top.key is None:
            message = f"the alias *{event.anchor[:MAX_ANCHOR]} cannot be a key"
            self._give_up(event, "bad-key", message, "write the key out")
        known = self._anchors.get(event.anchor)
        if known is None:
            name = event.anchor[:MAX_ANCHOR]
            names = f"the alias *{name} has no anchor &{name}"
            names = "an alias (hidden) has no anchor" if is_secret(self._pointer()) else names
            message = f"{names} before it in this document"
            self._give_up(event, "unknown-alias", message, "quote it if it is meant as text")
        value, nodes, height = known
        if len(self._stack) + height > MAX_DEPTH:
            self._give_up(event, "too-deep", f"aliases expanded, nesting is deeper than {MAX_DEPTH}")
        self._count(event, nodes)
        mark = event.start_mark
        self._put(value, (mark.line << COLUMN_BITS) + mark.column + self._offset)
        if top is not None:
            top.key = None
            if height >= top.height:
                top.height = height + 1

    def _put(self, value: Any, mark: Marks | int) -> None:
        """Add a value to what is open; the key stays until the value is closed."""
        frame = self._top
        if frame is None:
            self._root, self._mark = value, mark
        elif not frame.keyed:
            frame.value.append(value)
            frame.marks.append(mark)
        elif not frame.again:
            frame.value[frame.key] = value
            frame.marks.append(mark)

    _ACT: ClassVar[dict[type[events.Event], Callable[["Builder", Any], None]]] = {
        events.ScalarEvent: _scalar,
        events.MappingStartEvent: _open_mapping,
        events.SequenceStartEvent: _open_list,
        events.MappingEndEvent: _close,
        events.SequenceEndEvent: _close,
        events.AliasEvent: _alias,
        events.DocumentStartEvent: _start,
        events.DocumentEndEvent: _end,
    }
