"""Routes of sessions: the conversations that there are, what was said in them, and how they are forgotten.

A session is there as long as one of its turns is. Two tenants or users may have one of the same name: then the query
says which is meant. Called by `server`.
"""

import msgspec
from aiohttp import web

from loomd.api.address import space_at
from loomd.api.guard import answer
from loomd.api.path import PREFIX
from loomd.api.view import Body
from loomd.daemon import System
from loomd.errors import Conflict, NotFound
from loomd.manifest.kind import API_VERSION
from loomd.reconcile.condition import rfc3339
from loomd.store.records import SessionRecord, Turn


class SessionRoutes:
    """Handlers of one system."""

    def __init__(self, system: System) -> None:
        self._system = system

    def add_to(self, app: web.Application) -> None:
        """Register the routes."""
        sessions = f"{PREFIX}/namespaces/{{namespace}}/sessions"
        app.add_routes(
            [
                web.get(f"{PREFIX}/sessions", self.listed),
                web.get(sessions, self.listed),
                web.get(f"{sessions}/{{name}}", self.one),
                web.delete(f"{sessions}/{{name}}", self.forget),
            ]
        )

    async def listed(self, request: web.Request) -> web.Response:
        """Return the sessions of a namespace or of all, that with the newest turn first; `tenant` and `user` narrow."""
        found = await self._system.store.sessions(space_at(request) or "")
        return answer({"items": [show_session(one) for one in found if _is_meant(one, request)]})

    async def one(self, request: web.Request) -> web.Response:
        """Return one session with its turns; `tenant` and `user` say whose, when several have its name."""
        record = await self._known(request)
        return answer(show_session(record, await self._system.store.turns(record.key)))

    async def forget(self, request: web.Request) -> web.Response:
        """Forget a session; its tasks stay as long as they are kept. `tenant` and `user` as above."""
        record = await self._known(request)
        await self._system.store.forget(record.key)
        return answer(show_session(record))

    async def _known(self, request: web.Request) -> SessionRecord:
        """Return the session that a request names.

        Raises:
            NotFound: there is none.
            Conflict: there are several.
        """
        space, name = request.match_info["namespace"], request.match_info["name"]
        found = [one for one in await self._system.store.sessions(space, name) if _is_meant(one, request)]
        if not found:
            raise NotFound(f"no session {name!r}: `loomd get sessions` lists them")
        if len(found) > 1:
            listed = ", ".join(f"tenant {one.key.tenant!r} user {one.key.user!r}" for one in found[:5])
            raise Conflict(f"{len(found)} sessions are called {name!r}: say whose, by tenant and user; there: {listed}")
        return found[0]


def show_session(record: SessionRecord, turns: list[Turn] | None = None) -> Body:
    """Return a session as an object without a manifest, with its turns when they are given."""
    key = record.key
    status: Body = {"agents": list(record.agents), "turns": record.turns, "last": rfc3339(record.last)}
    if turns is not None:
        status["history"] = [_turn(one) for one in turns]
    return {
        "apiVersion": API_VERSION,
        "kind": "Session",
        "metadata": {
            "name": key.session,
            "namespace": key.namespace,
            "creationTimestamp": rfc3339(record.created),
        },
        "spec": {"tenant": key.tenant, "user": key.user},
        "status": status,
    }


def _turn(turn: Turn) -> Body:
    said: Body = msgspec.to_builtins(turn)
    del said["key"]
    return said | {"created": rfc3339(turn.created)}


def _is_meant(record: SessionRecord, request: web.Request) -> bool:
    whose = (("tenant", record.key.tenant), ("user", record.key.user))
    return all(request.query.get(field, mine) == mine for field, mine in whose)
