"""Verifies what knowledge bases and memories keep in files of their own. Reads only; called by `loomd check`."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

from loomd.knowledge.words import broken_files
from loomd.store.check import Finding, integrity, reading
from loomd.store.directory import is_held
from loomd.vectors.faiss_index import is_whole

_ANEW = "remove it: it is made anew from the documents"
_TAKEN = "start the daemon: it takes over the vectors that can be read; what it does not open may be removed"
_AGAIN = "restore a backup of it, or start the daemon: it is set aside, and what the journal has is remembered again"
_LOST = "restore a backup of it, or remove it: what is in it is lost then"


def check_files(state: Path) -> Iterator[Finding]:
    """Yield what is wrong with the files of the objects in a state directory."""
    held = is_held(state)
    for path in sorted(state.glob("knowledgebase/*/*/*.base")):
        if not is_whole(path):
            yield Finding("index", str(path), "the vectors are not what was saved (the SHA-256 differs)", _ANEW)
    for folder in [] if held else sorted(state.glob("knowledgebase/*/*/*.words")):  # files come and go while it is used
        for name in broken_files(folder):
            yield Finding("index", str(folder / name), "the index of words is not what was written", _ANEW)
    for path in sorted(state.glob("*/*/*/*.db")):
        act = {"knowledgebase": _TAKEN, "memory": _AGAIN}.get(path.relative_to(state).parts[0], _LOST)
        try:
            with reading(path, held=held) as db:
                for said in integrity(db):
                    yield Finding("index", str(path), said, act)
        except sqlite3.DatabaseError as error:
            yield Finding("index", str(path), f"cannot be read: {error}", act)
