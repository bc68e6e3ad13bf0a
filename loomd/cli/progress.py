"""Says that something is being done, once it takes longer than a second.

On a terminal a line that counts, elsewhere plain lines. Called by the verbs that let the daemon work.
"""

import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager

import click

from loomd.api.client import Asked, Client
from loomd.errors import LoomdError

PATIENCE = 1.0
"""Seconds after which people want to know."""
_BEAT = 0.5
_PLAIN = 10.0


def indexing(stage: str, knowledge: str) -> str:
    """Return what is done with the chunks of a knowledge base."""
    return f"looking for entities in {knowledge}" if stage == "graph" else f"indexing {knowledge}"


@contextmanager
def working(what: str, client: Client | None = None) -> Generator[None]:
    """Say what is being done for as long as the context lasts.

    Args:
        what: the act, for example `applying`.
        client: a daemon that does it, and goes on when nobody waits any more; its indexing is shown too.
    """
    said = _Said(what)
    thread = threading.Thread(target=said.run, args=(client,), daemon=True)
    thread.start()
    try:
        yield
    except KeyboardInterrupt:
        if client is not None:
            click.echo("\nthe daemon may have taken it, and goes on: loomd rollout status tells what serves", err=True)
        raise
    finally:
        said.done.set()
        thread.join(_BEAT)
        said.erase()


class _Said:
    """What stands on standard error."""

    def __init__(self, what: str) -> None:
        self.done = threading.Event()
        self._what = what
        self._detail = ""
        self._live = sys.stderr.isatty()
        self._shown = False

    def run(self, client: Client | None) -> None:
        """Say it again and again, until it is done."""
        if self.done.wait(PATIENCE):
            return
        if client is not None:
            threading.Thread(target=self._hear, args=(client,), daemon=True).start()
        seconds, step = PATIENCE, _BEAT if self._live else _PLAIN
        while True:
            self._say(f"{self._what} ... {int(seconds)}s{self._detail}")
            if self.done.wait(step):
                return
            seconds += step

    def erase(self) -> None:
        """Take away what stands there."""
        if self._live and self._shown:
            click.echo("\r\x1b[K", nl=False, err=True)

    def _say(self, text: str) -> None:
        self._shown = True
        click.echo(f"\r\x1b[K{text}" if self._live else text, nl=not self._live, err=True)

    def _hear(self, client: Client) -> None:
        """Take note of what is indexed meanwhile."""
        try:
            for event in client.events(asked=Asked(-1, types=("index.progress",)), follow=True):
                fact = event["data"]
                if self.done.is_set():
                    return
                verb = indexing(fact.get("stage", "index"), fact["knowledge"])
                self._detail = f", {verb}: {fact['done']} of {fact['total']} chunks"
        except LoomdError:
            return  # the act itself says what is wrong with the daemon
