"""`kind: GitSource`: manifests that follow a git repository.

What is declared here is all that a manifest says; the work is done by `git`, which the runner starts for every object
of this kind that serves. Nothing here talks to a remote.
"""

from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from loomd.git.remote import ADDRESS, FOLDER, GitAuth, GitLimits, GitRef, checked_address, checked_folder, mismatches
from loomd.manifest.convert import convert
from loomd.manifest.document import read_documents
from loomd.manifest.kind import Reload, Spec, find_kinds
from loomd.manifest.quantity import Duration
from loomd.manifest.secret import Secret
from loomd.topology import Parts

Now = Reload("immediate")
"""A source follows what it is told at once; tasks do not depend on it."""


class GitVerify(Spec):
    """Whose signature a revision must have before any of it is read."""

    keys: Annotated[Secret, Now] = Field(examples=[{"valueFrom": {"file": "/etc/loomd/signers"}}])
    """Public keys that are trusted: allowed signers as OpenSSH has them, or armored OpenPGP keys."""
    mode: Annotated[Literal["head", "tag"], Now] = "head"
    """What is signed: the commit, or the tag that names it."""


class GitRetry(Spec):
    """How often a remote is asked again after a failure; the wait doubles each time, with a random part."""

    first: Annotated[Duration, Now] = Field(default=5.0, gt=0)
    """Wait after the first failure."""
    longest: Annotated[Duration, Now] = Field(default=300.0, gt=0)
    """The wait grows up to this."""


class GitSourceSpec(Spec):
    """A git repository whose manifests serve."""

    url: Annotated[str, Now] = Field(
        max_length=2000, json_schema_extra=ADDRESS, examples=["https://git.example.com/team/agents.git"]
    )
    """Address of the repository, without user and password; `ssh://git@host/path` may name its user."""
    ref: Annotated[GitRef, Now] = Field(
        default_factory=lambda: GitRef(branch="main"), examples=[{"branch": "main"}, {"semver": ">=1.2 <2"}]
    )
    """What to follow."""
    path: Annotated[str, Now] = Field(default="", max_length=1000, json_schema_extra=FOLDER, examples=["agents/live"])
    """Folder inside the repository that holds the manifests, and all files that they name; by default all of it."""
    manifests: Annotated[str, Now] = Field(
        default="",
        max_length=64 << 10,
        examples=["apiVersion: loomd.dev/v1\nkind: Skill\nmetadata: {name: shared}\nspec: {directory: skills}\n"],
    )
    """Manifests that are taken instead of those of the repository, for one that holds skills or documents and was not
    made for loomd: paths in them start at `path`, and of the repository no YAML file is read as a manifest."""
    interval: Annotated[Duration, Now] = Field(60.0, gt=0)
    """Time between looks at the remote; a random tenth more or less."""
    timeout: Annotated[Duration, Now] = Field(60.0, gt=0)
    """Longest time of one contact; git and all that it started is ended then."""
    auth: Annotated[GitAuth | None, Now] = Field(
        default=None, examples=[{"token": {"valueFrom": {"env": "GIT_TOKEN"}}}]
    )
    """Credentials of the remote."""
    verify: Annotated[GitVerify | None, Now] = None
    """Signature that is asked for; by default none."""
    suspend: Annotated[bool, Now] = False
    """Stop following; what serves serves on."""
    prune: Annotated[bool, Now] = True
    """Delete what the repository declared before and no longer does, and all of it when this object is deleted."""
    allow_empty: Annotated[bool, Now] = False
    """Whether a revision without any manifest may delete all that the repository declared."""
    limits: Annotated[GitLimits, Now] = Field(default_factory=GitLimits)
    """How large the repository may be."""
    retry: Annotated[GitRetry, Now] = Field(default_factory=GitRetry)
    """What happens after a failure."""

    @field_validator("url")
    @classmethod
    def _is_address(cls, value: str) -> str:
        return checked_address(value)

    @field_validator("path")
    @classmethod
    def _is_inside(cls, value: str) -> str:
        return checked_folder(value)

    def check(self, root: Path) -> Iterator[tuple[str, str, str]]:
        """Yield credentials that do not go with the address, signatures of nothing, and wrong manifests."""
        for pointer, message in self._mismatches():
            yield pointer, message, "invalid-value"
        yield from self._wrong_manifests(root)

    def _wrong_manifests(self, root: Path) -> Iterator[tuple[str, str, str]]:
        """Yield what is wrong with `manifests` whatever the repository holds: files that they name are seen later."""
        if not self.manifests:
            return
        documents, problems = read_documents(self.manifests.encode(), "manifests")
        kinds = find_kinds()
        problems += [problem for one in documents for problem in convert(one, kinds, root).problems]
        for one in problems:
            hint = f" ({one.hint})" if one.hint else ""
            yield "/manifests", f"in its line {one.position.line}: {one.message}{hint}", one.code

    def _mismatches(self) -> Iterator[tuple[str, str]]:
        yield from mismatches(self)
        if self.verify is not None and self.verify.mode == "tag" and not (self.ref.tag or self.ref.semver):
            yield (
                "/verify/mode",
                'expected spec.ref with tag or semver for mode "tag": a branch or a commit names no tag',
            )

    @asynccontextmanager
    async def open(self, parts: Parts) -> AsyncGenerator["GitSourceSpec", None]:
        """Yield what is declared; the runner follows it as soon as it serves."""
        del parts
        yield self
