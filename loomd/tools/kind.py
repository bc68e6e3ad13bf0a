"""Kind Tool."""

from loomd.manifest.kind import Kind

KIND = Kind(
    name="Tool",
    plural="tools",
    spec_at="loomd.tools.base:ToolSpec",
    summary="Something an agent can do: a Python function, a web service, a command, or many tools at once.",
    types="loomd.tools",
)
