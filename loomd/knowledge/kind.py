"""Kind KnowledgeBase."""

from typing import Any

from loomd.manifest.kind import Kind


def _import_spec() -> Any:
    from loomd.knowledge.spec import KnowledgeBaseSpec  # noqa: PLC0415  # only manifests of this kind need it

    return KnowledgeBaseSpec


KIND = Kind("KnowledgeBase", "knowledgebases", _import_spec, "Documents that agents look things up in.")
