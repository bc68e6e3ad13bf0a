"""`kind: KnowledgeBase`: documents that agents look things up in."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from loomd.knowledge.base import Chunking, Embedder, IndexSpec, Retrieval
from loomd.knowledge.graph_spec import GraphSpec
from loomd.knowledge.ingest import Library
from loomd.knowledge.sources.base import DocumentSource
from loomd.manifest.kind import RefTo, Spec
from loomd.manifest.oneof import OneOf
from loomd.topology import Parts

if TYPE_CHECKING:
    from loomd.knowledge.knowledge import KnowledgeBase
    from loomd.knowledge.refining import Refining


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
    graph: GraphSpec | None = Field(default=None, examples=[{}])
    """Entities and relations of the passages, for answers that several documents have parts of; not kept by default."""

    def means(self, old: Spec) -> Iterator[str]:
        """Yield whether the index is built anew."""
        if not isinstance(old, KnowledgeBaseSpec):
            return
        if self.embedder != old.embedder:
            yield "its index is built anew by another embedder, beside the one that serves until then"
        elif (self.sources, self.chunk) != (old.sources, old.chunk):
            yield "its index is built anew beside the one that serves until then; known passages keep their vectors"
        elif self.graph is not None and (old.graph is None or self.graph.extract != old.graph.extract):
            yield "its passages are looked through for entities, beside the index that serves until then"

    @asynccontextmanager
    async def open(self, parts: Parts) -> AsyncGenerator["KnowledgeBase", None]:
        """Yield the live knowledge base, and index what changed since the last time.

        One that is to take the place of another and has an index of its own is whole before it does: whoever is
        elsewhere is asked, and everything is indexed. Every other one comes alive with what is stored, if anything is,
        and the rest comes while it is searched.
        """
        from loomd.knowledge.generation import Generations  # noqa: PLC0415  # the same
        from loomd.knowledge.index import OPENED  # noqa: PLC0415  # not needed to validate
        from loomd.knowledge.knowledge import KnowledgeBase  # noqa: PLC0415  # the same
        from loomd.knowledge.linking import Linking  # noqa: PLC0415  # the same
        from loomd.knowledge.refining import refined  # noqa: PLC0415  # the same
        from loomd.knowledge.survey import Recipe  # noqa: PLC0415  # the same
        from loomd.knowledge.upkeep import Turn  # noqa: PLC0415  # the same
        from loomd.knowledge.ways import Ways  # noqa: PLC0415  # the same

        embedder = parts.get("Embedder", self.embedder, Embedder)
        async with AsyncExitStack() as stack:
            linking: Linking | None = None
            if self.graph is not None:
                extractor = await stack.enter_async_context(self.graph.extract.open(parts))
                linking = Linking(parts.name, self.graph, extractor, parts.services.bus)
            found_by = "" if linking is None else linking.fingerprint
            serves = Generations(parts.state_dir).read().serves
            recipe = Recipe(self.sources, self.chunk, embedder.fingerprint, embedder.dimension, found_by, serves)
            owner = f"{parts.declared.ref} spec.sources"
            opened = [source.open(parts, f"{owner}[{at}]") for at, source in enumerate(self.sources)]
            library = Library([await stack.enter_async_context(one) for one in opened], parts.services.clock)
            first = parts.replaces and not OPENED.users(recipe.store(parts.state_dir))
            if first:
                await library.refresh()
            else:
                await library.read_what_is_kept()
            refining: Refining | None = None
            if self.retrieval.expand is not None or self.retrieval.rerank is not None:
                refining = await stack.enter_async_context(refined(self.retrieval, parts))
            how = Ways(self.retrieval, self.index, linking, refining)
            live = KnowledgeBase(parts.name, library, embedder, how, parts.services.bus, parts.services.clock)
            turn = Turn(first, lambda: parts.serves, parts.keep)
            stack.enter_context(parts.services.serving.listening(live.served))
            await stack.enter_async_context(live.running(parts.state_dir, recipe, turn))
            following = library.following(live.index, live.not_fetched, parts.name, live.not_refreshed)
            await stack.enter_async_context(following)
            if linking is not None:
                await stack.enter_async_context(linking.continuing(live.link))
            yield live
