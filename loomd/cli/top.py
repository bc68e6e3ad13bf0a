"""`loomd top`: what goes on now, as a table that is drawn anew again and again: agents above, tasks below.

On a terminal it fills the screen until q is pressed; with --once, and elsewhere, it is printed once.
"""

import os
import select
import shutil
import sys
import termios
import time
import tty
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import datetime

import click

from loomd.api.client import Client, Json
from loomd.cli.cells import cut
from loomd.cli.colour import BOLD, GREY, RED, YELLOW, harmless, painter
from loomd.cli.number import NumberRange
from loomd.cli.output import Form, output_option, writer
from loomd.cli.table import age, render
from loomd.cli.target import namespace_option, socket_option
from loomd.errors import Unreachable

_SHOW, _HIDE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
"""Take a screen of its own without a cursor, and give both back."""
_HOME, _LINE, _END_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"
"""Go to the first place of the screen; clear the line before it is written, as behind a full one some terminals clear
its last character; clear all below."""
_HEALTH = {"dying": RED, "warning": YELLOW}


@click.command()
@click.option("--once", is_flag=True, help="Print it once, for scripts; so it is without a terminal.")
@click.option(
    "-d", "--delay", type=NumberRange(0.1, 3600), default=1.0, show_default=True, help="Seconds between two looks."
)
@namespace_option
@click.option("-A", "--all-namespaces", "everywhere", is_flag=True, help="Look in all namespaces.")
@output_option("table", "json", "yaml")
@socket_option
def command(once: bool, delay: float, namespace: str, everywhere: bool, output: Form, client: Client) -> None:
    """Show what goes on now: agents with load, health, scores and what they used today; tasks with phase and time.

    Tasks that run stand first, with their parts, then those that have ended last. Press q to leave.
    """
    place = ("top",) if everywhere else ("namespaces", namespace, "top")
    if output.name != "table":
        writer(output)(client.get(*place))
    elif once or not (sys.stdin.isatty() and sys.stdout.isatty()):
        for line in lines(client.get(*place), everywhere=everywhere):
            click.echo(line)
    else:
        _live(client, place, delay, everywhere=everywhere)


def lines(now: Json, *, everywhere: bool, rows: int | None = None) -> list[str]:
    """Return what is shown.

    Args:
        now: what the API says.
        everywhere: whether namespaces are told.
        rows: most lines; then agents at work stand first, and each table has at least half of them if it needs so many.
    """
    who = now["agents"] if rows is None else sorted(now["agents"], key=lambda one: -one["running"])
    running = [one for one in now["tasks"] if "reward" not in one and "seconds" not in one]
    each = _each(now["agents"])
    spent, tokens = (sum(one["today"][what] for one in each) for what in ("cost", "tokens"))
    head = (
        f"{_clock(now['time'])}  agents {len(each)}, at work {sum(one['running'] for one in each)}; "
        f"tasks that run {len(running)}; today {tokens:.0f} tokens, {spent:.4f} USD"
    )
    agents = render(
        ("NAMESPACE", "AGENT", "CLUSTER", "LOAD", "HEALTH", "SCORE", "TASKS", "DOMAINS", "TOKENS", "USD"),
        [_agent(one, everywhere=everywhere) for one in who],
    )
    tasks = render(
        ("TASK", "STATUS", "PHASE", "TIME", "AGENT", "REWARD", "USD", "GOAL"),
        [_task(one, now["time"], everywhere=everywhere) for one in now["tasks"]],
    )
    if not everywhere:
        agents = render(
            ("AGENT", "CLUSTER", "LOAD", "HEALTH", "SCORE", "TASKS", "DOMAINS", "TOKENS", "USD"),
            [_agent(one, everywhere=False)[1:] for one in who],
        )
    agents, tasks = agents if now["agents"] else ["no agents"], tasks if now["tasks"] else ["no tasks"]
    if rows is not None:
        room = max(4, rows - 3)
        half = room // 2
        agents = _cut(agents, max(half, room - len(tasks)), "agents")
        tasks = _cut(tasks, room - len(agents), "tasks")
    return [head, "", *agents, "", *tasks]


def _cut(table: list[str], most: int, what: str) -> list[str]:
    """Return as much of a table as fits, and how much more there is."""
    return table if len(table) <= most else [*table[: most - 1], f"... {len(table) - most + 1} more {what}"]


def _each(agents: Sequence[Json]) -> list[Json]:
    """Return every agent once, although it may be a member of several clusters."""
    return list({(one["namespace"], one["agent"]): one for one in agents}.values())


def _agent(one: Json, *, everywhere: bool) -> list[str]:
    best = sorted(one["domains"].items(), key=lambda pair: -pair[1])[:3]
    return [
        one["namespace"] if everywhere else "",
        one["agent"],
        one["cluster"],
        f"{one['load']:g}",
        one["health"],
        f"{one['score']:.2f}",
        str(one["tasks"]),
        ", ".join(f"{name} {score:.2f}" for name, score in best),
        f"{one['today']['tokens']:.0f}",
        f"{one['today']['cost']:.4f}" if one["today"]["cost"] else "",
    ]


def _task(one: Json, now: float, *, everywhere: bool) -> list[str]:
    depth = one["task"].count(".")
    name = f"{one['namespace']}/{one['task']}" if everywhere and not depth else one["task"]
    part = f"{'  ' * depth}.{one['task'].rpartition('.')[2]}" if depth else name
    return [
        part,
        one["status"],
        one["phase"],
        f"{one['seconds']:.1f}s" if "seconds" in one else age(now - one["created"]),
        one["agent"],
        f"{one['reward']:.2f}" if "reward" in one else "",
        f"{one['cost']:.4f}" if one["cost"] else "",
        one["goal"],
    ]


def _clock(now: float) -> str:
    return datetime.fromtimestamp(now).astimezone().strftime("%H:%M:%S")


def _live(client: Client, place: Sequence[str], delay: float, *, everywhere: bool) -> None:
    """Draw it again and again, until q or Ctrl+C is pressed; while there is no daemon, what it said last.

    Raises:
        Unreachable: there is none at first.
    """
    keys, now = sys.stdin.fileno(), client.get(*place)
    with _screen():
        while True:
            began, away = time.monotonic(), ""
            try:
                now = client.get(*place)
            except Unreachable as error:
                away = f"as of {_clock(now['time'])}, and asked again: {error}"
            rows = shutil.get_terminal_size().lines - 1  # the last one says how to leave
            shown = lines(now, everywhere=everywhere, rows=rows)
            _draw([away, *shown[1:]] if away else shown)
            while (left := began + delay - time.monotonic()) > 0:
                # from the terminal itself: a stream would read keys ahead that select then does not see
                if select.select([keys], [], [], left)[0] and os.read(keys, 1) in {b"q", b"Q", b"\x03", b""}:
                    return


def _draw(shown: Sequence[str]) -> None:
    """Put lines over what stands on the screen."""
    columns, rows = shutil.get_terminal_size()
    paint = painter()
    fitting = list(shown[: rows - 1])
    drawn: list[str] = []
    for at, line in enumerate([*fitting, "q leaves"]):
        text = cut(harmless(line, sys.stdout), columns)
        if at == 0 or text.startswith(("AGENT ", "NAMESPACE ", "TASK ")):
            text = paint(text, BOLD)
        elif at == len(fitting):
            text = paint(text, GREY)
        else:
            for word, colour in _HEALTH.items():
                text = text.replace(f" {word} ", f" {paint(word, colour)} ", 1)
        drawn.append(text)
    sys.stdout.write(_HOME + "\r\n".join(_LINE + line for line in drawn) + _END_SCREEN)
    sys.stdout.flush()


@contextmanager
def _screen() -> Generator[None]:
    """Have the whole terminal, and keys as they are pressed; all is as before at the end."""
    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setcbreak(sys.stdin)
        sys.stdout.write(_SHOW)
        yield
    finally:
        sys.stdout.write(_HIDE)
        sys.stdout.flush()
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
