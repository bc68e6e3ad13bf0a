"""Types that installed packages bring: modules that they name by entry points of the group that a folder is called.

`[project.entry-points."loomd.amoeba.policies"] tidy = "acme.tidy"` puts the module `acme.tidy` beside those of the
folder. A package that cannot be used is told of and left out; what loomd itself has works on. With the environment
variable `LOOMD_TYPES=core` no package is looked at.
"""

import importlib
import os
from collections.abc import Iterator
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING

from loomd.manifest.installed import may_bring
from loomd.manifest.problem import Position, Problem
from loomd.manifest.raised import words_of

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

_CORE = "core"
_unusable: dict[str, str] = {}
"""Why modules of packages cannot be used, by the name under which they are told of."""


def foreign_modules(folder: str) -> Iterator[tuple[str, ModuleType]]:
    """Yield the modules that packages bring to a folder, each after the name under which it is told of."""
    for one in _entry_points():
        if one.group != folder:
            continue
        where = _where(one)
        try:
            module = importlib.import_module(one.value)
        except (Exception, SystemExit) as error:  # whatever somebody else's code does at its import
            refuse(where, f"cannot be imported: {words_of(error)}")
        else:
            yield where, module


def refuse(where: str, why: str) -> None:
    """Let it be told that a module cannot be used; what was told first is what counts."""
    _unusable.setdefault(where, why)


def unusable() -> list[Problem]:
    """Return a warning for every module of a package that cannot be used, as far as folders were looked at."""
    return [
        Problem(
            Position(where),
            "unusable-package",
            f"{where} {why}",
            hint="mend or remove the package; its types are not there until then",
            severity="warning",
        )
        for where, why in sorted(_unusable.items())
    ]


@cache
def _entry_points() -> "tuple[EntryPoint, ...]":
    """Return the entry points that are meant for loomd, in order of their names."""
    if os.environ.get("LOOMD_TYPES") == _CORE or not may_bring("loomd."):
        return ()
    from importlib.metadata import entry_points  # noqa: PLC0415  # slow to load, and seldom needed

    found = entry_points()
    groups = [group for group in found.groups if group.startswith("loomd.")]
    return tuple(sorted((one for group in groups for one in found.select(group=group)), key=_where))


def is_core() -> bool:
    """Return whether all types are loomd's own."""
    return not _entry_points()


def _where(one: "EntryPoint") -> str:
    package = f"package {one.dist.name} {one.dist.version}" if one.dist is not None else "a package"
    return f"{package}, {one.group}: {one.name} = {one.value}"
