"""Who the daemon is to a git remote, for one contact: secrets are read anew and reach git in no argument or variable.

A password goes through a pipe that git's credential helper reads once. A key of ssh stays in its file, which ssh opens
itself. What is unknown is refused: hosts without a known key, redirects, every other protocol. Called by the mirror.
"""

import os
import shlex
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from loomd.errors import Permanent, Unauthorized
from loomd.git.command import Contact
from loomd.git.remote import GitAuth, Remote, scheme_of
from loomd.manifest.keyring import Keyring
from loomd.manifest.secret import Secret

TOKEN_USER = "x-access-token"  # noqa: S105  # a user, no password
"""The user that goes with a token: hosting services judge the token, and want any user or this one."""

_LARGEST = 16 << 10
"""Most characters of a password: it must fit into a pipe that nobody reads yet."""
_ODD = set('"\\$%')
"""Characters that ssh reads as something else in the name of a file."""


class Access:
    """Opens contacts for one source.

    Args:
        owner: the object, `GitSource/team`, for messages.
        spec: what it declares.
    """

    def __init__(self, owner: str, spec: Remote) -> None:
        self._owner = owner
        self._spec = spec
        self._keyring = Keyring(owner)

    def mask(self, text: str) -> str:
        """Return a text without the secrets that were used."""
        return self._keyring.mask(text)

    def keys(self, secret: Secret) -> str:
        """Return the public keys that are trusted, as they are now.

        Raises:
            Unauthorized: they cannot be read.
        """
        return self._keyring.read("spec.verify.keys", secret)

    @contextmanager
    def contact(self) -> Generator[Contact, None, None]:
        """Yield what git is told for one command.

        Raises:
            Unauthorized: a secret cannot be read.
            Permanent: a file of ssh has a name that ssh cannot take.
        """
        auth, scheme = self._spec.auth, scheme_of(self._spec.url)
        stall = {"http.lowSpeedLimit": "1", "http.lowSpeedTime": str(max(1, round(self._spec.timeout)))}
        config = {f"protocol.{scheme}.allow": "always", **stall}
        if auth is None:
            yield Contact(scheme, config)
        elif auth.ssh_key is not None:
            yield Contact(scheme, config, {"GIT_SSH_COMMAND": self._ssh(auth), "GIT_SSH_VARIANT": "ssh"})
        else:
            reading = _pipe(self._login(auth))
            try:
                helper = f'!f() {{ test "$1" = get && cat /dev/fd/{reading}; }}; f'
                parts = urlsplit(self._spec.url)
                yield Contact(
                    scheme, {**config, f"credential.{scheme}://{parts.netloc}.helper": helper}, files=(reading,)
                )
            finally:
                os.close(reading)

    def _login(self, auth: GitAuth) -> str:
        """Return user and password as a credential helper says them."""
        if auth.token is not None:
            field, user, text = "spec.auth.token", TOKEN_USER, self._keyring.read("spec.auth.token", auth.token)
        elif auth.password is not None:
            field, user = "spec.auth.password", auth.username
            text = self._keyring.read("spec.auth.password", auth.password)
        else:
            raise AssertionError("unreachable: the type wants exactly one of three")
        if not text.isprintable() or len(text) > _LARGEST:
            raise Unauthorized(f"{self._owner} {field}: expected one line of printable text (hidden): write it anew")
        return f"username={user}\npassword={text}\n"

    def _ssh(self, auth: GitAuth) -> str:
        """Return the command that git runs for ssh."""
        options = [
            *("BatchMode=yes", "StrictHostKeyChecking=yes", "UpdateHostKeys=no", "GlobalKnownHostsFile=/dev/null"),
            *("IdentitiesOnly=yes", "IdentityAgent=none", "PreferredAuthentications=publickey"),
            *("ForwardAgent=no", "ClearAllForwardings=yes", "PermitLocalCommand=no", "ProxyCommand=none"),
            *("ControlMaster=no", "ControlPath=none", f"ConnectTimeout={max(1, round(self._spec.timeout))}"),
            f'UserKnownHostsFile="{self._file("spec.auth.knownHosts", auth.known_hosts)}"',
            f'IdentityFile="{self._file("spec.auth.sshKey", auth.ssh_key)}"',
        ]
        return shlex.join(["ssh", "-F", "none", *(word for option in options for word in ("-o", option))])

    def _file(self, field: str, secret: Secret | None) -> Path:
        """Return the absolute path of a file that ssh opens itself."""
        path = Path((secret and secret.value_from.file) or "").expanduser().absolute()
        try:
            with path.open("rb"):
                pass
        except OSError as error:
            raise Unauthorized(f"{self._owner} {field}: cannot read {path}: {error.strerror}") from error
        if _ODD & set(str(path)) or not str(path).isprintable():
            raise Permanent(f'{self._owner} {field}: ssh cannot take {path}: use a path without ", \\, $ and %')
        return path


def _pipe(text: str) -> int:
    """Return the end of a pipe from which a text can be read, once."""
    reading, writing = os.pipe()
    try:
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(text.encode())
    except BaseException:
        os.close(reading)
        raise
    return reading
