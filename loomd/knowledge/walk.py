"""Finds the files below a folder that patterns fit, without those that `.gitignore` files leave out.

Links to folders are not followed, and what git keeps for itself is never looked at. Those that lead out of the top are
found all the same, and so are folders that cannot be looked into: who reads them says that they are left out.
"""

import os
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

import msgspec

from loomd.errors import Permanent

_IGNORE = ".gitignore"
_GIT = ".git"
_INSIDE = re.compile(r"/\*\*[ \t]*$")
"""What is inside of a folder, which pathspec takes for the folder, too; in git it is the same as `/**/*`."""
_WHOLE = {".": ".+", "(?P<ps_d>/)": ".*/"}
"""Expressions that pathspec only searches for, as they are for whole paths."""

Rules = Sequence[tuple["re.Pattern[str]", bool]]
"""What paths fit, and whether they are left out then, in the order of the lines."""


class Selection(msgspec.Struct, frozen=True):
    """Which files are wanted: patterns, and whether `.gitignore` files count."""

    include: Sequence[str]
    exclude: Sequence[str]
    gitignore: bool = True


class _Ignored(msgspec.Struct, frozen=True):
    """What one `.gitignore` file says, and the path of its folder below the top, with a slash at its end."""

    folder: str
    rules: Rules

    def says(self, path: str) -> bool | None:
        """Return whether a path is left out, by the last line that it fits; None when nothing is said of it.

        Only the path itself counts: what is below a folder that is left out is never asked for.
        """
        inside = path.removeprefix(self.folder)
        return next((left_out for fits, left_out in reversed(self.rules) if fits.fullmatch(inside)), None)


def walk(top: Path, base: Path, selection: Selection) -> dict[str, Path]:
    """Return files by their path below `top`, links to folders that are not below it, and folders that are closed.

    Args:
        top: the folder from which `.gitignore` files count.
        base: the folder that is searched; patterns are relative to it.
        selection: which files are wanted.

    Raises:
        Permanent: a `.gitignore` file cannot be used, or `base` cannot be looked into.
    """
    include, exclude = _together(selection.include), _together(selection.exclude)
    below = base.relative_to(top).as_posix()
    prefix = "" if below == "." else f"{below}/"
    rules = {prefix: _above(top, prefix) if selection.gitignore else ()}
    found: dict[str, Path] = {}

    def closed(error: OSError) -> None:
        folder = Path(error.filename)
        if folder == base:
            raise Permanent(f"{base} cannot be read ({error.strerror}): make it readable") from error
        path = folder.relative_to(top).as_posix()
        if not isinstance(error, FileNotFoundError) and not exclude.fullmatch(f"{path.removeprefix(prefix)}/_"):
            found[path] = folder

    for folder, folders, files in os.walk(base, onerror=closed):
        here = Path(folder).relative_to(top).as_posix() + "/" if Path(folder) != top else ""
        known = rules.pop(here, ())
        if selection.gitignore and _IGNORE in files:
            known = (*known, _Ignored(here, _rules(Path(folder, _IGNORE))))
        folders[:] = [name for name in folders if name != _GIT and not _is_ignored(f"{here}{name}/", known)]
        rules.update((f"{here}{name}/", known) for name in folders)
        leaving = [name for name in folders if _leaves(Path(folder, name), top)]
        for name in (*files, *leaving):
            path = f"{here}{name}"
            relative = path.removeprefix(prefix)
            fits = name in leaving or include.fullmatch(relative)
            if fits and not exclude.fullmatch(relative) and not _is_ignored(path, known):
                found[path] = Path(folder, name)
    return found


def _leaves(folder: Path, top: Path) -> bool:
    return folder.is_symlink() and not folder.resolve().is_relative_to(top.resolve())


def _above(top: Path, prefix: str) -> tuple[_Ignored, ...]:
    """Return what the `.gitignore` files above a folder say, without those that leave out the folder itself."""
    found: list[_Ignored] = []
    folder = ""
    for name in prefix.split("/")[:-1]:
        path = top / folder / _IGNORE
        if path.is_file():
            one = _Ignored(folder, _rules(path))
            if not any(
                one.says(prefix[: end + 1]) for end, mark in enumerate(prefix) if mark == "/" and end >= len(folder)
            ):
                found.append(one)
        folder += f"{name}/"
    return tuple(found)


def _is_ignored(path: str, rules: Sequence[_Ignored]) -> bool:
    """Return whether a path is left out: the nearest file that says anything of it decides."""
    return next((said for one in reversed(rules) if (said := one.says(path)) is not None), False)


def _rules(path: Path) -> Rules:
    try:
        return _read_rules(str(path), path.read_text("utf-8", "replace"))
    except OSError as error:
        raise Permanent(f"{path} cannot be read ({error.strerror}): mend it, or set gitignore to false") from error


@lru_cache(maxsize=256)
def _read_rules(path: str, text: str) -> Rules:
    from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern  # noqa: PLC0415  # only folders with such a file need it

    found: list[tuple[re.Pattern[str], bool]] = []
    try:
        for line in text.splitlines():
            told, left_out = GitIgnoreSpecPattern.pattern_to_regex(_INSIDE.sub("/**/*", line))
            if told is not None and left_out is not None:
                found.append((re.compile(_WHOLE.get(told, told), re.DOTALL), left_out))
    except ValueError as error:
        raise Permanent(f"{path} cannot be used ({error}): mend it, or set gitignore to false") from error
    return found


def bad_pattern(pattern: str) -> str:
    """Return why a pattern cannot be used, or an empty text."""
    parts = pattern.split("/")
    if not pattern or pattern.startswith("/") or ".." in parts:
        return f'"{pattern}" must be a pattern relative to path, such as "**/*.md"'
    if any("**" in part and part != "**" for part in parts):
        return f'"{pattern}": ** must stand alone between slashes, as in "**/*.md"'
    return ""


def _together(patterns: Iterable[str]) -> "re.Pattern[str]":
    """Return what fits a path that any of the patterns fits."""
    return re.compile("|".join(f"(?:{_regex(pattern)})" for pattern in patterns) or r"(?!)", re.DOTALL)


def _regex(pattern: str) -> str:
    """Return a pattern of files as a regular expression for paths."""
    parts = [part for part in pattern.split("/") if part not in {"", "."}]
    made = ["(?:[^/]+/)*" if part == "**" else f"{_part(part)}/" for part in parts[:-1]]
    return "".join(made) + (".+" if parts[-1:] == ["**"] else _part(parts[-1]) if parts else "(?!)")


def _part(part: str) -> str:
    """Return the pattern of one name: `*`, `?` and `[...]` as in a shell."""
    found, at = "", 0
    while at < len(part):
        end = part.find("]", at + 2) if part[at] == "[" else -1
        if end > 0:
            inside = part[at + 1 : end].replace("\\", r"\\").replace("[", r"\[")
            found += f"(?!/)[{'^' + inside[1:] if inside[0] == '!' else inside}]"
            at = end
        else:
            found += {"*": "[^/]*", "?": "[^/]"}.get(part[at], re.escape(part[at]))
        at += 1
    return found
