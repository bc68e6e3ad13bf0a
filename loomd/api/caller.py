"""Who asks: for the record of what people decided. Called by routes that keep it; lets nobody in or out."""

import pwd
import socket
import struct

from aiohttp import web


def caller(request: web.Request) -> str:
    """Return the user behind a Unix socket as the kernel tells it, or `token` for one who came over TCP with one."""
    connection = request.transport.get_extra_info("socket") if request.transport else None
    if connection is None or connection.family != socket.AF_UNIX or not hasattr(socket, "SO_PEERCRED"):
        return "token"
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, user, _ = struct.unpack("3i", raw)
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"user {user}"


def named(claimed: str, request: web.Request) -> str:
    """Return who decided: the name that a program gave, and who the program is."""
    known = caller(request)
    return f"{claimed} (via {known})" if claimed and claimed != known else known
