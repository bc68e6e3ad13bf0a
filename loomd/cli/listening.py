"""Listens to the daemon's events for as long as it takes: over a restart of the daemon, too.

Called by the verbs that follow something. Where it goes on is the last event's number, so that nothing is missed and
nothing comes twice.
"""

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import click

from loomd.api.client import Asked, Client, Json
from loomd.errors import Overloaded, Temporary

T = TypeVar("T")

_SHORTEST, _LONGEST = 0.1, 2.0
"""Seconds between two tries to reach a daemon that is away: at first, and after a while."""


def _beside(text: str) -> None:
    click.echo(text, err=True)


def listen(
    client: Client, asked: Asked, *, follow: bool = True, say: Callable[[str], None] = _beside
) -> Iterator[Json]:
    """Yield the events that are asked for; when it follows, until nothing more is wanted.

    Args:
        client: the daemon.
        asked: the events.
        follow: whether those that happen from now on are wanted, too.
        say: says a line about events that retention removed, or about a daemon that is away; on standard error by
            default.

    Raises:
        Unreachable: there is no daemon at first.
        LoomdError: the daemon refuses the question.
    """
    pause, away = _SHORTEST, False
    while True:
        try:
            for event in client.events(asked=asked, follow=follow):
                pause, away = _SHORTEST, False
                if event["data"]["type"] == "events.missing":
                    say(_missing(event["data"]))
                else:
                    yield event
            if not follow or asked.ended:
                return
        except Temporary as error:
            if asked.ended:
                return
            if not follow or not asked.opened:
                raise
            if isinstance(error, Overloaded) and error.retry_after is None:
                continue  # this reader was too slow and was dropped: the journal has the rest
            if not away:
                say(f"{error}; waiting for it (Ctrl-C ends this)")
            away = True
        time.sleep(pause)
        pause = min(_LONGEST, pause * 1.5)


def insist(ask: Callable[[], T]) -> T:
    """Ask a daemon that was there, until it answers."""
    pause = _SHORTEST
    while True:
        try:
            return ask()
        except Temporary:
            time.sleep(pause)
            pause = min(_LONGEST, pause * 1.5)


def _missing(fact: Json) -> str:
    return f"some events up to number {fact['until']} are not there any more: retention removed those of old tasks"
