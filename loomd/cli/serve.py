"""`loomd serve`: runs the daemon in the foreground."""

import asyncio
import gc
import logging
from pathlib import Path

import click

from loomd.api.client import default_socket
from loomd.api.server import open_server
from loomd.daemon import Settings, serve
from loomd.models.place import models_dir
from loomd.store.directory import default_directory


@click.command()
@click.option("--watch", type=click.Path(path_type=Path), multiple=True, help="Folder of manifests to follow.")
@click.option("--state", type=click.Path(path_type=Path), default=default_directory, help="Folder of the store.")
@click.option("--socket", type=click.Path(path_type=Path), default=default_socket, help="Socket of the API.")
@click.option("--grace", type=float, default=30.0, show_default=True, help="Seconds for running tasks at the end.")
@click.option("-v", "--verbose", is_flag=True, help="Log more.")
def command(watch: tuple[Path, ...], state: Path, socket: Path, grace: float, verbose: bool) -> None:
    """Run the daemon until SIGTERM or Ctrl-C; SIGHUP reads the watched folders again."""
    gc.enable()
    gc.freeze()
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(asctime)s %(levelname)-7s %(name)s: %(message)s",
    )
    if not verbose:
        for chatty in ("watchfiles", "faiss"):
            logging.getLogger(chatty).setLevel(logging.WARNING)
    folders = tuple(path.absolute() for path in watch)
    settings = Settings(state.absolute(), models_dir(), socket.absolute(), folders, grace)
    asyncio.run(serve(settings, open_server))
