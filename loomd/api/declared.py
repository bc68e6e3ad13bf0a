"""The route of declared tasks beyond those of all objects: one is sent. Called by `server`; the engine runs it."""

import secrets

from aiohttp import web

from loomd.api.body import Sending
from loomd.api.exchange import read_body, require_ready
from loomd.api.guard import answer
from loomd.api.path import PREFIX
from loomd.api.tasks import submitted
from loomd.daemon import System
from loomd.engine.intake import keyed_id, new_id
from loomd.errors import NotFound
from loomd.manifest.object import Ref
from loomd.manifest.wording import did_you_mean
from loomd.tasks.declared import Declared


class DeclaredTaskRoutes:
    """Handlers of one system."""

    def __init__(self, system: System) -> None:
        self._system = system

    def add_to(self, app: web.Application) -> None:
        """Register the route."""
        app.add_routes([web.post(f"{PREFIX}/namespaces/{{namespace}}/declaredtasks/{{name}}/run", self.run)])

    async def run(self, request: web.Request) -> web.Response:
        """Submit a task as it is declared; the answer comes when it is on disk.

        Raises:
            Conflict: the key stands for a task that wants something else.
        """
        require_ready(self._system)
        body = await read_body(request, Sending) if request.body_exists else Sending()
        space, clock = request.match_info["namespace"], self._system.clock
        live = declared_task(self._system, request.match_info["name"], space)
        name = keyed_id(space, body.key) if body.key else new_id(clock)
        task = live.task(name, secrets.randbits(32) if body.seed is None else body.seed)
        said, status = await submitted(self._system, task, body.key)
        return answer(said, status=status)


def declared_task(system: System, name: str, space: str) -> Declared:
    """Return the declared task of a name.

    Raises:
        NotFound: it does not serve.
    """
    live = system.reconciler.topology.live
    if isinstance(found := live.get(Ref("Task", name, space)), Declared):
        return found
    known = [one.name for one in live if (one.kind, one.namespace) == ("Task", space)]
    hint = did_you_mean(name, known, "there are") or "`loomd get declaredtasks -A` lists them"
    raise NotFound(f"no declared task {name!r} in namespace {space}: {hint}")
