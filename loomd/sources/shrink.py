"""Tells a set that was deleted from one that got lost: what vanished by accident deletes nothing. Pure; reads nothing.

An interrupted writer leaves a file empty or cut; a failed mount leaves a folder empty. Called by the directory source.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from loomd.errors import Permanent
from loomd.manifest.problem import Position, Problem, Problems
from loomd.manifest.source import SourceFile


def refuse_vanished(root: Path, old: Sequence[SourceFile], new: Sequence[SourceFile], allow_empty: bool) -> None:
    """Refuse an empty folder, and files that became empty or end in the middle of a line.

    Args:
        root: the folder.
        old: the files that serve.
        new: the files that are there now.
        allow_empty: whether an empty folder is meant.

    Raises:
        LoomdError: it is not taken as meant.
    """
    if old and not new and not allow_empty:
        raise Permanent(
            f"{root} holds no manifests any more, {len(old)} files serve on: an empty folder deletes nothing"
        )
    problems = [problem for before, now in _changed(old, new) if (problem := _explain(before.data, now))]
    if problems:
        raise Problems(problems)


def find_cut(old: Sequence[SourceFile], new: Sequence[SourceFile]) -> str:
    """Return the name of a file that may be written just now: it lost its end, or the end of its last line."""
    for before, now in _changed(old, new):
        lost_its_break = _is_ended(before.data) and not _is_ended(now.data)
        if lost_its_break or before.data.startswith(now.data):
            return now.name
    return ""


def _changed(old: Sequence[SourceFile], new: Sequence[SourceFile]) -> Iterator[tuple[SourceFile, SourceFile]]:
    """Yield files that were there before and hold something else now."""
    held = {file.path: file for file in old}
    for file in new:
        before = held.get(file.path)
        if before is not None and before.data is not file.data and before.data != file.data:
            yield before, file


def _explain(before: bytes, now: SourceFile) -> Problem | None:
    if before.strip() and not now.data.strip():
        return Problem(Position(now.name), "empty", "the file became empty", hint="write it again, or delete it")
    if before.startswith(now.data) and _is_ended(before) and not _is_ended(now.data):
        if before[len(now.data) :][:1] in {b"\n", b"\r"}:
            return None  # whole lines are missing, and the break after the last one
        line = now.data.count(b"\n") + 1
        message = f"the file is half written: it was cut in the middle of line {line}"
        return Problem(Position(now.name, line), "truncated", message, hint="write it again, or end that line")
    return None


def _is_ended(data: bytes) -> bool:
    return data.endswith((b"\n", b"\r"))
