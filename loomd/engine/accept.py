"""What a task gets when it is accepted: its cluster, what it may use, and its deadline. Called by the local engine."""

import msgspec

from loomd.amoeba.task import ENGINE, Task
from loomd.cluster.cluster import Cluster
from loomd.errors import NotFound, Permanent
from loomd.manifest.object import Ref, Snapshot
from loomd.manifest.wording import did_you_mean, quoted
from loomd.topology import Topology


def accept(task: Task, topology: Topology, now: float) -> Task:
    """Return a task with its cluster, its limits and its deadline settled.

    Raises:
        NotFound: no cluster takes it, or the agent that it names is no member.
        Permanent: it is a turn of a session, and nothing of it is kept.
    """
    cluster = resolve(topology.snapshot, task.cluster or _home(topology, task), task.namespace)
    live = _live(topology, Ref("Cluster", cluster, task.namespace))
    if task.agent:
        live.roster.agent(task.agent)
    durability = task.durability or live.durability
    if task.session and durability == "none":
        raise Permanent(
            f'the session "{task.session}" keeps its turns, and of the task nothing is kept (durability: none): leave '
            "out the session, or choose durability task or steps"
        )
    budget, grant = live.limit(task.budget), live.grant(task.budget)
    return msgspec.structs.replace(
        task,
        cluster=cluster,
        revision=topology.snapshot.revision,
        created=now,
        budget=budget,
        grant=grant,
        deadline=now + (budget.seconds or 0.0),
        durability=durability,
        engine=ENGINE,
    )


def _home(topology: Topology, task: Task) -> str:
    """Return the name of the cluster of the agent that a task names; an empty text when it names none.

    Raises:
        NotFound: there is no such agent, or it is a member of no cluster, or of several.
    """
    if not task.agent:
        return ""
    homes = [
        ref.name
        for ref, live in topology.live.items()
        if isinstance(live, Cluster) and ref.namespace == task.namespace and task.agent in live.agents
    ]
    if len(homes) == 1:
        return homes[0]
    agents = {ref.name for ref in topology.live if (ref.kind, ref.namespace) == ("Agent", task.namespace)}
    if not homes and task.agent not in agents:
        hint = did_you_mean(task.agent, sorted(agents), "there are:") or "it has none"
        raise NotFound(f'there is no agent {quoted(task.agent)} in namespace "{task.namespace}": {hint}')
    found = (
        f"is in several clusters ({', '.join(sorted(homes))}): say which with --cluster"
        if homes
        else "is in no cluster"
    )
    raise NotFound(f'Agent/{task.agent} of namespace "{task.namespace}" {found}')


def resolve(snapshot: Snapshot, cluster: str, namespace: str) -> str:
    """Return the name of the cluster that a task goes to.

    Args:
        snapshot: what is declared.
        cluster: the one that the task names, or empty.
        namespace: the task's namespace.

    Raises:
        NotFound: there is none, or several and the task does not say which.
    """
    if cluster and Ref("Cluster", cluster, namespace) in snapshot.objects:
        return cluster
    names = clusters_in(snapshot, namespace)
    listed = ", ".join(names)
    if cluster:
        raise NotFound(f'Cluster/{cluster} is not in namespace "{namespace}"; there: {listed}')
    if len(names) == 1:
        return names[0]
    raise NotFound(f'namespace "{namespace}" has several clusters ({listed}): say which with --cluster')


def clusters_in(snapshot: Snapshot, namespace: str) -> list[str]:
    """Return the names of the clusters of a namespace, at least one.

    Raises:
        NotFound: there is none, as there are no agents.
    """
    names = sorted(item.ref.name for item in snapshot.of_kind("Cluster") if item.ref.namespace == namespace)
    if not names:
        raise NotFound(f'namespace "{namespace}" has no agents: apply a manifest with an Agent first')
    return names


def cluster_of(topology: Topology, task: Task) -> Cluster:
    """Return the live cluster of a task.

    Raises:
        NotFound: it does not serve.
    """
    return _live(topology, Ref("Cluster", task.cluster, task.namespace))


def _live(topology: Topology, ref: Ref) -> Cluster:
    live = topology.live.get(ref)
    if not isinstance(live, Cluster):
        if ref in topology.snapshot.objects:
            raise NotFound(
                f"{ref} does not serve, because it could not be opened: see `loomd describe cluster/{ref.name}`"
            )
        raise NotFound(f'{ref.kind}/{ref.name} is no longer in namespace "{ref.namespace}"')
    return live
