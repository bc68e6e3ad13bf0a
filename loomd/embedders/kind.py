"""`kind: Embedder`: a model that turns text into vectors."""

from typing import Annotated

from loomd.embedders.base import EmbedderSpec
from loomd.manifest.kind import Kind
from loomd.manifest.oneof import OneOf

KIND = Kind(
    "Embedder",
    "embedders",
    Annotated[EmbedderSpec, OneOf("loomd.embedders")],
    "A model that turns text into vectors, for search by meaning.",
)
