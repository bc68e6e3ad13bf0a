"""Finds the documents of a knowledge base and reads them as text. What cannot be read is told, the rest is kept.

Only files below the manifest's root are read, whatever a link says. Blocks: called in the thread of a knowledge base.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from loomd.errors import NotFound
from loomd.knowledge.base import FilesSource


@dataclass(frozen=True, slots=True)
class Document:
    """A text file: path relative to the root with `/`, and its bytes, which are UTF-8."""

    path: str
    data: bytes

    @property
    def text(self) -> str:
        """Return the content without byte-order mark and carriage returns."""
        return self.data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A file that was left out, and a sentence that says why and what to do."""

    path: str
    reason: str


def read_all(root: Path, sources: Sequence[FilesSource]) -> Iterator[Document | Unreadable]:
    """Yield every document of the sources once, by path; and every file that had to be left out.

    Raises:
        NotFound: a source's path does not exist or leaves the root, a pattern is unusable, or a source has no file.
    """
    top = root.resolve()
    found: dict[str, tuple[Path, FilesSource]] = {}
    for source in sources:
        for _, reason in source.check(root):
            raise NotFound(f"source {source.path}: {reason}")
        for path, file in source.find(top).items():
            found.setdefault(path, (file, source))
    for path, (file, source) in sorted(found.items()):
        yield _read(top, path, file, source.max_file)


def _read(top: Path, path: str, file: Path, max_file: int) -> Document | Unreadable:
    """Return the content of a file, or why it was left out."""
    try:
        if not file.resolve(strict=True).is_relative_to(top):
            return Unreadable(path, "is a link that leaves the folder of the manifests: copy the file there")
        if not file.is_file():
            return Unreadable(path, "is not a regular file: exclude it")
        size = file.stat().st_size
        if size > max_file:
            return Unreadable(path, f"has {size} bytes, maxFile is {max_file}: split it, or raise maxFile")
        data = file.read_bytes()
    except RuntimeError:  # what `resolve` says of a circle of links
        return Unreadable(path, "is a link that leads back to itself: remove it")
    except OSError as error:
        return Unreadable(path, f"cannot be read ({error.strerror}): make it readable, or exclude it")
    return _judge(path, data)


def _judge(path: str, data: bytes) -> Document | Unreadable:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return Unreadable(path, "is UTF-16 text: save it as UTF-8, or exclude it")
    if b"\0" in data:
        return Unreadable(path, "is not text (it holds NUL bytes): convert it to Markdown or text, or exclude it")
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return Unreadable(path, f"is not UTF-8 (line {line}, byte {error.start}): save it as UTF-8, or exclude it")
    return Document(path, data)
