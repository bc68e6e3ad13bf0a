"""What specs read: the checks of the files that they name, and the digests of what is in them.

A file is hashed again only when it may have changed: its size, its times or its inode differ from the last look, or
it was written so shortly before that look that a later write could bear the same time. Called by `load`; changes no
file.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import msgspec

from loomd.clock import Clock
from loomd.errors import Permanent
from loomd.manifest.code import WARNINGS
from loomd.manifest.kind import Spec
from loomd.manifest.marks import Marked
from loomd.manifest.object import NamedFile, Object, Ref
from loomd.manifest.problem import Problem
from loomd.manifest.wording import dotted, read_sentence

SETTLED = 2.0
"""Seconds after which a file system gives a write another time than the one before: coarse ones count in two."""

MAX_TOLD = 100
"""Most problems told of the files of one object."""

MAX_KEPT = 4 << 20
"""Largest file in bytes whose contents are kept with a revision, as for manifests."""

Found = tuple[tuple[str, bytes, NamedFile | None], ...]
"""Of every file that a spec reads its path below the root, its digest, and what is kept of it."""

_Stamp = tuple[int, int, int, int, int]


class _Hash(msgspec.Struct, frozen=True):
    """The digest of a file, and how the file looked then; without a look it holds for one load only."""

    stamp: _Stamp | None
    digest: bytes


class _Seen(msgspec.Struct, frozen=True):
    """A spec whose files were found to be right, with their contents; none for one that reads nothing."""

    spec: Spec
    root: Path
    found: Found


class Contents(msgspec.Struct, frozen=True):
    """What an object reads.

    Attributes:
        digest: over the contents of all its files, empty when it reads none.
        kept: the files that are kept with it, sorted.
        copies: folder that holds them when those below the root are others.
    """

    digest: str = ""
    kept: tuple[NamedFile, ...] = ()
    copies: Path | None = None


class Copy(msgspec.Struct, frozen=True):
    """What was kept of the files of an object.

    Attributes:
        kept: the files, sorted.
        place: returns a folder that holds them.
    """

    kept: tuple[NamedFile, ...]
    place: Callable[[], Path]


class Files:
    """Remembers the files that specs read from one load to the next; `begin` starts a load."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._hashes: dict[Path, _Hash] = {}
        self._old_hashes: dict[Path, _Hash] = {}
        self._seen: dict[tuple[Ref, str], _Seen] = {}
        self._old_seen: dict[tuple[Ref, str], _Seen] = {}

    def begin(self) -> None:
        """Look at everything anew; what nothing names any more is forgotten."""
        self._old_hashes, self._hashes = self._hashes, {}
        self._old_seen, self._seen = self._seen, {}

    def look(self, item: Object, specs: Sequence[Marked], copy: Copy | None = None) -> tuple[list[Problem], Contents]:
        """Return what is wrong with the files of an object, and what is in them.

        Args:
            item: the object.
            specs: those of its specs that name files.
            copy: what it reads where its own files are others or are gone; as far as that is enough for it.
        """
        problems, contents = self._read(item, specs)
        if copy is None or (not _wrong(problems) and contents.kept == copy.kept):
            return problems, contents
        folder = copy.place()
        wrong, kept = self._read(replace(item, root=folder), specs)
        return (problems, contents) if _wrong(wrong) else (wrong, Contents(kept.digest, kept.kept, folder))

    def _read(self, item: Object, specs: Sequence[Marked]) -> tuple[list[Problem], Contents]:
        problems: list[Problem] = []
        kept: list[NamedFile] = []
        digest = hashlib.sha256()
        read = False
        for marked in specs:
            if len(problems) >= MAX_TOLD:
                break
            wrong, found = self._look(item, marked)
            problems += wrong
            for path, content, named in found:
                read = True
                digest.update(os.fsencode(f"\n{path} "))
                digest.update(content)
                kept += [] if named is None else [named]
        return problems, Contents(digest.hexdigest() if read else "", tuple(sorted(set(kept))))

    def _look(self, item: Object, marked: Marked) -> tuple[list[Problem], Found]:
        spec: Spec = marked.value
        key = (item.ref, marked.pointer)
        seen = self._old_seen.get(key)
        if seen is not None and seen.spec is spec and seen.root == item.root:
            try:
                unchanged = self._contents(spec, item.root) == seen.found
            except (Permanent, OSError, ValueError):
                unchanged = False  # a file is gone, or is another now: the check says which
            if unchanged:
                self._seen[key] = seen
                return [], seen.found
        try:
            problems = list(islice(_check(item, marked), MAX_TOLD))
            found = () if _wrong(problems) else self._contents(spec, item.root)
        except (Permanent, OSError, ValueError) as error:
            text = f"{item.ref} {dotted(marked.pointer)}: a file that it names cannot be read: {error}"
            return [Problem(item.where(marked.pointer), "bad-file", text, marked.pointer, object=str(item.ref))], ()
        if not problems and (found or type(spec).reads is Spec.reads):
            self._seen[key] = _Seen(spec, item.root, found)
        return problems, found

    def _contents(self, spec: Spec, root: Path) -> Found:
        """Return the files that a spec reads, with their digests.

        Raises:
            Permanent: a file is not there or leaves the root.
        """
        if type(spec).reads is Spec.reads:
            return ()
        return tuple(self._content(path, root, keep=spec.keeps_files) for path in spec.reads(root))

    def _content(self, path: Path, root: Path, *, keep: bool) -> tuple[str, bytes, NamedFile | None]:
        """Return of a file below a root what `Found` has; one that is kept is told by where it lies."""
        name, digest = path.relative_to(root).as_posix(), self._digest(path)
        if not keep:
            return name, digest, None
        target = path.resolve().relative_to(root).as_posix()
        if len(digest) != hashlib.sha256().digest_size or path.stat().st_size > MAX_KEPT:
            return target, digest, None
        return target, digest, NamedFile(name, target, digest.hex())

    def _digest(self, path: Path) -> bytes:
        fresh = self._hashes.get(path)
        if fresh is not None:
            return fresh.digest
        try:
            known = self._old_hashes.get(path)
            if known is None or known.stamp is None or known.stamp != _stamp(path.stat()):
                known = self._hash(path)
        except OSError as error:  # whoever opens the object reports it; it counts as another content
            known = _Hash(None, str(error.errno).encode())
        self._hashes[path] = known
        return known.digest

    def _hash(self, path: Path) -> _Hash:
        now = self._clock.now()
        with path.open("rb") as file:
            before = os.fstat(file.fileno())
            digest = hashlib.file_digest(file, "sha256").digest()
            after = os.fstat(file.fileno())
        settled = _stamp(before) == _stamp(after) and max(before.st_mtime, before.st_ctime) < now - SETTLED
        return _Hash(_stamp(before) if settled else None, digest)


def _wrong(problems: Iterable[Problem]) -> bool:
    return any(one.severity == "error" for one in problems)


def _stamp(status: os.stat_result) -> _Stamp:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev


def _check(item: Object, marked: Marked) -> Iterator[Problem]:
    """Yield what a spec says of the files that it names."""
    for place, said, *code in marked.value.check(item.root):
        pointer = marked.pointer + place
        message, hint, expected, found = read_sentence(said)
        text, name = f"{item.ref} {dotted(pointer)}: {message}", code[0] if code else "bad-file"
        problem = Problem(
            item.where(pointer), name, text, pointer, hint, object=str(item.ref), expected=expected, got=found
        )
        yield replace(problem, severity="warning") if name in WARNINGS else problem
