"""`loomd init`: a folder with a working agent system to start from."""

from importlib.resources import as_file, files
from pathlib import Path

import click

from loomd.cli.problems import dump
from loomd.errors import Conflict
from loomd.manifest.schema import combined_schema

_SCHEMA = Path(".loomd") / "manifest.schema.json"


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=Path())
def command(folder: Path) -> None:
    """Create a working agent system in FOLDER: a model, documents, and an agent that answers from them.

    Every document begins with a line that lets an editor complete, explain and check its fields, without a network:
    it names .loomd/manifest.schema.json, which `loomd schema` prints. Existing files are never overwritten.
    """
    with as_file(files("loomd.cli") / "starter") as starter:
        texts = {path.relative_to(starter): path.read_text("utf-8") for path in sorted(starter.rglob("*.*"))}
    taken = [str(folder / path) for path in (*texts, _SCHEMA) if (folder / path).exists()]
    if taken:
        raise Conflict(f"{', '.join(taken)} exists already: choose an empty folder, loomd init overwrites nothing")
    for path, text in texts.items():
        _write(folder / path, _with_modeline(text) if path.suffix == ".yaml" else text)
    _write(folder / _SCHEMA, dump(combined_schema()) + "\n")
    click.echo(f"Created {', '.join(str(folder / path) for path in texts)}")
    click.echo("\nNext:")
    click.echo("  loomd models pull --default")
    click.echo(f'  loomd run {folder} "When is the reading room open?"')


def _with_modeline(text: str) -> str:
    """Return manifests with the line that editors look for; it counts for one document, so each needs its own."""
    line = f"# yaml-language-server: $schema={_SCHEMA.as_posix()}\n"
    return line + text.replace("\n---\n", f"\n---\n{line}")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
