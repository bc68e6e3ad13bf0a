"""What a cluster learned, as manifests would say it: scores as domains, instructions, and agents that it made itself.

Nothing is changed here, and nothing is written: people take it over, with `loomd export` and `loomd adopt`. Pure;
called by the API.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loomd.agents.agent import Agent
from loomd.agents.kind import AgentSpec
from loomd.agents.skills import TOOL
from loomd.cluster.blueprints import Version
from loomd.cluster.cluster import Cluster
from loomd.errors import Permanent
from loomd.manifest.call_pattern import read_calls
from loomd.manifest.kind import API_VERSION
from loomd.manifest.object import Object
from loomd.manifest.template import continued, holds, literal
from loomd.manifest.wording import masked

ORIGIN = "loomd.dev/"
"""How the annotations begin that say where a manifest came from."""

_NARROWED = frozenset(("domains", "tools", "permissions", "locked", "budgets"))
"""Fields of which a specialist has less than its creator, or others. What a person locked is about the creator; two
that both had the creator's budget of the day would have twice as much."""


@dataclass(frozen=True)
class Measure:
    """Which scores are told, and how exactly.

    Attributes:
        tasks: least number of tasks behind a score.
        digits: digits behind the point.
    """

    tasks: int = 5
    digits: int = 2


@dataclass(frozen=True)
class Origin:
    """Where a manifest comes from: cluster, task, and when, as RFC 3339; empty where it is not known any more."""

    cluster: str
    task: str
    made: str


def domains_of(cluster: Cluster, agent: Agent, measure: Measure) -> dict[str, float]:
    """Return the domains of a member with what is believed now in the place of what is declared.

    A domain that the member does not declare is told when another one does and the member is believed to be better in
    it than somebody of whom nothing is known. What SENSE falls back on, when no domain fits, is none.
    """
    priors = cluster.priors
    offered = {domain for one in cluster.agents.values() for domain in one.domains or (one.name,)}
    learned = list(cluster.book.known(agent.name, agent.digest))
    scores = cluster.standing(agent.name, learned).scores
    found = dict(agent.domains)
    for domain in sorted(offered.intersection(learned)):
        score = scores[domain]
        own = domain in (agent.domains or (agent.name,))
        if score.count >= measure.tasks and (own or score.mean > priors.unknown):
            found[domain] = round(min(1.0, max(0.0, score.mean)), measure.digits)
    if not found or agent.domains or agent.name in found:
        return found
    return {agent.name: priors.described, **found}


def agent_manifest(
    item: Object, version: Version, live: Agent, creator: Agent, domains: Mapping[str, float], origin: Origin
) -> dict[str, Any]:
    """Return the manifest of an agent that is made from a blueprint: declared, it is what it is now.

    Args:
        item: the declared agent that it is made from.
        version: the blueprint that holds.
        live: the agent that is made from it.
        creator: the declared agent, live.
        domains: what it is good at.
        origin: where it came from.

    Raises:
        Permanent: the agent that it is made from holds what is not shown.
    """
    if masked(item.raw, "/spec") != item.raw:
        raise Permanent(f"{item.ref} holds values that are not shown: write the manifest of {live.name} by hand")
    made = version.blueprint
    if live.name == made.creator:
        learned = "" if "instructions" in live.locked else made.instructions
        spec = dict(item.raw) | ({"prompt": prompt_of(item, learned)} if learned else {})
    else:
        head = {"description": made.description, "provider": item.raw["provider"], "prompt": literal(made.instructions)}
        rest = {name: value for name, value in item.raw.items() if name not in {*head, *_NARROWED}}
        spec = head | rest | _tools(item, live, creator)
    if domains:
        spec["domains"] = dict(domains)
    said = {
        "blueprint": f"{live.name}/{version.number}",
        "cluster": origin.cluster,
        "creator": made.creator,
        "task": origin.task,
        "made": origin.made,
    }
    metadata: dict[str, Any] = {"name": live.name}
    if live.namespace != "default":
        metadata["namespace"] = live.namespace
    if item.metadata.labels:
        metadata["labels"] = dict(item.metadata.labels)
    kept = item.metadata.annotations if live.name == made.creator else {}
    metadata["annotations"] = {**kept, **{f"{ORIGIN}{name}": value for name, value in said.items() if value}}
    return {"apiVersion": API_VERSION, "kind": "Agent", "metadata": metadata, "spec": spec}


def prompt_of(item: Object, instructions: str) -> str:
    """Return the prompt of a declared agent with what it learned behind it, if that is not in it yet."""
    prompt: str = item.spec.prompt
    return prompt if not instructions or holds(prompt, instructions) else continued(prompt, instructions)


def _tools(item: Object, live: Agent, creator: Agent) -> dict[str, Any]:
    """Return which tools a specialist has, and what it may do with them.

    Of a tool set from which it has some tools only, the others are denied; of what its creator may do, that remains
    which is about tools that it has.
    """
    spec: AgentSpec = item.spec
    names = [name for name in spec.tools if any(live.owner(tool) == name for tool in live.tools)]
    others = [tool for tool in creator.tools if tool not in live.tools and live.owner(tool) in names]
    permissions: dict[str, Any] = dict(item.raw.get("permissions", {}))
    held, lost = ([TOOL] if spec.skills else []), list[str]()
    for name in spec.tools:
        tools = held if name in names else lost
        tools += [name, f"{name}_*", *(tool for tool in creator.tools if creator.owner(tool) == name)]
    gone = {at for at, one in spec.permissions.entries() if _means(one, lost) and not _means(one, held)}
    for group in ("deny", "ask", "allow"):
        if permissions.get(group) is not None:
            permissions[group] = list(_without(permissions[group], gone, group))
    if others:
        permissions["deny"] = [*permissions.get("deny", ()), *others]
    said = {name: value for name, value in permissions.items() if value or name not in {"deny", "ask"}}
    return ({"tools": names} if names else {}) | ({"permissions": said} if said else {})


def _means(pattern: str, tools: Sequence[str]) -> bool:
    """Return whether a pattern of calls may mean one of some tools, which may be patterns, too."""
    return any(read_calls(pattern).tool.meets(read_calls(tool).tool) for tool in tools)


def _without(patterns: Sequence[str], gone: set[str], group: str) -> Iterator[str]:
    return (one for at, one in enumerate(patterns) if f"/{group}/{at}" not in gone)
