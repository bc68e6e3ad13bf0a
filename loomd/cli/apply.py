"""`loomd apply`: hands manifests to the daemon and shows what changes."""

import sys
from pathlib import Path

import click

from loomd.cli.target import Client, socket_option
from loomd.manifest.problem import Position, Problem, Problems
from loomd.manifest.source import STDIN, SourceFile, read_path


@click.command()
@click.option("-f", "--file", "paths", multiple=True, required=True, help="File, folder, or - for standard input.")
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@click.option("--prune", is_flag=True, help="Delete what this file or folder declared before and no longer does.")
@socket_option
def command(paths: tuple[str, ...], dry_run: bool, prune: bool, client: Client) -> None:
    """Hand manifests to the daemon: all of them serve or nothing changes.

    Objects are added and changed; what is already there stays. With --prune, what was applied from the same file or
    folder before (or from standard input, whatever came from there) and is not declared any more is deleted. Folders
    that `loomd serve --watch` follows are always pruned.
    """
    for path in paths:
        place = path if path == STDIN else Path(path).absolute()
        stdin = sys.stdin.buffer.read() if path == STDIN else None
        files = read_path(place, stdin)
        root = files[0].root.absolute() if files else Path(place)
        body = {
            "source": str(place),
            "root": str(root),
            "files": [{"path": file.path, "text": _text(file)} for file in files],
            "dryRun": dry_run,
            "prune": prune,
        }
        _show(client.post("apply", body=body)["changes"], dry_run)


def _text(file: SourceFile) -> str:
    try:
        return file.data.decode("utf-8")
    except UnicodeDecodeError as error:
        message = f"byte {error.start} is not UTF-8"
        raise Problems([Problem(Position(file.name), "encoding", message, hint="save the file as UTF-8")]) from error


def _show(changes: list[dict[str, object]], dry_run: bool) -> None:
    for change in changes:
        fields = change["fields"]
        detail = f": {', '.join(str(field) for field in fields)}" if isinstance(fields, list) and fields else ""
        click.echo(f"{change['object']} {change['action']}{detail}{' (dry run)' if dry_run else ''}")
    if not changes:
        click.echo("nothing declared", err=True)
