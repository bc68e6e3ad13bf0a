"""`loomd apply`: hands manifests, or a plan that was kept, to the daemon: all of it serves, or nothing changes."""

from collections.abc import Callable, Sequence
from pathlib import Path

import click

from loomd.api.client import Client, Json
from loomd.api.text import to_yaml
from loomd.cli.change import line, warn
from loomd.cli.delivery import Delivered, file_option, read_delivered, request
from loomd.cli.output import Form, output_option, problems_in
from loomd.cli.progress import working
from loomd.cli.saved import SavedPlan
from loomd.cli.target import F, Place, socket_option
from loomd.cli.waiting import deadline, goal_of, timeout_option, wait_for
from loomd.errors import Stale
from loomd.manifest.json_text import write_json

READY = "condition=Ready"


def dry_run_option(function: F) -> F:
    """Add `--dry-run[=client|server]`; the verb gets `dry_run`, a word or None."""
    return click.option(
        "--dry-run",
        type=click.Choice(["client", "server"]),
        is_flag=False,
        flag_value="server",
        help="Change nothing. client: only look at the files here; server, also without a word: do all but the swap.",
    )(function)


def wait_option(function: F) -> F:
    """Add `--wait` and `--timeout`."""
    return click.option("--wait", is_flag=True, help="Return when all of it is ready, or gone.")(
        timeout_option("5m")(function)
    )


@click.command()
@click.argument("plan", type=click.Path(path_type=Path), required=False, metavar="[PLAN]")
@file_option(required=False)
@click.option("--prune", is_flag=True, help="Delete what these files or folders declared before and no longer do.")
@click.option("--force", is_flag=True, help="Take over what another file or folder declares.")
@dry_run_option
@click.option("--field-manager", default="", metavar="NAME", help="Who acts, for the managed fields.")
@output_option("text", "json", "yaml", "name")
@wait_option
@socket_option
def command(
    plan: Path | None,
    paths: tuple[str, ...],
    prune: bool,
    force: bool,
    dry_run: str | None,
    field_manager: str,
    output: Form,
    wait: bool,
    timeout: float | None,
    client: Client,
) -> int:
    """Hand manifests (-f), or a PLAN that `loomd plan -o FILE` kept, to the daemon.

    All that is given in one call serves, or nothing changes. Objects are added and changed; what is already there
    stays. With --prune, what was applied from the same files or folders before and is not declared any more is
    deleted. Folders that `loomd serve --watch` follows are always pruned. A plan is refused as stale when another
    revision serves, or any file that it was made of has changed.

    With -o json or yaml, what is wrong with refused manifests comes in that form too.

    Exit code 0: it serves; 1: refused, or with --wait not ready in time; 4: with --wait something stalled.
    """
    if (plan is None) == (not paths):
        raise click.UsageError("expected manifests with -f, or one plan that `loomd plan -o FILE` kept")
    if plan is not None and (prune or force or dry_run == "client"):
        raise click.UsageError("a plan says itself what is pruned and taken over: give --prune and --force to plan")
    if plan is None and dry_run == "client":
        with problems_in(output.name, 1):
            return _look(read_delivered(paths), output)
    terms = {"dryRun": dry_run == "server", **({"manager": field_manager} if field_manager else {})}
    with problems_in(output.name, 1):
        if plan is not None:
            body = SavedPlan.read(plan).request() | terms
        else:
            body = request(read_delivered(paths), prune=prune, force=force, **terms)
        try:
            with working("applying", client):
                done = client.post("apply", body=body)
        except Stale as error:
            raise Stale(f"saved plan is stale: {error}") from error
    show(done, output, " (server dry run)" if dry_run else "")
    return wait_changes(client, done, deadline(timeout)) if wait and not dry_run else 0


def show(done: Json, output: Form, suffix: str = "") -> None:
    """Print what a plan changes, object by object, in a form."""
    if output.name == "json":
        click.echo(write_json(done))
    elif output.name == "yaml":
        click.echo(to_yaml(done), nl=False)
    elif output.name == "name":
        for change in done["changes"]:
            click.echo(change["object"])
    else:
        for change in done["changes"]:
            click.echo(line(change, suffix))
        for one in done["consequences"]:
            if one["type"] == "pending":
                click.echo(f"warning: {one['object']} {one['message']}", err=True)
        warn(done)


def _look(delivered: Sequence[Delivered], output: Form) -> int:
    """Check manifests as far as that can be done here, and print what would be sent."""
    from loomd.cli.local import check  # noqa: PLC0415  # brings all kinds and their types; no other way needs them

    found = check([file for one in delivered for file in one.files])
    forms: dict[str, Callable[[], str]] = {
        "json": lambda: write_json({"items": [one.value for one in found]}),
        "yaml": lambda: "---\n".join(to_yaml(one.value) for one in found).rstrip("\n"),
        "name": lambda: "\n".join(one.object for one in found),
        "text": lambda: "\n".join(f"{one.object} valid (client dry run)" for one in found),
    }
    click.echo(forms[output.name]())
    for one in found:
        for note in one.notes:
            click.echo(f"note: {note}", err=True)
    return 0


def wait_changes(client: Client, done: Json, until: float | None) -> int:
    """Wait until all that was handed over or changed is ready or gone, and return the exit code."""
    wishes: dict[tuple[str, str, str], list[str]] = {}
    for change in done["changes"]:
        goal = "delete" if change["action"] == "deleted" else READY
        wishes.setdefault((change["kind"], change["namespace"], goal), []).append(change["name"])
    plurals = {kind["name"]: kind["plural"] for kind in client.get()["kinds"]}
    try:
        for (kind, namespace, goal), names in wishes.items():
            code = wait_for(client, Place(plurals[kind], kind), namespace, names, goal_of(goal), until)
            if code:
                return code
    except KeyboardInterrupt:
        click.echo("\nthe daemon has taken it: loomd rollout status tells how far it is", err=True)
        raise
    return 0
