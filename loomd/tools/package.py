"""Installed Python packages, looked at without importing anything. Called by the validation of the `python` type."""

import ast
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path

from loomd.errors import Permanent
from loomd.manifest.python_file import functions_of, read_source
from loomd.manifest.wording import did_you_mean

MISSING = "missing-package"


def package_faults(package: str, function: str) -> Iterator[tuple[str, str, str]]:
    """Yield, as `Spec.check` does, that a function of a package cannot be used here, as far as its text tells.

    Args:
        package: dotted name of a module.
        function: name of the function.
    """
    found = _find(package)
    if isinstance(found, str):
        text = (
            f'expected an installed package, got "{package}": there is no "{found}" in the environment of this program'
        )
        yield "/package", text, MISSING
        return
    if found.origin is None or Path(found.origin).suffix != ".py":
        return  # a compiled module, or a folder without a file of its own: only an import could tell
    path = Path(found.origin)
    try:
        source = read_source(path)
        functions = functions_of(source, path)
    except Permanent as error:
        yield "/package", str(error), MISSING
        return
    if function not in functions and not _may_have(ast.parse(source), function):
        hint = did_you_mean(function, functions, "it has") or "it has none"
        text = f'expected a function of the package "{package}", got "{function}": {hint}'
        yield "/function", text, MISSING


def _find(package: str) -> ModuleSpec | str:
    """Return where a module is, or the first part of its name that is nowhere."""
    found: ModuleSpec | None = None
    places: Sequence[str] | None = None
    parts = package.split(".")
    for at in range(len(parts)):
        name = ".".join(parts[: at + 1])
        if found is not None:
            places = found.submodule_search_locations
            if places is None:  # a module that is no package
                return name
        found = next((one for finder in sys.meta_path if (one := finder.find_spec(name, places))), None)
        if found is None:
            return name
    assert found is not None  # noqa: S101  # a name has a part
    return found


def _may_have(tree: ast.Module, name: str) -> bool:
    """Return whether a module may have a name that it defines in another way than by `def` at its top level."""
    return any(_binds(node, name) for node in ast.walk(tree))


def _binds(node: ast.AST, name: str) -> bool:
    if isinstance(node, ast.ImportFrom | ast.Import):
        return bool({name, "*"} & {(one.asname or one.name).partition(".")[0] for one in node.names})
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return node.name in (name, "__getattr__")
    return isinstance(node, ast.Name) and node.id in (name, "globals", "setattr", "exec")
