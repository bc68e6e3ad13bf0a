"""Routes of the history: what serves and how far it is, what served, and the way back. Called by `server`."""

from aiohttp import web

from loomd.api.body import Rollback
from loomd.api.exchange import read_body, require_ready, whole_number
from loomd.api.guard import answer
from loomd.api.path import PREFIX
from loomd.api.view import show_revision
from loomd.daemon import System


class RolloutRoutes:
    """Handlers of one system."""

    def __init__(self, system: System) -> None:
        self._system = system

    def add_to(self, app: web.Application) -> None:
        """Register the routes."""
        rollout = f"{PREFIX}/rollout"
        app.add_routes(
            [
                web.get(rollout, self.status),
                web.get(f"{rollout}/history", self.history),
                web.get(f"{rollout}/history/{{number}}", self.revision),
                web.post(f"{rollout}/undo", self.undo),
            ]
        )

    async def status(self, request: web.Request) -> web.Response:
        """Return the revision that serves, what of it is not ready, and what is being opened beside it."""
        del request
        reconciler = self._system.reconciler
        waiting: list[dict[str, object]] = []
        for ref in reconciler.topology.snapshot.objects:
            known = {one.type: one for one in reconciler.status(ref).conditions}
            ready, stalled = known.get("Ready"), known.get("Stalled")
            if ready is None or ready.status != "True":
                why = {"reason": ready.reason, "message": ready.message} if ready else {}
                stuck = stalled is not None and stalled.status == "True"
                waiting.append({"object": str(ref), "stalled": stuck, **why})
        opening = reconciler.opening(first=False).items() if self._system.serves else ()
        return answer(
            {
                "number": reconciler.number,
                "revision": reconciler.revision,
                "serves": self._system.serves,
                "stale": reconciler.stale,
                "objects": len(reconciler.topology.snapshot.objects),
                "waiting": waiting,
                "opening": [{"object": str(ref), "message": told} for ref, told in opening],
            }
        )

    async def history(self, request: web.Request) -> web.Response:
        """Return the stored revisions, newest first."""
        del request
        number = self._system.reconciler.number
        return answer({"items": [show_revision(one, number) for one in await self._system.reconciler.history()]})

    async def revision(self, request: web.Request) -> web.Response:
        """Return one stored revision with the files of all sources."""
        record = await self._system.reconciler.recorded(whole_number(request.match_info["number"], "revision"))
        files = await self._system.store.files(record.number)
        body = show_revision(record, self._system.reconciler.number)
        body["files"] = [
            {"source": one.source, "root": one.root, "path": one.path, "text": one.data.decode("utf-8", "replace")}
            for one in files
        ]
        return answer(body)

    async def undo(self, request: web.Request) -> web.Response:
        """Serve a stored revision again; followed sources that change are suspended."""
        require_ready(self._system)
        body = await read_body(request, Rollback)
        plan = await self._system.reconciler.undo(body.to, body.dry_run)
        return answer(plan.to_json() | {"dryRun": body.dry_run})
