"""What all sources of documents have in common: how large a document may be, and how a source is opened."""

from abc import abstractmethod
from contextlib import AbstractAsyncContextManager
from typing import ClassVar

from pydantic import Field

from loomd.knowledge.formats.base import Limits
from loomd.knowledge.formats.known import format_of
from loomd.knowledge.ingest import Document, Source
from loomd.manifest.kind import Spec
from loomd.manifest.quantity import Bytes, Duration
from loomd.topology import Parts


class DocumentSource(Spec):
    """Where documents are."""

    keeps_files: ClassVar[bool] = False
    """The index has what is in them."""

    max_file: Bytes = Field(default=8 << 20, ge=1)
    """Largest document that is read; a larger one is reported and left out."""
    max_text: Bytes = Field(default=32 << 20, ge=1)
    """Most text that a document may hold once it is unpacked; one that holds more is reported and left out."""
    max_time: Duration = Field(default=10.0, gt=0)
    """Longest time of reading one document; one that takes longer is reported and left out."""

    @abstractmethod
    def open(self, parts: Parts) -> AbstractAsyncContextManager[Source]:
        """Open the source for as long as the context lasts; it asks nobody yet.

        Args:
            parts: those of the knowledge base.
        """

    def document(self, path: str, data: bytes, media: str = "") -> Document:
        """Return a document with the limits of this source.

        Args:
            path: what it is cited by.
            data: its bytes.
            media: its media type, when somebody said one.
        """
        return Document(path, data, format_of(path, media).name, Limits(self.max_text, self.max_time))

    def oversized(self, size: int) -> str:
        """Return why a document is left out that is larger than it may be, or an empty text."""
        if size <= self.max_file:
            return ""
        return f"has {size} bytes, maxFile is {self.max_file}: split it, or raise maxFile"
