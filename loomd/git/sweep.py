"""Keeps the folders of mirrors free of what processes left behind that did not end well, and tells their size.

Blocks: called in threads by the mirror.
"""

import os
import shutil
from pathlib import Path


def size_of(folder: Path) -> int:
    """Return the bytes of all files below a folder that may change meanwhile."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_size  # noqa: PTH118  # many files, often
            except FileNotFoundError:
                continue
    return total


def sweep(mirrors: Path, name: str) -> None:
    """Remove the mirrors of other remotes, and what a killed process left in this one."""
    for other in list(mirrors.iterdir()) if mirrors.exists() else []:
        if other.name != name:
            shutil.rmtree(other, ignore_errors=True)
    for lock in (mirrors / name).rglob("*.lock"):
        lock.unlink(missing_ok=True)
    sweep_packs(mirrors / name)


def sweep_packs(folder: Path) -> None:
    """Remove packs that were never completed."""
    for left in (folder / "objects").rglob("tmp_*"):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)
