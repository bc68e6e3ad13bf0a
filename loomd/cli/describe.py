"""`loomd describe`: shows objects, tasks, sessions, sources and revisions in full."""

import difflib
from collections.abc import Callable

import click

from loomd.api.client import Client, Json
from loomd.api.text import to_yaml
from loomd.cli import blueprint, task, why_died
from loomd.cli.columns import QUESTIONS
from loomd.cli.course import trace
from loomd.cli.knowledge import count_of, index_lines, size_of
from loomd.cli.output import Form, name_of, output_option, writer
from loomd.cli.page import moment, pairs, section
from loomd.cli.problems import render as render_problems
from loomd.cli.revision import show_revision
from loomd.cli.table import age_of, render, until
from loomd.cli.target import (
    APPROVALS,
    BARE,
    BLUEPRINTS,
    BUDGETS,
    CAPABILITIES,
    EVERY,
    MEMORY_ITEMS,
    PROPOSALS,
    REVISIONS,
    SESSIONS,
    SOURCES,
    TASKS,
    Place,
    get_one,
    namespace_option,
    select,
    selector_option,
    socket_option,
    wanted,
)
from loomd.clock import SystemClock
from loomd.manifest.problem import Problem
from loomd.manifest.wording import visible, without_secrets

_HISTORY = 10
"""Most revisions that are told of one object."""
_LONGEST = 64
"""Characters of the name of a tool that fit into a table."""
_TELLERS = ("agent", "tenant", "user", "session")


@click.command()
@click.argument("what", nargs=-1, required=True, metavar="KIND NAME... | KIND/NAME...")
@namespace_option
@selector_option
@click.option("--tenant", help="Of sessions, the one of this tenant.")
@click.option("--user", help="Of sessions, the one of this user.")
@output_option("text", "json")
@socket_option
def command(
    what: tuple[str, ...],
    namespace: str,
    selector: str,
    tenant: str | None,
    user: str | None,
    output: Form,
    client: Client,
) -> None:
    """Show objects, tasks, sessions, sources or revisions in full: by name, by label, or all of a kind.

    A task is a tree: its phases with what was decided and why, all bids, steps, children, and what each took. With json
    that is its `status.course`. --tenant and --user say which session is meant when several have its name.
    """
    whose = {key: name for key, name in (("tenant", tenant), ("user", user)) if name is not None}
    first = True
    bodies: list[Json] = []
    for one in wanted(client, what, namespace):
        if one.place == EVERY:
            raise click.UsageError("expected one kind, such as agents")
        if one.place == CAPABILITIES:
            raise click.UsageError("capabilities are shown by `loomd get capabilities`, and with their agent")
        if selector and one.place in BARE:
            raise click.UsageError("-l: only objects have labels; what has no manifest has none")
        for name in one.names or select(client, one.place, one.namespace, selector, everything=not selector):
            if output.name == "json":
                bodies.append(_body(client, one.place, one.namespace, name, whose))
                continue
            if not first:
                click.echo("\n" + "-" * 40 + "\n")
            first = False
            _describe(client, one.place, one.namespace, name, whose)
    if output.name == "json":
        writer(output)(bodies[0] if len(bodies) == 1 else {"items": bodies})


def _body(client: Client, place: Place, namespace: str, name: str, whose: dict[str, str]) -> Json:
    """Return what is known of a thing, as data."""
    if place == REVISIONS:
        return client.get(*REVISIONS.parts(None), name)
    if place == SESSIONS:
        return get_one(client, place, namespace, name, **whose)
    if place in {TASKS, SOURCES, APPROVALS, PROPOSALS, BLUEPRINTS, BUDGETS, MEMORY_ITEMS}:
        item = get_one(client, place, namespace, name)
        return task.as_data(item, trace(name, client.events(task=name))) if place == TASKS else item
    return get_one(client, place, namespace, name, full="1")


def _describe(client: Client, place: Place, namespace: str, name: str, whose: dict[str, str]) -> None:
    if place == TASKS:
        task.describe(get_one(client, place, namespace, name), trace(name, client.events(task=name)))
    elif place == SESSIONS:
        _session(get_one(client, place, namespace, name, **whose))
    elif place in _DESCRIBED:
        _DESCRIBED[place](get_one(client, place, namespace, name))
    elif place == REVISIONS:
        show_revision(client.get(*REVISIONS.parts(None), name))
    else:
        found = get_one(client, place, namespace, name, full="1")
        _object(found, client.get(*REVISIONS.parts(None))["items"])
        if found["kind"] == "Agent":
            why_died.doing(client.get("namespaces", namespace, "agents", name, "health"))


def _approval(item: Json) -> None:
    spec, status, now = item["spec"], item["status"], SystemClock().now()
    pairs(
        [
            ("Approval", item["metadata"]["name"]),
            ("Namespace", item["metadata"]["namespace"]),
            ("Task", spec["task"]),
            ("Phase", status["phase"]),
            ("Asked", moment(item["metadata"]["creationTimestamp"], now)),
            ("Expires", spec["expires"]),
            ("Question", QUESTIONS[spec["question"]]),
            ("Tool", spec["tool"]),
            ("Decided", moment(status.get("decided", ""), now)),
            ("By", status.get("by", "")),
            ("Reason", status.get("reason", "")),
        ]
    )
    section("Arguments", to_yaml(spec["arguments"]).splitlines())


def _proposal(item: Json) -> None:
    spec, status, now = item["spec"], item["status"], SystemClock().now()
    pairs(
        [
            ("Proposal", item["metadata"]["name"]),
            ("Namespace", item["metadata"]["namespace"]),
            ("Cluster", spec["cluster"]),
            ("Mechanism", spec["mechanism"]),
            ("What", spec["what"]),
            ("Why", spec["why"]),
            ("Task", spec["task"]),
            ("Phase", status["phase"]),
            ("Made", moment(item["metadata"]["creationTimestamp"], now)),
            ("Expires", spec["expires"]),
            ("Decided", moment(status.get("decided", ""), now)),
            ("By", status.get("by", "")),
            ("Reason", status.get("reason", "")),
        ]
    )
    section("Change", to_yaml(spec["change"]).splitlines())


def _session(item: Json) -> None:
    spec, status, now = item["spec"], item["status"], SystemClock().now()
    pairs(
        [
            ("Session", item["metadata"]["name"]),
            ("Namespace", item["metadata"]["namespace"]),
            ("Tenant", spec["tenant"]),
            ("User", spec["user"]),
            ("Agents", ", ".join(status["agents"])),
            ("Turns", str(status["turns"])),
            ("Last", moment(status["last"], now)),
        ]
    )
    for turn in status["history"]:
        lines = [*turn["goal"].splitlines(), "", *turn["answer"].splitlines()]
        section(f"{turn['agent']}, task/{turn['task']}", [without_secrets(line) for line in lines])


def _remembered(item: Json) -> None:
    spec, status, now = item["spec"], item["status"], SystemClock().now()
    pairs(
        [
            ("Item", item["metadata"]["name"]),
            ("Namespace", item["metadata"]["namespace"]),
            ("Memory", spec["memory"]),
            ("What", f"{spec['what']}, {status['level']}"),
            ("Scope", spec["scope"]),
            *((name.capitalize(), spec.get(name, "")) for name in _TELLERS),
            ("Told", moment(status["told"], now)),
            ("Times", str(status["count"])),
            ("Importance", f"{status['importance']:.2f}"),
            ("Place", status["place"]),
        ]
    )
    section("Text", [without_secrets(line) for line in spec["text"].splitlines()])
    also = [(one, " ".join(one[name] for name in _TELLERS if name in one)) for one in status.get("also", [])]
    section("Told also", [f"{one['place']}  {who}  {moment(one['told'], now)}" for one, who in also])
    section("Replaces", status.get("replaces", []))


def _memory(status: Json, now: float) -> list[str]:
    """Return how much a memory remembers, and what went wrong last; nothing of anything else."""
    if (found := status.get("memory")) is None:
        return []
    amount = f"{count_of(found['items'], 'item')}, {count_of(found['tokens'], 'token')}, {size_of(found['bytes'])}"
    lines = [
        f"{amount}, {found['vectors']:,} with a vector",
        *(f"{count} {level}" for level, count in found["levels"].items()),
        *(f"{count} of scope {scope}" for scope, count in found["scopes"].items()),
    ]
    if "newest" in found:
        lines.append(f"told from {found['oldest']} to {moment(found['newest'], now)}")
    if "lastError" in found:
        lines.append(f"last error, {moment(found['lastErrorAt'], now)}: {found['lastError']}")
    return lines


def _budget(item: Json) -> None:
    spec, metadata = item["spec"], item["metadata"]
    pairs(
        [
            ("Budget", metadata["name"]),
            ("Namespace", metadata["namespace"]),
            ("Of", spec["of"]),
            ("Opens again", item["status"]["opens"]),
            ("Warns at", f"{spec['daily']['warnAt']:.0%}"),
        ]
    )
    section("Today", _used(item["status"]["measures"]))


def _used(measures: Json) -> list[str]:
    """Return what is used and left of a day's budget."""
    rows = [
        (
            name,
            f"{one['used']:.10g}",
            f"{one['limit']:.10g}" if "limit" in one else "",
            f"{one['left']:.10g}" if "left" in one else "",
        )
        for name, one in measures.items()
        if one["used"] or "limit" in one
    ]
    return render(("MEASURE", "USED", "LIMIT", "LEFT"), rows) if rows else []


def _object(item: Json, history: list[Json]) -> None:
    metadata, status, now = item["metadata"], item["status"], SystemClock().now()
    declared = metadata["managedFields"][0]
    pairs(
        [
            ("Name", metadata["name"]),
            ("Namespace", metadata["namespace"]),
            ("Kind", item["kind"]),
            ("Labels", _joined(metadata.get("labels", {}))),
            ("Annotations", _joined(metadata.get("annotations", {}))),
            ("UID", metadata["uid"]),
            ("Created", moment(metadata["creationTimestamp"], now)),
            ("Generation", f"{metadata['generation']} (observed {status['observedGeneration']})"),
            ("Resource version", metadata["resourceVersion"]),
            ("Revision", status["revision"]),
            ("Digest", status["digest"][:12]),
            ("Source", status["source"]),
            ("Declared at", status["position"]),
            *_due(item, now),
        ]
    )
    section("Spec", to_yaml(item["spec"]).splitlines())
    section("Calls", _calls(status.get("calls", {})))
    section("Conditions", _conditions(item, now))
    section("Index", index_lines(item))
    section("Remembered", _memory(status, now))
    section("Tools", _tools(status.get("tools", [])))
    for tool in status.get("tools", []):
        if "after" in tool:
            section(f"What {visible(tool['tool'])} says of itself", _drift(tool.get("before"), tool["after"]))
    section("Runs", _runs(status.get("runs", []), now))
    section("Refers to", [f"{one['object']} ({one['field']})" for one in item["references"]])
    section("Referred to by", [f"{one['object']} ({one['field']})" for one in item["referrers"]])
    section("Today", _used(status.get("budget", {}).get("measures", {})))
    section("Learned", _learned(status.get("capabilities", []), now))
    section("Judges", _judges(status.get("judges", [])))
    section("Corrections of complexity", _corrections(status.get("corrections", [])))
    section("Feedback", _feedback(status.get("feedback", []), now))
    rows = [(one["manager"], one["actor"], ", ".join(one["fields"])) for one in metadata["managedFields"]]
    section("Managed fields", render(("OWNER", "ACTOR", "FIELDS"), rows) if declared["fields"] else [])
    section("History", _history(name_of(item), history, now))


def _due(item: Json, now: float) -> list[tuple[str, str]]:
    """Return what is told of a schedule; of anything else nothing."""
    status = item["status"]
    if item["kind"] != "Schedule" or "runs" not in status:
        return []
    soon, tasks = status.get("nextScheduleTime", ""), ", ".join(f"Task/{one}" for one in status["active"])
    return [
        ("Suspended", f"since {_since(item)}, {status['reason']}" if status["suspended"] else "no"),
        ("Last run", moment(status.get("lastScheduleTime", ""), now) or "none"),
        ("Next run", f"{soon} ({until(soon, now)})" if soon else "none"),
        ("Active", tasks or "none"),
        ("Waiting", status.get("waiting", "")),
    ]


def _runs(runs: list[Json], now: float) -> list[str]:
    rows = [
        (
            one["due"],
            age_of(one["at"], now),
            f"Task/{one['task']}" if "task" in one else f"{one['count']} missed: {one['missed']}",
        )
        for one in runs
    ]
    return render(("DUE", "AGE", "WHAT CAME OF IT"), rows) if rows else []


def _calls(calls: Json) -> list[str]:
    """Return where the calls of a provider go and how; nothing of anything else."""
    if not calls:
        return []
    carried = "loomd itself" if calls["client"] == "http" else "the official package"
    return [
        f"POST {calls['address']}",
        f"speaks {calls['protocol']}, carried by {carried} (client: {calls['client']})",
        f"key: {calls.get('key', 'none')}",
        f"proxy: {calls.get('proxy', 'none')}",
    ]


def _tools(tools: list[Json]) -> list[str]:
    """Return the tools of a set, with how they stand; what a model is not offered says why."""
    rows = [
        (
            visible(_short(one["tool"])),
            one["name"],
            one["state"],
            one["effects"],
            "asked" if one["approval"] == "always" else "",
            one.get("pin", ""),
            one.get("message", ""),
        )
        for one in tools
    ]
    return render(("TOOL", "NAME", "STATE", "EFFECTS", "PEOPLE", "PIN", "MESSAGE"), rows) if rows else []


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 3]}..."


def _drift(before: Json | None, after: Json) -> list[str]:
    """Return what a tool says of itself, as the difference from what a person saw if that is known."""
    now = to_yaml(after).splitlines()
    if before is None:
        return now
    lines = difflib.unified_diff(to_yaml(before).splitlines(), now, "accepted", "now", lineterm="", n=1)
    return [visible(without_secrets(line)) for line in lines]


def _source(item: Json) -> None:
    spec, status, now = item["spec"], item["status"], SystemClock().now()
    pairs(
        [
            ("Source", item["metadata"]["name"]),
            ("Type", spec["type"]),
            ("Suspended", f"since {_since(item)}, {status['reason'] or 'by hand'}" if spec["suspended"] else "no"),
            ("Applied", status["lastAppliedRevision"]),
            ("Attempted", status["lastAttemptedRevision"]),
            ("Last attempt", moment(status["lastAttemptAt"], now)),
        ]
    )
    section("Conditions", _conditions(item, now))
    rows = [
        (one["revision"], age_of(one["at"], now), one["outcome"], one["message"].partition("\n")[0])
        for one in status["attempts"]
    ]
    section("Attempts", render(("REVISION", "AGE", "OUTCOME", "MESSAGE"), rows) if rows else [])
    last = status["attempts"][0]["problems"] if status["attempts"] else []
    if last:
        section("Problems of the last attempt", render_problems(Problem.from_json(one) for one in last).splitlines())
    section("Declares", status["inventory"])


def _since(item: Json) -> str:
    return str(next(one["lastTransitionTime"] for one in item["status"]["conditions"] if one["type"] == "Suspended"))


def _conditions(item: Json, now: float) -> list[str]:
    rows = [
        (one["type"], one["status"], age_of(one["lastTransitionTime"], now), one["reason"], one["message"])
        for one in item["status"]["conditions"]
    ]
    return render(("TYPE", "STATUS", "SINCE", "REASON", "MESSAGE"), rows)


def _learned(scores: list[Json], now: float) -> list[str]:
    rows = [
        (one["domain"], f"{one['score']:.3f}", f"{one['variance']:.4f}", str(one["count"]), age_of(one["updated"], now))
        for one in scores
    ]
    return render(("DOMAIN", "SCORE", "VARIANCE", "TASKS", "AGE"), rows) if rows else []


def _judges(judges: list[Json]) -> list[str]:
    """Return by how much the judges of a cluster are known to be off, and how far without that."""
    rows = [(one["provider"], f"{one['bias']:+.3f}", f"{one['spread']:.3f}", str(one["count"])) for one in judges]
    return render(("PROVIDER", "BIAS", "SPREAD", "SEEN"), rows) if rows else []


def _corrections(corrections: list[Json]) -> list[str]:
    """Return by what the complexity of a cluster's tasks is corrected, and from which tasks that is known."""
    rows = [
        (one["domain"], f"{one['correction']:+.3f}", str(one["count"]), "yes" if one["applied"] else "no")
        for one in corrections
    ]
    return render(("DOMAIN", "CORRECTION", "TASKS", "APPLIED"), rows) if rows else []


def _feedback(moves: list[Json], now: float) -> list[str]:
    """Return how people moved the scores of an agent."""
    rows = [
        (f"Task/{one['task']}", one["domain"], f"{one['before']:.3f} -> {one['after']:.3f}", age_of(one["at"], now))
        for one in moves
    ]
    return render(("TASK", "DOMAIN", "SCORE", "AGE"), rows) if rows else []


def _history(name: str, history: list[Json], now: float) -> list[str]:
    """Return the revisions that changed an object, newest first."""
    rows = [
        (one["metadata"]["name"], age_of(one["metadata"]["creationTimestamp"], now), one["spec"]["cause"], change)
        for one in history
        for change in one["status"]["changes"]
        if change.partition(" ")[0] == name
    ]
    return render(("REVISION", "AGE", "CAUSE", "CHANGE"), rows[:_HISTORY]) if rows else []


def _joined(pairs: Json) -> str:
    return ", ".join(f"{key}={value}" for key, value in pairs.items())


_DESCRIBED: dict[Place, Callable[[Json], None]] = {
    APPROVALS: _approval,
    PROPOSALS: _proposal,
    BLUEPRINTS: blueprint.describe,
    MEMORY_ITEMS: _remembered,
    BUDGETS: _budget,
    SOURCES: _source,
}
"""What prints a thing that has no manifest."""
