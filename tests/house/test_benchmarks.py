"""The programs that measure name what is there: nobody runs them for long times, and then they should run."""

import ast
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
PROGRAMS = sorted(path for path in (PROJECT / "benchmarks").rglob("*.py") if "peers" not in path.parts)


def imported(path: Path) -> Iterator[tuple[str, str]]:
    """Yield what a program imports from loomd: module and name."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "loomd":
            yield from ((node.module, one.name) for one in node.names)


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.relative_to(PROJECT).as_posix())
def test_a_program_imports_what_is_there(path: Path) -> None:
    """Whatever moves in the package moves there, too."""
    missing = [
        f"{module}.{name}"
        for module, name in imported(path)
        if not hasattr(import_module(module), name) and find_spec(f"{module}.{name}") is None
    ]
    assert missing == []
