"""`loomd serve`: runs the daemon in the foreground."""

import os
import sys
from pathlib import Path
from typing import Any

import click

_PATH = click.Path(path_type=Path)


@click.command(context_settings={"allow_extra_args": True})
@click.option(
    "--config", type=_PATH, help="Settings of the daemon, a YAML file; flags win over it, it wins over variables."
)
@click.option("--watch", type=_PATH, multiple=True, help="Folder of manifests to follow.")
@click.option("--state", type=_PATH, help="Folder of the store; without it and a setting, LOOMD_STATE.")
@click.option("--socket", type=_PATH, help="Socket of the API; without it and a setting, LOOMD_SOCKET.")
@click.option("--listen", metavar="HOST:PORT", help="Answer over TCP too; it needs a token.")
@click.option("--token-file", type=_PATH, help="File that holds the token of the API over TCP.")
@click.option("--grace", metavar="DURATION", help="Time for running tasks at the end, such as 30s.")
@click.option("-v", "--verbose", is_flag=True, help="Log more.")
@click.pass_context
def command(context: click.Context, /, config: Path | None, watch: tuple[Path, ...], **said: Any) -> None:
    """Run the daemon until SIGTERM or Ctrl-C; SIGHUP reads its settings and everything that it follows again."""
    if context.args:
        raise click.UsageError(f"unexpected {context.args[0]!r}: to follow a folder of manifests, say --watch FOLDER")
    _hold_standard_files()
    from loomd.cli.foreground import run  # noqa: PLC0415  # brings the whole daemon; the help text needs none of it

    run(config.absolute() if config else None, _flags(watch, **said))


def _hold_standard_files() -> None:
    """Put nothing in the place of a standard file that is closed: the store would open there, and be printed into."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
    sys.stdout = sys.stdout or open(1, "w", closefd=False, encoding="utf-8")  # noqa: SIM115  # a number
    sys.stderr = sys.stderr or open(2, "w", closefd=False, encoding="utf-8")  # noqa: SIM115  # a number


def _flags(
    watch: tuple[Path, ...],
    state: Path | None,
    socket: Path | None,
    listen: str | None,
    token_file: Path | None,
    grace: str | None,
    verbose: bool,
) -> dict[str, Any]:
    """Return what the command line says, in the names of the settings."""
    flags: dict[str, Any] = {
        "stateDir": _absolute(state),
        "socket": _absolute(socket),
        "listen": listen,
        "token": {"valueFrom": {"file": _absolute(token_file)}} if token_file else None,
        "watch": [_absolute(path) for path in watch] or None,
        "grace": _seconds(grace),
        "log": {"level": "debug"} if verbose else None,
    }
    return {name: value for name, value in flags.items() if value is not None}


def _seconds(text: str | None) -> str | None:
    """Return a duration as it is written; a plain number is seconds."""
    return f"{text}s" if text and text.replace(".", "", 1).isdigit() else text


def _absolute(path: Path | None) -> str | None:
    return str(path.expanduser().absolute()) if path else None
