"""Source code: its text, and where its definitions stand, told by tree-sitter, which takes broken code as well.

The grammars are packages of their own. Without that of a language its text is read all the same; whoever wants to cut
by definitions says what is missing.
"""

import importlib
import importlib.util
import re
from collections.abc import Iterator
from typing import Any

from loomd.knowledge.formats.base import Content, Format, Limits, Span
from loomd.knowledge.formats.text import decode

LANGUAGES = {
    ".bash": "bash",
    ".c": "c",
    ".cc": "cpp",
    ".cjs": "javascript",
    ".cpp": "cpp",
    ".cs": "c_sharp",
    ".cxx": "cpp",
    ".go": "go",
    ".h": "c",
    ".hh": "cpp",
    ".hpp": "cpp",
    ".java": "java",
    ".js": "javascript",
    ".jsx": "javascript",
    ".mjs": "javascript",
    ".mts": "typescript",
    ".php": "php",
    ".py": "python",
    ".pyi": "python",
    ".rb": "ruby",
    ".rs": "rust",
    ".sh": "bash",
    ".ts": "typescript",
    ".tsx": "tsx",
}
"""The languages whose definitions are known, by suffix."""
_MAKERS = {
    "php": ("tree_sitter_php", "language_php"),
    "tsx": ("tree_sitter_typescript", "language_tsx"),
    "typescript": ("tree_sitter_typescript", "language_typescript"),
}
"""Module and function of the grammars that are not `tree_sitter_<language>.language`."""
_DEFINITION = re.compile(
    r"^(abstract_class|class|constructor|contract|enum|function|impl|interface|method|mod|module|namespace|object"
    r"|record|singleton_method|struct|trait|type|template|union)(_alias|_definition|_declaration|_item|_specifier)?$"
)
_WRAPPERS = frozenset({"decorated_definition", "export_statement", "template_declaration"})
"""What stands around a definition and belongs to it."""
_BEFORE = re.compile(r"comment|attribute|annotation|decorator")
"""What stands before a definition and belongs to it."""
_NAMES = ("name", "declarator", "type")
"""Fields of a definition that hold its name, the likeliest first."""


def _read(data: bytes, suffix: str, limits: Limits) -> Content:
    text = decode(data, limits)
    language = LANGUAGES[suffix]
    return Content(text.split("\n"), language=language, spans=_spans(text, language))


def _spans(text: str, language: str) -> list[Span] | None:
    """Return the definitions of a text; None when the grammar is not installed."""
    module, function = _MAKERS.get(language, (f"tree_sitter_{language}", "language"))
    if importlib.util.find_spec("tree_sitter") is None or importlib.util.find_spec(module) is None:
        return None
    from tree_sitter import Language, Parser  # noqa: PLC0415  # only a process that reads code needs it

    grammar: object = getattr(importlib.import_module(module), function)()
    tree = Parser(Language(grammar)).parse(text.encode())
    return [Span(*_rows(node), name) for node, name in _definitions(tree.root_node)]


def _definitions(root: Any) -> Iterator[tuple[Any, str]]:
    """Yield the definitions that take more than a line, with their names, each before those in it."""
    pending = [root]
    while pending:
        node = pending.pop()
        if node.start_point[0] == node.end_point[0] and node is not root:
            continue
        if _DEFINITION.match(node.type) and (name := _name(node)):
            yield node, name
        pending.extend(reversed(node.named_children))


def _name(node: Any) -> str:
    """Return the name of a definition, or an empty text."""
    for field in _NAMES:
        found = node.child_by_field_name(field)
        while found is not None and (inner := found.child_by_field_name("declarator")) is not None:
            found = inner  # C: the name is inside of pointers and parameters
        if found is not None and found.start_point[0] == found.end_point[0]:
            return str(found.text.decode("utf-8", "replace"))
    specs = [one for one in node.named_children if one.type.endswith("_spec")]  # Go: type ( A struct ... )
    return _name(specs[0]) if len(specs) == 1 else ""


def _rows(node: Any) -> tuple[int, int]:
    """Return the first row of a definition and the one after its last, with what belongs to it."""
    while node.parent is not None and node.parent.type in _WRAPPERS:
        node = node.parent
    start, before = node.start_point[0], node.prev_named_sibling
    while before is not None and _BEFORE.search(before.type) and before.end_point[0] in (start, start - 1):
        start, before = before.start_point[0], before.prev_named_sibling
    row, column = node.end_point
    return start, row + (column > 0)


FORMAT = Format("code", tuple(LANGUAGES), (), _read)
