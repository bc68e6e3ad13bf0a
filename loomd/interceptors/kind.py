"""Kind Interceptor."""

from loomd.manifest.kind import Kind

KIND = Kind(
    name="Interceptor",
    plural="interceptors",
    spec_at="loomd.interceptors.base:InterceptorSpec",
    summary="Looks at the runs, model calls and tool calls of an agent, and may change or refuse them.",
    types="loomd.interceptors",
)
