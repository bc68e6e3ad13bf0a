"""What every request must pass before a route sees it, and how what is refused is said.

Over the Unix socket the kernel tells who asks. Over TCP a request needs the token, a known `Host` (a page that makes
its own name lead here is refused) and no foreign `Origin`; only `/livez` and `/readyz` answer without them. Called by
`listen` for both listeners.
"""

import asyncio
import hashlib
import hmac
import json
import logging
import math
import os
import socket
import struct
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from loomd.api import problem
from loomd.daemon import System
from loomd.errors import LoomdError, Overloaded, Permanent, Temporary, Unauthorized
from loomd.settings import parse_address

OPEN = frozenset(("/livez", "/readyz"))
"""Routes that say no more than one word and need no token."""
HEALTH = OPEN | {"/metrics"}
"""Routes that answer also when there is no room for others."""

_log = logging.getLogger("loomd.api")
_LOOPBACK = frozenset(("localhost", "127.0.0.1", "::1"))
_ANY = frozenset(("0.0.0.0", "::"))  # noqa: S104  # compared with, not bound to


class Refused(NamedTuple):
    """Why a request goes no further."""

    error: LoomdError
    status: HTTPStatus


class Guard:
    """Checks the requests of one listener.

    Args:
        system: what they are for; its settings may change while it runs.
        crowded: says whether a request came over a connection that there is no room for, but for its health.
        remote: whether the listener is reached over TCP.
    """

    def __init__(self, system: System, crowded: Callable[[web.Request], bool], remote: bool) -> None:
        self._system = system
        self._crowded = crowded
        self._remote = remote

    @property
    def middlewares(self) -> list[Middleware]:
        """Return what the application puts around every route, the outermost first."""

        @web.middleware
        async def deliver(request: web.Request, handler: Handler) -> web.StreamResponse:
            response = await handler(request)
            await self._deliver(request, response)
            return response

        @web.middleware
        async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
            refused = next(self._refusals(request), None) or await self._read_body(request)
            return say(*refused) if refused else await handler(request)

        return [deliver, errors_as_json, check]

    def _refusals(self, request: web.Request) -> Iterator[Refused]:
        """Yield why a request is refused, the first reason first."""
        if _route(request) not in HEALTH and self._crowded(request):
            yield Refused(Overloaded("too many connections: try again later", 1.0), HTTPStatus.SERVICE_UNAVAILABLE)
        yield from self._foreign(request) if self._remote else _stranger(request, self._system.settings.socket_mode)
        if not request.can_read_body:
            return
        coding = request.headers.get("Content-Encoding", "identity")
        if coding.lower() != "identity":
            error = Permanent(f"expected a body as it is, got content encoding {coding}")
            yield Refused(error, HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
        if request.content_type != "application/json":
            error = Permanent(f"expected content type application/json, got {request.content_type}")
            yield Refused(error, HTTPStatus.UNSUPPORTED_MEDIA_TYPE)

    def _foreign(self, request: web.Request) -> Iterator[Refused]:
        """Yield what is wrong with a request that came over TCP."""
        settings = self._system.settings
        origin = request.headers.get("Origin")
        if origin is not None and origin not in settings.allowed_origins:
            error = Permanent(f"requests of the page {origin} are not taken: list it in allowedOrigins")
            yield Refused(error, HTTPStatus.FORBIDDEN)
        if _route(request) in OPEN and not request.query_string:
            return
        host = request.headers.get("Host", "")
        own = parse_address(settings.listen)[0]
        known = {*_LOOPBACK, *(one.lower() for one in settings.allowed_hosts), *({own} - _ANY)}
        if _host_name(host) not in known:
            error = Permanent(f"Host {host!r} is not a name of this daemon: list it in allowedHosts")
            yield Refused(error, HTTPStatus.FORBIDDEN)
        if not self._has_token(request):
            error = Unauthorized("expected the header `Authorization: Bearer TOKEN` with the token of this daemon")
            yield Refused(error, HTTPStatus.UNAUTHORIZED)

    def _has_token(self, request: web.Request) -> bool:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        given = hashlib.sha256(token.strip().encode("utf-8", "surrogateescape")).digest()
        return hmac.compare_digest(given, self._system.token) and scheme.lower() == "bearer"

    async def _read_body(self, request: web.Request) -> Refused | None:
        """Take the body in, so that no route waits for a client that sends it slowly."""
        if not request.can_read_body:
            return None
        limit = self._system.settings.limits.body_time
        try:
            async with asyncio.timeout(limit):
                await request.read()
        except TimeoutError:
            error = Permanent(f"{request.method} {request.path}: the body did not arrive within {limit:g} s")
            return Refused(error, HTTPStatus.REQUEST_TIMEOUT)
        return None

    async def _deliver(self, request: web.Request, response: web.StreamResponse) -> None:
        """Send an answer, so that a client that takes it slowly does not hold its place for ever."""
        try:
            async with asyncio.timeout(self._system.settings.limits.body_time):
                await response.prepare(request)
                await response.write_eof()
        except TimeoutError:
            cut(request)
        except ConnectionError:
            return  # the client is gone: nobody to answer


@web.middleware
async def errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer with a JSON object whatever goes wrong."""
    try:
        return await handler(request)
    except LoomdError as error:
        return say(error, problem.status_of(error))
    except web.HTTPException as error:
        said = say(Permanent(f"{request.method} {request.path}: {error.reason}"), error.status)
        said.headers.update({name: value for name, value in error.headers.items() if name == "Allow"})
        return said
    except Exception as error:
        _log.exception("%s %s failed", request.method, _route(request) or "(no route)")
        return say(Permanent(f"internal fault ({type(error).__name__}): the daemon's log says more"), 500)


def answer(body: Mapping[str, object], status: int = 200) -> web.Response:
    """Return a JSON object as a response."""
    return web.Response(body=encode(body), status=status, content_type="application/json")


def encode(body: Mapping[str, object]) -> bytes:
    """Return JSON; what is no Unicode, such as the name of a file, is escaped in it."""
    try:
        return msgspec.json.encode(body)
    except UnicodeEncodeError:
        return json.dumps(msgspec.to_builtins(body)).encode()


def say(error: LoomdError, status: int) -> web.Response:
    """Return an error as a response."""
    response = answer(problem.to_json(error), status)
    if status == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, Temporary) and error.retry_after is not None:
        response.headers["Retry-After"] = str(math.ceil(error.retry_after))
    if status in {HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.REQUEST_ENTITY_TOO_LARGE}:
        response.force_close()
    return response


def cut(request: web.Request) -> None:
    """End the connection of a request at once, whatever of the answer is still to be sent."""
    if request.transport is not None:
        request.transport.abort()


def _route(request: web.Request) -> str:
    """Return the pattern of the route that answers, or an empty string: no other spelling of a path leads to it."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else ""


def _stranger(request: web.Request, mode: str) -> Iterator[Refused]:
    """Yield why whoever asks over the Unix socket may not; with a socket for its group the kernel has decided."""
    connection = request.transport.get_extra_info("socket") if request.transport else None
    if mode != "0600" or connection is None or not hasattr(socket, "SO_PEERCRED"):
        return
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, user, _ = struct.unpack("3i", raw)
    if user not in {0, os.geteuid()}:
        error = Permanent(f"user {user} may not use this socket: it belongs to user {os.geteuid()}")
        yield Refused(error, HTTPStatus.FORBIDDEN)


def _host_name(host: str) -> str:
    """Return the name in a `Host` header without its port, or an empty string."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
