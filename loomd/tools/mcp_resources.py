"""The resources of an MCP server as two tools: one lists them, the other reads one.

What these tools say of themselves is said here, so nothing of the server gets into a prompt before a model asks for it,
and there is nothing to pin. What they give is text from outside, like every result. Called by the type `mcp`.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

import msgspec

from loomd.tools.mcp_server import Said, Server, UnknownMethod

LIST = "list_resources"
READ = "read_resource"
OWN = (LIST, READ)
"""Own names of the tools."""
_TOLD = {"uri", "uri_template", "name", "title", "description", "mime_type", "size"}
"""What is told of a resource."""


def resource_tools(name: Callable[[str], str]) -> Sequence[Said]:
    """Return what models are told of the tools.

    Args:
        name: returns what models call a tool, by its own name.
    """
    listing = (
        f"Lists the resources that {name(READ)} can read, such as documents and records: one JSON object for each. "
        "Where it has a uriTemplate, replace each {part} of it by a value to get a uri."
    )
    reading = f"Reads one resource by its uri, as {name(LIST)} gives it."
    uri = {"type": "string", "minLength": 1, "description": "The uri of the resource."}
    return (
        Said(LIST, listing, {"type": "object", "properties": {}, "additionalProperties": False}),
        Said(
            READ,
            reading,
            {"type": "object", "properties": {"uri": uri}, "required": ["uri"], "additionalProperties": False},
        ),
    )


async def list_resources(server: Server, most: int, room: int) -> str:
    """Return the resources and templates of a server as text, a JSON object a line.

    Args:
        server: the server.
        most: most of them.
        room: most bytes.

    Raises:
        ToolFailed: see `Server.ask`.
    """
    lines: list[str] = []
    async for one in _every(server, most):
        line = msgspec.json.encode(one.model_dump(by_alias=True, exclude_none=True, include=_TOLD))
        room -= len(line)
        if room < 0 or len(lines) == most:
            lines.append("[there are more, which are not listed]")
            break
        lines.append(line.decode())
    return "\n".join(lines) or "there are no resources"


async def _every(server: Server, most: int) -> AsyncGenerator[Any, None]:
    """Yield every resource and every template, from at most so many pages of each."""
    from mcp_types import (  # noqa: PLC0415  # heavy, only a live server needs it
        ListResourcesRequest,
        ListResourcesResult,
        ListResourceTemplatesRequest,
        ListResourceTemplatesResult,
        PaginatedRequestParams,
    )

    asked: list[tuple[Any, Any, str]] = [
        (ListResourcesRequest, ListResourcesResult, "resources"),
        (ListResourceTemplatesRequest, ListResourceTemplatesResult, "resource_templates"),
    ]
    for request, result, field in asked:
        cursor: str | None = None
        for _ in range(most):
            try:
                page = await server.ask(
                    request(params=PaginatedRequestParams(cursor=cursor)), result, "list of resources"
                )
            except UnknownMethod:
                break  # it has none of this sort
            for one in getattr(page, field):
                yield one
            cursor = page.next_cursor
            if not cursor:
                break


async def read_resource(server: Server, uri: str) -> str:
    """Return what a resource holds as text; what is no text is said to be left out.

    A part is text when it came as text, whatever its type says.

    Args:
        server: the server.
        uri: which one.

    Raises:
        ToolFailed: see `Server.ask`.
    """
    from mcp_types import (  # noqa: PLC0415  # heavy, only a live server needs it
        ReadResourceRequest,
        ReadResourceRequestParams,
        ReadResourceResult,
    )

    request = ReadResourceRequest(params=ReadResourceRequestParams(uri=uri))
    contents = (await server.ask(request, ReadResourceResult, "resource")).contents
    if len(contents) == 1:
        return _part(contents[0])
    return "\n".join(f"[{one.uri}]\n{_part(one)}" for one in contents) or "the resource is empty"


def _part(one: Any) -> str:
    if hasattr(one, "text"):
        return str(one.text)
    size = len(one.blob) * 3 // 4
    return f"[left out: {one.uri}, {one.mime_type or 'of no type'}, about {size} bytes that are no text]"
