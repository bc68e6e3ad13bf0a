"""Tells whether git is writing a work tree right now. Reads at most one small file; called by the directory source."""

import os
from pathlib import Path


def find_lock(folder: Path) -> Path | None:
    """Return the lock that git holds on the work tree that a folder lies in, or None when it holds none."""
    for place in (folder, *folder.parents):
        git = place / ".git"
        if os.path.exists(git):  # noqa: PTH110  # Path.exists raises where a folder may not be entered
            lock = _git_folder(git) / "index.lock"
            return lock if os.path.lexists(lock) else None
    return None


def _git_folder(git: Path) -> Path:
    """Return where git keeps the index: a work tree of its own or a submodule has a file that says where."""
    if not git.is_file():
        return git
    text = git.read_text("utf-8", "surrogateescape")
    return git.parent / text.removeprefix("gitdir:").strip()
