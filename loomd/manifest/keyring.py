"""The secrets that one live thing uses, read whenever they are needed: one that was rotated or revoked acts at once.

A file is read again when it was replaced or written to; an environment variable cannot change under a running process,
so a new value needs a restart, or another name in the manifest. Never writes or prints a secret. Called by live
providers, tools and interceptors before each call.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote, quote_plus, urlsplit

from loomd.errors import Unauthorized
from loomd.manifest.kind import Spec
from loomd.manifest.secret import Secret

S = TypeVar("S", bound=Spec)

_SHORT = 3
"""A text of so few characters is not masked: it would hide ordinary words."""

_SCHEMES = {"basic", "bearer", "token"}
"""What may stand before the secret in the header `Authorization`."""

_Stamp = tuple[int, int, int, int]


class Keyring:
    """Reads secrets, and hides what it has read in texts for people."""

    def __init__(self, owner: str) -> None:
        """Take the name of the object that needs them, `Provider/openai`, for messages."""
        self._owner = owner
        self._files: dict[str, tuple[_Stamp, str]] = {}
        self._read: dict[str, tuple[str, ...]] = {}

    def read(self, field: str, secret: Secret) -> str:
        """Return a secret as it is now.

        Args:
            field: the field that names it, `spec.apiKey`.
            secret: the place that holds it.

        Raises:
            Unauthorized: the variable is unset, or the file is unreadable or empty; the text says what to do.
        """
        path = secret.value_from.file
        text = secret.read(self._owner, field) if path is None else self._in_file(field, secret, path)
        seen = self._read.get(field, ())
        if text not in seen:
            self._read[field] = (*seen[-1:], text)  # a call with the one before may still be under way
        return text

    def texts(self, field: str, values: Mapping[str, str | Secret]) -> dict[str, str]:
        """Return values by name, those that are secrets as they are now.

        Raises:
            Unauthorized: as for `read`.
        """
        return {
            name: value if isinstance(value, str) else self.read(f"{field}.{name}", value)
            for name, value in values.items()
        }

    def mask(self, text: str) -> str:
        """Return a text without the secrets that were read, also as JSON and addresses spell them."""
        forms = {form for seen in self._read.values() for secret in seen for form in _spelled(secret)}
        for form in sorted(forms, key=len, reverse=True):
            if len(form) > _SHORT:
                text = text.replace(form, "***")
        return text

    def _in_file(self, field: str, secret: Secret, path: str) -> str:
        try:
            found = Path(path).expanduser().stat()
        except OSError as error:
            self._files.pop(path, None)
            raise Unauthorized(f"{self._owner} {field}: cannot read {path}: {error.strerror}") from error
        stamp = (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)
        kept = self._files.get(path)
        if kept is None or kept[0] != stamp:
            kept = self._files[path] = (stamp, secret.read(self._owner, field))
        return kept[1]


def _spelled(secret: str) -> Iterator[str]:
    """Yield how a service may repeat a secret: as it is, without the scheme before it, and escaped."""
    scheme, _, rest = secret.partition(" ")
    for text in (secret, rest.strip()) if scheme.lower() in _SCHEMES else (secret,):
        yield text
        yield json.dumps(text)[1:-1]
        yield json.dumps(text, ensure_ascii=False)[1:-1]
        yield quote(text, safe="")
        yield quote_plus(text)


def entitled(own: S, now: Spec, address: Callable[[S], str]) -> S | None:
    """Return the spec whose secrets a live thing may use, or None when they were taken from it.

    That is the newer spec when it speaks to the same host, so that no secret travels to another one; else its own, as
    long as the newer one still declares the same secrets.

    Args:
        own: the spec that it was opened with.
        now: the spec that is declared now, of any type.
        address: returns the URL that a spec speaks to.
    """
    if now is own:
        return own
    if isinstance(now, type(own)) and _origin(address(now)) == _origin(address(own)):
        return now
    declared = dict(_secrets(now))
    return own if all(declared.get(place) == secret for place, secret in _secrets(own)) else None


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme.lower(), parts.netloc.lower()


def _secrets(value: object, place: str = "") -> Iterator[tuple[str, Secret]]:
    """Yield every secret inside a value, with its place."""
    if isinstance(value, Secret):
        yield place, value
    elif isinstance(value, Spec):
        yield from (found for name, inner in value for found in _secrets(inner, f"{place}/{name}"))
    elif isinstance(value, Mapping):
        yield from (found for name, inner in value.items() for found in _secrets(inner, f"{place}/{name}"))
    elif isinstance(value, Sequence) and not isinstance(value, str):
        yield from (found for at, inner in enumerate(value) for found in _secrets(inner, f"{place}/{at}"))
