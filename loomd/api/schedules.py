"""Routes of schedules beyond those of all objects: suspend, resume, and a run by hand. Called by `server`."""

from aiohttp import web

from loomd.api.body import Suspension
from loomd.api.exchange import read_body, require_ready
from loomd.api.guard import answer
from loomd.api.path import PREFIX
from loomd.api.view import Viewer
from loomd.daemon import System
from loomd.errors import NotFound
from loomd.manifest.object import Ref
from loomd.manifest.wording import did_you_mean


class ScheduleRoutes:
    """Handlers of one system."""

    def __init__(self, system: System) -> None:
        self._system = system

    def add_to(self, app: web.Application) -> None:
        """Register the routes."""
        one = f"{PREFIX}/namespaces/{{namespace}}/schedules/{{name}}"
        app.add_routes(
            [
                web.post(f"{one}/suspend", self.suspend),
                web.post(f"{one}/resume", self.resume),
                web.post(f"{one}/run", self.run),
            ]
        )

    async def suspend(self, request: web.Request) -> web.Response:
        """Start no runs, until it is resumed."""
        require_ready(self._system)
        ref = self._ref(request)
        body = await read_body(request, Suspension) if request.body_exists else Suspension()
        await self._system.schedules.suspend(ref, body.reason)
        return await self._shown(ref)

    async def resume(self, request: web.Request) -> web.Response:
        """Start the runs again that are due from now on."""
        require_ready(self._system)
        ref = self._ref(request)
        await self._system.schedules.resume(ref)
        return await self._shown(ref)

    async def run(self, request: web.Request) -> web.Response:
        """Submit a task as the schedule would, now; the answer comes when it is on disk."""
        require_ready(self._system)
        return answer({"id": await self._system.schedules.start(self._ref(request))}, status=202)

    def _ref(self, request: web.Request) -> Ref:
        """Return the schedule that a path names.

        Raises:
            NotFound: it does not serve.
        """
        ref = Ref("Schedule", request.match_info["name"], request.match_info["namespace"])
        objects = self._system.reconciler.topology.snapshot.objects
        if ref not in objects:
            known = [one.name for one in objects if (one.kind, one.namespace) == (ref.kind, ref.namespace)]
            hint = did_you_mean(ref.name, known, "there are") or "`loomd get schedules -A` lists them"
            raise NotFound(f"no schedule {ref.name!r} in namespace {ref.namespace}: {hint}")
        return ref

    async def _shown(self, ref: Ref) -> web.Response:
        item = self._system.reconciler.topology.snapshot.objects[ref]
        return answer((await Viewer.of(self._system)).show(item))
