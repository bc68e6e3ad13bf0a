"""What a source is, and where it delivers. A source finds files and hands them over; it never decides what serves.

The reconciler fits `Target` by its shape; the runner keeps every `Source` going.
"""

from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Protocol

from loomd.manifest.delivery import Delivery, SourceType
from loomd.manifest.source import SourceFile


class Target(Protocol):
    """Where sources deliver."""

    def files(self, source: str) -> tuple[SourceFile, ...]:
        """Return the files of a source that serve now."""
        ...

    async def apply(self, delivery: Delivery) -> object:
        """Make the files of a source what serves, together with those of all others.

        Raises:
            LoomdError: they cannot serve; the target has reported it, and what served before serves on.
        """
        ...

    def reject(self, source: str, error: Exception, revision: str = "") -> None:
        """Report what could not be delivered: an unreadable folder, a remote that is down.

        Args:
            source: name of the source.
            error: why; its text holds no secret.
            revision: what the source calls the state that is refused, when it got as far as to know it.
        """
        ...

    def announce(self, source: str, kind: SourceType) -> None:
        """Take note that a source is there, before it delivers for the first time."""
        ...

    def ask(self, source: str) -> None:
        """Take note that a source is asked to look at once."""
        ...

    def look(self, source: str) -> int:
        """Take note that a look of a source begins; return how often it has been asked to."""
        ...

    def suspended(self, source: str, revision: str = "") -> bool:
        """Return whether a delivery would be ignored; after a rollback one of another revision is not."""
        ...

    async def roots(self) -> AbstractSet[Path]:
        """Return the roots of files that a stored revision or a live thing still uses."""
        ...

    async def forget(self, source: str, prune: bool) -> None:
        """Take note that a source is gone: delete what it declared, or leave it as declared by `apply`."""
        ...


class Source(Protocol):
    """Something that delivers."""

    @property
    def name(self) -> str:
        """Return what the target calls it: the absolute path of a folder, or `git/<namespace>/<name>`."""
        ...

    async def scan(self) -> None:
        """Look once, and deliver what changed; what goes wrong is reported to the target, never raised."""
        ...

    async def run(self) -> None:
        """Deliver now and on every change, until cancelled."""
        ...

    def poke(self) -> None:
        """Look soon, and deliver also when nothing seems to have changed."""
        ...
