"""Installed Python packages, looked at without importing anything. Called by the validation of the `python` type.

Told is only what is sure: what only an import could tell, such as what a module makes while it runs, is none.
"""

import ast
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from loomd.errors import Permanent
from loomd.manifest.python_file import MAX_FILE, parse, read_source, top_functions
from loomd.manifest.wording import did_you_mean

MISSING = "missing-package"
_MAKES_NAMES = frozenset(("*", "__getattr__", "globals", "locals", "vars", "setattr", "exec"))
"""Names in a module's text by which it may have names that do not stand in it."""
_MAKES_MODULES = frozenset(("modules", "meta_path", "__path__"))
"""Names by which it may be another module than its text, or have others below it that are no files."""


def package_faults(package: str, function: str) -> Iterator[tuple[str, str, str]]:
    """Yield, as `Spec.check` does, that a function of a package cannot be used here, as far as its text tells.

    Args:
        package: dotted name of a module.
        function: name of the function.
    """
    try:
        found = _find(package)
        text = _text(found) if isinstance(found, ModuleSpec) else None
    except Permanent as error:
        yield "/package", str(error), MISSING
        return
    if isinstance(found, str):
        problem = (
            f'expected an installed package, got "{package}": there is no "{found}" in the environment of this program'
        )
        yield "/package", problem, MISSING
    elif text is not None and function not in text.functions and not text.may_have(function):
        hint = did_you_mean(function, text.functions, "it has") or "it has none"
        problem = f'expected a function of the package "{package}", got "{function}": {hint}'
        yield "/function", problem, MISSING


def _find(package: str) -> ModuleSpec | str | None:
    """Return where a module is, or the first part of its name that is nowhere; None where only an import could tell.

    Raises:
        Permanent: a module on the way cannot be read or parsed.
    """
    found: ModuleSpec | None = None
    for name in _parts(package):
        parent, places = found, None if found is None else found.submodule_search_locations
        found = None if parent is not None and places is None else _ask(name, places)
        if found is not None:
            continue
        if name in sys.modules:  # such as os.path, which no file is called after
            return None
        text = None if parent is None else _text(parent)
        return name if parent is None or (text is not None and not text.makes_modules) else None
    return found


def _parts(package: str) -> Iterator[str]:
    """Yield `a`, `a.b` and `a.b.c` for `a.b.c`."""
    parts = package.split(".")
    return (".".join(parts[: at + 1]) for at in range(len(parts)))


def _ask(name: str, places: Iterable[str] | None) -> ModuleSpec | None:
    """Return where a module is, by whoever finds modules here; none of its parents is imported.

    `PathFinder` looks for a folder without a file of its own in its parent's module, which is not there; it goes by the
    last part of a name alone, as do the finders that it asks.
    """
    among = None if places is None else list(places)
    for finder in sys.meta_path:
        try:
            found = finder.find_spec(name.rpartition(".")[2] if finder is PathFinder else name, among)
        except Exception:  # noqa: S112  # some look for the parent as well
            continue
        if found is not None:
            return found
    return None


@dataclass(frozen=True)
class _Text:
    """What the text of a module says of it.

    Attributes:
        functions: those at its top level, in order.
        names: whatever else may be bound or made in it.
        makes_modules: whether it may be another module, or have others below it, once it has run.
    """

    functions: tuple[str, ...]
    names: frozenset[str]
    makes_modules: bool

    def may_have(self, name: str) -> bool:
        """Return whether it may have a name that it defines in another way than by `def` at its top level."""
        return self.makes_modules or name in self.names or not self.names.isdisjoint(_MAKES_NAMES)


def _text(found: ModuleSpec) -> _Text | None:
    """Return what the text of a module says; None when it has none: it is compiled, a folder, or very large.

    Raises:
        Permanent: it cannot be read or parsed.
    """
    if found.origin is None or Path(found.origin).suffix != ".py":
        return None
    path = Path(found.origin)
    if path.is_file():
        return None if path.stat().st_size > MAX_FILE else _look(read_source(path), path)
    try:  # in an archive
        source = found.loader.get_source(found.name)  # type: ignore[union-attr]  # or else it is as one that fails
    except Exception:  # whatever it is: nothing is known of it
        return None
    return None if source is None or len(source) > MAX_FILE else _look(source.encode(), path)


@lru_cache(maxsize=64)
def _look(source: bytes, path: Path) -> _Text:
    """Return what a text says; several tools of one module parse it once.

    Raises:
        Permanent: it cannot be parsed.
    """
    tree = parse(source, path)
    names = {name for node in ast.walk(tree) for name in _binds(node)}
    return _Text(tuple(top_functions(tree)), frozenset(names), not names.isdisjoint(_MAKES_MODULES))


def _binds(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.ImportFrom() | ast.Import():
            yield from ((one.asname or one.name).partition(".")[0] for one in node.names)
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            yield node.name
        case ast.Name():
            yield node.id
        case ast.Attribute(attr=name) if name in _MAKES_MODULES:
            yield name
        case _:
            pass
