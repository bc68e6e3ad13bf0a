"""Paths in manifests start from the manifest's root and never leave it, not by `..` and not by a symbolic link.

Called by the specs that name files, when they are validated and again when they open. Never opens a file.
"""

import errno
import os
from difflib import get_close_matches
from itertools import islice
from pathlib import Path

from loomd.errors import Permanent
from loomd.manifest.wording import one_line

MAX_COMPARED = 1_000
"""Most names in a folder that are looked at for one that may have been meant."""


def inside(root: Path, path: str) -> Path:
    """Return the file that a relative path names, with links resolved.

    Args:
        root: folder that the path starts from.
        path: as written in the manifest.

    Raises:
        Permanent: the path is absolute, leaves the root, or is no file; the text names it.
    """
    found = below(root, path, "a file")
    if found.is_dir():
        raise Permanent(f"expected a file below {root}, got the folder {_named(path)}")
    if not found.is_file():
        raise Permanent(f"expected a file below {root}, got {_named(path)}, which is a pipe or a device")
    return found


def named(root: Path, path: str) -> Path:
    """Return the file that a relative path names, as it is named: links in it stay.

    Raises:
        Permanent: see `inside`.
    """
    inside(root, path)
    return root / os.path.normpath(path)


def is_hidden(root: Path, found: Path) -> bool:
    """Return whether nothing in a folder below a root is read as manifests: a name on the way begins with a dot.

    Args:
        root: the root.
        found: what `below` returned.
    """
    return any(part.startswith(".") for part in found.relative_to(root.resolve()).parts)


def below(root: Path, path: str, wanted: str) -> Path:
    """Return whatever a relative path names, with links resolved.

    Args:
        root: folder that the path starts from.
        path: as written in the manifest.
        wanted: what should be there, for the message: `a file`.

    Raises:
        Permanent: the path is absolute, leaves the root, or names nothing; the text names it.
    """
    if Path(path).is_absolute() or "\0" in path:
        raise Permanent(f"expected a path relative to {root}, got {_named(path)}")
    base = root.resolve()
    leaves = f"expected a path that stays below {root}, got {_named(path)}, which leads out of it: move it there"
    if os.path.normpath(path).startswith(".."):
        raise Permanent(leaves)
    try:
        found = (base / path).resolve(strict=True)
    except (OSError, RuntimeError) as error:  # RuntimeError: a link that leads to itself
        raise Permanent(_missing(root, path, wanted, error)) from None
    if not found.is_relative_to(base):
        raise Permanent(leaves)
    return found


def _missing(root: Path, path: str, wanted: str, error: OSError | RuntimeError) -> str:
    """Return why a path names nothing, with the name that may have been meant."""
    expected = f"expected {wanted} {_named(path)} below {root}"
    if isinstance(error, RuntimeError) or error.errno == errno.ELOOP:
        return f"{expected}, got a symbolic link that leads back to itself"
    if error.errno not in (errno.ENOENT, errno.ENOTDIR):
        return f"{expected}, got an error: {error.strerror}"
    if (root / path).is_symlink():
        return f"{expected}, got a symbolic link to nothing"
    hint = _near(root.resolve(), path)
    return f"{expected}, got nothing{f': {hint}' if hint else ''}"


def _near(base: Path, path: str) -> str:
    """Return which file beside the missing one may have been meant, or an empty string."""
    folder, name = os.path.split(path)
    place, suffix = base / folder, Path(name).suffix
    if not place.is_dir() or not place.resolve().is_relative_to(base):
        return ""
    try:
        with os.scandir(place) as found:
            names = sorted(one.name for one in islice(found, MAX_COMPARED) if one.name.endswith(suffix))
    except OSError:
        return ""  # a guess is a courtesy: the problem itself is told either way
    stems = {Path(one).stem.lower(): one for one in names}
    close = get_close_matches(Path(name).stem.lower(), stems, n=1)
    return f"did you mean {_named(Path(folder, stems[close[0]]).as_posix())}?" if close else ""


def _named(path: str) -> str:
    return f'"{one_line(path)}"'
