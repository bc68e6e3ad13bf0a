"""`loomd validate`: checks manifests and says everything that is wrong with them; opens and changes nothing."""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import click

from loomd.cli.brought import load_as_followed
from loomd.cli.problems import dump, render
from loomd.cli.sarif import to_sarif
from loomd.errors import NotFound
from loomd.manifest.foreign import unusable
from loomd.manifest.kind import find_kinds
from loomd.manifest.load import Loader
from loomd.manifest.object import Snapshot
from loomd.manifest.problem import Problem, Problems
from loomd.manifest.source import STDIN, SourceFile, check_set, try_path
from loomd.manifest.unused import find_unused


@dataclass(frozen=True)
class _Report:
    """What was checked and what was found, sorted."""

    files: Sequence[SourceFile]
    snapshot: Snapshot | None
    problems: Sequence[Problem]

    def count(self, severity: str) -> int:
        return sum(one.severity == severity for one in self.problems)


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(), metavar="[PATH]...")
@click.option("-f", "--file", "more", multiple=True, type=click.Path(), help="The same as PATH.")
@click.option("--strict", is_flag=True, help="Exit with 3 when there are warnings.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "json", "sarif", "github"]),
    default="text",
    show_default=True,
    help="Form: for people, for programs, for code scanners, for annotations of a pull request.",
)
@click.pass_context
def command(context: click.Context, paths: tuple[str, ...], more: tuple[str, ...], strict: bool, output: str) -> None:
    """Check manifests: files, folders, or - for standard input; by default this folder.

    Exit code 0 when all are valid, 1 when something is wrong, 2 when something cannot be read, and with --strict 3
    when there are warnings.
    """
    report = _check((*paths, *more) or (".",))
    _show(report, output)
    if any(one.code == "unreadable" for one in report.problems):
        context.exit(2)
    if report.count("error"):
        context.exit(1)
    if strict and report.count("warning"):
        context.exit(3)


def _check(paths: Iterable[str]) -> _Report:
    """Read and check files.

    Where a file cannot be read, references may lead into it: they are not told then.

    Raises:
        NotFound: a path does not exist, or nothing is there.
    """
    files, problems = _read(paths)
    loader, snapshot = Loader(), None
    try:
        snapshot, waits = _load(loader, files, pending=bool(problems))
        problems += waits
    except Problems as error:
        problems += error.problems
    problems += loader.warnings(files)
    problems += unusable()
    if snapshot is not None and not problems:
        problems += find_unused(snapshot, find_kinds())
    valid = not any(one.severity == "error" for one in problems)
    return _Report(files, snapshot if valid else None, Problems(problems).problems)


def _load(loader: Loader, files: Sequence[SourceFile], *, pending: bool) -> tuple[Snapshot, list[Problem]]:
    """Return the snapshot of files, and what in it waits for what their git sources may bring.

    Raises:
        Problems: they are not valid.
    """
    try:
        return loader.load(files, pending), []
    except Problems as error:
        if pending:
            raise
        return load_as_followed(loader, files, error)


def _read(paths: Iterable[str]) -> tuple[list[SourceFile], list[Problem]]:
    """Return the files of all paths, each once, and what keeps others from being read."""
    found: dict[str, SourceFile] = {}
    problems: list[Problem] = []
    for path in dict.fromkeys(paths):
        stdin = sys.stdin.buffer.read() if path == STDIN else None
        files, wrong = try_path(path, stdin)
        problems += wrong
        for file in files:
            found.setdefault(str((file.root / file.path).resolve()), file)
    if not found and not problems:
        raise NotFound(f"no manifests (*.yaml, *.yml) below {', '.join(paths)}")
    return list(found.values()), problems or check_set(list(found.values()))


def _show(report: _Report, output: str) -> None:
    snapshot, problems = report.snapshot, report.problems
    if output == "json":
        click.echo(dump(_json(report)))
        return
    if output == "sarif":
        click.echo(dump(to_sarif(problems)))
        return
    if problems:
        click.echo(render(problems, output, {file.name: file.data for file in report.files}))
    if output == "text":
        if problems:
            click.echo(f"\n{_tally(report)} in {_count(len(report.files), 'file')}", err=True)
        if snapshot is not None:
            done = f"{_count(len(snapshot.objects), 'object')} in {_count(len(report.files), 'file')}"
            verb = "is" if len(snapshot.objects) == 1 else "are"
            click.echo(f"{done} {verb} valid (revision {snapshot.revision})")


def _json(report: _Report) -> dict[str, object]:
    snapshot = report.snapshot
    return {
        "valid": snapshot is not None,
        "files": len(report.files),
        "objects": len(snapshot.objects) if snapshot else 0,
        "revision": snapshot.revision if snapshot else "",
        "problems": [one.to_json() for one in report.problems],
    }


def _tally(report: _Report) -> str:
    counts = (("problem", report.count("error")), ("warning", report.count("warning")))
    return " and ".join(_count(number, noun) for noun, number in counts if number)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
