"""`loomd convert`: rewrites manifests of an old version into the form of today; talks to no daemon."""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import click

from loomd.cli.replace import replace_file
from loomd.errors import NotFound
from loomd.manifest.kind import API_VERSION, find_kinds
from loomd.manifest.load import load
from loomd.manifest.problem import Problem, Problems
from loomd.manifest.rewrite import Rewritten, rewrite
from loomd.manifest.source import STDIN, SourceFile, read_path


@click.command()
@click.option(
    "-f", "--file", "paths", multiple=True, required=True, type=click.Path(), help="File, folder, or - for stdin."
)
@click.option("-o", "--output", type=click.Choice(["yaml"]), default="yaml", show_default=True, help="Form.")
@click.option("--write", is_flag=True, help="Rewrite the files, and print what was changed.")
def command(paths: tuple[str, ...], output: str, write: bool) -> None:
    """Bring manifests of an old apiVersion into the form of today.

    Comments, order and style stay. Without --write all manifests are printed, those that change and those that do
    not, for example for `loomd apply -f -`.
    """
    del output
    if write and STDIN in paths:
        raise click.UsageError("--write rewrites files: give -f FILE, or leave --write out to print the result")
    files = _read(paths)
    results = _rewritten(files)
    if not write:
        click.echo(_joined(one.text for one in results), nl=False)
        return
    for file, result in zip(files, results, strict=True):
        if result.changes:
            replace_file(file.root / file.path, result.text.encode())
        for name, version in result.changes:
            click.echo(f"{file.name}: {name} {version} -> {API_VERSION}")
    if not any(one.changes for one in results):
        click.echo("nothing to convert", err=True)


def _read(paths: Iterable[str]) -> list[SourceFile]:
    """Return the files of all paths, each once.

    Raises:
        NotFound: a path does not exist, or nothing is there.
    """
    found: dict[Path, SourceFile] = {}
    for path in dict.fromkeys(paths):
        for file in read_path(path, sys.stdin.buffer.read() if path == STDIN else None):
            found.setdefault((file.root / file.path).resolve(), file)
    if not found:
        raise NotFound(f"no manifests (*.yaml, *.yml) below {', '.join(paths)}")
    return list(found.values())


def _rewritten(files: Sequence[SourceFile]) -> list[Rewritten]:
    """Return all files in the form of today.

    Raises:
        Problems: what is wrong with all of them; nothing was written then.
    """
    results: list[Rewritten] = []
    problems: list[Problem] = []
    for file in files:
        try:
            results.append(rewrite(file.data, file.name, find_kinds()))
        except Problems as error:
            problems += error.problems
    if problems:
        raise Problems([*problems, *_others(files, problems)])
    return results


def _others(files: Sequence[SourceFile], told: Sequence[Problem]) -> list[Problem]:
    """Return what else is wrong with files that cannot be converted, as `loomd validate` tells it."""
    places = {one.position for one in told}
    try:
        load(files, pending=True)
    except Problems as error:
        return [one for one in error.problems if one.position not in places]
    return []


def _joined(texts: Iterable[str]) -> str:
    """Return several files as one."""
    whole = [text if text.endswith("\n") else f"{text}\n" for text in texts]
    return whole[0] + "".join(text if text.startswith("---") else f"---\n{text}" for text in whole[1:])
