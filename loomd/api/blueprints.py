"""Routes of blueprints: the specialists that clusters made, or may let join, and what agents learned to do.

Called by `server`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from aiohttp import web

from loomd.api.address import space_at
from loomd.api.guard import answer
from loomd.api.path import PREFIX
from loomd.api.view import Body
from loomd.cluster.cluster import Cluster
from loomd.daemon import System
from loomd.errors import NotFound
from loomd.manifest.kind import API_VERSION
from loomd.manifest.object import Ref
from loomd.manifest.wording import did_you_mean
from loomd.reconcile.condition import rfc3339

_REWARDS = 10
"""Rewards that are shown of one."""


@dataclass(frozen=True)
class _Shown:
    """A blueprint of a cluster."""

    ref: Ref
    cluster: Cluster
    name: str


class BlueprintRoutes:
    """Handlers of one system."""

    def __init__(self, system: System) -> None:
        self._system = system

    def add_to(self, app: web.Application) -> None:
        """Register the routes."""
        blueprints = f"{PREFIX}/namespaces/{{namespace}}/blueprints"
        app.add_routes(
            [
                web.get(f"{PREFIX}/blueprints", self.listed),
                web.get(blueprints, self.listed),
                web.get(f"{blueprints}/{{name}}", self.one),
            ]
        )

    async def listed(self, request: web.Request) -> web.Response:
        """Return the blueprints of a namespace or of all, by cluster and name."""
        space = space_at(request)
        return answer({"items": [_body(one) for one in self._all() if space in {None, one.ref.namespace}]})

    async def one(self, request: web.Request) -> web.Response:
        """Return one blueprint with its versions, its last rewards, and where it came from."""
        space, name = request.match_info["namespace"], request.match_info["name"]
        known = {one.name: one for one in self._all() if one.ref.namespace == space}
        if name not in known:
            hint = did_you_mean(name, known, "there are") or "no cluster has made any"
            raise NotFound(f"no blueprint {name!r} in namespace {space}: {hint}")
        found, learning = known[name], self._system.store.learning
        body = _body(found)
        agent = found.cluster.agents.get(name) or found.cluster.blueprints.former().get(name)
        lessons = await learning.lessons(space, name, agent.digest, _REWARDS) if agent is not None else []
        lineage = [one for one in await learning.lineage(space, name) if one.child == name]
        body["status"] |= {
            "versions": [
                {
                    "version": one.number,
                    "parent": one.parent,
                    "how": one.how,
                    "at": rfc3339(one.at),
                    "instructions": one.blueprint.instructions,
                }
                for one in found.cluster.blueprints.versions(name)
            ],
            "rewards": [{"task": one.task, "reward": one.reward, "at": rfc3339(one.at)} for one in lessons],
            "lineage": [{"how": one.how, "task": one.task, "at": rfc3339(one.at)} for one in reversed(lineage)],
        }
        return answer(body)

    def _all(self) -> Iterator[_Shown]:
        for ref, live in sorted(self._system.reconciler.topology.live.items(), key=lambda item: item[0]):
            if isinstance(live, Cluster):
                yield from (_Shown(ref, live, name) for name in live.blueprints.names())


def _body(shown: _Shown) -> Body:
    """Return a blueprint as an object without a manifest."""
    cluster, name = shown.cluster, shown.name
    blueprints = cluster.blueprints
    versions = blueprints.versions(name)
    agent = cluster.agents.get(name) or blueprints.former().get(name) or blueprints.reserve.get(name)
    made = versions[-1].blueprint if versions else None
    own = made is None or made.creator == name
    status: Body = {"state": cluster.forge.state(name), "version": versions[-1].number if versions else 0}
    if agent is not None:
        vitals = cluster.conditions.vitals(agent)
        status |= {"tasks": vitals.samples, "health": cluster.conditions.word(agent)}
        if vitals.samples:
            status["meanReward"] = vitals.mean
    metadata: Body = {"name": name, "namespace": shown.ref.namespace}
    if versions:
        metadata["creationTimestamp"] = rfc3339(versions[0].at)
    return {
        "apiVersion": API_VERSION,
        "kind": "Blueprint",
        "metadata": metadata,
        "spec": {
            "cluster": shown.ref.name,
            "creator": "" if own or made is None else made.creator,
            "description": "" if agent is None else agent.description,
            "domains": {} if agent is None else dict(agent.domains),
            "tools": [] if agent is None else list(agent.tools),
            "instructions": "" if made is None else made.instructions,
            "behaviour": "" if agent is None else agent.digest,
        },
        "status": status,
    }
