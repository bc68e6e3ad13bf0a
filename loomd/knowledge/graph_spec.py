"""What a manifest says about the graph of a knowledge base."""

from typing import Annotated

from pydantic import Field

from loomd.knowledge.extractors.base import ExtractorSpec
from loomd.knowledge.extractors.rules import RulesExtractor
from loomd.manifest.kind import Spec
from loomd.manifest.oneof import OneOf
from loomd.manifest.quantity import Share


class GraphSpec(Spec):
    """Entities and relations of the passages: for answers that several documents have parts of."""

    extract: Annotated[ExtractorSpec, OneOf("loomd.knowledge.extractors", default="rules")] = Field(
        default_factory=RulesExtractor
    )
    """How entities and relations are found."""
    depth: int = Field(default=2, ge=1, le=5)
    """How many relations are followed from what a question names."""
    damping: Share = 0.5
    """Share of its activation that an entity hands on to those that it is related to, at each step."""
    weight: float = Field(default=0.3, gt=0, le=10)
    """Weight of the passages that the graph finds, beside `keywordWeight` and `vectorWeight`; less of it counts when
    the question names nothing that is rare, nothing when it names nothing at all. 0.3 leaves plain questions as they
    are; 0.5 to 1 suits questions that need several documents."""
    common: int = Field(default=50, ge=0, le=1000)
    """A question that names no entity is looked up by single words of their names; a word that more entities have is
    passed over. 0 looks up no single words."""
