"""What a manifest says about a knowledge base, and what a knowledge base expects of an embedder.

Data only: reading files, cutting, storing and searching are in the modules named for them.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, Self

from pydantic import ConfigDict, Field, model_validator

from loomd.errors import Permanent
from loomd.manifest.inside import below
from loomd.manifest.kind import Spec
from loomd.manifest.quantity import Bytes, Share, Tokens
from loomd.manifest.rule import never

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


class FilesSource(Spec):
    """Text files in a folder below the manifest's root."""

    keeps_files: ClassVar[bool] = False
    """The index has what is in them."""

    type: Literal["files"] = "files"
    path: str = Field(min_length=1, examples=["docs"])
    """Folder or file, relative to the folder of the manifests."""
    include: list[str] = Field(default=["**/*.md", "**/*.txt"], min_length=1)
    """Patterns of the files to read, relative to `path`; `**` stands for any folders."""
    exclude: list[str] = Field(default_factory=list, examples=[["drafts/**"]])
    """Patterns of the files to leave out."""
    max_file: Bytes = Field(default=8 << 20, ge=1)
    """Largest file that is read; a larger one is reported and left out."""

    def check(self, root: Path) -> Iterator[tuple[str, str]]:
        """Yield a path that is not there or leaves the root, and patterns that cannot be used or fit nothing."""
        wrong = [
            (f"/{field}/{at}", reason)
            for field, patterns in (("include", self.include), ("exclude", self.exclude))
            for at, pattern in enumerate(patterns)
            if (reason := _bad_pattern(pattern))
        ]
        try:
            found = below(root, self.path, "a folder or file")
        except Permanent as error:
            yield "/path", str(error)
        else:
            if not found.is_dir() and not found.is_file():
                yield "/path", f'expected a folder or file below {root}, got "{self.path}", which is a pipe or a device'
            elif not wrong and not self.find(root.resolve()):
                names = " or ".join(self.include)
                yield (
                    "/path",
                    f'expected a file below "{self.path}" that fits {names}, got none: add one, or change include',
                )
        yield from wrong

    def find(self, top: Path) -> dict[str, Path]:
        """Return the files that the patterns fit, by their path below `top`, the resolved folder of the manifests."""
        base = Path(os.path.normpath(top / self.path))
        if base.is_file():
            return {base.relative_to(top).as_posix(): base}
        files = {file for pattern in self.include for file in base.glob(pattern)}
        files -= {file for pattern in self.exclude for file in base.glob(pattern)}
        return {file.relative_to(top).as_posix(): file for file in files if not file.is_dir()}

    def reads(self, root: Path) -> Iterator[Path]:
        """Yield the documents, so that a changed one is indexed when the manifests are loaded again."""
        for _, file in sorted(self.find(root).items()):
            if file.is_file() and file.resolve().is_relative_to(root):
                yield file


def _bad_pattern(pattern: str) -> str:
    parts = pattern.split("/")
    if not pattern or pattern.startswith("/") or ".." in parts:
        return f'"{pattern}" must be a pattern relative to path, such as "**/*.md"'
    if any("**" in part and part != "**" for part in parts):
        return f'"{pattern}": ** must stand alone between slashes, as in "**/*.md"'
    return ""


class Chunking(Spec):
    """How documents are cut into passages. A token is taken as four characters."""

    type: Literal["markdown", "recursive"] = "markdown"
    """`markdown` cuts Markdown files at their headings and other files as `recursive` does; `recursive` cuts at
    paragraphs, then lines, then sentences."""
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
    """Share of the nearest passages that a search should find. How deep it must go for that is found out when the index
    is built."""

    def shape(self, count: int) -> Literal["flat", "hnsw", "ivf", "ivfpq"]:
        """Return the type for so many passages."""
        if self.type == "auto":
            return "flat" if count <= _FLAT else "ivf"
        return self.type


class Retrieval(Spec):
    """How passages are found."""

    model_config = ConfigDict(
        json_schema_extra=never(
            "expected keywordWeight or vectorWeight above 0, got 0 for both: raise one of them",
            keywordWeight={"maximum": 0},
            vectorWeight={"maximum": 0},
        )
    )

    mode: Literal["hybrid", "vector", "keyword"] = "hybrid"
    """By meaning (`vector`), by words (`keyword`), or both, fused (`hybrid`)."""
    top_k: int = Field(default=4, ge=1, le=100)
    """Passages that a search returns."""
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
    `keyword`, and in `hybrid` a share of the best that is possible, where 1 is first in both halves."""

    @model_validator(mode="after")
    def _some_weight(self) -> Self:
        if self.keyword_weight + self.vector_weight == 0:
            raise ValueError("expected keywordWeight or vectorWeight above 0, got 0 for both: raise one of them")
        return self
