"""What is told of a knowledge base: how it stands, and why a passage was found. Data only; shown by the API."""

import hashlib
from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import msgspec

from loomd.knowledge.asking import Asker
from loomd.knowledge.formats.base import Unit, Value
from loomd.messages import Passage


class LeftOut(msgspec.Struct, frozen=True):
    """A document that was left out, and a sentence that says why and what to do."""

    path: str
    reason: str


class GraphStanding(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """How the graph of a knowledge base stands.

    Attributes:
        extractor: what entities and relations are found by: type, model and version.
        entities: how many there are.
        relations: how many pairs of them are related.
        pending: passages that are not looked through yet.
        failed: passages in which nothing could be found.
        waits: why passages are pending, or empty.
        faults: some of the passages in which nothing could be found, and why.
    """

    extractor: str
    entities: int
    relations: int
    pending: int = 0
    failed: int = 0
    waits: str = ""
    faults: tuple[LeftOut, ...] = ()


class SourceStanding(msgspec.Struct, frozen=True):
    """How a source of documents stands.

    Attributes:
        name: what it is called: a path, an address, the name of a text.
        documents: how many it has that no source before it has; those that are left out, too.
        read: when its documents were read last, or it was asked for them and answered, and all was indexed, wall-clock
            seconds; 0 for never.
        changed: when its documents were found to be others than before, wall-clock seconds; 0 when none was read yet.
    """

    name: str
    documents: int = 0
    read: float = 0.0
    changed: float = 0.0


class Standing(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """How a knowledge base stands.

    Attributes:
        documents: how many are indexed.
        passages: how many can be found.
        bytes: what its files take on the disk.
        embedder: what made the vectors: type, model and version.
        dimension: length of a vector.
        type: of the index of vectors.
        depth: how many lists or candidates a search looks at; 0 for all.
        recall: share of the nearest passages that it found with that when it was built.
        loose: vectors that were added since, and are compared one by one.
        damage: what is wrong with its store; empty as far as that is known.
        refreshed: when the source was read that was not read for the longest time, wall-clock seconds; 0 as long as
            one of them was never read.
        sources: how each of its sources stands, in their order.
        left_out: documents that it could not read.
        graph: how its graph stands; None without one.
    """

    documents: int
    passages: int
    bytes: int
    embedder: str
    dimension: int
    type: str
    depth: int = 0
    recall: float = 1.0
    loose: int = 0
    damage: str = ""
    refreshed: float = 0.0
    sources: tuple[SourceStanding, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    graph: GraphStanding | None = None


class Place(msgspec.Struct, frozen=True):
    """Where a passage stands in one part of a search: its rank, from 1, and its score there."""

    rank: int
    score: float


class Extent(msgspec.Struct, frozen=True):
    """Where in its document a passage stands: what is counted there, and its places, from 1, both included."""

    unit: Unit
    first: int
    last: int


class Origin(msgspec.Struct, frozen=True):
    """The document that a passage is from.

    Attributes:
        path: what it is cited by.
        sha256: of its bytes as they were read, in hexadecimal.
        properties: what it says of itself and what its source says of it; searches can be narrowed by these.
    """

    path: str
    sha256: str
    properties: Mapping[str, Value | list[Value]]


class Hit(msgspec.Struct, frozen=True):
    """A passage that was found, and how each part of the search saw it; None where it did not.

    Attributes:
        passage: the passage; its title is the path of headings above it.
        extent: where in its document it stands.
        keyword: its place among those that words found.
        vector: its place among those that meaning found.
        graph: its place among those that the graph leads to.
        rerank: what a reranker gave it, in the reranker's own scale; None when none judged it.
        document: what it is from; None when that was changed or removed before the search ended.
    """

    passage: Passage
    extent: Extent
    keyword: Place | None
    vector: Place | None
    graph: Place | None
    rerank: float | None
    document: Origin | None

    @property
    def sha256(self) -> str:
        """Return the SHA-256 of title, line end and text as UTF-8, which is what is embedded, in hexadecimal."""
        return hashlib.sha256(f"{self.passage.title}\n{self.passage.text}".encode()).hexdigest()


class Found(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a search with more than one step found.

    Attributes:
        passages: best first, numbered from 1.
        wordings: what was looked for beside the question.
        notes: what was declared and did not come about, and why: one sentence each.
    """

    passages: tuple[Passage, ...]
    wordings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Explained(msgspec.Struct, frozen=True):
    """What a search found, and why; the rest as in `Found`."""

    hits: tuple[Hit, ...]
    wordings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@runtime_checkable
class Searchable(Protocol):
    """A live knowledge base, for whoever shows it; having the methods is enough."""

    def standing(self) -> Standing:
        """Return how it stands."""
        ...

    async def explain(self, query: str, top_k: int | None = None, *, asker: Asker | None = None) -> Explained:
        """Return what a question finds, and why; `asker` pays for what is asked of models."""
        ...

    async def rebuild(self, *, embed: bool = False) -> int:
        """Make the indexes anew, and the vectors too when they are to be embedded again; return how many were."""
        ...
