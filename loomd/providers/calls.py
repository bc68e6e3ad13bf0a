"""Where the calls of a provider go and how, for people: what its manifest leaves to defaults and to the environment.

Filled by `remote` and the transports; nothing is sent here.
"""

from typing import Protocol, runtime_checkable
from urllib.parse import urlsplit

import msgspec

from loomd.manifest.secret import Secret


class Calls(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a service is called.

    Attributes:
        address: what requests are posted to, without a user and a password in it.
        protocol: what is spoken there.
        client: what carries the requests, `http` or `sdk`.
        key: where the key is kept, empty when none is sent.
        proxy: what stands in between, empty for nothing.
    """

    address: str
    protocol: str
    client: str
    key: str = ""
    proxy: str = ""


@runtime_checkable
class Calling(Protocol):
    """A live thing that calls a service; having the method is enough."""

    def calls(self) -> Calls:
        """Return how it does, without calling it."""
        ...


def endpoint(url: str, path: str) -> str:
    """Return what is asked for at a service, without a user and a password.

    Args:
        url: address of the service; a path and a query of it are kept.
        path: what is asked for below it.
    """
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], path=parts.path.rstrip("/") + path).geturl()


def place_of(secret: Secret | None) -> str:
    """Return where a secret is kept, in words; nothing when there is none."""
    if secret is None:
        return ""
    source = secret.value_from
    return f"file {source.file}" if source.file is not None else f"environment variable {source.env}"
