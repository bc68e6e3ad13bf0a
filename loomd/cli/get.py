"""`loomd get`: lists objects or tasks of the daemon."""

import json

import click

from loomd.api.client import Json
from loomd.cli.table import age, show
from loomd.cli.target import Client, namespace_option, output_option, resolve, socket_option
from loomd.clock import SystemClock


@click.command()
@click.argument("what", metavar="KIND")
@click.argument("name", required=False)
@namespace_option
@output_option("table", "json", "yaml", "name")
@socket_option
def command(what: str, name: str | None, namespace: str, output: str, client: Client) -> None:
    """List objects of a KIND (agents, tools, ...), tasks, or all; or show one NAME."""
    plural, name = resolve(client, what, name)
    if name is not None:
        found = client.get("namespaces", namespace, plural, name)
        items = [found]
    else:
        items = client.get("namespaces", namespace, plural)["items"]
        if plural == "all":
            items += client.get("namespaces", namespace, "tasks")["items"]
        found = {"items": items}
    if output == "json":
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    elif output == "yaml":
        click.echo(to_yaml(found), nl=False)
    elif output == "name":
        for item in items:
            click.echo(f"{item['kind']}/{item['metadata']['name']}")
    else:
        _table(items, namespace, prefixed=plural == "all")


def to_yaml(value: Json) -> str:
    """Return a value as YAML, keys in their order."""
    import yaml  # noqa: PLC0415  # only this form needs it

    return str(yaml.dump(value, Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True))


def is_ready(item: Json) -> str:
    """Return the status of an object's condition `Ready`, with the reason when it is not."""
    for condition in item["status"]["conditions"]:
        if condition["type"] == "Ready":
            return "True" if condition["status"] == "True" else f"{condition['status']} ({condition['reason']})"
    return "Unknown"


def _table(items: list[Json], namespace: str, prefixed: bool) -> None:
    objects = [item for item in items if item["kind"] != "Task"]
    tasks = [item for item in items if item["kind"] == "Task"]
    if not items:
        click.echo(f"nothing in namespace {namespace}", err=True)
    if objects:
        show(("NAME", "READY", "TYPE", "DESCRIPTION"), [_object(item, prefixed) for item in objects])
    if objects and tasks:
        click.echo()
    if tasks:
        now = SystemClock().now()
        show(("TASK", "PHASE", "AGENT", "REWARD", "AGE", "GOAL"), [_task(item, now) for item in tasks])


def _object(item: Json, prefixed: bool) -> tuple[str, ...]:
    name, spec = item["metadata"]["name"], item["spec"]
    return (
        f"{item['kind']}/{name}" if prefixed else name,
        is_ready(item),
        str(spec.get("type", "")),
        str(spec.get("description", "")),
    )


def _task(item: Json, now: float) -> tuple[str, ...]:
    status = item["status"]
    reward = f"{status['reward']:.2f}" if "reward" in status else ""
    return (
        item["metadata"]["name"],
        status["phase"],
        status.get("agent", ""),
        reward,
        age(now - item["metadata"]["created"]),
        item["spec"]["goal"],
    )
