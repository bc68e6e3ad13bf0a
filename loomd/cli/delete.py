"""`loomd delete`: deletes objects, all that are named or none of them; or forgets conversations."""

import click

from loomd.api.client import Client, Json
from loomd.cli.apply import dry_run_option, show, wait_changes, wait_option
from loomd.cli.delivery import file_option, read_delivered
from loomd.cli.output import Form, output_option, spelled
from loomd.cli.progress import working
from loomd.cli.target import (
    BLUEPRINTS,
    EVERY,
    MEMORY_ITEMS,
    REVISIONS,
    SESSIONS,
    SOURCES,
    TASKS,
    Wanted,
    get_one,
    namespace_option,
    select,
    selector_option,
    socket_option,
    wanted,
)
from loomd.cli.waiting import deadline
from loomd.errors import NotFound

_ELSEWHERE = {
    TASKS: "tasks are not deleted: loomd cancel NAME ends one",
    SOURCES: "sources are not deleted: loomd suspend SOURCE, or loomd delete -f FILE for what they declare",
    REVISIONS: "revisions are not deleted: the daemon keeps as many as its settings say",
    MEMORY_ITEMS: "what is remembered is forgotten: loomd forget memory/NAME ID",
    BLUEPRINTS: "specialists of a cluster go when they do badly or nothing, as its forge says; one that is declared is "
    "declaredblueprint/NAME",
    EVERY: "expected one kind, such as agents",
}


@click.command()
@click.argument("what", nargs=-1, metavar="[KIND NAME... | KIND/NAME...]")
@file_option(required=False)
@click.option("--all", "everything", is_flag=True, help="Delete all of this kind in the namespace.")
@click.option("--ignore-not-found", is_flag=True, help="Pass over what is not there.")
@click.option("--tenant", help="Of sessions, the one of this tenant.")
@click.option("--user", help="Of sessions, the one of this user.")
@namespace_option
@selector_option
@dry_run_option
@output_option("text", "json", "yaml", "name")
@wait_option
@socket_option
def command(
    what: tuple[str, ...],
    paths: tuple[str, ...],
    everything: bool,
    ignore_not_found: bool,
    tenant: str | None,
    user: str | None,
    namespace: str,
    selector: str,
    dry_run: str | None,
    output: Form,
    wait: bool,
    timeout: float | None,
    client: Client,
) -> int:
    """Delete objects by name, by label, or those that manifests (-f) name.

    All of them are deleted, or nothing is. What others refer to is not deleted, and the answer says who they are; what
    a followed folder or repository declares is deleted there. A session is forgotten: its tasks stay as long as they
    are kept, and --tenant and --user say which one is meant when several have its name.
    """
    if bool(what) == bool(paths):
        raise click.UsageError("expected names of objects, or manifests with -f")
    sessions = [] if paths else [one for one in wanted(client, what, namespace) if one.place == SESSIONS]
    if sessions:
        whose = {key: name for key, name in (("tenant", tenant), ("user", user)) if name is not None}
        return _forget(client, sessions, whose, strict=not ignore_not_found)
    objects = _named(paths) if paths else _asked(client, what, namespace, selector, everything, ignore_not_found)
    if dry_run == "client":
        for one in objects:
            click.echo(f"{spelled(**one)} deleted (client dry run)")
        return 0
    body = {"objects": objects, "dryRun": dry_run == "server", "ignoreMissing": ignore_not_found}
    with working("deleting", client):
        done = client.post("delete", body=body)
    kept = {"unchanged", "created"} if output.name == "name" else {"unchanged"}
    gone = done | {"changes": [one for one in done["changes"] if one["action"] not in kept]}
    show(gone, output, " (server dry run)" if dry_run else "")
    return wait_changes(client, gone, deadline(timeout)) if wait and not dry_run else 0


def _forget(client: Client, sessions: list[Wanted], whose: dict[str, str], *, strict: bool) -> int:
    """Forget conversations, one after another.

    Raises:
        UsageError: it is not said which.
        NotFound: one is not there, and that is not to be ignored.
    """
    for one in sessions:
        if not one.names:
            raise click.UsageError("say which: names of sessions; `loomd get sessions` lists them")
        for name in one.names:
            try:
                client.delete(*SESSIONS.parts(one.namespace), name, **whose)
            except NotFound:
                if strict:
                    raise
            else:
                click.echo(f"{SESSIONS.spelled(name, one.namespace)} forgotten")
    return 0


def _named(paths: tuple[str, ...]) -> list[Json]:
    """Return the objects that manifests name."""
    from loomd.cli.local import named  # noqa: PLC0415  # brings the reader of manifests; names need none

    refs = named([file for batch in read_delivered(paths) for file in batch.files])
    return [{"kind": ref.kind, "name": ref.name, "namespace": ref.namespace} for ref in refs]


def _asked(
    client: Client, what: tuple[str, ...], namespace: str, selector: str, everything: bool, ignore_missing: bool
) -> list[Json]:
    """Return the objects that arguments and options name.

    Raises:
        UsageError: what they name is not deleted like this.
        NotFound: one of them is not there, and that is not to be ignored.
    """
    objects: list[Json] = []
    for one in wanted(client, what, namespace):
        if one.place in _ELSEWHERE:
            raise click.UsageError(f"{one.place.plural}: {_ELSEWHERE[one.place]}")
        names = one.names or select(client, one.place, one.namespace, selector, everything, ignore_missing)
        for name in () if ignore_missing else names:
            get_one(client, one.place, one.namespace, name)  # a name that is wrong is said with the closest
        objects += [{"kind": one.place.kind, "name": name, "namespace": one.namespace} for name in names]
    return objects
