"""What a template holds, and what is wrong with it whatever its variables are. Renders and evaluates nothing.

A look makes the Python code of a template, not even constants are computed. Jinja2 is imported at the first look.
Called by `template`.
"""

import re
from collections.abc import Mapping
from functools import cache, lru_cache
from itertools import islice
from typing import Any

import msgspec

from loomd.manifest.wording import did_you_mean, quoted

MAX_LOOPS = 2
"""Deepest nesting of loops."""
MAX_NESTING = 50
"""Deepest nesting of blocks and expressions; Python compiles any code that is made of less."""
MAX_FAULTS = 20
"""Most faults told of one template; to find the place of each takes a look at all of its text."""
CODE = re.compile(r"""\{[{%](?:[^"'%}]++|"(?:[^"\\]++|\\.)*"|'(?:[^'\\]++|\\.)*'|[%}](?!\}))*""", re.DOTALL)
"""What stands between braces, without those that close it. Python before 3.11.5 is wrong about groups with `*+`."""

_NEWLINE = re.compile(r"\r\n|\r|\n")
_ELSEWHERE = "write the text here, or make it a skill"
_SPELLED = {
    "fromimport": "import",
    "callblock": "call",
    "mul": "arithmetic with *",
    "pow": "arithmetic with **",
    "mod": "arithmetic with %",
}
_HINTS = {
    "call": "filters do what methods would, as in {{ goal|upper }}",
    **dict.fromkeys(("include", "import", "extends", "block"), _ELSEWHERE),
}
_HOPELESS = "the template is too deeply nested or holds an impossible number"


class Fault(msgspec.Struct, frozen=True, order=True):
    """What is wrong with a template, and the next act if one is known; line and column from 1, or 0 for all of it."""

    line: int
    column: int
    message: str
    hint: str = ""
    expected: str = ""
    got: str = ""


class Inspection(msgspec.Struct, frozen=True):
    """What a template holds.

    Attributes:
        faults: what is wrong with it.
        names: the variables that it needs, with the line of each.
        fields: (line, variable, field) of all that it takes out of variables.
    """

    faults: tuple[Fault, ...]
    names: Mapping[str, int]
    fields: tuple[tuple[int, str, str], ...]


@lru_cache(maxsize=1024)
def inspect(text: str) -> Inspection:
    """Return what a template holds; nothing but one fault when it cannot be parsed."""
    from jinja2 import TemplateSyntaxError  # noqa: PLC0415  # costs as much as all of validation without it
    from jinja2.compiler import find_undeclared  # noqa: PLC0415  # see above
    from jinja2.meta import TrackingCodeGenerator  # noqa: PLC0415  # see above

    try:
        tree = environment().parse(text)
        walk = _Walk(text)
        walk.go(tree)
        generator = TrackingCodeGenerator(environment())
        generator.optimizer = None  # it would evaluate constants: `{{ 1|round(999999999, "ceil") }}`
        generator.visit(tree)
        needed = generator.undeclared_identifiers | find_undeclared(tree.body, ("self",))
    except TemplateSyntaxError as error:
        return Inspection((fault_at(text, error.lineno, str(error.message)),), {}, ())
    except (RecursionError, SyntaxError, ValueError, MemoryError):
        return Inspection((Fault(0, 0, _HOPELESS),), {}, ())
    names = {name: walk.names.get(name, 1) for name in sorted(needed)}
    return Inspection(tuple(walk.faults), names, tuple(one for one in walk.fields if one[1] not in walk.own))


@cache
def environment() -> Any:
    """Return the sandbox in which templates are read and rendered."""
    from jinja2 import StrictUndefined, pass_context  # noqa: PLC0415  # see `inspect`
    from jinja2.sandbox import ImmutableSandboxedEnvironment  # noqa: PLC0415  # see `inspect`

    class Sandbox(ImmutableSandboxedEnvironment):
        def getattr(self, obj: Any, attribute: str) -> Any:
            """Return a field; of an object of JSON never a method, so that a field may be called `items`."""
            return self.getitem(obj, attribute) if isinstance(obj, dict) else super().getattr(obj, attribute)

        def getitem(self, obj: Any, argument: Any) -> Any:
            """Return a field, or an element."""
            if isinstance(obj, dict):
                return obj[argument] if argument in obj else self.undefined(obj=obj, name=argument)
            return super().getitem(obj, argument)

    # What needs the context of a rendering is not evaluated while code is made.
    sandbox = Sandbox(
        undefined=StrictUndefined, optimized=False, keep_trailing_newline=True, finalize=pass_context(_as_it_is)
    )
    sandbox.globals.clear()
    for name in ("center", "format", "indent", "pprint", "random", "urlize", "wordwrap", "xmlattr"):
        sandbox.filters.pop(name, None)
    return sandbox


def fault_at(text: str, line: int, message: str, word: str = "", **more: str) -> Fault:
    """Return a fault on a line; the message names it when there are several.

    Args:
        text: the template.
        line: from 1.
        message: what is wrong.
        word: where on the line: at this word between braces; by default at the first braces, or the first text.
        more: further fields of the fault.
    """
    where = f"line {line} of the template: " if _NEWLINE.search(text.rstrip()) else ""
    return Fault(line, _column(text, line, word), where + message, **more)


class _Walk:
    """Goes through a syntax tree.

    Attributes:
        faults: what is not allowed, or not there.
        names: the variables that are read, with the first line of each.
        fields: (line, variable, field) of all that is taken out of variables.
        own: the variables that the template sets itself.
    """

    def __init__(self, text: str) -> None:
        self.faults: list[Fault] = []
        self.names: dict[str, int] = {}
        self.fields: list[tuple[int, str, str]] = []
        self.own: set[str] = set()
        self._text = text

    def go(self, tree: Any) -> None:
        """Look at every node.

        Raises:
            TemplateSyntaxError: it is nested too deeply.
        """
        from jinja2 import TemplateSyntaxError  # noqa: PLC0415  # see `inspect`

        pending: list[tuple[Any, int, int]] = [(tree, 0, 0)]
        while pending:
            node, loops, depth = pending.pop()
            if depth > MAX_NESTING:
                raise TemplateSyntaxError(f"it is nested deeper than {MAX_NESTING}", node.lineno)
            kind = type(node).__name__.lower()
            if kind == "for":
                loops += 1
                if loops > MAX_LOOPS or node.recursive:
                    self._note(node, f"loops nest at most {MAX_LOOPS} deep")
            elif kind == "name":
                self._name(node)
            elif kind in ("filter", "test"):
                self._function(node, kind)
            elif kind in ("getattr", "getitem"):
                self._field(node)
            elif kind in _REFUSED:
                name = _SPELLED.get(kind, kind)
                self._note(node, f"{name} is not allowed here", name, hint=_HINTS.get(name, ""))
            pending.extend((child, loops, depth + 1) for child in node.iter_child_nodes())

    def _note(self, node: Any, message: str, word: str = "", **more: str) -> None:
        if len(self.faults) < MAX_FAULTS:
            self.faults.append(fault_at(self._text, node.lineno, message, word, **more))

    def _name(self, node: Any) -> None:
        if node.ctx == "load":
            self.names[node.name] = min(node.lineno, self.names.get(node.name, node.lineno))
        else:
            self.own.add(node.name)

    def _function(self, node: Any, what: str) -> None:
        """Refuse a filter or test that does not exist, and take one that does, so that code is made of the rest."""
        known = environment().filters if what == "filter" else environment().tests
        if node.name is None or node.name in known:
            return
        if len(self.faults) < MAX_FAULTS:
            hint, found = did_you_mean(node.name, known, "known are:"), quoted(node.name)
            self._note(node, f"unknown {what} {found}", node.name, hint=hint, expected=f"a {what}", got=found)
        node.name = next(iter(known))

    def _field(self, node: Any) -> None:
        name, field = getattr(node.node, "name", None), getattr(node, "attr", None)
        field = getattr(node.arg, "value", None) if field is None else field
        if type(node.node).__name__ == "Name" and isinstance(name, str) and isinstance(field, str):
            self.fields.append((node.lineno, name, field))


_REFUSED = frozenset(
    (
        *("call", "macro", "callblock", "block", "include", "import", "fromimport", "extends"),
        *("mul", "pow", "mod"),
    )
)
"""What a prompt does not need and what could run for ever."""


def _column(text: str, line: int, word: str) -> int:
    """Return the column of a word on a line of a template, from 1; see `fault_at`."""
    begin = 0
    for newline in islice(_NEWLINE.finditer(text), line - 1):
        begin = newline.end()
    stop = _NEWLINE.search(text, begin)
    end = stop.start() if stop else len(text)
    first, known = 0, re.compile(rf"\b{re.escape(word)}\b")
    for opens, closes in _tags(text):
        start, limit = max(opens, begin), min(closes, end)
        if start >= limit:
            continue
        first = first or start - begin + 1
        found = known.search(text, start, limit) if word else None
        if found:
            return found.start() - begin + 1
    body = text[begin:end]
    return first or len(body) - len(body.lstrip()) + 1


@lru_cache(maxsize=4)
def _tags(text: str) -> list[tuple[int, int]]:
    """Return where a template has braces, and where they end."""
    return [tag.span() for tag in CODE.finditer(text)]


def _as_it_is(context: object, value: object) -> object:
    del context
    return value
