"""A secret is never a value in a manifest, only the place that holds it; it is read when it is needed.

The resolved text is never stored, logged, diffed or journaled: `Secret.read` is the only way to it.
"""

import os
from pathlib import Path
from typing import Self

from pydantic import model_validator

from loomd.errors import Unauthorized
from loomd.manifest.kind import Spec


class SecretSource(Spec):
    """Where a secret is kept; exactly one of the fields is set."""

    env: str | None = None
    """Name of an environment variable of the daemon."""
    file: str | None = None
    """Path of a file that holds nothing but the secret; a trailing newline is dropped."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.env is None) == (self.file is None):
            raise ValueError("set exactly one of env, file")
        return self


class Secret(Spec):
    """A reference to a secret."""

    value_from: SecretSource
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
