"""Routes of an agent's versions: what it learned, what was tried, and the way back. Called by `server`."""

from collections.abc import Iterator, Sequence
from functools import partial

import msgspec
from aiohttp import web

from loomd.api.caller import named
from loomd.api.exchange import read_body
from loomd.api.guard import answer
from loomd.api.path import PREFIX
from loomd.api.problem import BadRequest
from loomd.api.view import Body
from loomd.cluster.cluster import Cluster
from loomd.cluster.learn import tried_in
from loomd.cluster.versions import revert, reverted
from loomd.daemon import System
from loomd.errors import NotFound
from loomd.manifest.object import Ref
from loomd.reconcile.condition import rfc3339
from loomd.store.finish import finish
from loomd.store.records import Descent


class Reversion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An agent gets earlier instructions back: those of a version, or without one those before the present ones."""

    to: int | None = None
    cluster: str = ""
    by: str = ""
    reason: str = ""


class VersionRoutes:
    """Handlers of one system."""

    def __init__(self, system: System) -> None:
        self._system = system

    def add_to(self, app: web.Application) -> None:
        """Register the routes."""
        app.add_routes([web.post(f"{PREFIX}/namespaces/{{namespace}}/agents/{{name}}/revert", self.revert)])

    async def revert(self, request: web.Request) -> web.Response:
        """Give an agent earlier instructions back; the answer comes when that is on disk."""
        body = await read_body(request, Reversion)
        namespace, name = request.match_info["namespace"], request.match_info["name"]
        ref, cluster = self._cluster(namespace, name, body.cluster)
        by = named(body.by, request)
        why = f"reverted by {by}: {body.reason}" if body.reason else f"reverted by {by}"
        decide = partial(reverted, cluster, name, body.to, why)
        shaping = await finish(revert(self._system.services, cluster, decide))
        found: Body = {"agent": name, "cluster": ref.name, "version": shaping.version, "to": shaping.parent}
        return answer({**found, "instructions": shaping.blueprint.instructions})

    def _cluster(self, namespace: str, agent: str, wanted: str) -> tuple[Ref, Cluster]:
        """Return the cluster in which an agent learned instructions, or the one that is wanted."""
        live = self._system.reconciler.topology.live.items()
        known = {ref: one for ref, one in live if isinstance(one, Cluster) and ref.namespace == namespace}
        members = {ref: one for ref, one in known.items() if agent in one.agents and wanted in {"", ref.name}}
        if not members:
            where = f"Cluster/{wanted}" if wanted else "any cluster that serves"
            raise NotFound(f"Agent/{agent} is no member of {where}")
        learned = {ref: one for ref, one in members.items() if one.blueprints.current(agent)} or members
        if len(learned) > 1:
            names = ", ".join(sorted(ref.name for ref in learned))
            raise BadRequest(f"Agent/{agent} is a member of several clusters: {names}; say which with `cluster`")
        return next(iter(learned.items()))


def versions(ref: Ref, cluster: Cluster, agent: str) -> Iterator[Body]:
    """Yield what an agent learned in a cluster, the latest version first."""
    current = cluster.blueprints.current(agent)
    locked = cluster.agents[agent].locked if agent in cluster.agents else ()
    for one in reversed(cluster.blueprints.versions(agent)):
        yield {
            "cluster": ref.name,
            "version": one.number,
            "parent": one.parent,
            "how": one.how,
            "at": rfc3339(one.at),
            "current": one is current,
            "locked": one is current and "instructions" in locked,
            "instructions": one.blueprint.instructions,
        }


def attempts(ref: Ref, lineage: Sequence[Descent]) -> Iterator[Body]:
    """Yield what was tried in a cluster to give an agent better instructions, and what came of it, the latest first."""
    begin = tried_in(ref.name)
    for one in reversed(lineage):
        if one.how.startswith(begin):
            what = one.how.removeprefix(begin)
            yield {"cluster": ref.name, "at": rfc3339(one.at), "task": one.task, "what": what}
