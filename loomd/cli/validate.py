"""`loomd validate`: checks manifests and says everything that is wrong with them; opens and changes nothing."""

import sys

import click

from loomd.cli.problems import dump, render
from loomd.errors import NotFound
from loomd.manifest.load import load
from loomd.manifest.object import Snapshot
from loomd.manifest.problem import Problem, Problems
from loomd.manifest.source import STDIN, SourceFile, read_path


@click.command()
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@click.option(
    "-o", "--output", type=click.Choice(["text", "json", "github"]), default="text", show_default=True, help="Format."
)
@click.pass_context
def command(context: click.Context, paths: tuple[str, ...], output: str) -> None:
    """Check manifests: files, folders, or - for standard input; by default this folder.

    Exit code 0 when all are valid, 1 when something is wrong, 2 when something cannot be read.
    """
    problems: tuple[Problem, ...] = ()
    files: list[SourceFile] = []
    snapshot: Snapshot | None = None
    try:
        files = _read(paths or (".",))
        snapshot = load(files)
    except Problems as error:
        problems = error.problems
    _show(files, snapshot, problems, output)
    if problems:
        context.exit(2 if all(one.code == "unreadable" for one in problems) else 1)


def _read(paths: tuple[str, ...]) -> list[SourceFile]:
    """Return the files of all paths, each once.

    Raises:
        NotFound: a path does not exist, or nothing is there.
        Problems: files cannot be read.
    """
    found: dict[str, SourceFile] = {}
    problems: list[Problem] = []
    for path in paths:
        try:
            stdin = sys.stdin.buffer.read() if path == STDIN else None
            for file in read_path(path, stdin):
                found.setdefault(str((file.root / file.path).resolve()), file)
        except Problems as error:
            problems.extend(error.problems)
    if problems:
        raise Problems(problems)
    if not found:
        raise NotFound(f"no manifests (*.yaml, *.yml) below {', '.join(paths)}")
    return list(found.values())


def _show(files: list[SourceFile], snapshot: Snapshot | None, problems: tuple[Problem, ...], output: str) -> None:
    if output == "json":
        report = {
            "valid": snapshot is not None,
            "files": len(files),
            "objects": len(snapshot.objects) if snapshot else 0,
            "revision": snapshot.revision if snapshot else "",
            "problems": [one.to_json() for one in problems],
        }
        click.echo(dump(report))
        return
    if problems:
        click.echo(render(problems, output, {file.name: file.data for file in files}))
    if snapshot is not None:
        done = f"{_count(len(snapshot.objects), 'object')} in {_count(len(files), 'file')}"
        verb = "is" if len(snapshot.objects) == 1 else "are"
        click.echo(f"{done} {verb} valid (revision {snapshot.revision})")
    elif output == "text":
        click.echo(f"\n{_count(len(problems), 'problem')} in {_count(len(files), 'file')}", err=True)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
