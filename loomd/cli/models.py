"""`loomd models`: lists, fetches, verifies and removes the embedded models."""

import asyncio
import json
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path

import click

from loomd.errors import NotFound
from loomd.models.place import models_dir, remove
from loomd.models.registry import Model, find, is_here, models

Work = Callable[[str, Callable[[int, int], None]], Coroutine[None, None, bool | None]]


@click.group()
def command() -> None:
    """List, fetch, verify and remove the embedded models."""


@command.command("list")
@click.option("-o", "output", type=click.Choice(["table", "json"]), default="table", help="Form of the list.")
def list_(output: str) -> None:
    """List the models that are known and which of them are here."""
    folder = models_dir()
    known = models(folder)
    if output == "json":
        click.echo(json.dumps([_describe(folder, model) for model in known.values()], indent=2))
        return
    width = max(len(name) for name in known)
    for model in known.values():
        state = "here" if is_here(folder, model) else "default" if model.default else "-"
        size = f"{model.size / 1e6:,.0f} MB"
        click.echo(f"{model.name:{width}}  {model.kind:9}  {size:>9}  {state:7}  {model.licence:10}  {model.title}")
    click.echo(f"{'wordllama':{width}}  embedding  built in: comes with pip install 'loomd[local]'")


def _describe(folder: Path, model: Model) -> dict[str, object]:
    return {
        "name": model.name,
        "kind": model.kind,
        "title": model.title,
        "licence": model.licence,
        "default": model.default,
        "size": model.size,
        "here": is_here(folder, model),
        "files": [{"name": file.name, "size": file.size, "sha256": file.sha256} for file in model.files],
    }


@command.command("pull")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--default", "default", is_flag=True, help="Fetch the models that the examples use.")
@click.option("--from", "origin", metavar="PATH|URL", help="Take the file from here; it is verified all the same.")
def pull_(names: tuple[str, ...], default: bool, origin: str | None) -> None:
    """Fetch models; what is already here is left alone. An interrupted fetch goes on where it stopped."""
    folder = models_dir()
    known = models(folder)
    wanted = [name for name, model in known.items() if model.default and (default or not names)]
    wanted += [find(name, folder).name for name in names if name not in wanted]
    if origin is not None and len(wanted) != 1:
        raise click.UsageError("--from takes the name of one model: loomd models pull NAME --from PATH|URL")
    missing = [name for name in wanted if not is_here(folder, known[name])]
    if not missing:
        click.echo(f"{', '.join(wanted)}: here")
        return
    from loomd.models.fetch import pull  # noqa: PLC0415  # nothing to fetch is the common case and must be quick

    for name in missing:
        try:
            _show("fetching", name, known[name], lambda named, told: pull(named, folder, told, origin))
        except KeyboardInterrupt:
            click.echo("what arrived is kept: run the command again to go on", err=True)
            raise


@command.command("verify")
@click.argument("name", required=False)
def verify_(name: str | None) -> None:
    """Hash the files of one model, or of all that are here, and compare."""
    from loomd.models.fetch import verify  # noqa: PLC0415  # brings asyncio's process machinery; `list` stays quick

    folder = models_dir()
    known = models(folder)
    wanted = [find(name, folder)] if name else [model for model in known.values() if is_here(folder, model)]
    if not wanted:
        raise NotFound(f"no model is in {folder}; run: loomd models pull --default")
    for model in wanted:
        _show("verifying", model.name, model, lambda named, told: verify(named, folder, told))


@command.command("rm")
@click.argument("name")
def rm_(name: str) -> None:
    """Remove a model's files."""
    folder = models_dir()
    model = find(name, folder)
    freed = remove(folder, model.name)
    click.echo(f"{model.name}: {freed / 1e6:,.0f} MB removed" if freed else f"{model.name}: was not here")


def _show(doing: str, name: str, model: Model, work: Work) -> None:
    """Run the work with a progress bar on a terminal, with a line for every quarter elsewhere."""
    if sys.stderr.isatty():
        with click.progressbar(length=model.size, label=f"{doing} {name}", file=sys.stderr) as bar:
            asyncio.run(work(name, lambda done, _total: bar.update(max(0, done - bar.pos))))
            bar.update(max(0, model.size - bar.pos))
    else:
        click.echo(f"{doing} {name} ({model.size / 1e6:,.0f} MB) ...", err=True)
        asyncio.run(work(name, _quarters(name)))
    click.echo(f"{name}: here, {model.licence}, SHA-256 verified")


def _quarters(name: str) -> Callable[[int, int], None]:
    """Return a progress callback that prints a line when another quarter is done."""
    shown = 0

    def show(done: int, total: int) -> None:
        nonlocal shown
        quarter = 4 * done // max(1, total)
        if shown < quarter < 4:
            click.echo(f"{name}: {25 * quarter} % of {total / 1e6:,.0f} MB", err=True)
            shown = quarter

    return show
