"""What all sources of documents have in common: how large a document may be, and how a source is opened."""

from abc import abstractmethod
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

from pydantic import Field

from loomd.knowledge.formats.base import Limits
from loomd.knowledge.formats.known import format_of
from loomd.knowledge.ingest import Document, Source, Unreadable
from loomd.manifest.kind import Spec
from loomd.manifest.quantity import Bytes, Duration
from loomd.manifest.source import is_text, printable
from loomd.topology import Parts


class DocumentSource(Spec):
    """Where documents are."""

    keeps_files: ClassVar[bool] = False
    """The index has what is in them."""

    metadata: dict[str, str] = Field(default_factory=dict, examples=[{"team": "docs"}])
    """Properties of all its documents, by which searches can be narrowed (`retrieval.filter`). They count before what a
    document says of itself: front matter of Markdown, title and author of PDF, Word and HTML."""
    max_file: Bytes = Field(default=8 << 20, ge=1)
    """Largest document that is read; a larger one is reported and left out."""
    max_text: Bytes = Field(default=32 << 20, ge=1)
    """Most text that a document may hold once it is unpacked; one that holds more is reported and left out."""
    max_time: Duration = Field(default=10.0, gt=0)
    """Longest time of reading one document; one that takes longer is reported and left out."""

    @property
    @abstractmethod
    def label(self) -> str:
        """Return what it is called where it is shown beside others."""

    @abstractmethod
    def open(self, parts: Parts, owner: str) -> AbstractAsyncContextManager[Source]:
        """Open the source for as long as the context lasts; it asks nobody yet.

        Args:
            parts: those of the knowledge base.
            owner: the source, for messages: `KnowledgeBase/docs spec.sources[0]`.
        """

    def document(
        self, path: str, data: bytes, media: str = "", properties: Mapping[str, str] = MappingProxyType({})
    ) -> Document:
        """Return a document with the limits of this source.

        Args:
            path: what it is cited by.
            data: its bytes.
            media: its media type, when somebody said one.
            properties: what else the source knows of it.
        """
        name = format_of(path, media).name
        known = {"format": name, **properties, **self.metadata}
        return Document(path, data, name, Limits(self.max_text, self.max_time), known)

    def oversized(self, size: int) -> str:
        """Return why a document is left out that is larger than it may be, or an empty text."""
        if size <= self.max_file:
            return ""
        return f"has {size} bytes, maxFile is {self.max_file}: split it, or raise maxFile"

    def read_file(
        self, top: Path, path: str, file: Path, properties: Mapping[str, str] = MappingProxyType({})
    ) -> Document | Unreadable:
        """Return the content of a file, or why it is left out.

        Args:
            top: folder that it may not be outside of.
            path: what it is cited by.
            file: where it is.
            properties: what else the source knows of it.
        """
        if not is_text(path):
            return Unreadable(printable(path), "has a name that is not UTF-8 text: rename it")
        try:
            if not file.resolve(strict=True).is_relative_to(top):
                return Unreadable(path, "is a link that leaves the folder of the manifests: copy the file there")
            if file.is_dir():
                return Unreadable(path, "is a folder that cannot be looked into: make it readable, or exclude it")
            if not file.is_file():
                return Unreadable(path, "is not a regular file: exclude it")
            if reason := self.oversized(file.stat().st_size):
                return Unreadable(path, reason)
            return self.document(path, file.read_bytes(), properties=properties)
        except RuntimeError:  # what `resolve` says of a circle of links
            return Unreadable(path, "is a link that leads back to itself: remove it")
        except OSError as error:
            return Unreadable(path, f"cannot be read ({error.strerror}): make it readable, or exclude it")
