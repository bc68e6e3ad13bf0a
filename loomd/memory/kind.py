"""Kind Memory."""

from loomd.manifest.kind import Kind
from loomd.memory.base import MemorySpec

KIND = Kind(
    name="Memory",
    plural="memories",
    spec=MemorySpec,
    summary="What an agent remembers within a task and across tasks.",
)
