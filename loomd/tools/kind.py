"""Kind Tool."""

from typing import Annotated, Any

from loomd.manifest.kind import Kind
from loomd.manifest.oneof import OneOf


def _import_spec() -> Any:
    from loomd.tools.base import ToolSpec  # noqa: PLC0415  # only manifests of this kind need it

    return Annotated[ToolSpec, OneOf("loomd.tools")]


KIND = Kind(
    name="Tool",
    plural="tools",
    import_spec=_import_spec,
    summary="Something an agent can do: a Python function, a web service, a command, or many tools at once.",
)
