"""`loomd describe`: shows one object with its conditions, or one task with all that its phases decided."""

import time
from collections.abc import Sequence

import click

from loomd.api.client import Json
from loomd.cli.get import to_yaml
from loomd.cli.table import render
from loomd.cli.target import Client, namespace_option, resolve, socket_option


@click.command()
@click.argument("what", metavar="KIND")
@click.argument("name", required=False)
@namespace_option
@socket_option
def command(what: str, name: str | None, namespace: str, client: Client) -> None:
    """Show one object or task in full: KIND NAME, or KIND/NAME."""
    plural, name = resolve(client, what, name)
    if name is None:
        raise click.UsageError(f"say which: loomd describe {what} NAME")
    found = client.get("namespaces", namespace, plural, name)
    if plural == "tasks":
        _task(found, list(client.events(task=name)))
    else:
        _object(found)


def _object(item: Json) -> None:
    metadata, status = item["metadata"], item["status"]
    _pairs(
        [
            ("Name", metadata["name"]),
            ("Namespace", metadata["namespace"]),
            ("Kind", item["kind"]),
            ("Labels", ", ".join(f"{key}={value}" for key, value in metadata.get("labels", {}).items())),
            ("Revision", status["revision"]),
            ("Digest", status["digest"][:12]),
        ]
    )
    _section("Spec", to_yaml(item["spec"]).splitlines())
    rows = [(c["type"], c["status"], c["reason"], c["message"]) for c in status["conditions"]]
    _section("Conditions", render(("TYPE", "STATUS", "REASON", "MESSAGE"), rows))


def _task(item: Json, events: Sequence[Json]) -> None:
    spec, status, name = item["spec"], item["status"], item["metadata"]["name"]
    _pairs(
        [
            ("Task", name),
            ("Goal", spec["goal"]),
            ("Cluster", spec.get("cluster", "")),
            ("Phase", status["phase"]),
            ("Stop reason", status.get("stopReason", "")),
            ("Agent", status.get("agent", "")),
            ("Created", time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(item["metadata"]["created"]))),
            ("Seed", str(spec.get("seed", 0))),
            ("Pinned to", spec.get("revision", "")),
            ("Reward", f"{status['reward']:.3f}" if "reward" in status else ""),
            ("Usage", " ".join(f"{key}={value}" for key, value in status.get("usage", {}).items())),
            ("Cost", f"{status['cost']:.6f} USD" if status.get("cost") else ""),
            ("Error", status.get("error", "")),
        ]
    )
    own = [event for event in events if event.get("task") == name]
    _section("Phases", render(("PHASE", "SECONDS", "WHY"), [_phase(f) for f in _facts(own, "phase.completed")]))
    _section("Bids", _bids(status.get("result", {})))
    steps = [(f["name"],) for f in _facts(own, "step.completed")]
    _section("Steps", render(("STEP",), steps) if steps else [])
    children = [(e["task"], *_end(e["data"])) for e in events if e.get("task") != name and _ended(e)]
    _section("Children", render(("TASK", "ENDED", "DETAIL"), children) if children else [])
    _section("Answer", str(status.get("output", "")).splitlines())
    _section("Sources", [f"[{c['number']}] {c['source']}" for c in status.get("citations", ())])


def _phase(fact: Json) -> tuple[str, str, str]:
    return fact["phase"], f"{fact.get('seconds', 0.0):.3f}", fact["why"]


def _bids(result: Json) -> list[str]:
    bids = (result.get("matched") or {}).get("bids", [])
    rows = [
        (
            bid["agent"],
            f"{bid['total']:.3f}",
            " ".join(f"{key}={value:.2f}" for key, value in bid["factors"].items()),
            bid.get("excluded", ""),
        )
        for bid in bids
    ]
    return render(("AGENT", "BID", "FACTORS", "EXCLUDED"), rows) if rows else []


def _facts(events: Sequence[Json], kind: str) -> list[Json]:
    return [event["data"] for event in events if event["data"]["type"] == kind]


def _ended(event: Json) -> bool:
    return event["data"]["type"] in {"task.completed", "task.failed"}


def _end(fact: Json) -> tuple[str, str]:
    if fact["type"] == "task.failed":
        return "failed", fact["error"]
    return fact["stop_reason"], f"reward {fact['reward']:.2f}"


def _pairs(pairs: Sequence[tuple[str, str]]) -> None:
    for title, value in pairs:
        if value:
            click.echo(f"{title + ':':<13} {value}")


def _section(title: str, lines: Sequence[str]) -> None:
    if lines:
        click.echo(f"\n{title}:")
        for line in lines:
            click.echo(f"  {line}")
