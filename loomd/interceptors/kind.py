"""Kind Interceptor."""

from typing import Annotated, Any

from loomd.manifest.kind import Kind
from loomd.manifest.oneof import OneOf


def _import_spec() -> Any:
    from loomd.interceptors.base import InterceptorSpec  # noqa: PLC0415  # only manifests of this kind need it

    return Annotated[InterceptorSpec, OneOf("loomd.interceptors")]


KIND = Kind(
    name="Interceptor",
    plural="interceptors",
    import_spec=_import_spec,
    summary="Looks at the runs, model calls and tool calls of an agent, and may change or refuse them.",
)
