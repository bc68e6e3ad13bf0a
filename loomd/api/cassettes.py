"""Route of cassettes: what a task did, for replays and tests. Called by `server`; `replay` makes them."""

from aiohttp import web

from loomd.api.path import PREFIX
from loomd.cassette import write
from loomd.daemon import System
from loomd.errors import NotFound
from loomd.replay.export import Serving, export


class CassetteRoutes:
    """Handlers of one system."""

    def __init__(self, system: System) -> None:
        self._system = system

    def add_to(self, app: web.Application) -> None:
        """Register the route."""
        app.add_routes([web.get(f"{PREFIX}/namespaces/{{namespace}}/tasks/{{name}}/cassette", self.one)])

    async def one(self, request: web.Request) -> web.Response:
        """Return the cassette of a task that has ended."""
        name, store = request.match_info["name"], self._system.store
        record = await store.get_task(name)
        if record is None or record.namespace != request.match_info["namespace"]:
            raise NotFound(f"no task {name!r}: `loomd get tasks` lists them")
        topology = self._system.reconciler.topology
        async with topology.lease():
            cassette = await export(store, name, Serving(topology.snapshot, topology.live))
        return web.Response(body=write(cassette), content_type="application/json")
