"""Git: the documents in a repository, as they are in one commit.

The repository is mirrored below the state directory, and the files of the commit are written into a folder there. A
remote that is away, or a commit without documents, leaves what was read before.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from loomd.errors import Damaged, LoomdError, NotFound, Unreachable
from loomd.git.command import LONGEST
from loomd.git.place import Place
from loomd.git.remote import (
    ADDRESS,
    FOLDER,
    GitAuth,
    GitLimits,
    GitRef,
    checked_address,
    checked_folder,
    mismatches,
)
from loomd.knowledge.ingest import Document, Load, Unreadable
from loomd.knowledge.sources.base import DocumentSource
from loomd.knowledge.sources.copies import Copies, copies
from loomd.knowledge.walk import Selection, bad_pattern, walk
from loomd.manifest.quantity import Duration
from loomd.topology import Parts


class DocumentsRef(GitRef):
    """Which commit is read; exactly one of the fields is set."""


class DocumentsAuth(GitAuth):
    """Who the daemon is to the remote. Every value is kept elsewhere and read anew for each contact."""


class DocumentsLimits(GitLimits):
    """How large a repository may be; one that is larger is refused, and what was read before stays."""


class GitDocuments(DocumentSource):
    """Files of a git repository, at a commit that is written down with every passage."""

    type: Literal["git"] = "git"
    url: str = Field(max_length=2000, json_schema_extra=ADDRESS, examples=["https://git.example.com/team/handbook.git"])
    """Address of the repository, without user and password; `ssh://git@host/path` may name its user."""
    ref: DocumentsRef = Field(
        default_factory=lambda: DocumentsRef(branch="main"), examples=[{"branch": "main"}, {"tag": "v1.2.0"}]
    )
    """What is read: a branch, a tag, the newest tag of a range, or a commit."""
    path: str = Field(default="", max_length=1000, json_schema_extra=FOLDER, examples=["docs"])
    """Folder inside of the repository that holds the documents; by default all of it."""
    include: list[str] = Field(
        default=["**/*.md", "**/*.txt", "**/*.pdf", "**/*.docx", "**/*.html"], min_length=1, examples=[["**/*.md"]]
    )
    """Patterns of the files to read, relative to `path`; `**` stands for any folders."""
    exclude: list[str] = Field(default_factory=list, examples=[["drafts/**"]])
    """Patterns of the files to leave out."""
    auth: DocumentsAuth | None = Field(default=None, examples=[{"token": {"valueFrom": {"env": "GIT_TOKEN"}}}])
    """Credentials of the remote."""
    refresh: Duration = Field(default=3600.0, gt=0)
    """Time between looks at the remote; a single commit is fetched once."""
    timeout: Duration = Field(default=60.0, gt=0)
    """Longest time of one contact."""
    limits: DocumentsLimits = Field(default_factory=DocumentsLimits)
    """How large the repository may be."""

    @field_validator("url")
    @classmethod
    def _is_address(cls, value: str) -> str:
        return checked_address(value)

    @field_validator("path")
    @classmethod
    def _is_inside(cls, value: str) -> str:
        return checked_folder(value)

    @property
    def label(self) -> str:
        """Return the address and what of it is read."""
        ref = self.ref.branch or self.ref.tag or self.ref.semver or (self.ref.commit or "")[:12]
        return f"{self.url}@{ref}/{self.path}".rstrip("/")

    def check(self, root: Path) -> Iterator[tuple[str, str, str]]:
        """Yield credentials that do not go with the address, and patterns that cannot be used."""
        del root
        for pointer, message in mismatches(self):
            yield pointer, message.replace("spec.", ""), "invalid-value"
        for field, patterns in (("include", self.include), ("exclude", self.exclude)):
            for at, pattern in enumerate(patterns):
                if reason := bad_pattern(pattern):
                    yield f"/{field}/{at}", reason, "bad-file"

    @asynccontextmanager
    async def open(self, parts: Parts, owner: str) -> AsyncGenerator["Repository", None]:
        """Yield the repository, of which nothing may have been fetched yet."""
        with copies(parts, "git", self.url, self.ref.model_dump_json(), self.path) as kept:
            yield Repository(self, owner, kept)


@dataclass(frozen=True)
class _Fetched:
    """What was read last: the name of the revision, its commit, and the folder with its files."""

    revision: str
    commit: str
    root: Path


class Repository:
    """A repository whose documents are read.

    Args:
        spec: the source.
        owner: the source, for messages.
        kept: its folder.
    """

    def __init__(self, spec: GitDocuments, owner: str, kept: Copies) -> None:
        from loomd.git.access import Access  # noqa: PLC0415  # what runs git is not needed to validate
        from loomd.git.mirror import Mirror  # noqa: PLC0415  # the same
        from loomd.git.tree import Trees  # noqa: PLC0415  # the same

        self._spec = spec
        self._owner = owner
        self._kept = kept
        self._place = Place(kept.folder.parent.parent, kept.folder.parent.name, kept.folder.name)
        self._note = self._place.folder / "fetched.json"
        self._mirror = Mirror(owner, spec, Access(owner, spec), self._place)
        self._trees = Trees(owner, self._place, spec.limits)
        self._missed: tuple[Unreadable, ...] = ()

    @property
    def interval(self) -> float | None:
        """Return the interval of the manifest; None for a commit, which never changes."""
        return None if self._spec.ref.commit else self._spec.refresh

    @property
    def is_kept(self) -> bool:
        """Return whether something was fetched before."""
        return self._read_note() is not None

    async def refresh(self) -> None:
        """Fetch the commit, and write its files; when that fails, what was there before stays.

        Raises:
            LoomdError: it fails, and nothing was there before.
        """
        async with self._kept.lock:
            before = await asyncio.to_thread(self._read_note)
            try:
                await self._fetch(before)
            except LoomdError as error:
                if isinstance(error, Damaged):
                    await self._mirror.discard()
                said = str(error).replace(f"{self._owner} spec.", f"{self._owner}.")
                if before is None:
                    raise type(error)(said) from error
                reason = said.removeprefix(self._owner).lstrip(": ")
                self._missed = (Unreadable(self._spec.url, f"stays at {before.revision}: {reason}", away=True),)
            else:
                self._missed = ()

    async def _fetch(self, before: _Fetched | None) -> None:
        spec, mirror, longest = self._spec, self._mirror, self._spec.timeout
        await asyncio.to_thread(self._place.enter, False)
        try:
            async with asyncio.timeout(longest):
                pointer = await mirror.find()
            async with asyncio.timeout(LONGEST):
                await mirror.prepare(pointer)
            async with asyncio.timeout(longest):
                found = await mirror.fetch(pointer)
        except TimeoutError:
            raise Unreachable(
                f"{self._owner}.timeout: {spec.url} did not answer within {longest:g} s: it is asked again later"
            ) from None
        tree = await self._trees.find(mirror.git, found.commit, spec.path)
        if not tree:
            raise NotFound(f"{self._owner}.path: {found.name} of {spec.url} has no folder {spec.path!r}: mend the path")
        root = await self._trees.export(mirror.git, tree)
        if not await asyncio.to_thread(self._files, root):
            names = " or ".join(spec.include)
            raise NotFound(f"{self._owner}.include: {found.name} of {spec.url} has no file that fits {names}")
        await asyncio.to_thread(self._write_note, _Fetched(found.name, found.commit, root))
        await asyncio.to_thread(self._place.collect, {root, before.root} if before else {root})

    def find(self) -> Mapping[str, Load]:
        """Return what reads each file; it is cited by the address, the ref and its path.

        Raises:
            NotFound: nothing was fetched.
        """
        fetched = self._read_note()
        if fetched is None:
            raise NotFound(f"{self._owner}: nothing of {self._spec.url} was fetched yet")
        label = fetched.revision.rpartition("@")[0] if "@" in fetched.revision else fetched.commit[:12]
        above = f"{self._spec.url}@{label}/{self._spec.path}".rstrip("/")
        files = self._files(fetched.root)
        return {
            f"{above}/{path}": partial(self._read, fetched, f"{above}/{path}", file) for path, file in files.items()
        }

    def missed(self) -> Iterable[Unreadable]:
        """Return why the repository could not be looked at the last time."""
        return self._missed

    def may_have(self, path: str) -> bool:
        """Return whether a path begins with the address."""
        return path.startswith(f"{self._spec.url}@")

    def _files(self, root: Path) -> dict[str, Path]:
        return walk(root, root, Selection(self._spec.include, self._spec.exclude, gitignore=False))

    def _read(self, fetched: _Fetched, path: str, file: Path) -> Document | Unreadable:
        return self._spec.read_file(fetched.root, path, file, {"commit": fetched.commit})

    def _read_note(self) -> _Fetched | None:
        """Return what was read last, as far as it is still there."""
        try:
            said = json.loads(self._note.read_bytes())
            found = _Fetched(str(said["revision"]), str(said["commit"]), self._place.trees / str(said["tree"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return found if found.root.is_dir() else None

    def _write_note(self, fetched: _Fetched) -> None:
        said = {"revision": fetched.revision, "commit": fetched.commit, "tree": fetched.root.name}
        fresh = self._place.work / self._note.name
        fresh.write_text(json.dumps(said), encoding="utf-8")
        fresh.replace(self._note)
