"""Kind Memory."""

from typing import Any

from loomd.manifest.kind import Kind


def _import_spec() -> Any:
    from loomd.memory.base import MemorySpec  # noqa: PLC0415  # only manifests of this kind need it

    return MemorySpec


KIND = Kind(
    name="Memory",
    plural="memories",
    import_spec=_import_spec,
    summary="What an agent remembers within a task and across tasks.",
)
