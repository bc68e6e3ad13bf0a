"""What a table shows of each kind of thing, and what it adds when it may be wide. Called by `get`."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from loomd.api.client import Json
from loomd.cli.table import age_of, until
from loomd.manifest.wording import without_secrets


@dataclass(frozen=True)
class Column:
    """A title, and what stands below it; `now` is wall-clock seconds."""

    title: str
    cell: Callable[[Json, float], str]
    wide: bool = False


def columns_of(kind: str, *, wide: bool, spaces: bool, prefixed: bool) -> list[Column]:
    """Return the columns for things of a kind.

    Args:
        kind: `Task`, `DeclaredTask`, `Source`, `Revision`, `Schedule`, or any other kind of object.
        wide: whether there is room for all of them.
        spaces: whether things of several namespaces stand in one table.
        prefixed: whether their names say their kind.
    """
    known = _KNOWN.get(kind, _OBJECT)
    name = Column(known[0].title, lambda item, _: f"{item['kind']}/{_name(item)}") if prefixed else known[0]
    space = [Column("NAMESPACE", lambda item, _: str(item["metadata"].get("namespace", "")))] if spaces else []
    return [*space, name, *(one for one in known[1:] if wide or not one.wide)]


def condition(item: Json, name: str) -> Json:
    """Return a condition of an object, or an empty one."""
    found: list[Json] = [one for one in item["status"].get("conditions", ()) if one["type"] == name]
    return found[0] if found else {}


def ready(item: Json) -> str:
    """Return whether a thing is ready, with the reason when it is not, or is but not wholly."""
    found = condition(item, "Ready")
    if not found:
        return "Unknown"
    if found["status"] != "True":
        return f"{found['status']} ({found['reason']})"
    degraded = condition(item, "Degraded")
    return f"True, degraded ({degraded['reason']})" if degraded.get("status") == "True" else "True"


def _name(item: Json) -> str:
    return str(item["metadata"]["name"])


def _spec(name: str) -> Callable[[Json, float], str]:
    return lambda item, _: str(item["spec"].get(name, ""))


def _status(name: str) -> Callable[[Json, float], str]:
    return lambda item, _: str(item["status"].get(name, ""))


def _taken(tokens: Json | None) -> str:
    """Return how many tokens an agent needs for each one expected; nothing when it is not known."""
    return f"x{tokens['read'] + tokens['written']:.2f} ({tokens['count']})" if tokens else ""


def _created(item: Json, now: float) -> str:
    metadata = item["metadata"]
    return age_of(metadata.get("creationTimestamp") or metadata.get("created", ""), now)


def _number(item: Json, _: float) -> str:
    return f"{_name(item)}{' *' if item['status']['serving'] else ''}"


def _origin(item: Json, _: float) -> str:
    """Return from what an agent was made: another one, or an earlier version of it."""
    spec = item["spec"]
    if spec.get("creator") != spec["agent"]:
        return str(spec.get("creator", ""))
    return f"version {spec['parent']}" if spec.get("parent") else "as declared"


def _reward(item: Json, _: float) -> str:
    return f"{item['status']['reward']:.2f}" if "reward" in item["status"] else ""


def _cost(item: Json, _: float) -> str:
    return f"{item['status']['cost']:.4f}" if item["status"].get("cost") else ""


def _waits(item: Json) -> bool:
    return bool(item["status"]["phase"] == "Pending")


def _used(measure: str) -> Callable[[Json, float], str]:
    """Return what tells how much of a measure is used, and of how much."""

    def cell(item: Json, _: float) -> str:
        one = item["status"]["measures"][measure]
        if "limit" in one:
            return f"{one['used']:.10g}/{one['limit']:.10g}"
        return f"{one['used']:.10g}" if one["used"] else ""

    return cell


_MEASURES = (
    ("TOKENS", "tokens"),
    ("USD", "cost"),
    ("CALLS", "calls"),
    ("TOOL CALLS", "toolCalls"),
    ("SECONDS", "time"),
)
QUESTIONS = {"call": "may it be called?", "repeat": "interrupted: call it again?"}
_DETAILS: Sequence[Column] = (
    Column("GENERATION", lambda item, _: str(item["metadata"]["generation"]), wide=True),
    Column("SOURCE", _status("source"), wide=True),
    Column("DECLARED AT", _status("position"), wide=True),
)
_OBJECT: Sequence[Column] = (
    Column("NAME", lambda item, _: _name(item)),
    Column("READY", lambda item, _: ready(item)),
    Column("TYPE", _spec("type")),
    Column("AGE", _created),
    *_DETAILS,
    Column("DESCRIPTION", _spec("description")),
)
_KNOWN: dict[str, Sequence[Column]] = {
    "Task": (
        Column("TASK", lambda item, _: _name(item)),
        Column("PHASE", _status("phase")),
        Column("AGENT", _status("agent")),
        Column("REWARD", _reward),
        Column("AGE", _created),
        Column("STOP REASON", _status("stopReason"), wide=True),
        Column("COST", _cost, wide=True),
        Column("CLUSTER", _spec("cluster"), wide=True),
        Column("REVISION", _spec("revision"), wide=True),
        Column("DECLARED", _spec("declared"), wide=True),
        Column("WAITS FOR", _status("reason"), wide=True),
        Column("GOAL", _spec("goal")),
    ),
    "DeclaredTask": (
        Column("NAME", lambda item, _: _name(item)),
        Column("READY", lambda item, _: ready(item)),
        Column("AGENT", _spec("agent")),
        Column("CLUSTER", _spec("cluster")),
        Column("RETRIES", _spec("retries")),
        Column("AGE", _created),
        *_DETAILS,
        Column("GOAL", _spec("goal")),
    ),
    "Approval": (
        Column("APPROVAL", lambda item, _: _name(item)),
        Column("PHASE", _status("phase")),
        Column("TOOL", _spec("tool")),
        Column("ARGUMENTS", lambda item, _: json.dumps(item["spec"]["arguments"], ensure_ascii=False)),
        Column("QUESTION", lambda item, _: QUESTIONS[item["spec"]["question"]]),
        Column("TASK", _spec("task")),
        Column("AGE", _created),
        Column("EXPIRES", lambda item, now: until(item["spec"]["expires"], now) if _waits(item) else ""),
        Column("BY", _status("by")),
        Column("REASON", _status("reason"), wide=True),
    ),
    "Proposal": (
        Column("PROPOSAL", lambda item, _: _name(item)),
        Column("PHASE", _status("phase")),
        Column("CLUSTER", _spec("cluster")),
        Column("MECHANISM", _spec("mechanism")),
        Column("WHAT", _spec("what")),
        Column("WHY", _spec("why")),
        Column("AGE", _created),
        Column("EXPIRES", lambda item, now: until(item["spec"]["expires"], now) if _waits(item) else ""),
        Column("BY", _status("by")),
        Column("TASK", _spec("task"), wide=True),
        Column("REASON", _status("reason"), wide=True),
    ),
    "Capability": (
        Column("AGENT", _spec("agent")),
        Column("DOMAIN", _spec("domain")),
        Column("SCORE", lambda item, _: f"{item['status']['score']:.3f}"),
        Column("+-", lambda item, _: f"{item['status']['uncertainty']:.3f}"),
        Column("TASKS", lambda item, _: str(item["status"]["count"])),
        Column("LEARNED", lambda item, _: f"{item['status']['learned']:.3f}" if "learned" in item["status"] else ""),
        Column("LAST", lambda item, now: age_of(item["status"].get("updated", ""), now)),
        Column("HEALTH", _status("health")),
        Column("CLUSTER", _spec("cluster")),
        Column("TOKENS", lambda item, _: _taken(item["status"].get("tokens")), wide=True),
        Column("WHY", _status("reason"), wide=True),
    ),
    "Descent": (
        Column("AGENT", _spec("agent")),
        Column("HOW", _spec("how")),
        Column("FROM", _origin),
        Column("VERSION", _spec("version")),
        Column("CLUSTER", _spec("cluster")),
        Column("TASK", _spec("task")),
        Column("AGE", lambda item, now: age_of(item["status"]["at"], now)),
        Column("WHY", _status("reason")),
        Column("BEHAVIOUR", lambda item, _: str(item["spec"].get("behaviour", ""))[:12], wide=True),
    ),
    "Past": (
        Column("NAME", lambda item, _: _name(item)),
        Column("TYPE", _spec("type")),
        Column("REVISION", _status("past")),
        Column("DECLARED AT", _status("position"), wide=True),
        Column("DESCRIPTION", _spec("description")),
    ),
    "Blueprint": (
        Column("BLUEPRINT", lambda item, _: _name(item)),
        Column("STATE", _status("state")),
        Column("CLUSTER", _spec("cluster")),
        Column("CREATOR", _spec("creator")),
        Column("TASKS", _status("tasks")),
        Column(
            "REWARD", lambda item, _: f"{item['status']['meanReward']:.2f}" if "meanReward" in item["status"] else ""
        ),
        Column("VERSION", _status("version")),
        Column("AGE", _created),
        Column("DOMAINS", lambda item, _: ", ".join(item["spec"]["domains"]), wide=True),
        Column("DESCRIPTION", _spec("description"), wide=True),
    ),
    "Agent": (
        Column("NAME", lambda item, _: _name(item)),
        Column("READY", lambda item, _: ready(item)),
        Column("HEALTH", _status("health")),
        Column("AGE", _created),
        *_DETAILS,
        Column("DESCRIPTION", _spec("description")),
    ),
    "Session": (
        Column("SESSION", lambda item, _: _name(item)),
        Column("AGENTS", lambda item, _: ", ".join(item["status"]["agents"])),
        Column("TENANT", _spec("tenant")),
        Column("USER", _spec("user")),
        Column("TURNS", lambda item, _: str(item["status"]["turns"])),
        Column("LAST", lambda item, now: age_of(item["status"]["last"], now)),
        Column("AGE", _created),
    ),
    "MemoryItem": (
        Column("ITEM", lambda item, _: _name(item)),
        Column("MEMORY", _spec("memory")),
        Column("LEVEL", _status("level")),
        Column("WHAT", _spec("what")),
        Column("SCOPE", _spec("scope")),
        Column("AGENT", _spec("agent")),
        Column("TOLD", lambda item, now: age_of(item["status"]["told"], now)),
        Column("TENANT", _spec("tenant"), wide=True),
        Column("USER", _spec("user"), wide=True),
        Column("SESSION", _spec("session"), wide=True),
        Column("IMPORTANCE", lambda item, _: f"{item['status']['importance']:.2f}", wide=True),
        Column("PLACE", _status("place"), wide=True),
        Column("TEXT", lambda item, _: without_secrets(" ".join(item["spec"]["text"].split()))),
    ),
    "Budget": (
        Column("BUDGET", lambda item, _: _name(item)),
        *(Column(title, _used(measure)) for title, measure in _MEASURES),
        Column("OPENS AGAIN", lambda item, now: until(item["status"]["opens"], now)),
    ),
    "GitSource": (
        Column("NAME", lambda item, _: _name(item)),
        Column("READY", lambda item, _: ready(item)),
        Column("SUSPENDED", lambda item, _: "True" if condition(item, "Suspended").get("status") == "True" else ""),
        Column("URL", _spec("url")),
        Column("AGE", _created),
        *_DETAILS,
        Column("MESSAGE", lambda item, _: str(condition(item, "Ready").get("message", "")), wide=True),
    ),
    "Source": (
        Column("SOURCE", lambda item, _: _name(item)),
        Column("TYPE", _spec("type")),
        Column("READY", lambda item, _: ready(item)),
        Column("SUSPENDED", lambda item, _: "True" if item["spec"]["suspended"] else ""),
        Column("APPLIED", _status("lastAppliedRevision")),
        Column("TRIED", lambda item, now: age_of(item["status"]["lastAttemptAt"], now)),
        Column("OBJECTS", lambda item, _: str(len(item["status"]["inventory"]))),
        Column("ATTEMPTED", _status("lastAttemptedRevision"), wide=True),
        Column("REASON", _status("reason"), wide=True),
        Column("MESSAGE", lambda item, _: str(condition(item, "Ready").get("message", "")), wide=True),
    ),
    "Schedule": (
        Column("NAME", lambda item, _: _name(item)),
        Column("READY", lambda item, _: ready(item)),
        Column("SCHEDULE", _spec("schedule")),
        Column("TIME ZONE", lambda item, _: str(item["spec"].get("timeZone", "UTC"))),
        Column("SUSPENDED", lambda item, _: "True" if item["status"].get("suspended") else ""),
        Column("ACTIVE", lambda item, _: str(len(item["status"].get("active", ())))),
        Column("LAST RUN", lambda item, now: age_of(item["status"].get("lastScheduleTime", ""), now)),
        Column("NEXT RUN", lambda item, now: until(item["status"].get("nextScheduleTime", ""), now)),
        Column("AGE", _created),
        Column("LAST TASK", _status("lastTask"), wide=True),
        Column("WAITING", _status("waiting"), wide=True),
        Column("SOURCE", _status("source"), wide=True),
        Column("GOAL", _spec("goal"), wide=True),
    ),
    "Revision": (
        Column("NUMBER", _number),
        Column("REVISION", _spec("revision")),
        Column("AGE", _created),
        Column("CAUSE", _spec("cause")),
        Column("SOURCE", _spec("source")),
        Column("CHANGES", lambda item, _: "; ".join(item["status"]["changes"])),
    ),
}
"""Columns by kind; the first is the name."""
