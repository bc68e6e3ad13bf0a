"""Routes of capabilities: what clusters believe of their agents, per domain, now. Called by `server`."""

from collections.abc import Iterator

import msgspec
from aiohttp import web

from loomd.agents.agent import Agent
from loomd.amoeba.world import Score
from loomd.api.address import space_at
from loomd.api.guard import answer
from loomd.api.moment import Moment, moment_of, snapshot_of
from loomd.api.path import PREFIX
from loomd.api.versions import attempts, versions
from loomd.api.view import Body
from loomd.cluster.behaviours import Behaviours
from loomd.cluster.capability import Key
from loomd.cluster.cluster import Cluster
from loomd.cluster.past import Belief, Records, beliefs
from loomd.daemon import System
from loomd.errors import NotFound
from loomd.manifest.duration import format_duration
from loomd.manifest.kind import API_VERSION
from loomd.manifest.object import Ref
from loomd.reconcile.condition import rfc3339
from loomd.store.records import Movement

_LAST = 5
"""Movements of one score that are shown."""


class CapabilityRoutes:
    """Handlers of one system."""

    def __init__(self, system: System) -> None:
        self._system = system

    def add_to(self, app: web.Application) -> None:
        """Register the routes."""
        space = f"{PREFIX}/namespaces/{{namespace}}"
        app.add_routes(
            [
                web.get(f"{PREFIX}/capabilities", self.listed),
                web.get(f"{space}/capabilities", self.listed),
                web.get(f"{space}/agents/{{name}}/health", self.health),
            ]
        )

    async def listed(self, request: web.Request) -> web.Response:
        """Return what is believed in a namespace or in all, by cluster, agent and domain; with `at` what was then."""
        space = space_at(request)
        if (moment := await moment_of(request, self._system)) is not None:
            return answer({"items": await self._past(moment, space)})
        shown = [
            one for ref, cluster in self._clusters() if space in {None, ref.namespace} for one in _of(ref, cluster)
        ]
        return answer({"items": shown})

    async def health(self, request: web.Request) -> web.Response:
        """Return how an agent does in each cluster, and its last rewards and movements."""
        ref = Ref("Agent", request.match_info["name"], request.match_info["namespace"])
        learning, behaviour = self._system.store.learning, self._behaviour(ref)
        here = [(at, one) for at, one in self._clusters() if at.namespace == ref.namespace]
        where = [(at, one) for at, one in here if ref.name in one.agents]
        left = [] if where else [(at, one, one.blueprints.former().get(ref.name)) for at, one in here]
        went = [(at, one, agent) for at, one, agent in left if agent is not None]
        where += [(at, one) for at, one, _ in went]
        learned = [one.agents[ref.name].digest for _, one in where if one.blueprints.current(ref.name)]
        behaviour = learned[0] if learned else behaviour
        lessons = await learning.lessons(ref.namespace, ref.name, behaviour, 10)
        moved = [one for one in await learning.movements(ref.name, limit=100_000) if one.spec == behaviour]
        lineage = [one for one in await learning.lineage(ref.namespace, ref.name) if one.child == ref.name]
        return answer(
            {
                "agent": ref.name,
                "namespace": ref.namespace,
                "behaviour": behaviour,
                "clusters": [
                    {"cluster": at.name, **_health(cluster, cluster.agents[ref.name])}
                    for at, cluster in where
                    if ref.name in cluster.agents
                ]
                + [{"cluster": at.name, **_gone(cluster, agent)} for at, cluster, agent in went],
                "versions": [one for at, cluster in where for one in versions(at, cluster, ref.name)],
                "attempts": [one for at, _ in where for one in attempts(at, lineage)],
                "rewards": [{"task": one.task, "reward": one.reward, "at": rfc3339(one.at)} for one in lessons],
                "movements": [
                    msgspec.to_builtins(one) | {"at": rfc3339(one.at)} for one in reversed(moved[-2 * _LAST :])
                ],
                "lineage": [{"how": one.how, "task": one.task, "at": rfc3339(one.at)} for one in reversed(lineage)],
            }
        )

    def _behaviour(self, ref: Ref) -> str:
        """Return the digest of how an agent behaves: a declared one, or one that a cluster made.

        Raises:
            NotFound: there is no such agent.
        """
        snapshot = self._system.reconciler.topology.snapshot
        if ref in snapshot.objects:
            return snapshot.behaviour(ref)
        for where, cluster in self._clusters():
            if where.namespace == ref.namespace and ref.name in cluster.agents:
                return cluster.agents[ref.name].digest
        for where, cluster in self._clusters():
            if where.namespace == ref.namespace and (agent := cluster.blueprints.former().get(ref.name)) is not None:
                return agent.digest
        raise ref.missing()

    async def _past(self, moment: Moment, space: str | None) -> list[Body]:
        """Return what was believed at a moment.

        Raises:
            NotFound: what served then, or how scores moved, is not kept any more.
        """
        system = self._system
        age = system.settings.retention.age
        if age and moment.at < system.clock.now() - age:
            raise NotFound(
                f"how scores moved is kept for {format_duration(age)} (retention.age of the daemon's settings)"
            )
        snapshot, learning, services = await snapshot_of(system, moment.served), system.store.learning, system.services
        moved: list[Movement] = []
        while page := await learning.movements(after=moved[-1].seq if moved else 0):
            moved += page
        records = Records(moved, await learning.blueprints(space or ""), await learning.lineage(space or ""))
        return [
            _told(item.ref, one)
            for item in sorted(snapshot.of_kind("Cluster"), key=lambda one: one.ref)
            if space in {None, item.ref.namespace}
            for one in beliefs(item, snapshot, records, moment.at, Behaviours(item.ref.namespace, services).before)
        ]

    def _clusters(self) -> Iterator[tuple[Ref, Cluster]]:
        for ref, live in sorted(self._system.reconciler.topology.live.items(), key=lambda item: item[0]):
            if isinstance(live, Cluster):
                yield ref, live


def _of(ref: Ref, cluster: Cluster) -> Iterator[Body]:
    """Yield what a cluster believes of its agents: what was learned, and what is declared and not learned yet."""
    for agent in sorted(cluster.agents.values(), key=lambda one: one.name):
        for domain in sorted({*cluster.book.known(agent.name, agent.digest), *(agent.domains or [agent.name])}):
            yield _shown(ref, cluster, agent, domain)


def _shown(ref: Ref, cluster: Cluster, agent: Agent, domain: str) -> Body:
    stored = cluster.book.known(agent.name, agent.digest).get(domain)
    score = cluster.standing(agent.name, [domain]).scores[domain]
    status: Body = {
        "score": score.mean,
        "uncertainty": score.uncertainty,
        "count": score.count,
        **_health(cluster, agent),
    }
    uses = cluster.uses(agent.name, agent.digest)
    if uses.seen:
        status["tokens"] = {"read": uses.read, "written": uses.written, "count": uses.seen}
    return _body(ref, (agent.name, agent.digest, domain), status, stored)


def _told(ref: Ref, one: Belief) -> Body:
    """Return what a cluster believed; how an agent did by health is not kept."""
    status: Body = {"score": one.score.mean, "uncertainty": one.score.uncertainty, "count": one.score.count}
    if one.retired:
        status["health"] = "retired"
    return _body(ref, (one.agent, one.spec, one.domain), status, one.learned)


def _body(ref: Ref, key: Key, status: Body, stored: Score | None) -> Body:
    """Return a score as an object without a manifest; `stored` is what was learned, without what time took of it."""
    agent, digest, domain = key
    if stored is not None:
        status |= {"learned": stored.mean, "variance": stored.variance, "updated": rfc3339(stored.updated)}
    return {
        "apiVersion": API_VERSION,
        "kind": "Capability",
        "metadata": {"name": f"{agent}.{domain}", "namespace": ref.namespace},
        "spec": {"cluster": ref.name, "agent": agent, "domain": domain, "behaviour": digest},
        "status": status,
    }


def _gone(cluster: Cluster, agent: Agent) -> Body:
    """Return how an agent did that a cluster had made, and that went: when, and why as it was decided."""
    vitals, last = cluster.conditions.vitals(agent), cluster.blueprints.versions(agent.name)[-1]
    return {"health": "pruned", "reason": vitals.reason, "since": rfc3339(last.at)}


def _health(cluster: Cluster, agent: Agent) -> Body:
    """Return how an agent does in a cluster."""
    conditions = cluster.conditions
    vitals, record, until = conditions.vitals(agent), conditions.record(agent), conditions.until(agent)
    found: Body = {"health": conditions.word(agent), "reason": vitals.reason}
    if "health" in agent.locked:
        found["locked"] = True
    if vitals.since:
        found["since"] = rfc3339(vitals.since)
    if record.times:
        found |= {"retired": record.times, "lastRetired": rfc3339(record.retired)}
    if until:
        found["until"] = rfc3339(until)
    elif vitals.health == "dying" and (why := conditions.spared(agent, cluster.forge.departures.free())):
        found["kept"] = why
    return found
