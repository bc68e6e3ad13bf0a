"""`type: rules`: names, identifiers, defined terms, headings and links, found by patterns; asks nobody."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Literal

from loomd.knowledge.extractors.base import ExtractorSpec
from loomd.topology import Parts

if TYPE_CHECKING:
    from loomd.knowledge.chunk import Chunk
    from loomd.knowledge.entity import Extraction

_VERSION = "1"  # of the rules; raised when they find other things


class RulesExtractor(ExtractorSpec):
    """Finds entities by how they are written, on this machine."""

    type: Literal["rules"] = "rules"

    @asynccontextmanager
    async def open(self, parts: Parts) -> AsyncGenerator["Patterns", None]:
        """Yield the extractor."""
        del parts
        yield Patterns()


class Patterns:
    """The rules at work."""

    fingerprint = f"rules/{_VERSION}"
    batch = 256

    async def ready(self) -> None:
        """Return: nothing is needed."""

    async def extract(self, passages: "Sequence[Chunk]") -> "AsyncGenerator[dict[int, Extraction], None]":
        """Yield what is found in all passages; they are looked through in another thread."""
        from loomd.knowledge.terms import extract  # noqa: PLC0415  # all patterns, for those who look

        yield await asyncio.to_thread(
            lambda: {place: extract(one.title, one.text) for place, one in enumerate(passages)}
        )
