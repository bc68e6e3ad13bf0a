"""The API: who answers what. Objects, tasks, sources and the history have modules of their own.

It changes nothing itself: writes go to the reconciler and the engine. What is shown is in `view`, streams are in
`stream` and `watch`, who may ask is in `guard`. Called by `loomd serve`.
"""

import platform
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from aiohttp import web

from loomd import __version__
from loomd.api.address import kinds_by_plural
from loomd.api.adoption import AdoptionRoutes
from loomd.api.approvals import ApprovalRoutes
from loomd.api.blueprints import BlueprintRoutes
from loomd.api.budgets import BudgetRoutes
from loomd.api.capabilities import CapabilityRoutes
from loomd.api.cassettes import CassetteRoutes
from loomd.api.changes import ChangeRoutes
from loomd.api.declared import DeclaredTaskRoutes
from loomd.api.guard import answer
from loomd.api.health import Health
from loomd.api.histories import HistoryRoutes
from loomd.api.knowledge import KnowledgeRoutes
from loomd.api.lineage import LineageRoutes
from loomd.api.listen import listening
from loomd.api.memories import MemoryRoutes
from loomd.api.objects import ObjectRoutes
from loomd.api.path import PREFIX
from loomd.api.proposals import ProposalRoutes
from loomd.api.rollout import RolloutRoutes
from loomd.api.schedules import ScheduleRoutes
from loomd.api.sessions import SessionRoutes
from loomd.api.sources import SourceRoutes
from loomd.api.stream import stream_events
from loomd.api.tasks import TaskRoutes
from loomd.api.top import TopRoutes
from loomd.api.versions import VersionRoutes
from loomd.daemon import System


@asynccontextmanager
async def open_server(system: System) -> AsyncGenerator[None, None]:
    """Serve the API where the system's settings say, for as long as the context lasts.

    Raises:
        Conflict: another process listens there.
        Permanent: the socket or the address cannot be used.
    """
    async with listening(system, lambda app: add_routes(app, system)):
        yield


def add_routes(app: web.Application, system: System) -> None:
    """Register all routes; the objects' come last, because a kind's plural may be any word."""
    first = (Health, Routes, ChangeRoutes, RolloutRoutes, SourceRoutes, ScheduleRoutes, DeclaredTaskRoutes)
    others = (
        *(
            TopRoutes,
            TaskRoutes,
            ApprovalRoutes,
            ProposalRoutes,
            CapabilityRoutes,
            BlueprintRoutes,
            AdoptionRoutes,
            LineageRoutes,
            VersionRoutes,
            SessionRoutes,
            MemoryRoutes,
            HistoryRoutes,
            BudgetRoutes,
            CassetteRoutes,
            KnowledgeRoutes,
        ),
        ObjectRoutes,
    )
    for family in (*first, *others):
        family(system).add_to(app)


class Routes:
    """What is about the daemon itself."""

    def __init__(self, system: System) -> None:
        self._system = system

    def add_to(self, app: web.Application) -> None:
        """Register the routes."""
        app.add_routes(
            [
                web.get("/version", self.version),
                web.get("/v1/events", self.events),
                web.get(PREFIX, self.kinds),
            ]
        )

    async def version(self, request: web.Request) -> web.Response:
        """Return the versions of loomd and Python."""
        del request
        return answer({"loomd": __version__, "python": platform.python_version()})

    async def kinds(self, request: web.Request) -> web.Response:
        """Return what can be listed."""
        del request
        kinds = kinds_by_plural().values()
        return answer({"kinds": [{"name": one.name, "plural": one.plural, "summary": one.summary} for one in kinds]})

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Stream events as they are journaled; `follow=1` goes on with what happens."""
        return await stream_events(request, self._system)
