"""`loomd check`: verifies a state directory, whether a daemon holds it or not, and says what to do."""

from pathlib import Path

import click
import msgspec

from loomd.cli.problems import dump
from loomd.knowledge.files import check_files
from loomd.manifest.source import printable
from loomd.store.check import Report, check
from loomd.store.directory import default_directory


@click.command()
@click.option("--state", type=click.Path(path_type=Path), envvar="LOOMD_STATE", help="Folder of the store.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Form: for people, for programs.",
)
@click.pass_context
def command(context: click.Context, state: Path | None, output: str) -> None:
    """Verify a state directory: the database, every chain of the journal, contents, tasks and indexes.

    It only reads, and may run beside a daemon: it sees one moment then. Exit code 0 when all is well, 1 when something
    was found, 2 when it cannot look.
    """
    folder = (state or default_directory()).expanduser().absolute()
    report = check(folder)
    report = msgspec.structs.replace(report, findings=(*report.findings, *check_files(folder)))
    if output == "json":
        click.echo(dump({"clean": not report.findings, **msgspec.to_builtins(report)}))
    else:
        _show(report)
    context.exit(1 if report.findings else 0)


def _show(report: Report) -> None:
    """Print for people: each finding with what to do, then what was looked at."""
    for one in report.findings:
        click.echo(f"{one.code}: {printable(one.where)}: {printable(one.what)}\n    {printable(one.act)}")
    if report.findings:
        click.echo()
    things = (
        ("tasks", report.tasks),
        ("rows", report.rows),
        ("revisions", report.revisions),
        ("contents", report.contents),
    )
    looked = ", ".join(f"{count:,} {noun}" for noun, count in things)
    held = f"; process {report.holder} holds it, this is one moment of it" if report.holder else ""
    count = len(report.findings)
    said = "all is well" if not count else f"{count} finding{'s' if count > 1 else ''}"
    click.echo(f"{report.directory}: {said} in {looked}{held}")
