"""Routes of changes to many objects: apply and plan. Called by `server`; the reconciler decides."""

from aiohttp import web

from loomd.api.body import Application
from loomd.api.exchange import read_body, require_ready
from loomd.api.guard import answer
from loomd.api.path import PREFIX
from loomd.api.sides import show_plan
from loomd.daemon import System


class ChangeRoutes:
    """Handlers of one system."""

    def __init__(self, system: System) -> None:
        self._system = system

    def add_to(self, app: web.Application) -> None:
        """Register the routes."""
        app.add_routes([web.post(f"{PREFIX}/apply", self.apply), web.post(f"{PREFIX}/plan", self.plan)])

    async def apply(self, request: web.Request) -> web.Response:
        """Make manifests what serves; with `dryRun`, all but the last step."""
        require_ready(self._system)
        body = await read_body(request, Application)
        first, *others = body.deliveries()
        plan = await self._system.reconciler.apply(first, body.dry_run, others)
        return answer(show_plan(plan, body.sources, body.full) | {"dryRun": body.dry_run})

    async def plan(self, request: web.Request) -> web.Response:
        """Say what manifests would change, and open nothing."""
        require_ready(self._system)
        body = await read_body(request, Application)
        plan = await self._system.reconciler.plan(*body.deliveries())
        return answer(show_plan(plan, body.sources, body.full) | {"dryRun": True})
