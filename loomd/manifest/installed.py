"""What installed packages bring, at a glance: whether any may have entry points of a group.

`importlib.metadata` knows exactly, and takes as long as half of a validation to be loaded and to read. Called by
`foreign`, and by the command line before pydantic looks for plugins.
"""

import os
import sys
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path


def may_bring(group: str) -> bool:
    """Return whether a package may have entry points of a group; where that cannot be told at a glance, it may.

    Args:
        group: how its name begins, with the bracket at its end when that is all of it: `loomd.`, `pydantic]`.
    """
    texts = _entry_points()
    return texts is None or f"[{group}".encode() in texts


@cache
def _entry_points() -> bytes | None:
    """Return what all packages declare, or None when some are installed in another way than as folders."""
    if any(hasattr(finder, "find_distributions") and finder is not PathFinder for finder in sys.meta_path):
        return None
    texts: list[bytes] = []
    for place in sys.path:
        try:
            names = os.listdir(place or ".")  # noqa: PTH208  # half of the time of a `Path` for each of hundreds
        except FileNotFoundError:
            continue
        except OSError:  # an archive
            return None
        if any(name.endswith(".egg") for name in names):
            return None
        texts += [_text(Path(place, name)) for name in names if name.endswith((".dist-info", ".egg-info"))]
    return b"\n".join(texts)


def _text(package: Path) -> bytes:
    try:
        return (package / "entry_points.txt").read_bytes()
    except OSError:  # most packages have none
        return b""
