"""`kind: KnowledgeBase`: documents that agents look things up in."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Annotated

from pydantic import Field

from loomd.knowledge.base import Chunking, Embedder, IndexSpec, Retrieval
from loomd.knowledge.ingest import Library
from loomd.knowledge.knowledge import KnowledgeBase
from loomd.knowledge.refining import refined
from loomd.knowledge.sources.base import DocumentSource
from loomd.knowledge.survey import Recipe
from loomd.manifest.kind import Kind, RefTo, Spec
from loomd.manifest.oneof import OneOf
from loomd.topology import Parts


class KnowledgeBaseSpec(Spec):
    """Documents, how they are cut and embedded, and how passages are found."""

    sources: list[Annotated[DocumentSource, OneOf("loomd.knowledge.sources", default="files")]] = Field(min_length=1)
    """Where the documents are."""
    embedder: Annotated[str, RefTo("Embedder")] = Field(examples=["words"])
    """Embedder of passages and questions."""
    chunk: Chunking = Field(default_factory=Chunking)
    """How documents are cut into passages."""
    index: IndexSpec = Field(default_factory=IndexSpec)
    """How vectors are compared with a question."""
    retrieval: Retrieval = Field(default_factory=Retrieval)
    """How passages are found, and how many a search returns."""

    def means(self, old: Spec) -> Iterator[str]:
        """Yield whether the index is built anew."""
        if not isinstance(old, KnowledgeBaseSpec):
            return
        if self.embedder != old.embedder:
            yield "its index is built anew by another embedder, beside the one that serves until then"
        elif (self.sources, self.chunk) != (old.sources, old.chunk):
            yield "its index is built anew beside the one that serves until then; known passages keep their vectors"

    @asynccontextmanager
    async def open(self, parts: Parts) -> AsyncGenerator[KnowledgeBase, None]:
        """Index what changed since the last time and yield the live knowledge base."""
        embedder = parts.get("Embedder", self.embedder, Embedder)
        recipe = Recipe(self.sources, self.chunk, embedder.fingerprint, embedder.dimension)
        async with AsyncExitStack() as stack:
            owner = f"{parts.declared.ref} spec.sources"
            opened = [source.open(parts, f"{owner}[{at}]") for at, source in enumerate(self.sources)]
            library = Library([await stack.enter_async_context(one) for one in opened])
            await library.refresh()
            how = self.retrieval
            refining = None
            if how.expand is not None or how.rerank is not None:
                refining = await stack.enter_async_context(refined(how, parts))
            live = KnowledgeBase(parts.name, library, embedder, how, self.index, parts.services, refining)
            await stack.enter_async_context(live.running(parts.state_dir, recipe))
            await stack.enter_async_context(library.following(live.refresh, parts.name))
            yield live


KIND = Kind("KnowledgeBase", "knowledgebases", KnowledgeBaseSpec, "Documents that agents look things up in.")
