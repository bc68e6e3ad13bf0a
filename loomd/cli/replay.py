"""`loomd replay`: runs recorded tasks again, on the manifests that they ran on or on changed ones."""

from pathlib import Path

import click


@click.command()
@click.argument("cassettes", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--against",
    type=click.Path(exists=True, path_type=Path),
    help="Folder or file of manifests to run on; by default those in the cassette.",
)
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="Form.")
def command(cassettes: tuple[Path, ...], against: Path | None, output: str) -> int:
    """Run recorded tasks again: CASSETTES are files that `loomd export` wrote.

    Models, tools, searches, clocks and the auction answer from the recording; nothing is reached. Exit code 0: every
    task does what was recorded; 3: one does something else, and the first difference is shown; 1: one cannot be run.
    """
    from loomd.cli.taped import replay_all  # noqa: PLC0415  # brings all that runs tasks; the help text needs none

    return replay_all(cassettes, against, output)
