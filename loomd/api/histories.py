"""Route of the past tasks that clusters compare new ones with: how they are forgotten. Called by `server`."""

import msgspec
from aiohttp import web

from loomd.api.exchange import read_body, require_ready
from loomd.api.guard import answer
from loomd.api.path import PREFIX
from loomd.api.problem import BadRequest
from loomd.cluster.cluster import Cluster
from loomd.daemon import System
from loomd.events.bus import Scope
from loomd.events.cluster import HistoryForgotten
from loomd.manifest.object import Ref


class Forgetting(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Whose tasks are to be forgotten; an empty text is for those of nobody, `all` for those of everybody."""

    tenant: str | None = None
    user: str | None = None
    all: bool = False


class HistoryRoutes:
    """Handlers of one system."""

    def __init__(self, system: System) -> None:
        self._system = system

    def add_to(self, app: web.Application) -> None:
        """Register the route."""
        app.add_routes([web.post(f"{PREFIX}/namespaces/{{namespace}}/clusters/{{name}}/forget", self.forget)])

    async def forget(self, request: web.Request) -> web.Response:
        """Remove the past tasks of a `tenant`, of a `user`, or `all`, from what new ones are compared with; count them.

        Scores and the tasks themselves stay.
        """
        require_ready(self._system)
        ref = Ref("Cluster", request.match_info["name"], request.match_info["namespace"])
        said = await read_body(request, Forgetting)
        if (said.tenant is None and said.user is None) != said.all:
            raise BadRequest(
                "expected whose tasks are to be forgotten: a tenant, a user; or all, and then nothing else"
            )
        if not isinstance(self._system.reconciler.topology.live.get(ref), Cluster):
            raise ref.missing()
        learning, bus = self._system.store.learning, self._system.bus
        count = await learning.forget(ref.namespace, said.tenant, said.user, ref.name)
        if count:
            bus.emit(HistoryForgotten(ref.name, count), Scope(bus, "", namespace=ref.namespace))
        return answer({"forgotten": count})
