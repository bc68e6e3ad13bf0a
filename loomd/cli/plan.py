"""`loomd plan`: says what manifests would change and what that means, and keeps it for `loomd apply` when asked."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from loomd.api.client import Client, Json
from loomd.api.text import to_yaml
from loomd.cli.change import describe, effective, summary
from loomd.cli.delivery import file_option, read_delivered, request
from loomd.cli.output import problems_in
from loomd.cli.progress import working
from loomd.cli.saved import SavedPlan
from loomd.cli.target import socket_option
from loomd.manifest.json_text import write_json
from loomd.manifest.wording import did_you_mean

FORMS = ("text", "json", "yaml")


class _FormOrFile(click.ParamType[str]):
    name = "form or file"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """Return the forms as a help text shows them."""
        del param, ctx
        return f"[{'|'.join(FORMS)}|FILE]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return a form or a path; a word that is nearly a form is neither."""
        word = str(value)
        close = "" if word in FORMS or "/" in word or "." in word else did_you_mean(word, FORMS)
        if close:
            self.fail(f"no form {word!r}: {close} For a file of that name write ./{word}", param, ctx)
        return word


@click.command()
@file_option(required=True)
@click.option("--prune", is_flag=True, help="Plan to delete what these files or folders declared and no longer do.")
@click.option("--force", is_flag=True, help="Plan to take over what another file or folder declares.")
@click.option(
    "-o",
    "--output",
    type=_FormOrFile(),
    default="text",
    show_default=True,
    help="Form, or the file in which the plan is kept for `loomd apply FILE`; ./json is a file called json.",
)
@click.option("--out", type=click.Path(path_type=Path), help="File in which the plan is kept, beside any form.")
@socket_option
def command(paths: tuple[str, ...], prune: bool, force: bool, output: str, out: Path | None, client: Client) -> int:
    """Say what manifests would change, field by field, and what that means; change and open nothing.

    For both texts of every object see `loomd diff`. A plan that is kept is refused by `loomd apply` once anything that
    it was made of has changed. Exit code 0: no changes; 1: changes; 2 or more: an error.
    """
    with problems_in(output, 2):
        batches = read_delivered(paths)
        body = request(batches, prune=prune, force=force)
        with working("planning"):
            plan = client.post("plan", body=body)
    file = out or (None if output in FORMS else Path(output))
    if file is not None:
        SavedPlan(tuple(batch.source for batch in batches), body, plan).write(file)
    _show(plan, output, file, [batch.source for batch in batches])
    return 1 if effective(plan) else 0


def _show(plan: Json, output: str, file: Path | None, sources: Sequence[str]) -> None:
    if output == "json":
        click.echo(write_json(plan))
    elif output == "yaml":
        click.echo(to_yaml(plan), nl=False)
    else:
        describe(plan)
        if effective(plan):
            click.echo()
        click.echo(f"Plan for {', '.join(sources)} against revision {plan['before']['number']}: {summary(plan)}.")
    if file is not None:
        click.echo(f"kept in {file}: loomd apply {file}", err=True)
