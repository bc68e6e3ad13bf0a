"""`kind: GitSource`: manifests that follow a git repository.

What is declared here is all that a manifest says; the work is done by `git`, which the runner starts for every object
of this kind that serves. Nothing here talks to a remote.
"""

import re
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from loomd.manifest.kind import Kind, Reload, Spec
from loomd.manifest.quantity import NO_NEWLINE, Bytes, Duration
from loomd.manifest.rule import exactly_one, spelled
from loomd.manifest.secret import Secret
from loomd.sources.semver import RANGE
from loomd.topology import Parts

_SCHEME = (
    r"^(https?|ssh|git|file)://",
    "expected an address that starts with https://, http://, ssh://, git:// or file://",
)
_NO_USER = (
    r"^(ssh://[^/:]*@?[^/@]*(/|$)|[a-z]+://[^/@]*(/|$))",
    "expected an address without a password, and without a user unless it is ssh: use spec.auth with valueFrom",
)
_HOST = r"([A-Za-z0-9][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?"
_PLACE = r"[A-Za-z0-9._~%+=@,!()/-]"
_SHAPE = (
    rf"^((https?|git)://{_HOST}/{_PLACE}+|ssh://([A-Za-z0-9_][A-Za-z0-9_.+-]*@)?{_HOST}/{_PLACE}+|file:///{_PLACE}+)${NO_NEWLINE}",
    "expected https://host/path, ssh://user@host/path or file:///path, without spaces, ? and #",
)
_URL = (_SCHEME, _NO_USER, _SHAPE)
_NAME = r"^[A-Za-z0-9_][A-Za-z0-9._+#@=,!-]*(/[A-Za-z0-9_][A-Za-z0-9._+#@=,!-]*)*$"
_FOLDER = rf"^([^./\\\x00-\x1f\x7f][^/\\\x00-\x1f\x7f]*(/[^./\\\x00-\x1f\x7f][^/\\\x00-\x1f\x7f]*)*)?${NO_NEWLINE}"
_FOLDER_RULE = (
    _FOLDER,
    "expected a folder inside the repository such as agents/live: no leading /, no hidden folder, no ..",
)

Now = Reload("immediate")
"""A source follows what it is told at once; tasks do not depend on it."""


class GitRef(Spec):
    """What to follow; exactly one of the fields is set."""

    model_config = ConfigDict(json_schema_extra=exactly_one("branch", "tag", "semver", "commit"))

    branch: Annotated[str | None, Now] = Field(default=None, pattern=_NAME, max_length=200, examples=["main"])
    """The newest commit of a branch, also after a force-push."""
    tag: Annotated[str | None, Now] = Field(default=None, pattern=_NAME, max_length=200, examples=["v1.2.0"])
    """The commit that a tag names, also after the tag was moved."""
    semver: Annotated[str | None, Now] = Field(default=None, pattern=RANGE, max_length=200, examples=[">=1.2 <2"])
    """The tag with the highest semantic version in a range: `>=1.2 <2`, `^1.4`, `~1.4.2`, `1.x`, joined by `||`."""
    commit: Annotated[str | None, Now] = Field(
        default=None, pattern="^([0-9a-f]{40}|[0-9a-f]{64})$", examples=["4f3c2b1a09f8e7d6c5b4a39281706f5e4d3c2b1a"]
    )
    """One commit, by its whole hash."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum(value is not None for value in (self.branch, self.tag, self.semver, self.commit)) != 1:
            raise ValueError("expected exactly one of branch, tag, semver, commit")
        return self


class GitAuth(Spec):
    """Who the daemon is to the remote. Every value is kept elsewhere and read anew for each contact."""

    model_config = ConfigDict(json_schema_extra=exactly_one("password", "token", "sshKey"))

    username: Annotated[str, Now] = Field(
        default="", max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$", examples=["deploy"]
    )
    """User of `password`, for https and http."""
    password: Annotated[Secret | None, Now] = None
    """Password, for https and http; it goes with `username`."""
    token: Annotated[Secret | None, Now] = None
    """Access token of a hosting service, for https and http. It is sent as the password of user `x-access-token`; where
    the service wants another user, write `username` and `password`."""
    ssh_key: Annotated[Secret | None, Now] = Field(
        default=None, examples=[{"valueFrom": {"file": "/etc/loomd/id_ed25519"}}]
    )
    """Private key without passphrase, for ssh; a file that only the daemon can read."""
    known_hosts: Annotated[Secret | None, Now] = Field(
        default=None, examples=[{"valueFrom": {"file": "/etc/loomd/known_hosts"}}]
    )
    """Keys of the hosts that are trusted, for ssh; a file as OpenSSH has it. An unknown host is refused."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum(value is not None for value in (self.password, self.token, self.ssh_key)) != 1:
            raise ValueError("expected exactly one of password, token, sshKey")
        return self


class GitVerify(Spec):
    """Whose signature a revision must have before any of it is read."""

    keys: Annotated[Secret, Now] = Field(examples=[{"valueFrom": {"file": "/etc/loomd/signers"}}])
    """Public keys that are trusted: allowed signers as OpenSSH has them, or armored OpenPGP keys."""
    mode: Annotated[Literal["head", "tag"], Now] = "head"
    """What is signed: the commit, or the tag that names it."""


class GitLimits(Spec):
    """How large a repository may be; one that is larger is refused, and what served before serves on."""

    fetch: Annotated[Bytes, Now] = Field(default=512 << 20, ge=1)
    """Largest mirror on disk."""
    files: Annotated[int, Now] = Field(default=10_000, ge=1, le=1_000_000)
    """Most files below `path`."""
    size: Annotated[Bytes, Now] = Field(default=128 << 20, ge=1)
    """Largest sum of the sizes of the files below `path`."""


class GitRetry(Spec):
    """How often a remote is asked again after a failure; the wait doubles each time, with a random part."""

    first: Annotated[Duration, Now] = Field(default=5.0, gt=0)
    """Wait after the first failure."""
    longest: Annotated[Duration, Now] = Field(default=300.0, gt=0)
    """The wait grows up to this."""


class GitSourceSpec(Spec):
    """A git repository whose manifests serve."""

    url: Annotated[str, Now] = Field(
        max_length=2000, json_schema_extra=spelled(*_URL), examples=["https://git.example.com/team/agents.git"]
    )
    """Address of the repository, without user and password; `ssh://git@host/path` may name its user."""
    ref: Annotated[GitRef, Now] = Field(
        default_factory=lambda: GitRef(branch="main"), examples=[{"branch": "main"}, {"semver": ">=1.2 <2"}]
    )
    """What to follow."""
    path: Annotated[str, Now] = Field(
        default="", max_length=1000, json_schema_extra=spelled(_FOLDER_RULE), examples=["agents/live"]
    )
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
        for pattern, message in _URL:
            if not re.search(pattern, value):
                raise ValueError(message)
        return value

    @field_validator("path")
    @classmethod
    def _is_inside(cls, value: str) -> str:
        if not re.search(_FOLDER, value):
            raise ValueError(_FOLDER_RULE[1])
        return value

    @property
    def scheme(self) -> str:
        """Return the transport: `https`, `http`, `ssh`, `git` or `file`."""
        return self.url.partition(":")[0]

    def check(self, root: Path) -> Iterator[tuple[str, str, str]]:
        """Yield credentials that do not go with the address, and what a signature cannot be asked of."""
        del root
        for pointer, message in self._mismatches():
            yield pointer, message, "invalid-value"

    def _mismatches(self) -> Iterator[tuple[str, str]]:
        auth = self.auth
        if auth is not None:
            yield from _check_auth(auth, self.scheme)
        if self.scheme == "ssh" and (auth is None or auth.ssh_key is None):
            yield "/url", "expected spec.auth with sshKey and knownHosts for an ssh address, found none"
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


def _check_auth(auth: GitAuth, scheme: str) -> Iterator[tuple[str, str]]:
    for field, secret in (("sshKey", auth.ssh_key), ("knownHosts", auth.known_hosts)):
        if secret is not None and secret.value_from.file is None:
            yield f"/auth/{field}", "expected a file, found an environment variable: ssh reads it itself"
    if auth.ssh_key is not None and scheme != "ssh":
        yield "/auth/sshKey", f"expected an ssh address for a key, found {scheme}://"
    if auth.ssh_key is not None and auth.known_hosts is None:
        yield "/auth", "expected knownHosts beside sshKey, found none: ssh-keyscan HOST prints them, compare them first"
    if auth.ssh_key is None and scheme not in ("https", "http"):
        yield "/auth", f"expected an https or http address for a password or token, found {scheme}://"
    if (auth.password is not None) != bool(auth.username):
        yield "/auth/username", "expected username and password together, found one of them"


KIND = Kind("GitSource", "gitsources", GitSourceSpec, "Manifests that follow a git repository.")
