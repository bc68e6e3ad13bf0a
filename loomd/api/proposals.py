"""Routes of proposals: what clusters want to change, and what people decide. Called by `server`."""

import asyncio

import msgspec
from aiohttp import web

from loomd.agents.approval import Decision
from loomd.api.address import space_at
from loomd.api.body import Answer
from loomd.api.caller import named
from loomd.api.exchange import flag, read_body
from loomd.api.guard import answer
from loomd.api.path import PREFIX
from loomd.api.view import Body
from loomd.cluster.cluster import Cluster
from loomd.cluster.learn import proposed, verdict_of
from loomd.cluster.proposals import decide
from loomd.daemon import System
from loomd.errors import NotFound
from loomd.manifest.kind import API_VERSION
from loomd.manifest.object import Ref
from loomd.reconcile.condition import rfc3339
from loomd.store.records import ProposalRecord


class ProposalRoutes:
    """Handlers of one system."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._deciding = asyncio.Lock()

    def add_to(self, app: web.Application) -> None:
        """Register the routes."""
        proposals = f"{PREFIX}/namespaces/{{namespace}}/proposals"
        app.add_routes(
            [
                web.get(f"{PREFIX}/proposals", self.listed),
                web.get(proposals, self.listed),
                web.get(f"{proposals}/{{name}}", self.one),
                web.post(f"{proposals}/{{name}}/decision", self.decide),
            ]
        )

    async def listed(self, request: web.Request) -> web.Response:
        """Return the proposals of a namespace or of all, newest first; with `pending=1` those that wait."""
        now, pending = self._system.clock.now(), flag(request, "pending")
        records = await self._system.store.learning.proposals(space_at(request) or "", pending)
        shown = [show_proposal(one, now) for one in records]
        return answer({"items": [one for one in shown if not pending or one["status"]["phase"] == "Pending"]})

    async def one(self, request: web.Request) -> web.Response:
        """Return one proposal."""
        return answer(show_proposal(await self._known(request), self._system.clock.now()))

    async def decide(self, request: web.Request) -> web.Response:
        """Approve or deny; the answer comes when that, and what it changes, is on disk."""
        body = await read_body(request, Answer)
        verdict = Decision(body.verdict, named(body.by, request), body.reason)
        async with self._deciding:
            record = await self._known(request)
            live = self._system.reconciler.topology.live.get(Ref("Cluster", record.cluster, record.namespace))
            cluster = live if isinstance(live, Cluster) else None
            stored = await decide(self._system.services, cluster, record, verdict)
        return answer(show_proposal(stored, self._system.clock.now()))

    async def _known(self, request: web.Request) -> ProposalRecord:
        name = request.match_info["name"]
        record = await self._system.store.learning.proposal(name)
        if record is None or record.namespace != request.match_info["namespace"]:
            raise NotFound(f"no proposal {name!r}: `loomd get proposals` lists them")
        return record


def show_proposal(record: ProposalRecord, now: float) -> Body:
    """Return a proposal as an object without a manifest; one that nobody decided in time has expired."""
    task, what, decision = proposed(record)
    verdict = verdict_of(record)
    if verdict is not None:
        status: Body = {"phase": verdict.verdict.capitalize(), "by": verdict.by, "reason": verdict.reason}
        status["decided"] = rfc3339(verdict.at)
    else:
        status = {"phase": "Pending" if record.expires > now else "Expired"}
    return {
        "apiVersion": API_VERSION,
        "kind": "Proposal",
        "metadata": {
            "name": record.id,
            "namespace": record.namespace,
            "creationTimestamp": rfc3339(record.created),
        },
        "spec": {
            "cluster": record.cluster,
            "mechanism": record.mechanism,
            "what": what,
            "why": decision.reason,
            "task": task,
            "change": msgspec.to_builtins(decision),
            "expires": rfc3339(record.expires),
        },
        "status": status,
    }
