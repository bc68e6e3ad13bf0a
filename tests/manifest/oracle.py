"""What must hold of a file whatever its bytes are: read at once, twice the same, or refused in problems that fit it.

Called by the tests that make files up, and by `fuzz`; nothing here makes a file.
"""

import time
from collections.abc import Iterator
from typing import NamedTuple

from loomd.manifest.code import CODES
from loomd.manifest.document import read_documents
from loomd.manifest.load import load
from loomd.manifest.object import Snapshot
from loomd.manifest.places import LINE_BREAK, Document
from loomd.manifest.problem import Position, Problem, Problems
from loomd.manifest.source import MAX_BYTES, SourceFile
from tests.manifest.corpus import ROOT

SECONDS = 3.0
"""Most CPU that a file may cost."""
TRIES = 3
"""Readings of which the fastest counts: a busy machine makes any of them slow."""
LONGEST = 3_000
"""Most characters of a problem as people read it."""
FILE = SourceFile(ROOT, "manifest.yaml", b"")


class Outcome(NamedTuple):
    """What became of a file: a snapshot, or problems."""

    snapshot: Snapshot | None
    problems: tuple[Problem, ...]


def outcome(data: bytes) -> Outcome:
    """Return what becomes of a file; whatever else than `Problems` is raised is a fault."""
    try:
        return Outcome(load([SourceFile(FILE.root, FILE.path, data)]), ())
    except Problems as error:
        return Outcome(None, error.problems)


def judge(data: bytes) -> Outcome:
    """Read a file and check all that must hold of any; return what became of it.

    Raises:
        AssertionError: something does not hold.
    """
    first, again = (timed(data) for _ in range(2))
    assert first.problems == again.problems, "read again, it has other problems"
    assert first.snapshot == again.snapshot, "read again, it is another snapshot"
    check_problems(data, first)
    check_places(data)
    return first


def timed(data: bytes) -> Outcome:
    """Return what becomes of a file, which may not take long."""
    seconds: list[float] = []
    while True:
        begun = time.process_time()
        found = outcome(data)
        seconds.append(time.process_time() - begun)
        if seconds[-1] < SECONDS:
            return found
        assert len(seconds) < TRIES, f"it takes {min(seconds):.2f} s"


def check_problems(data: bytes, found: Outcome) -> None:
    """Check that problems are told, sorted, of a known sort, readable, and inside the file."""
    assert found.snapshot is not None or found.problems, "it is refused without a problem"
    assert list(found.problems) == sorted(found.problems, key=lambda one: (one.position, one.code, one.message))
    lines = lines_of(data)
    for problem in found.problems:
        assert problem.code in CODES, problem
        text = "".join((str(problem), problem.object, problem.expected, problem.got))
        assert text.isprintable(), problem
        assert len(text) < LONGEST, problem
        whole_file = problem.code == "too-large" and len(data) > MAX_BYTES
        assert whole_file or inside(problem.position, lines), problem
        assert problem.related is None or inside(problem.related, lines), problem


def check_places(data: bytes) -> None:
    """Check that every value and every key of every document has a place inside the file."""
    lines = lines_of(data)
    for document in read_documents(data, FILE.name)[0]:
        for position in places_of(document):
            assert inside(position, lines), position


def places_of(document: Document) -> Iterator[Position]:
    """Yield the places of all values and keys of a document."""
    yield document.position
    yield from document.places.values()
    yield from document.keys.values()


def lines_of(data: bytes) -> list[str]:
    """Return the lines of a file as its positions count them."""
    return LINE_BREAK.split(data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape"))


def inside(position: Position, lines: list[str]) -> bool:
    """Return whether a place is one of a character of the file, or the one behind a line."""
    if position.file != FILE.name or not 1 <= position.line <= len(lines):
        return False
    return 1 <= position.column <= len(lines[position.line - 1]) + 1
