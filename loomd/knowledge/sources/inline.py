"""Inline: documents that stand in the manifest itself."""

import re
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Literal

from pydantic import Field

from loomd.knowledge.formats.known import format_of
from loomd.knowledge.ingest import Document, Load, Unreadable
from loomd.knowledge.sources.base import DocumentSource
from loomd.manifest.wording import escape
from loomd.topology import Parts

_BINARY = frozenset({"docx", "pdf"})
"""Formats that no manifest can hold."""
_NAME = re.compile(r"[^/\\:#\x00-\x1f\x7f]{1,200}")
"""What a citation can hold."""


class InlineSource(DocumentSource):
    """Texts in the manifest."""

    type: Literal["inline"] = "inline"
    texts: dict[str, str] = Field(min_length=1, examples=[{"hours.md": "# Hours\n\nOpen from nine to five.\n"}])
    """The documents by name, which is what they are cited by; its end says what a text is written in: `.md`, `.csv`."""

    @property
    def label(self) -> str:
        """Return the first name, and how many more there are."""
        return next(iter(self.texts)) + (f" and {len(self.texts) - 1} more" if len(self.texts) > 1 else "")

    def check(self, root: Path) -> Iterator[tuple[str, ...]]:
        """Yield names that no citation could hold, and texts that are written in a format which is no text."""
        del root
        for name in self.texts:
            if not _NAME.fullmatch(name):
                yield (
                    f"/texts/{escape(name)}",
                    f'expected a name without slash, colon and #, got "{name}"',
                    "invalid-value",
                )
            elif format_of(name).name in _BINARY:
                yield (
                    f"/texts/{escape(name)}",
                    f'expected the name of a text, got "{name}": end it with .md, .txt, .html, .csv or .json',
                    "invalid-value",
                )

    @asynccontextmanager
    async def open(self, parts: Parts, owner: str) -> AsyncGenerator["Inline", None]:
        """Yield the texts."""
        del parts, owner
        yield Inline(self)


class Inline:
    """The texts of a source.

    Args:
        spec: the source.
    """

    def __init__(self, spec: InlineSource) -> None:
        self._spec = spec

    @property
    def interval(self) -> None:
        """Return None: there is nobody to ask."""
        return None

    @property
    def is_kept(self) -> None:
        """Return None: the texts are in the manifest."""
        return None

    async def refresh(self) -> None:
        """Do nothing: the texts are what they are."""

    def find(self) -> Mapping[str, Load]:
        """Return what reads each text."""
        return {name: partial(self._read, name, text) for name, text in self._spec.texts.items()}

    def missed(self) -> Iterable[Unreadable]:
        """Return nothing: there is nobody to ask."""
        return ()

    def may_have(self, path: str) -> bool:
        """Return whether a path is one of the names."""
        return path in self._spec.texts

    def _read(self, name: str, text: str) -> Document | Unreadable:
        data = text.encode("utf-8", "replace")
        reason = self._spec.oversized(len(data))
        return Unreadable(name, reason) if reason else self._spec.document(name, data)
