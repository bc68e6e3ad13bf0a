"""Kind Interceptor."""

from typing import Annotated

from loomd.interceptors.base import InterceptorSpec
from loomd.manifest.kind import Kind
from loomd.manifest.oneof import OneOf

KIND = Kind(
    name="Interceptor",
    plural="interceptors",
    spec=Annotated[InterceptorSpec, OneOf("loomd.interceptors")],
    summary="Looks at the runs, model calls and tool calls of an agent, and may change or refuse them.",
)
