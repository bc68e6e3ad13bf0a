"""`loomd test`: runs the Tests that manifests declare."""

from pathlib import Path

import click


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(exists=True, path_type=Path), metavar="[PATH]...")
@click.option("--filter", "pattern", default="", help="Only tests whose names contain this; `*` stands for any text.")
@click.option(
    "-o", "--output", type=click.Choice(["text", "json", "junit"]), default="text", show_default=True, help="Form."
)
@click.option("--junit", type=click.Path(path_type=Path, dir_okay=False), help="File for a JUnit report, besides.")
@click.option(
    "-j", "--jobs", type=click.IntRange(min=1), default=8, show_default=True, help="How many tests run at once."
)
def command(paths: tuple[Path, ...], pattern: str, output: str, junit: Path | None, jobs: int) -> int:
    """Run the Tests in files or folders of manifests, by default in this folder; each PATH is a set of its own.

    Models answer with the replies that a test gives, or from a recording; nothing is reached, and no daemon is needed.
    Exit code 0: all passed; 1: some failed, or manifests are not valid; 2: usage, or there are no tests.
    """
    from loomd.cli.trials import test_all  # noqa: PLC0415  # brings all that runs tasks; the help text needs none

    return test_all(paths or (Path(),), pattern, output, junit, jobs)
