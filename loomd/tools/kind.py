"""Kind Tool."""

from typing import Annotated

from loomd.manifest.kind import Kind
from loomd.manifest.oneof import OneOf
from loomd.tools.base import ToolSpec

KIND = Kind(
    name="Tool",
    plural="tools",
    spec=Annotated[ToolSpec, OneOf("loomd.tools")],
    summary="Something an agent can do: a Python function, a web service, a command, or many tools at once.",
)
