"""Routes of sources: what they tried and what of it serves; reconcile, suspend, resume. Called by `server`."""

from collections.abc import Mapping
from functools import partial

from aiohttp import web

from loomd.api.body import Suspension
from loomd.api.exchange import flag, read_body, require_ready
from loomd.api.guard import answer
from loomd.api.path import PREFIX
from loomd.api.view import show_source
from loomd.api.watch import Lookout, Shown, Sight, watch
from loomd.daemon import System
from loomd.errors import Conflict
from loomd.events.event import ConfigLoaded, ConfigRejected, SourceResumed, SourceSuspended
from loomd.reconcile.state import SourceState

_MOVES = (ConfigLoaded, ConfigRejected, SourceSuspended, SourceResumed)


class SourceRoutes:
    """Handlers of one system."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._lookout = Lookout(self._look)

    def add_to(self, app: web.Application) -> None:
        """Register the routes."""
        sources = f"{PREFIX}/sources"
        app.add_routes(
            [
                web.get(sources, self.listed),
                web.get(f"{sources}/{{name}}", self.one),
                web.post(f"{sources}/{{name}}/reconcile", self.reconcile),
                web.post(f"{sources}/{{name}}/suspend", self.suspend),
                web.post(f"{sources}/{{name}}/resume", self.resume),
            ]
        )

    async def listed(self, request: web.Request) -> web.StreamResponse:
        """Return all sources; with `watch=1` what becomes of them."""
        if flag(request, "watch"):
            return await watch(request, self._system, self._since, _MOVES)
        return answer({"items": [show_source(state) for state in self._system.reconciler.sources()]})

    async def one(self, request: web.Request) -> web.Response:
        """Return one source."""
        return answer(show_source(self._system.reconciler.source(request.match_info["name"])))

    async def reconcile(self, request: web.Request) -> web.Response:
        """Let a source deliver soon, without waiting for its interval or a change.

        Whether it did is told by its status: once `answered` has come to the `asked` of this answer.
        """
        require_ready(self._system)
        state = self._followed(request)
        if state.suspended:
            raise Conflict(f"{state.name} is suspended, so nothing of it is taken: loomd resume {state.name}")
        self._system.sources.poke(state.name)
        return answer(show_source(self._system.reconciler.source(state.name)), status=202)

    async def suspend(self, request: web.Request) -> web.Response:
        """Ignore what a source delivers, until it is resumed."""
        require_ready(self._system)
        name = self._followed(request).name
        body = await read_body(request, Suspension) if request.body_exists else Suspension()
        await self._system.reconciler.suspend(name, body.reason)
        return answer(show_source(self._system.reconciler.source(name)))

    async def resume(self, request: web.Request) -> web.Response:
        """Take what a source delivers again, beginning with what it holds now."""
        require_ready(self._system)
        name = self._followed(request).name
        await self._system.reconciler.resume(name)
        self._system.sources.poke(name)
        return answer(show_source(self._system.reconciler.source(name)))

    def _followed(self, request: web.Request) -> SourceState:
        """Return the source that a path names.

        Raises:
            NotFound: there is none of that name.
            Conflict: nobody follows it.
        """
        state = self._system.reconciler.source(request.match_info["name"])
        if not state.followed:
            raise Conflict(f"{state.name} is not followed, it was applied by hand: apply it again")
        return state

    async def _since(self, moment: float, moved: frozenset[str]) -> Sight:
        del moved
        return Sight(await self._lookout.since(moment))

    async def _look(self) -> Mapping[str, Shown]:
        states = self._system.reconciler.sources()
        return {state.name: Shown(state, partial(show_source, state)) for state in states}
