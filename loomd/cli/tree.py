"""The parts of a split as a tree that is drawn anew in place, on a terminal, as they go. Called by `show`.

Whatever else is to be said is printed above the tree; when the answer begins, the tree stays as it stands.
"""

import shutil
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import click

from loomd.cli.cells import columns, cut
from loomd.cli.colour import harmless
from loomd.events.cluster import AgentSplit, AuctionAwarded, PartRetried
from loomd.events.event import Event, ModelCalled, PhaseCompleted, PhaseStarted, TaskCompleted, TaskFailed, TaskStarted
from loomd.events.phase import FIRST, phase_after

BRANCHES = "├└─│"
"""What trees are drawn with; a terminal without these characters is shown no tree."""
_UP = "\x1b[{}A\r\x1b[J"
"""Go up some lines, and clear all below."""
_STATES = {"waits": "bright_black", "done": "green", "failed": "red"}


_HEAD, _AGENT = 10, 12
"""Columns that the branches with the number of a part, and its agent, have at least: rows stay where they stand when
parts of parts begin."""


@dataclass
class _Part:
    """A part: what it is about, who does it, how far it is, and when it began and ended, wall-clock seconds."""

    goal: str
    state: str = "waits"
    agent: str = ""
    calls: int = 0
    began: float = 0.0
    ended: float = 0.0
    below: list[str] = field(default_factory=list[str])


def _phase(fact: PhaseStarted | PhaseCompleted) -> str | None:
    """Return the phase that a part is in now; that the next one began is in no journal."""
    return fact.phase if isinstance(fact, PhaseStarted) else phase_after(fact.phase)


class Tree:
    """The parts of one task, and of its parts."""

    def __init__(self, *, coloured: bool) -> None:
        """Begin with nothing on the screen; colours only where they are wanted."""
        self._coloured = coloured
        self._parts: dict[str, _Part] = {}
        self._top: list[str] = []
        self._drawn: list[int] = []
        self._held = False
        self._now = 0.0

    def hear(self, event: Event) -> bool:
        """Take an event over, and return whether the tree tells all that is to be said of it."""
        fact, self._now = event.data, event.ts
        if isinstance(fact, AgentSplit):
            for child, goal in zip(fact.children, fact.goals, strict=True):
                self._add(event.task, child, goal)
        elif isinstance(fact, PartRetried):
            self._add(event.task, fact.child, self._parts[fact.part].goal if fact.part in self._parts else "")
        elif (part := self._parts.get(event.task)) is None:
            return False
        elif isinstance(fact, TaskStarted):
            part.state, part.began = FIRST, event.ts
        elif isinstance(fact, PhaseStarted | PhaseCompleted):
            part.state = _phase(fact) or part.state
        elif isinstance(fact, AuctionAwarded):
            part.agent = fact.winner
        elif isinstance(fact, ModelCalled):
            part.calls += 1
        elif isinstance(fact, TaskCompleted | TaskFailed):
            part.state, part.ended = "done" if isinstance(fact, TaskCompleted) else "failed", event.ts
        else:
            return False
        self._draw()
        return True

    def clear(self) -> None:
        """Take the tree from the screen, so that something is printed where it stands."""
        if self._drawn:  # a terminal that became narrower since shows a line as several
            wide = max(1, shutil.get_terminal_size().columns)
            rows = sum(max(1, -(-width // wide)) for width in self._drawn)
            click.echo(_UP.format(rows), nl=False, err=True)
            self._drawn = []

    def draw(self) -> None:
        """Put the tree back on the screen."""
        self._draw()

    @contextmanager
    def held(self) -> Generator[None]:
        """Let the tree stand still while somebody is asked something below it; it goes on below the answer."""
        self._drawn, self._held = [], True
        try:
            yield
        finally:
            self._held = False
            self._draw()

    def leave(self) -> None:
        """Let the tree stay as it stands; what is split from now on begins another."""
        self._parts, self._top, self._drawn = {}, [], []

    def lines(self) -> list[str]:
        """Return the tree, one line for each part, cut to the width of the terminal."""
        rows = list(self._rows(self._top, ""))
        head = max([_HEAD, *(len(head) for head, _ in rows)])
        agent = max([_AGENT, *(len(part.agent) for _, part in rows)])
        return [self._line(f"{name:<{head}}", part, agent) for name, part in rows]

    def _add(self, above: str, child: str, goal: str) -> None:
        self._parts[child] = _Part(goal)
        (self._parts[above].below if above in self._parts else self._top).append(child)

    def _rows(self, names: list[str], before: str) -> Iterator[tuple[str, _Part]]:
        """Yield the parts in their order, each with what stands before it."""
        for at, name in enumerate(names):
            last, part = at == len(names) - 1, self._parts[name]
            yield f"{before}{'└─' if last else '├─'} {name.rpartition('.')[2]}", part
            yield from self._rows(part.below, f"{before}{'   ' if last else '│  '}")

    def _line(self, head: str, part: _Part, agent: int) -> str:
        took = f"{(part.ended or self._now) - part.began:.1f}s" if part.began else ""
        calls = f"{part.calls} call{'' if part.calls == 1 else 's'}" if part.calls else ""
        after = f"  {part.agent:<{agent}} {took:>6} {calls:<8} {' '.join(part.goal.split())}"
        room = shutil.get_terminal_size().columns - len(head) - 10
        colour = _STATES.get(part.state, "cyan")
        state = click.style(f"{part.state:<8}", fg=colour) if self._coloured else f"{part.state:<8}"
        return f"{head} {state}{cut(harmless(after, sys.stderr), room)}".rstrip()

    def _draw(self) -> None:
        if self._held:
            return
        self.clear()
        shown = self.lines()
        most = max(1, shutil.get_terminal_size().lines - 2)
        if len(shown) > most:  # what scrolled away cannot be drawn anew
            shown = [*shown[: most - 1], f"... {len(shown) - most + 1} more parts"]
        if shown:
            click.echo("\n".join(shown), err=True)
        self._drawn = [columns(click.unstyle(line)) for line in shown]
