"""Kind Memory."""

from loomd.manifest.kind import Kind

KIND = Kind(
    name="Memory",
    plural="memories",
    spec_at="loomd.memory.base:MemorySpec",
    summary="What an agent remembers within a task and across tasks.",
)
