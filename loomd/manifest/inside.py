"""Paths in manifests start from the manifest's root and never leave it, not by `..` and not by a symbolic link.

Called by the specs that name files, when they are validated and again when they open. Never opens a file.
"""

from pathlib import Path

from loomd.errors import Permanent


def inside(root: Path, path: str) -> Path:
    """Return the file that a relative path names, with links resolved.

    Args:
        root: folder that the path starts from.
        path: as written in the manifest.

    Raises:
        Permanent: the path is absolute, leaves the root, or is no file; the text names it.
    """
    if Path(path).is_absolute() or "\0" in path:
        raise Permanent(f'"{path}" is not a path relative to {root}')
    base = root.resolve()
    try:
        found = (base / path).resolve(strict=True)
    except (OSError, RuntimeError):
        raise Permanent(f'there is no file "{path}" in {root}') from None
    if not found.is_relative_to(base):
        raise Permanent(f'"{path}" leaves {root}: move the file below it')
    if not found.is_file():
        raise Permanent(f'"{path}" in {root} is not a file')
    return found
