"""What a manifest says about a knowledge base, and what a knowledge base expects of an embedder.

Data only: reading files, cutting, storing and searching are in the modules named for them.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal, Protocol, Self

from pydantic import ConfigDict, Field, model_validator

from loomd.knowledge.expanders.base import ExpandSpec
from loomd.knowledge.rerankers.base import RerankSpec
from loomd.manifest.kind import Spec
from loomd.manifest.oneof import OneOf
from loomd.manifest.quantity import Share, Tokens
from loomd.manifest.rule import MESSAGE, never

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]

_FLAT = 20_000
"""Passages up to which it is quicker to compare all than to build anything."""
CHARACTERS_PER_TOKEN = 4
"""How text is measured without a tokenizer: English prose and code have about four characters in a token."""


class Embedder(Protocol):
    """Turns texts into unit vectors; the live form of kind Embedder."""

    @property
    def dimension(self) -> int:
        """Return the length of every vector."""
        ...

    @property
    def fingerprint(self) -> str:
        """Return a text that changes whenever the vectors of the same texts may change."""
        ...

    async def embed(self, texts: Sequence[str]) -> "Vectors":
        """Return `(texts, dimension)` float32, every row of length 1 or all zeros."""
        ...


class Chunking(Spec):
    """How documents are cut into passages. A token is taken as four characters."""

    type: Literal["auto", "code", "fixed", "markdown", "recursive", "sentence"] = "auto"
    """`auto` cuts source code as `code` does and all else as `markdown` does. `markdown` cuts at headings, those of
    HTML, PDF and Word too, and what is long below one as `recursive` does. `recursive` cuts at paragraphs, then lines,
    then sentences. `code` cuts at definitions, and what is in no language whose grammar is known as `recursive` does.
    `sentence` fills passages with whole sentences, `fixed` with words."""
    size: Tokens = 240
    """Largest passage, in tokens. Small models answer best from passages of 120 to 250."""
    overlap: int = Field(default=40, ge=0)
    """At most so many tokens at the end of a passage are repeated by the next one, in whole paragraphs."""

    @model_validator(mode="after")
    def _overlap_is_smaller(self) -> Self:
        if self.overlap * 2 > self.size:
            raise ValueError(f"expected an overlap of at most half of size ({self.size}), got {self.overlap}")
        return self


class IndexSpec(Spec):
    """How vectors are compared with a question."""

    type: Literal["auto", "flat", "hnsw", "ivf", "ivfpq"] = "auto"
    """`flat` compares all; `ivf` those in the lists nearest to the question; `ivfpq` does so with a quarter of the
    memory, and compares the best once more; `hnsw` goes from neighbour to neighbour, and takes long to build. `auto` is
    `flat` up to 20,000 passages, and `ivf` beyond."""
    recall: Share = 0.97
    """Share of the nearest passages that a search should find: of the 10 that are truly nearest to 200 made questions.
    How deep it must go for that is found out when the index is built. What cannot reach it, as `ivfpq` may, serves as
    it is, and the condition `Degraded` is `True` with the reason `RecallBelowTarget`."""

    def shape(self, count: int) -> Literal["flat", "hnsw", "ivf", "ivfpq"]:
        """Return the type for so many passages."""
        if self.type == "auto":
            return "flat" if count <= _FLAT else "ivf"
        return self.type


_NO_SCORE = "expected minScore of at most 1, the best score of every mode but keyword: no passage would be found"


class Retrieval(Spec):
    """How passages are found."""

    model_config = ConfigDict(
        json_schema_extra={
            "allOf": [
                *never(
                    "expected keywordWeight or vectorWeight above 0, got 0 for both: raise one of them",
                    keywordWeight={"maximum": 0},
                    vectorWeight={"maximum": 0},
                )["allOf"],
                {
                    "not": {
                        "required": ["minScore"],
                        "properties": {"minScore": {"exclusiveMinimum": 1}, "mode": {"not": {"const": "keyword"}}},
                    },
                    MESSAGE: _NO_SCORE,
                },
            ]
        }
    )

    mode: Literal["hybrid", "vector", "keyword"] = "hybrid"
    """By meaning (`vector`), by words (`keyword`), or both, fused (`hybrid`)."""
    top_k: int = Field(default=4, ge=1, le=100)
    """How many passages a search returns."""
    candidates: int = Field(default=50, ge=1, le=1000)
    """Passages that each half of a hybrid search hands to the fusion."""
    fusion: Literal["scores", "ranks"] = "scores"
    """How a hybrid search joins its halves: `scores` takes the mean of both scores, each as a share of the best in its
    half; `ranks` looks at ranks alone (reciprocal rank fusion), for an embedder whose cosines are all much alike."""
    sharpness: float = Field(default=1.5, gt=0, le=10)
    """Power to which the shares of `fusion: scores` are raised: the larger, the more the best of each half count."""
    rrf_k: int = Field(default=10, ge=0)
    """Constant of `fusion: ranks`: the smaller, the more the first ranks count."""
    keyword_weight: float = Field(default=1.0, ge=0)
    """Share of the keyword half in a hybrid search."""
    vector_weight: float = Field(default=1.0, ge=0)
    """Share of the vector half in a hybrid search."""
    title_weight: float = Field(default=2.0, ge=1)
    """How much more a word in the heading path counts than one in the text, in keyword ranks."""
    diversity: float = Field(default=0.0, ge=0, le=1)
    """How much a passage should differ from those before it (maximal marginal relevance): 0 orders by score alone, 1
    takes the best, then what is least like it. Chosen from all candidates, by their stored vectors, in every mode."""
    min_score: float = 0.0
    """Passages with a lower score are left out. A score is the cosine from -1 to 1 in `vector`, BM25 from 0 upwards in
    `keyword`, and in `hybrid` a share of the best that is possible, where 1 is first in both halves; where the graph
    finds something, too, it is such a share in every mode."""
    filter: dict[str, str | Annotated[list[str], Field(min_length=1)]] = Field(
        default_factory=dict, examples=[{"team": "docs"}, {"path": ["guide/*", "faq.md"], "format": "markdown"}]
    )
    """Documents that are looked in: for each property the value that it must have, or several of which one is enough;
    `*` stands for any text. Properties are what `metadata` of a source and a document itself say, and `path` and
    `format` of every document."""
    on_failure: Literal["keep", "fail"] = "keep"
    """What a hybrid search does when the embedder fails: `keep` finds passages by words alone, and says so in the
    result and as event `fallback.used`; `fail` lets the search fail, as one of mode `vector` does anyway."""
    expand: Annotated[ExpandSpec, OneOf("loomd.knowledge.expanders")] | None = None
    """What else is looked for than the question itself; by default nothing."""
    rerank: Annotated[RerankSpec, OneOf("loomd.knowledge.rerankers")] | None = None
    """Who judges the best passages once more, and so decides their order; by default nobody."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.keyword_weight + self.vector_weight == 0:
            raise ValueError("expected keywordWeight or vectorWeight above 0, got 0 for both: raise one of them")
        if self.mode != "keyword" and self.min_score > 1:
            raise ValueError(_NO_SCORE)
        return self
