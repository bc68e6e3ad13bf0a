"""What differs between the documents of a knowledge base and what is stored of them, by a way of indexing.

Reads, and cuts what is new or changed; writes nothing. Blocks: called in the thread of a knowledge base.
"""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import msgspec

from loomd.knowledge.base import Chunking
from loomd.knowledge.chunk import Chunk, cut
from loomd.knowledge.formats.base import BadDocument, Unit
from loomd.knowledge.ingest import Document, Library, Reading, Unreadable
from loomd.knowledge.sources.base import DocumentSource
from loomd.knowledge.store import Properties

_log = logging.getLogger("loomd.knowledge")

_LAYOUT = "3"  # of the store; raised when what is stored or embedded changes, so that everything is indexed anew
_FAULTY = "!"
"""What follows the stored digest of a document whose properties cannot be read."""
_FAULT = "has front matter that is no YAML or has no end: its text is found, its properties are not; mend it"
_STAYS = "; what was read of it before is found, and may be old"
_GRAPH_LAYOUT = "graph 1"  # of the tables of a graph


@dataclass(frozen=True)
class Recipe:
    """How documents become passages and vectors; equal recipes make equal stores from equal documents."""

    sources: Sequence[DocumentSource]
    chunking: Chunking
    fingerprint: str
    dimension: int
    extractor: str = ""
    """What entities and relations are found by; empty where there is no graph."""
    generation: str = ""
    """Which vectors by this fingerprint; empty for those that were never wanted anew."""

    def store(self, folder: Path) -> Path:
        """Return the path of its store, below the folder of a knowledge base."""
        return folder / f"{self.name}.db"

    @cached_property
    def source_names(self) -> tuple[str, ...]:
        """Return what tells each source from others: the same settings, the same name."""
        return tuple(_digest(source.model_dump_json()).hex() for source in self.sources)

    @property
    def name(self) -> str:
        """Return the name of this recipe's files: the same settings, the same name."""
        parts = [_LAYOUT, self.fingerprint, str(self.dimension), self.chunking.model_dump_json()]
        parts += [_GRAPH_LAYOUT, self.extractor] if self.extractor else []
        parts += [f"generation {self.generation}"] if self.generation else []
        return _digest(*parts, *(source.model_dump_json() for source in self.sources)).hex()[:16]

    def embedded_as(self, chunk: Chunk) -> bytes:
        """Return the digest of what is embedded for a chunk, and by what."""
        generation = [self.generation] if self.generation else []
        return _digest(self.fingerprint, str(self.dimension), embedded_text(chunk), *generation)


def embedded_text(chunk: Chunk) -> str:
    """Return what is embedded for a chunk: its headings and its text."""
    return f"{chunk.title}\n{chunk.text}"


def content_digest(stored_as: str) -> str:
    """Return the digest of a document's content, of what is stored as its digest."""
    return stored_as.removesuffix(_FAULTY)


@dataclass(frozen=True)
class Pending:
    """A document that is new or changed, cut into chunks."""

    path: str
    digest: str
    chunks: Sequence[tuple[bytes, Chunk]]
    unit: Unit = "line"
    properties: Properties = field(default_factory=dict)


@dataclass
class Survey:
    """What differs between the documents and the store."""

    changed: list[Pending] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)
    readings: Mapping[int, Reading] = field(default_factory=dict)

    @property
    def chunks(self) -> int:
        """Return the number of chunks to index."""
        return sum(len(item.chunks) for item in self.changed)


def take(library: Library, recipe: Recipe, known: Mapping[str, str]) -> Survey:
    """Return what differs, and what there is to say of documents: which cannot be read, or not whole.

    Args:
        library: the documents.
        recipe: how they become passages.
        known: digests of the documents that are stored, by path.

    Raises:
        NotFound: a source has no document.
    """
    survey = Survey()
    seen: set[str] = set()
    for item in library.documents():
        seen.add(item.path)
        stored_as = known.get(item.path, "")
        if isinstance(item, Document) and content_digest(stored_as) == item.digest:
            is_faulty = stored_as.endswith(_FAULTY)
        else:
            found = item if isinstance(item, Unreadable) else _cut(item, library, recipe)
            if isinstance(found, Unreadable):
                survey.unreadable.append(
                    msgspec.structs.replace(found, reason=found.reason + _STAYS) if stored_as else found
                )
                continue
            survey.changed.append(found)
            is_faulty = found.digest.endswith(_FAULTY)
        if is_faulty:
            survey.unreadable.append(Unreadable(item.path, _FAULT))
    survey.readings = library.readings
    survey.unreadable += library.missed()
    closed = tuple(f"{one.path}/" for one in survey.unreadable)
    gone = (path for path in set(known) - seen if not path.startswith(closed))
    survey.removed = sorted(path for path in gone if not library.may_come(path))
    return survey


def _cut(document: Document, library: Library, recipe: Recipe) -> Pending | Unreadable:
    try:
        content = library.content(document)
        chunks = cut(document.path, content, recipe.chunking)
    except BadDocument as error:
        return Unreadable(document.path, str(error))
    except Exception as error:  # whatever a document holds, the others are read
        _log.exception("%s cannot be read", document.path)
        return Unreadable(document.path, f"cannot be read ({type(error).__name__}): exclude it")
    keyed = [(recipe.embedded_as(chunk), chunk) for chunk in chunks]
    properties = {**content.properties, **document.properties}
    digest = document.digest + (_FAULTY if content.is_faulty else "")
    return Pending(document.path, digest, keyed, content.unit, properties)


def _digest(*parts: str) -> bytes:
    """Return 16 bytes that differ for different lists of texts."""
    joined = b"".join(b"%d:%s" % (len(data), data) for data in (part.encode() for part in parts))
    return hashlib.sha256(joined).digest()[:16]
