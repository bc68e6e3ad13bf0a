"""The API on a Unix socket: routes, limits, and errors as JSON. What it shows is in `view`, streams are in `stream`.

It changes nothing itself: writes go to the reconciler and the engine. Called by `loomd serve`.
"""

import logging
import platform
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path, PurePosixPath
from typing import TypeVar

import msgspec
from aiohttp import web

from loomd import __version__
from loomd.api import problem
from loomd.api.body import Application, Submission
from loomd.api.client import PREFIX
from loomd.api.socket import bound
from loomd.api.stream import stream_events
from loomd.api.view import select, show_object, show_task
from loomd.daemon import System
from loomd.errors import LoomdError, NotFound, Overloaded, Permanent
from loomd.manifest.kind import find_kinds
from loomd.manifest.source import SourceFile

MAX_BODY = 32 << 20
"""Largest request body in bytes."""
CLOSING = 1.0
"""Seconds that open streams get when the server stops."""

_log = logging.getLogger("loomd.api")
T = TypeVar("T")
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def open_server(system: System) -> AsyncGenerator[None, None]:
    """Serve the API on the system's socket for as long as the context lasts.

    Raises:
        Conflict: another process listens on the socket.
    """
    app = web.Application(middlewares=[_guard], client_max_size=MAX_BODY)
    Routes(system).add_to(app)
    with bound(system.settings.socket) as listener:
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=CLOSING, handle_signals=False)
        await runner.setup()
        try:
            await web.SockSite(runner, listener).start()
            yield
        finally:
            await runner.cleanup()


class Routes:
    """Handlers of one system."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._kinds = {kind.plural: kind for kind in find_kinds().values()}

    def add_to(self, app: web.Application) -> None:
        """Register all routes."""
        space = f"{PREFIX}/namespaces/{{namespace}}"
        app.add_routes(
            [
                web.get("/livez", self.alive),
                web.get("/readyz", self.ready),
                web.get("/version", self.version),
                web.get("/v1/events", self.events),
                web.get(PREFIX, self.kinds),
                web.post(f"{PREFIX}/apply", self.apply),
                web.post(f"{space}/tasks", self.submit),
                web.get(f"{space}/tasks", self.tasks),
                web.get(f"{space}/tasks/{{name}}", self.task),
                web.delete(f"{space}/tasks/{{name}}", self.cancel),
                web.get(f"{space}/{{plural}}", self.objects),
                web.get(f"{space}/{{plural}}/{{name}}", self.object),
            ]
        )

    async def alive(self, request: web.Request) -> web.Response:
        """Say that the process runs."""
        del request
        return web.Response(text="ok\n")

    async def ready(self, request: web.Request) -> web.Response:
        """Say whether work is taken; a refused configuration does not change that, `verbose` shows it."""
        system = self._system
        lines = ["ok" if system.ready else "draining or starting"]
        if "verbose" in request.query:
            lines += [
                f"revision {system.reconciler.revision}",
                f"objects {len(system.reconciler.topology.live)}",
                f"config {'stale, refused:' if system.reconciler.rejected else 'ok'}",
                *system.reconciler.last_error.splitlines(),
            ]
        return web.Response(text="\n".join(lines) + "\n", status=200 if system.ready else 503)

    async def version(self, request: web.Request) -> web.Response:
        """Return the versions of loomd and Python."""
        del request
        return _json({"loomd": __version__, "python": platform.python_version()})

    async def kinds(self, request: web.Request) -> web.Response:
        """Return what can be listed."""
        del request
        known = [{"name": kind.name, "plural": kind.plural, "summary": kind.summary} for kind in self._kinds.values()]
        return _json({"kinds": known})

    async def apply(self, request: web.Request) -> web.Response:
        """Make manifests what serves, or say what would change."""
        self._require_ready()
        body = await _read(request, Application)
        root = Path(body.root)
        if not root.is_absolute():
            raise Permanent(f"root: expected an absolute path, got {body.root!r}")
        files = [SourceFile(root, _below(file.path), file.text.encode()) for file in body.files]
        plan = await self._system.reconciler.apply(body.source, files, body.dry_run, body.prune)
        changes = [
            {"object": str(change.ref), "action": change.action, "fields": change.fields} for change in plan.changes
        ]
        return _json({"before": plan.before, "after": plan.after, "dryRun": body.dry_run, "changes": changes})

    async def objects(self, request: web.Request) -> web.Response:
        """Return the objects of one kind, or of `all`."""
        kind = self._kind(request)
        found = select(self._system.reconciler.topology.snapshot, request.match_info["namespace"], kind)
        return _json({"items": [show_object(item, self._system) for item in found]})

    async def object(self, request: web.Request) -> web.Response:
        """Return one object."""
        kind, name, namespace = self._kind(request), request.match_info["name"], request.match_info["namespace"]
        for item in select(self._system.reconciler.topology.snapshot, namespace, kind):
            if item.ref.name == name:
                return _json(show_object(item, self._system))
        raise NotFound(f"no {kind or 'object'} {name!r} in namespace {namespace}: `loomd get all` shows what there is")

    async def submit(self, request: web.Request) -> web.Response:
        """Accept a task; the answer comes when it is on disk."""
        self._require_ready()
        body = await _read(request, Submission)
        task = body.task(request.match_info["namespace"], self._system.clock)
        return _json({"id": await self._system.engine.submit(task)}, status=202)

    async def tasks(self, request: web.Request) -> web.Response:
        """Return all tasks of a namespace, newest first."""
        records = await self._system.store.list_tasks(unfinished="unfinished" in request.query)
        namespace = request.match_info["namespace"]
        return _json({"items": [show_task(record) for record in records if record.namespace == namespace]})

    async def task(self, request: web.Request) -> web.Response:
        """Return one task; with `wait=1` once it has ended."""
        name = await self._known(request)
        if request.query.get("wait") == "1":
            await self._system.engine.result(name)
        record = await self._system.store.get_task(name)
        if record is None:
            raise NotFound(f"no task {name!r}")
        return _json(show_task(record, full=True))

    async def cancel(self, request: web.Request) -> web.Response:
        """End a task and its children."""
        name = await self._known(request)
        await self._system.engine.cancel(name)
        return _json({"id": name}, status=202)

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Stream events as they are journaled; `follow=1` goes on with what happens."""
        return await stream_events(request, self._system)

    def _require_ready(self) -> None:
        if not self._system.ready:
            raise Overloaded("the daemon is starting or draining and takes no work: try again later", 1.0)

    def _kind(self, request: web.Request) -> str | None:
        plural = request.match_info["plural"]
        if plural == "all":
            return None
        if plural not in self._kinds:
            known = ", ".join([*self._kinds, "tasks"])
            raise NotFound(f"no kind {plural!r}: there are {known}")
        return self._kinds[plural].name

    async def _known(self, request: web.Request) -> str:
        name = request.match_info["name"]
        record = await self._system.store.get_task(name)
        if record is None or record.namespace != request.match_info["namespace"]:
            raise NotFound(f"no task {name!r}: `loomd get tasks` lists them")
        return name


@web.middleware
async def _guard(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Refuse writes that are not JSON, and turn errors into JSON."""
    try:
        if request.method in {"POST", "PUT", "PATCH"} and request.content_type != "application/json":
            return _error(Permanent(f"expected content type application/json, got {request.content_type}"), 415)
        return await handler(request)
    except LoomdError as error:
        return _error(error, problem.status_of(error))
    except web.HTTPException as error:
        return _error(Permanent(f"{request.method} {request.path}: {error.reason}"), error.status)
    except Exception as error:
        _log.exception("%s %s failed", request.method, request.path)
        return _error(Permanent(f"internal fault ({type(error).__name__}): the daemon's log says more"), 500)


async def _read(request: web.Request, shape: type[T]) -> T:
    try:
        return msgspec.json.decode(await request.read(), type=shape)
    except msgspec.MsgspecError as error:
        raise Permanent(f"the body is not what {request.path} expects: {error}") from error


def _below(path: str) -> str:
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts:
        raise Permanent(f"files: {path!r} leaves the root: expected a path below it")
    return path


def _json(body: Mapping[str, object], status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), status=status, content_type="application/json")


def _error(error: LoomdError, status: int) -> web.Response:
    return _json(problem.to_json(error), status)
