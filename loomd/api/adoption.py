"""Routes of adoption: what clusters learned, as manifests, and as changes of those that declare it. Called by `server`.

Nothing is written here; `loomd export` and `loomd adopt` do that, beside the files.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from loomd.agents.agent import Agent
from loomd.api.address import space_at
from loomd.api.exchange import whole_number
from loomd.api.guard import answer
from loomd.api.path import PREFIX
from loomd.api.view import Body
from loomd.cluster.adoption import Measure, Origin, agent_manifest, domains_of
from loomd.cluster.blueprints import Version
from loomd.cluster.cluster import Cluster
from loomd.cluster.descent import happened
from loomd.daemon import System
from loomd.errors import NotFound
from loomd.manifest.object import Object, Ref
from loomd.manifest.template import holds
from loomd.manifest.wording import did_you_mean
from loomd.reconcile.condition import rfc3339
from loomd.store.records import Average, Descent

_MOST_DIGITS = 6
_ALL = 1_000_000
_OFFERS = 100
"""Offers of a field that are kept."""


class AdoptionRoutes:
    """Handlers of one system."""

    def __init__(self, system: System) -> None:
        self._system = system

    def add_to(self, app: web.Application) -> None:
        """Register the routes."""
        space = f"{PREFIX}/namespaces/{{namespace}}"
        app.add_routes(
            [
                web.get(f"{space}/blueprints/{{name}}/manifest", self.manifest),
                web.get(f"{space}/adoption", self.listed),
            ]
        )

    async def manifest(self, request: web.Request) -> web.Response:
        """Return the manifest of an agent that a cluster made, or gave other instructions."""
        looking = await self._look(request)
        name = request.match_info["name"]
        for ref, cluster in looking.clusters():
            version = cluster.blueprints.current(name)
            if version is not None and (made := looking.made(ref, cluster, name, version)) is not None:
                return answer(made)
        for ref, cluster in looking.clusters():
            if name in cluster.blueprints.former():
                version = cluster.blueprints.versions(name)[-1]
                if (made := looking.made(ref, cluster, name, version)) is not None:
                    return answer(made)
        known = looking.known("blueprint")
        if any(one.blueprints.versions(name) and name in one.blueprints.declared for _, one in looking.clusters()):
            raise NotFound(f"blueprint {name!r} does not hold any more: Agent/{name} is declared by now")
        if name in known:
            raise NotFound(f"blueprint {name!r} has no agent's manifest: what it is made from is declared as no Agent")
        there = did_you_mean(name, sorted(known), "there are") or "no cluster made an agent, or gave one instructions"
        raise NotFound(f"no blueprint {name!r}: {there}")

    async def listed(self, request: web.Request) -> web.Response:
        """Return what was learned in a namespace, as changes of the objects that are declared, by file.

        With `agent`, `blueprint` or `cluster`, each a list of names with commas, only that.
        """
        looking = await self._look(request)
        query = request.query
        wanted = {kind: set(filter(None, query.get(kind, "").split(","))) for kind in ("agent", "blueprint", "cluster")}
        items = looking.changes(wanted)
        for kind, names in wanted.items():
            for name in sorted(names - looking.known(kind)):
                hint = did_you_mean(name, sorted(looking.known(kind)), "there are") or "there is none"
                raise NotFound(f"no {kind} {name!r} in namespace {looking.namespace}: {hint}")
        return answer({"items": [self._placed(ref, found) for ref, found in items.items()]})

    async def _look(self, request: web.Request) -> "_Looking":
        tasks = whole_number(request.query.get("tasks", str(Measure.tasks)), "tasks")
        digits = whole_number(request.query.get("digits", str(Measure.digits)), "digits")
        measure = Measure(min(tasks, _ALL), max(1, min(digits, _MOST_DIGITS)))
        namespace = space_at(request) or "default"
        lineage = await self._system.store.learning.lineage(namespace)
        return _Looking(self._system, namespace, measure, lineage)

    def _placed(self, ref: Ref, found: "_Found") -> Body:
        """Return changes with the file in which they are to be made."""
        reconciler = self._system.reconciler
        item = reconciler.topology.snapshot.objects[ref]
        source = reconciler.status(ref).source
        type_ = reconciler.source(source).type
        file = next(one for one in reconciler.files(source) if one.name == item.position.file)
        body: Body = {
            "kind": ref.kind,
            "name": ref.name,
            "namespace": ref.namespace,
            "source": source,
            "type": type_,
            "root": str(file.root),
            "path": file.path,
            "text": file.data.decode(),
            "changes": [self._offer(ref, one) for one in found.changes],
            "added": found.added,
        }
        if type_ == "git":
            _, space, name = source.split("/")
            declared = reconciler.topology.snapshot.objects.get(Ref("GitSource", name, space))
            if declared is not None:
                body |= {"folder": declared.spec.path, "inline": bool(declared.spec.manifests)}
        return body

    def _offer(self, ref: Ref, change: Body) -> Body:
        """Return a change of a score with what was offered for its field before, which in a file is no person's edit.

        Each offer is kept as an average of one, so that it is known after a restart, too; one that is too many takes
        the place of the oldest. Instructions may have been offered as long as they are kept.
        """
        if "value" not in change:
            return change
        services, subject = self._system.services, f"adoption {ref} {'/'.join(change['field'])}"
        known = sorted(services.averages.of(subject).values(), key=lambda one: one.updated)
        oldest = known[0].name if len(known) >= _OFFERS else str(len(known))
        place = next((one.name for one in known if one.value == change["value"]), oldest)
        offer = Average(subject, place, change["value"], 1, services.clock.now())
        services.averages.take(offer)
        self._system.store.average(offer)
        return change | {"offered": [one.value for one in known if one.value != offer.value]}


@dataclass
class _Found:
    """What is to be changed of a declared object: fields, and the manifests that are to stand beside it."""

    changes: list[Body] = field(default_factory=list[Body])
    added: list[Body] = field(default_factory=list[Body])


@dataclass
class _Looking:
    """A look at what the clusters of a namespace learned."""

    system: System
    namespace: str
    measure: Measure
    lineage: list[Descent]
    found: dict[Ref, _Found] = field(default_factory=dict[Ref, _Found])

    def clusters(self) -> Iterator[tuple[Ref, Cluster]]:
        """Yield the clusters of the namespace by name."""
        for ref, live in sorted(self.system.reconciler.topology.live.items(), key=lambda one: one[0]):
            if isinstance(live, Cluster) and ref.namespace == self.namespace:
                yield ref, live

    def known(self, kind: str) -> set[str]:
        """Return the names that may be wanted."""
        if kind == "cluster":
            return {ref.name for ref, _ in self.clusters()}
        if kind == "blueprint":
            return {name for _, one in self.clusters() for name in one.blueprints.made}
        return {name for _, one in self.clusters() for name in one.agents}

    def changes(self, wanted: dict[str, set[str]]) -> dict[Ref, _Found]:
        """Return what is to be changed of each declared object."""
        everything = not any(wanted.values())
        for ref, cluster in self.clusters():
            for agent in sorted(cluster.agents.values(), key=lambda one: one.name):
                whole = everything or ref.name in wanted["cluster"] or agent.name in wanted["agent"]
                if whole or agent.name in wanted["blueprint"]:
                    self._agent(ref, cluster, agent, scores=whole)
        return {ref: one for ref, one in self.found.items() if one.changes or one.added}

    def made(self, ref: Ref, cluster: Cluster, name: str, version: Version) -> Body | None:
        """Return the manifest of an agent that is or was made from a blueprint; None when it is not, or is declared."""
        live = cluster.agents.get(name) or cluster.blueprints.former().get(name)
        creator = cluster.blueprints.base(version.blueprint.creator)
        if live is None or creator is None or (name in cluster.blueprints.declared and name != creator.name):
            return None
        if not self._declares(own := self._ref(cluster, creator.name)):
            return None
        item = self._object(own)
        whence = (name, version.how, ref.name)
        said = ((one, happened(one.how)) for one in self.lineage)
        came = [one for one, what in said if (one.child, what.how, what.cluster) == whence][-1:]
        origin = Origin(ref.name, came[0].task if came else "", rfc3339(came[0].at if came else version.at))
        as_it_was = cluster if name in cluster.agents else cluster.bound(name, version.blueprint)
        return agent_manifest(item, version, live, creator, domains_of(as_it_was, live, self.measure), origin)

    def _agent(self, ref: Ref, cluster: Cluster, agent: Agent, *, scores: bool) -> None:
        """Take over what a cluster learned of one of its members."""
        version, blueprints = cluster.blueprints.current(agent.name), cluster.blueprints
        if agent.name not in {*blueprints.declared, *blueprints.reserve}:
            if version is not None and (made := self.made(ref, cluster, agent.name, version)) is not None:
                self._specialist(ref, self._ref(cluster, version.blueprint.creator), made)
            return
        own = self._ref(cluster, agent.name)
        if not self._declares(own):
            if agent.skill and scores:
                self._skill(ref, cluster, agent)
            return
        item = self._object(own)
        if version is not None and version.blueprint.creator == agent.name:
            text = version.blueprint.instructions
            if text and not holds(item.spec.prompt, text):
                known = [one.blueprint.instructions for one in blueprints.versions(agent.name)]
                self._change(own, ["spec", "prompt"], text=text, default=item.spec.prompt, offered=known)
        if scores:
            for domain, score in domains_of(cluster, agent, self.measure).items():
                if agent.domains.get(domain) != score:
                    self._change(own, ["spec", "domains", domain], value=score)

    def _skill(self, ref: Ref, cluster: Cluster, agent: Agent) -> None:
        """Take over what was learned of a skill that is a member: its score in what it is for."""
        score = domains_of(cluster, agent, self.measure)[agent.skill]
        if self.system.reconciler.status(ref).source and agent.domains[agent.skill] != score:
            self._change(ref, ["spec", "skillNodes", "scores", agent.skill], value=score)

    def _specialist(self, ref: Ref, creator: Ref, made: Body) -> None:
        """Take over an agent that a cluster made: beside its creator, and as a member where members are named."""
        name = made["metadata"]["name"]
        found = self.found.setdefault(creator, _Found())
        if any(one["metadata"]["name"] == name for one in found.added):
            return
        found.added.append(made)
        spec = self._object(ref).spec
        if self.system.reconciler.status(ref).source and creator.name in {*spec.agents, *spec.forge.blueprints}:
            self._change(ref, ["spec", "agents"], item=name)

    def _change(self, ref: Ref, path: list[str], **what: Any) -> None:
        """Note a change, unless another cluster wants one of the same number."""
        known = self.found.setdefault(ref, _Found()).changes
        if "value" not in what or all(one["field"] != path for one in known):
            known.append({"field": path, **what})

    def _ref(self, cluster: Cluster, name: str) -> Ref:
        """Return what declares an agent of a cluster, or those that are made from it."""
        joined = name in cluster.blueprints.reserve and name not in cluster.blueprints.declared
        return Ref("Blueprint" if joined else "Agent", name, self.namespace)

    def _declares(self, ref: Ref) -> bool:
        """Return whether a person declared it, so that there is a manifest; a skill that bids as a member has none."""
        return ref in self.system.reconciler.topology.snapshot.objects

    def _object(self, ref: Ref) -> Object:
        return self.system.reconciler.topology.snapshot.objects[ref]
