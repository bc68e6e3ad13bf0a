"""The codes of problems: those that are used are those that are explained."""

import ast
from collections.abc import Iterator
from pathlib import Path

from loomd.manifest.code import CODES
from loomd.manifest.convert import _CODES as TYPE_CODES
from loomd.manifest.secret import LITERAL

LOOMD = Path(__file__).parents[2] / "loomd"
MODULES = [path for path in sorted(LOOMD.rglob("*.py")) if path.name != "code.py" and path.parent.name != "store"]
"""The store has words of its own for damage, which are no codes of problems."""
TAKES_CODE = {"Problem", "Refusal", "instead", "_give_up"}
"""Functions whose second argument is a code."""


def codes_in(node: ast.AST) -> Iterator[str]:
    """Yield the codes that a piece of source writes out: as an argument, beside a sentence, or as a value of `code`."""
    if isinstance(node, ast.Call) and len(node.args) > 1:
        name = getattr(node.func, "attr", None) or getattr(node.func, "id", "")
        yield from texts_in(node.args[1]) if name in TAKES_CODE else ()
    elif isinstance(node, ast.Yield) and isinstance(node.value, ast.Tuple) and len(node.value.elts) == 3:
        yield from texts_in(node.value.elts[2])
    elif isinstance(node, ast.Assign):
        targets, values = elements(node.targets[0]), elements(node.value)
        for target, value in zip(targets, values, strict=False):
            yield from texts_in(value) if getattr(target, "id", "") == "code" else ()


def elements(node: ast.expr) -> list[ast.expr]:
    """Return the elements of a tuple, or what is none."""
    return node.elts if isinstance(node, ast.Tuple) else [node]


def texts_in(node: ast.expr) -> Iterator[str]:
    """Yield the text of a constant, or of the two arms of a choice."""
    for one in [node.body, node.orelse] if isinstance(node, ast.IfExp) else [node]:
        if isinstance(one, ast.Constant) and isinstance(one.value, str):
            yield one.value


def test_every_code_is_explained() -> None:
    """A code that the source uses is in the table, and none is there that nothing uses."""
    texts = [path.read_text("utf-8") for path in MODULES]
    used = {code for text in texts for node in ast.walk(ast.parse(text)) for code in codes_in(node)}
    assert {*used, LITERAL, *TYPE_CODES.values()} - CODES.keys() == set()
    assert {code for code in CODES if not any(f'"{code}"' in text for text in texts)} == set()


def test_the_table_reads_well() -> None:
    """The codes are sorted and kebab-case, and each says in sentences what is wrong and what to do."""
    assert list(CODES) == sorted(CODES)
    for code, meaning in CODES.items():
        assert code.replace("-", "").isalnum()
        assert code == code.lower()
        assert [text[-1] for text in meaning] == [".", "."]
