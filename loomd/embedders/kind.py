"""`kind: Embedder`: a model that turns text into vectors."""

from loomd.manifest.kind import Kind

KIND = Kind(
    "Embedder",
    "embedders",
    "loomd.embedders.base:EmbedderSpec",
    "A model that turns text into vectors, for search by meaning.",
    types="loomd.embedders",
)
