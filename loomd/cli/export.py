"""`loomd export`: writes the cassette of a task, the manifest of a blueprint, or what a memory remembers."""

import json
from pathlib import Path

import click

from loomd.api.client import Client
from loomd.api.text import to_yaml
from loomd.cli.remembered import memory_of
from loomd.cli.target import MEMORY_ITEMS, TASKS, namespace_option, socket_option
from loomd.manifest.json_text import write_json


@click.command()
@click.argument("task", metavar="TASK | memory/NAME | blueprint/NAME")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File; standard output if none. Of a blueprint also yaml or json: the form on standard output.",
)
@click.option(
    "--state", type=click.Path(path_type=Path, file_okay=False), help="State directory to read, without a daemon."
)
@namespace_option
@socket_option
def command(task: str, output: Path | None, state: Path | None, namespace: str, client: Client) -> None:
    """Write what a task did, with all its parts, as a cassette: a JSON file that `loomd replay` runs again.

    TASK is the id, or task/ID. The task must have ended. Secrets are hidden; texts are as they were, so read the file
    before you give it away.

    Of memory/NAME all items are written, one JSON object on each line, with where each came from.

    Of blueprint/NAME the manifest is written of an agent that a cluster made, or gave other instructions: applied, it
    is what it is now, with what at least five tasks say of it as its domains. `loomd adopt` puts it into the files.
    """
    if (memory := memory_of((task,))) is not None:
        if not memory:
            raise click.UsageError(f"{task!r}: expected a memory, such as memory/notes")
        if state is not None:
            raise click.UsageError("--state: what is remembered is read from a daemon")
        _write(_items(client, memory, namespace), output, task)
        return
    if (blueprint := _blueprint(task)) is not None:
        if state is not None:
            raise click.UsageError("--state: what was learned is read from a daemon")
        _manifest(client, blueprint, namespace, output)
        return
    from loomd.cassette import parse, write  # noqa: PLC0415  # brings every event's type; the help text needs none

    *kinds, name = task.split("/")
    if any(kind.lower() not in {"task", "tasks"} for kind in kinds):
        raise click.UsageError(
            f"{task!r}: expected a task, such as task/t0192f3-1a2b3c4d, memory/NAME or blueprint/NAME"
        )
    if state is None:
        found = client.get(*TASKS.parts(namespace), name, "cassette")
        text = write(parse(json.dumps(found).encode(), name))
    else:
        from loomd.cli.taped import from_state  # noqa: PLC0415  # brings all that runs tasks

        text = write(from_state(state, name))
    _write(text, output, f"task {name}")


def _blueprint(what: str) -> str | None:
    """Return the name of the blueprint that is meant, or None when something else is.

    Raises:
        UsageError: the name is missing.
    """
    kind, slash, name = what.partition("/")
    if not slash or kind.lower() not in {"blueprint", "blueprints"}:
        return None
    if not name or "/" in name:
        raise click.UsageError(f"{what!r}: expected blueprint/NAME")
    return name


def _manifest(client: Client, name: str, namespace: str, output: Path | None) -> None:
    """Write the manifest of what is made from a blueprint."""
    found = client.get("namespaces", namespace, "blueprints", name, "manifest")
    form = str(output) if output is not None else "yaml"
    as_json = form == "json" or form.endswith(".json")
    text = f"{write_json(found)}\n" if as_json else to_yaml(found)
    _write(text.encode(), None if form in {"yaml", "json"} else output, f"blueprint {name}")


def _items(client: Client, memory: str, namespace: str) -> bytes:
    """Return all that a memory remembers, one JSON object on each line."""
    space, slash, name = memory.rpartition("/")
    items, _ = client.items(MEMORY_ITEMS.parts(space if slash else namespace), {"memory": name})
    return b"".join(json.dumps(item, ensure_ascii=False).encode() + b"\n" for item in items)


def _write(text: bytes, output: Path | None, what: str) -> None:
    if output is None:
        click.echo(text.decode(), nl=False)
    else:
        output.write_bytes(text)
        click.echo(f"{what} is in {output}", err=True)
