"""`kind: Embedder`: a model that turns text into vectors."""

from typing import Annotated, Any

from loomd.manifest.kind import Kind
from loomd.manifest.oneof import OneOf


def _import_spec() -> Any:
    from loomd.embedders.base import EmbedderSpec  # noqa: PLC0415  # only manifests of this kind need it

    return Annotated[EmbedderSpec, OneOf("loomd.embedders")]


KIND = Kind(
    "Embedder",
    "embedders",
    _import_spec,
    "A model that turns text into vectors, for search by meaning.",
)
