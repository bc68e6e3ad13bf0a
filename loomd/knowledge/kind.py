"""Kind KnowledgeBase."""

from loomd.manifest.kind import Kind

KIND = Kind(
    "KnowledgeBase",
    "knowledgebases",
    "loomd.knowledge.spec:KnowledgeBaseSpec",
    "Documents that agents look things up in.",
)
