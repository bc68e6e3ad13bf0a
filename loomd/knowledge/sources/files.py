"""Files: the documents in a folder below the manifests.

Only files below the manifest's root are read, whatever a link says.
"""

import os
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Literal

from pydantic import Field

from loomd.errors import NotFound, Permanent
from loomd.knowledge.ingest import Load, Unreadable
from loomd.knowledge.sources.base import DocumentSource
from loomd.knowledge.walk import Selection, bad_pattern, walk
from loomd.manifest.inside import below
from loomd.manifest.source import is_text
from loomd.topology import Parts


class FilesSource(DocumentSource):
    """Files in a folder below the manifest's root."""

    type: Literal["files"] = "files"
    path: str = Field(min_length=1, examples=["docs"])
    """Folder or file, relative to the folder of the manifests."""
    include: list[str] = Field(
        default=["**/*.md", "**/*.txt", "**/*.pdf", "**/*.docx", "**/*.html"],
        min_length=1,
        examples=[["**/*.md"], ["**/*.py", "**/*.go"]],
    )
    """Patterns of the files to read, relative to `path`; `**` stands for any folders. By default what people write for
    people: Markdown, text, PDF, Word and HTML. CSV, JSON and source code are read when a pattern fits them."""
    exclude: list[str] = Field(default_factory=list, examples=[["drafts/**"]])
    """Patterns of the files to leave out."""
    gitignore: bool = True
    """Leave out what the `.gitignore` files say that are in the folder of the manifests and below. What `path` names is
    read all the same: a `.gitignore` above that leaves all of it out counts for nothing."""

    @property
    def label(self) -> str:
        """Return the path."""
        return self.path

    def check(self, root: Path) -> Iterator[tuple[str, str]]:
        """Yield a path that is not there or leaves the root, and patterns that cannot be used or fit nothing."""
        wrong = [
            (f"/{field}/{at}", reason)
            for field, patterns in (("include", self.include), ("exclude", self.exclude))
            for at, pattern in enumerate(patterns)
            if (reason := bad_pattern(pattern))
        ]
        try:
            found = below(root, self.path, "a folder or file")
            is_known = found.is_dir() or found.is_file()
            fitting = self.find(root.resolve()) if is_known and not wrong else {}
        except Permanent as error:
            yield "/path", str(error)
        else:
            if not is_known:
                yield "/path", f'expected a folder or file below {root}, got "{self.path}", which is a pipe or a device'
            elif not wrong and not fitting:
                names = " or ".join(self.include)
                yield (
                    "/path",
                    f'expected a file below "{self.path}" that fits {names}, got none: add one, or change include',
                )
        yield from wrong

    def find(self, top: Path) -> dict[str, Path]:
        """Return the files that the patterns fit, by their path below `top`, the resolved folder of the manifests."""
        base = Path(os.path.normpath(top / self.path))
        if base.is_file():
            return {base.relative_to(top).as_posix(): base}
        return walk(top, base, Selection(self.include, self.exclude, self.gitignore))

    def reads(self, root: Path) -> Iterator[Path]:
        """Yield the documents, so that a changed one is indexed when the manifests are loaded again."""
        inside: dict[Path, bool] = {}  # to follow the links of a way takes longer than anything else here
        for path, file in sorted(self.find(root).items()):
            if not is_text(path) or not file.is_file():
                continue
            way = file if file.is_symlink() else file.parent
            if way not in inside:
                inside[way] = way.resolve().is_relative_to(root)
            if inside[way]:
                yield file

    @asynccontextmanager
    async def open(self, parts: Parts, owner: str) -> AsyncGenerator["Files", None]:
        """Yield the files, which are looked for anew each time."""
        del owner
        yield Files(self, parts.root)


class Files:
    """The files of a source.

    Args:
        spec: the source.
        root: folder of the manifests.
    """

    def __init__(self, spec: FilesSource, root: Path) -> None:
        self._spec = spec
        self._root = root

    @property
    def interval(self) -> None:
        """Return None: there is nobody to ask."""
        return None

    @property
    def is_kept(self) -> None:
        """Return None: files are read where they are."""
        return None

    async def refresh(self) -> None:
        """Do nothing: files are looked for whenever they are read."""

    def find(self) -> Mapping[str, Load]:
        """Return what reads each file.

        Raises:
            NotFound: the path does not exist or leaves the root, a pattern is unusable, or nothing fits.
        """
        for _, reason in self._spec.check(self._root):
            raise NotFound(f"source {self._spec.path}: {reason}")
        top = self._root.resolve()
        return {path: partial(self._spec.read_file, top, path, file) for path, file in self._spec.find(top).items()}

    def missed(self) -> Iterable[Unreadable]:
        """Return nothing: what cannot be read is told when it is read."""
        return ()

    def may_have(self, path: str) -> bool:
        """Return whether a path is no address."""
        return "://" not in path
