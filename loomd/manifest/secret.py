"""A secret is never a value in a manifest, only the place that holds it; it is read when it is needed.

The resolved text is never stored, logged, diffed or journaled: `Secret.read` is the only way to it. What may be a
secret and stands in plain text is found by `literal_secrets` and `secrets_in_url`, which specs call in `check`.
"""

import os
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import parse_qsl, urlsplit

from pydantic import ConfigDict, Field, model_validator

from loomd.errors import Unauthorized
from loomd.manifest.kind import Reload, Spec
from loomd.manifest.rule import exactly_one
from loomd.manifest.wording import escape, is_secret

LITERAL = "literal-secret"
"""Code of the problem that a secret stands in a manifest."""

_is_secret = lru_cache(maxsize=4096)(is_secret)  # the same names stand in many manifests, and are looked at each time


class SecretSource(Spec):
    """Where a secret is kept; exactly one of the fields is set."""

    model_config = ConfigDict(json_schema_extra=exactly_one("env", "file"))

    env: Annotated[str | None, Reload("immediate")] = Field(default=None, examples=["API_KEY"])
    """Name of an environment variable of the daemon."""
    file: Annotated[str | None, Reload("immediate")] = Field(default=None, examples=["/run/secrets/openai"])
    """Path of a file that holds nothing but the secret; a trailing newline is dropped."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.env is None) == (self.file is None):
            raise ValueError("expected exactly one of env, file")
        return self


class Secret(Spec):
    """A reference to a secret."""

    value_from: Annotated[SecretSource, Reload("immediate")] = Field(examples=[{"env": "API_KEY"}])
    """Where the secret is kept."""

    def read(self, owner: str, field: str) -> str:
        """Return the secret.

        Args:
            owner: the object that needs it, `Provider/openai`, for the message.
            field: the field that names it, `spec.apiKey`, for the message.

        Raises:
            Unauthorized: the variable is unset or the file unreadable; the text says what to do.
        """
        if self.value_from.env is not None:
            name = self.value_from.env
            value = os.environ.get(name, "")
            if not value:
                raise Unauthorized(f"{owner} {field}: environment variable {name} is not set: export {name}=...")
            return value
        path = Path(self.value_from.file or "").expanduser()
        try:
            value = path.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise Unauthorized(f"{owner} {field}: cannot read {path}: {error.strerror}") from error
        if not value:
            raise Unauthorized(f"{owner} {field}: {path} is empty")
        return value


def literal_secrets(values: Mapping[str, object], pointer: str) -> Iterator[tuple[str, str, str]]:
    """Yield a problem, as `Spec.check` does, for every text whose name says that it is a secret.

    Args:
        values: headers or parameters of a request by name; text, or a reference to a secret.
        pointer: JSON pointer of the mapping.
    """
    for name, value in values.items():
        if isinstance(value, str) and value and _is_secret(name):
            message = (
                "expected the place of a secret, got text (hidden): write {valueFrom: {env: NAME}}, or {file: PATH}"
            )
            yield f"{pointer}/{escape(name)}", message, LITERAL


def secrets_in_url(url: str, pointer: str, instead: str) -> Iterator[tuple[str, str, str]]:
    """Yield a problem, as `Spec.check` does, for a user or password and for every secret parameter in an address.

    Args:
        url: the address; a parameter that holds a placeholder `{name}` is no secret.
        pointer: JSON pointer of the address.
        instead: the field that takes secrets, for the message.
    """
    parts = urlsplit(url)
    found = [name for name, value in parse_qsl(parts.query) if is_secret(name) and "{" not in value]
    if "@" in parts.netloc:
        found.insert(0, "a user or password")
    if found:
        message = f"expected an address without secrets, got {', '.join(found)}: use {instead} with valueFrom"
        yield pointer, message, LITERAL
