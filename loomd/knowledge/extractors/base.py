"""What every type of extractor declares, and what a graph expects of a live one."""

from abc import abstractmethod
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Protocol

from loomd.manifest.kind import Spec
from loomd.topology import Parts

if TYPE_CHECKING:
    from loomd.knowledge.chunk import Chunk
    from loomd.knowledge.entity import Extraction


class Paused(Exception):  # control flow between an extractor and a knowledge base, never seen outside
    """Nothing more can be found out for now; what was found is kept.

    Attributes:
        reason: why, in a sentence.
        wait: seconds after which it may go on; None when something must be changed first.
    """

    def __init__(self, reason: str, wait: float | None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.wait = wait


class Extractor(Protocol):
    """Finds entities and relations."""

    @property
    def fingerprint(self) -> str:
        """Return a text that changes whenever other things may be found in the same texts."""
        ...

    @property
    def batch(self) -> int:
        """Return how many passages it should be given at once."""
        ...

    async def ready(self) -> None:
        """Return when it could find something now, as far as is known without trying.

        Raises:
            Paused: it could not.
        """
        ...

    def extract(self, passages: "Sequence[Chunk]") -> "AsyncGenerator[Mapping[int, Extraction], None]":
        """Yield what is found in passages, by their places, as soon as it is known.

        Raises:
            Paused: the rest must wait.
        """
        ...


class ExtractorSpec(Spec):
    """How entities and relations are found. Each type adds its field `type`."""

    @abstractmethod
    def open(self, parts: Parts) -> AbstractAsyncContextManager[Extractor]:
        """Open the extractor for as long as the context lasts."""
