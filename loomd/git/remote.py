"""What a manifest says of a remote repository, whatever it is followed for. Pure data."""

import re
from collections.abc import Iterator
from typing import Protocol, Self

from pydantic import ConfigDict, Field, model_validator

from loomd.git.semver import RANGE
from loomd.manifest.kind import Spec
from loomd.manifest.quantity import NO_NEWLINE, Bytes
from loomd.manifest.rule import exactly_one, spelled
from loomd.manifest.secret import Secret

_SCHEME = (
    r"^(https?|ssh|git|file)://",
    "expected an address that starts with https://, http://, ssh://, git:// or file://, such as file:///srv/repository",
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
ADDRESS = spelled(*_URL)
"""Rule for the address of a repository."""
_NAME = r"^[A-Za-z0-9_][A-Za-z0-9._+#@=,!-]*(/[A-Za-z0-9_][A-Za-z0-9._+#@=,!-]*)*$"
_FOLDER = rf"^([^./\\\x00-\x1f\x7f][^/\\\x00-\x1f\x7f]*(/[^./\\\x00-\x1f\x7f][^/\\\x00-\x1f\x7f]*)*)?${NO_NEWLINE}"
_FOLDER_RULE = (
    _FOLDER,
    "expected a folder inside the repository such as agents/live: no leading /, no hidden folder, no ..",
)
FOLDER = spelled(_FOLDER_RULE)
"""Rule for a folder inside of a repository."""


def checked_address(value: str) -> str:
    """Return the address of a repository as it is.

    Raises:
        ValueError: it is none.
    """
    for pattern, message in _URL:
        if not re.search(pattern, value):
            raise ValueError(message)
    return value


def checked_folder(value: str) -> str:
    """Return a folder inside of a repository as it is.

    Raises:
        ValueError: it is none.
    """
    if not re.search(_FOLDER, value):
        raise ValueError(_FOLDER_RULE[1])
    return value


class GitRef(Spec):
    """What to follow; exactly one of the fields is set."""

    model_config = ConfigDict(json_schema_extra=exactly_one("branch", "tag", "semver", "commit"))

    branch: str | None = Field(default=None, pattern=_NAME, max_length=200, examples=["main"])
    """The newest commit of a branch, also after a force-push."""
    tag: str | None = Field(default=None, pattern=_NAME, max_length=200, examples=["v1.2.0"])
    """The commit that a tag names, also after the tag was moved."""
    semver: str | None = Field(default=None, pattern=RANGE, max_length=200, examples=[">=1.2 <2"])
    """The tag with the highest semantic version in a range: `>=1.2 <2`, `^1.4`, `~1.4.2`, `1.x`, joined by `||`."""
    commit: str | None = Field(
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

    username: str = Field(default="", max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$", examples=["deploy"])
    """User of `password`, for https and http."""
    password: Secret | None = None
    """Password, for https and http; it goes with `username`."""
    token: Secret | None = None
    """Access token of a hosting service, for https and http. It is sent as the password of user `x-access-token`; where
    the service wants another user, write `username` and `password`."""
    ssh_key: Secret | None = Field(default=None, examples=[{"valueFrom": {"file": "/etc/loomd/id_ed25519"}}])
    """Private key without passphrase, for ssh; a file that only the daemon can read."""
    known_hosts: Secret | None = Field(default=None, examples=[{"valueFrom": {"file": "/etc/loomd/known_hosts"}}])
    """Keys of the hosts that are trusted, for ssh; a file as OpenSSH has it. An unknown host is refused."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum(value is not None for value in (self.password, self.token, self.ssh_key)) != 1:
            raise ValueError("expected exactly one of password, token, sshKey")
        return self


class GitLimits(Spec):
    """How large a repository may be; one that is larger is refused, and what served before serves on."""

    fetch: Bytes = Field(default=512 << 20, ge=1)
    """Largest mirror on disk."""
    files: int = Field(default=10_000, ge=1, le=1_000_000)
    """Most files below `path`."""
    size: Bytes = Field(default=128 << 20, ge=1)
    """Largest sum of the sizes of the files below `path`."""


class Remote(Protocol):
    """A repository that is followed."""

    @property
    def url(self) -> str:
        """Return its address, without user and password."""
        ...

    @property
    def ref(self) -> GitRef:
        """Return what of it is followed."""
        ...

    @property
    def auth(self) -> GitAuth | None:
        """Return who we are to it."""
        ...

    @property
    def timeout(self) -> float:
        """Return the seconds that one contact may take."""
        ...

    @property
    def limits(self) -> GitLimits:
        """Return how large it may be."""
        ...


def scheme_of(url: str) -> str:
    """Return the transport of an address: `https`, `http`, `ssh`, `git` or `file`."""
    return url.partition(":")[0]


def mismatches(remote: Remote) -> Iterator[tuple[str, str]]:
    """Yield credentials that do not go with the address: a pointer below what declares the remote, and a sentence."""
    scheme, auth = scheme_of(remote.url), remote.auth
    if auth is not None:
        yield from _check_auth(auth, scheme)
    if scheme == "ssh" and (auth is None or auth.ssh_key is None):
        yield "/url", "expected spec.auth with sshKey and knownHosts for an ssh address, found none"


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
