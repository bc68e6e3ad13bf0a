"""Routes of lineage: where agents came from, and what became of them, when and why. Called by `server`."""

from collections.abc import Iterable, Mapping

from aiohttp import web

from loomd.amoeba.decision import Decision, Retirement, Revival, Shaping
from loomd.api.address import space_at
from loomd.api.guard import answer
from loomd.api.moment import moment_of
from loomd.api.path import PREFIX
from loomd.api.view import Body
from loomd.cluster.descent import Happened, happened
from loomd.cluster.learn import decision_of, proposed
from loomd.daemon import System
from loomd.events.journal import Journal
from loomd.manifest.kind import API_VERSION
from loomd.reconcile.condition import rfc3339
from loomd.store.records import BlueprintRecord, Descent

_SHAPED = frozenset(("forged", "pruned", "promoted", "reverted"))

Key = tuple[str, str]
"""An agent, and what happened to it in one word."""


class LineageRoutes:
    """Handlers of one system."""

    def __init__(self, system: System) -> None:
        self._system = system

    def add_to(self, app: web.Application) -> None:
        """Register the routes."""
        app.add_routes(
            [
                web.get(f"{PREFIX}/lineage", self.listed),
                web.get(f"{PREFIX}/namespaces/{{namespace}}/lineage", self.listed),
            ]
        )

    async def listed(self, request: web.Request) -> web.Response:
        """Return what became of agents in a namespace or in all, oldest first; of one `agent`, until `at`."""
        moment = await moment_of(request, self._system)
        learning, space = self._system.store.learning, space_at(request) or ""
        agent = request.query.get("agent", "")
        records = {(one.namespace, one.name, one.version): one for one in await learning.blueprints(space)}
        before = {(one.namespace, one.name, one.state, one.created): one for one in records.values()}
        found = [
            one
            for one in await learning.lineage(space, agent)
            if (moment is None or one.at <= moment.at) and agent in {"", one.child}
        ]
        reasons = await self._reasons(found, space)
        items: list[Body] = []
        for one in found:
            what = happened(one.how)
            record = records.get((one.namespace, one.child, what.version))
            record = record or before.get((one.namespace, one.child, what.how, one.at))
            items.append(_shown(one, what, record, what.reason or reasons.get((one.task, (one.child, what.how)), "")))
        return answer({"items": items})

    async def _reasons(self, found: Iterable[Descent], space: str) -> Mapping[tuple[str, Key], str]:
        """Return why what does not say it itself happened, by task: from the journal, or what was proposed."""
        reasons: dict[tuple[str, Key], str] = {}
        for record in await self._system.store.learning.proposals(space):
            task, _, decision = proposed(record)
            _note(reasons, task, decision)
        journal = Journal(self._system.store)
        for task in dict.fromkeys(one.task for one in found if one.task and not happened(one.how).reason):
            for event in (await journal.checkpoints(task)).values():
                told = decision_of(event.data)
                if told is not None and not told.done:
                    _note(reasons, task, told)
        return reasons


def _note(reasons: dict[tuple[str, Key], str], task: str, decision: Decision) -> None:
    match decision:
        case Retirement() as d:
            reasons[task, (d.agent, "retired")] = d.reason
        case Revival() as d:
            reasons[task, (d.agent, "revived")] = d.reason
        case Shaping() as d:
            reasons[task, (d.agent, d.how)] = d.reason
        case _:
            pass


def _shown(one: Descent, what: Happened, record: BlueprintRecord | None, reason: str) -> Body:
    """Return what became of an agent as an object without a manifest.

    Args:
        one: what is stored.
        what: what it says.
        record: the version of a blueprint that belongs to it; None of what is about none.
        reason: why.
    """
    spec: Body = {"agent": one.child, "how": what.how, "cluster": what.cluster, "task": one.task}
    if what.how in _SHAPED:
        spec["creator"] = one.parent
    else:
        spec["behaviour"] = one.parent
    if record is not None:
        spec |= {"version": record.version, "parent": record.parent}
    return {
        "apiVersion": API_VERSION,
        "kind": "Descent",
        "metadata": {"name": f"{one.child}.{what.how}.{int(one.at)}", "namespace": one.namespace},
        "spec": spec,
        "status": {"at": rfc3339(one.at), "reason": reason},
    }
