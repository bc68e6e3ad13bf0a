"""Routes of approvals: what people are asked, and what they answer. Called by `server`; the engine does the work."""

import msgspec
from aiohttp import web

from loomd.agents.approval import Ask, Decision
from loomd.api.address import space_at
from loomd.api.body import Answer
from loomd.api.caller import named
from loomd.api.exchange import flag, read_body
from loomd.api.guard import answer
from loomd.api.path import PREFIX
from loomd.api.view import Body
from loomd.daemon import System
from loomd.errors import NotFound
from loomd.manifest.kind import API_VERSION
from loomd.reconcile.condition import rfc3339
from loomd.store.records import ApprovalRecord


class ApprovalRoutes:
    """Handlers of one system."""

    def __init__(self, system: System) -> None:
        self._system = system

    def add_to(self, app: web.Application) -> None:
        """Register the routes."""
        approvals = f"{PREFIX}/namespaces/{{namespace}}/approvals"
        app.add_routes(
            [
                web.get(f"{PREFIX}/approvals", self.listed),
                web.get(approvals, self.listed),
                web.get(f"{approvals}/{{name}}", self.one),
                web.post(f"{approvals}/{{name}}/decision", self.decide),
            ]
        )

    async def listed(self, request: web.Request) -> web.Response:
        """Return the approvals of a namespace or of all, those that wait first; with `pending=1` only those.

        Of either the newest are first.
        """
        space = space_at(request)
        records = await self._system.store.list_approvals(pending=flag(request, "pending"))
        shown = [show_approval(one, self._system.clock.now()) for one in records if space in {None, one.namespace}]
        if flag(request, "pending"):
            shown = [one for one in shown if one["status"]["phase"] == "Pending"]
        shown.sort(key=lambda one: one["status"]["phase"] != "Pending")
        return answer({"items": shown})

    async def one(self, request: web.Request) -> web.Response:
        """Return one approval."""
        return answer(show_approval(await self._known(request), self._system.clock.now()))

    async def decide(self, request: web.Request) -> web.Response:
        """Approve or deny; the answer comes when that is on disk."""
        body = await read_body(request, Answer)
        record = await self._known(request)
        decision = Decision(body.verdict, named(body.by, request), body.reason)
        stored = await self._system.engine.decide(record.id, decision)
        return answer(show_approval(stored, self._system.clock.now()))

    async def _known(self, request: web.Request) -> ApprovalRecord:
        name = request.match_info["name"]
        record = await self._system.store.get_approval(name)
        if record is None or record.namespace != request.match_info["namespace"]:
            raise NotFound(f"no approval {name!r}: `loomd get approvals` lists them")
        return record


def show_approval(record: ApprovalRecord, now: float) -> Body:
    """Return an approval as an object without a manifest; one that nobody answered in time has expired."""
    ask = msgspec.json.decode(record.body, type=Ask)
    spec: Body = msgspec.to_builtins(ask) | {"task": record.task, "expires": rfc3339(record.expires)}
    spec.pop("ttl")
    if record.decision:
        decision = msgspec.json.decode(record.decision, type=Decision)
        status: Body = {
            "phase": decision.verdict.capitalize(),
            "by": decision.by,
            "reason": decision.reason,
        }
        if decision.at:  # what closes with its task is decided at no time of its own
            status["decided"] = rfc3339(decision.at)
    else:
        status = {"phase": "Pending" if record.expires > now else "Expired"}
    return {
        "apiVersion": API_VERSION,
        "kind": "Approval",
        "metadata": {
            "name": record.id,
            "namespace": record.namespace,
            "creationTimestamp": rfc3339(record.created),
        },
        "spec": spec,
        "status": status,
    }
