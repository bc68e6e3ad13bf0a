"""Ways back: which earlier version of an agent comes back, because a person wants it, or the present one does worse.

Called by the API and by `loomd.evolution`.
"""

from collections.abc import Callable, Sequence

from loomd.agents.agent import Agent
from loomd.amoeba.blueprint import Blueprint
from loomd.amoeba.decision import Shaping
from loomd.amoeba.evolving import Probation
from loomd.cluster.cluster import Cluster
from loomd.cluster.learn import learn
from loomd.errors import Conflict, NotFound
from loomd.events.bus import Scope
from loomd.manifest.object import Ref
from loomd.store.learning import Learning
from loomd.store.records import Lesson
from loomd.topology import Services


def reverted(cluster: Cluster, name: str, to: int | None, reason: str) -> Shaping:
    """Return the change that gives an agent earlier instructions back.

    Args:
        cluster: whose agent it is.
        name: the agent.
        to: number of a version, 0 for what a person declared; None for what was before the present version.
        reason: why.

    Raises:
        NotFound: there is no such agent, or no such version.
        Conflict: it is as it was declared, or as that version says, already.
    """
    agent, blueprints = cluster.agent(name), cluster.blueprints
    current, versions = blueprints.current(name), {one.number: one for one in blueprints.versions(name)}
    if current is None:
        raise Conflict(f"Agent/{name} is as it was declared: it learned no instructions in {cluster.ref}")
    number = current.parent if to is None else to
    if number == 0 and name in blueprints.declared:
        shape = Blueprint(cluster.ref.name, name)
    elif number in versions and versions[number].how != "pruned":
        shape = versions[number].blueprint
    else:
        known = ", ".join(str(one) for one in [*([0] if name in blueprints.declared else []), *versions])
        raise NotFound(f"Agent/{name} has no version {number} to go back to; versions: {known}")
    if shape == current.blueprint or (not shape.instructions and not current.blueprint.instructions):
        raise Conflict(f"Agent/{name} has these instructions already")
    return Shaping(name, "reverted", shape, reason, blueprints.next(name), number, agent.digest)


async def revert(services: Services, cluster: Cluster, decide: Callable[[], Shaping]) -> Shaping:
    """Carry a way back out, or propose it; return it once that is on disk.

    It is decided here because nothing may be awaited until it is told: no other change gets its number meanwhile.

    Args:
        services: what the daemon lends.
        cluster: whose agent it is.
        decide: returns the way back; what it raises is let through, and nothing is changed then.
    """
    back = decide()
    scope = Scope(services.bus, "", namespace=cluster.ref.namespace)
    await learn(services, [back], cluster.teaching(""), scope, revert_key(cluster.ref, back))
    return back


def revert_key(cluster: Ref, back: Shaping) -> str:
    """Return under what a way back is stored once: each that is carried out; any other once per behaviour."""
    once = f"{back.done}/{back.spec}" if back.done else str(back.version)
    return f"{back.agent}#revert/{cluster.namespace}/{cluster.name}/{back.agent}/{once}"


async def worse(learning: Learning, cluster: Cluster, agent: Agent, spec: Probation) -> str:
    """Return why an agent's new instructions do worse than the old ones did, or an empty string.

    Nothing is said of one that is not on probation: that has none, or did enough tasks with them.
    """
    current = cluster.blueprints.current(agent.name)
    if current is None or current.how != "promoted":
        return ""
    now = await learning.lessons(agent.namespace, agent.name, agent.digest, spec.tasks + 1)
    if not spec.samples <= len(now) <= spec.tasks:
        return ""
    old = cluster.blueprints.before(agent.name, current)
    if old is None:
        return ""
    before = await learning.lessons(agent.namespace, agent.name, old.digest, spec.samples)
    if not before:
        return ""
    was, is_ = _mean(before), _mean(now[: spec.samples])
    if is_ >= was - spec.margin:
        return ""
    return f"mean reward {is_:.3f} over the last {spec.samples} tasks, {was:.3f} before"


def _mean(lessons: Sequence[Lesson]) -> float:
    return sum(one.reward for one in lessons) / len(lessons)
