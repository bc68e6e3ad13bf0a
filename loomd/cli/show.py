"""Shows a task on a terminal as it runs: the six phases on standard error, the answer on standard output.

So that `loomd run ... > answer.txt` keeps the answer alone. Pieces of text are shown as they come on a terminal only,
because a text that tool calls follow is no answer. Colours only on a terminal, never under NO_COLOR. Called by `run`
and by `submit --wait`.
"""

import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import singledispatch

import click
import msgspec

from loomd.agents.approval import Decision
from loomd.amoeba.task import Result
from loomd.cli.colour import harmless, is_coloured
from loomd.cli.progress import indexing
from loomd.cli.tree import BRANCHES, Tree
from loomd.events import event as facts
from loomd.events.cluster import AgentSplit, PartRetried
from loomd.events.event import Event
from loomd.events.passage import PassageFailed
from loomd.events.skill import SkillActivated

_WIDTH = 10
_SHOWN_GOAL = 70


class Show:
    """Prints events as they come; a handler for the bus."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._colour = is_coloured(sys.stderr)
        self._live = sys.stdout.isatty()
        drawn = sys.stderr.isatty() and harmless(BRANCHES, sys.stderr) == BRANCHES and not quiet
        self._tree = Tree(coloured=self._colour) if drawn else None
        self._root = ""
        self._open_line = False
        self._piece = ""
        self._streamed = ""

    def hear(self, event: Event) -> None:
        """Print an event, if there is something to see in it."""
        if self._quiet:
            return
        if self._tree is not None:
            self._hear_beside(event, self._tree)
        else:
            self._hear(event)

    def asking(self) -> AbstractContextManager[None]:
        """Return a context in which somebody may be asked something at the terminal."""
        return nullcontext() if self._tree is None else self._tree.held()

    def note(self, text: str) -> None:
        """Print a line that is of no event, above the tree."""
        self._end_line()
        if self._tree is not None:
            self._tree.clear()
        click.echo(text, err=True)
        if self._tree is not None:
            self._tree.draw()

    def _hear_beside(self, event: Event, tree: Tree) -> None:
        """Let the tree of the parts tell what it can, and print the rest above it; the answer stands below."""
        if isinstance(event.data, facts.ModelDelta):
            if event.task == self._root and not event.within and self._live:
                tree.leave()
            self._hear(event)
            return
        if self._open_line:
            self._end_line()
        if tree.hear(event) or (event.task != self._root and self._root and not _urgent(event)):
            if isinstance(event.data, facts.ModelCalled):
                self._hear(event)
            return
        tree.clear()
        self._hear(event)
        tree.draw()
        if not self._root:  # another attempt has parts of its own
            tree.leave()

    def _hear(self, event: Event) -> None:
        fact = event.data
        if isinstance(fact, facts.ModelDelta):
            self._stream(event, fact.text)
        elif isinstance(fact, facts.ModelCalled) and event.task == self._root and not event.within:
            self._streamed, self._piece = self._piece, ""
        elif isinstance(fact, facts.IndexProgress):
            verb = indexing(fact.stage, fact.knowledge)
            self._progress(f"{verb}: {fact.done} of {fact.total} chunks", fact.done >= fact.total)
        elif (line := describe(fact)) is not None:
            if isinstance(fact, facts.ModelRetried):
                self._piece = ""
            if isinstance(fact, facts.TaskStarted):
                self._root = self._root or event.task
            self._say(line, event)
            if isinstance(fact, facts.TaskFailed) and event.task == self._root and fact.retried:
                self._root = ""  # the next attempt is told like the first

    def _stream(self, event: Event, text: str) -> None:
        """Print a piece of the answer of the task itself; the texts of its parts are not the answer."""
        if event.task != self._root or event.within or not self._live:
            return
        if not self._piece:
            self._end_line()
        self._piece += text
        click.echo(harmless(text, sys.stdout), nl=False)
        self._open_line = not text.endswith("\n")

    def _say(self, line: "Line", event: Event) -> None:
        """Print a line, indented by the depth of its task."""
        self._end_line()
        part = event.task[len(self._root) :].lstrip(".")
        indent = "  " * (part.count(".") + 1) + f"{part} " if part else ""
        head = "PART" if part and line.head == "task" else line.head.upper()
        text = harmless(line.text, sys.stderr)
        text = self._paint(text, line.colour) if line.colour else text
        click.echo(f"{indent}{self._paint(f'{head:{_WIDTH}}', 'cyan')}{text}", err=True)

    def _progress(self, text: str, done: bool) -> None:
        if sys.stderr.isatty():
            click.echo(f"\r\x1b[K{text}", nl=done, err=True)
        elif done:
            click.echo(text, err=True)

    def _end_line(self) -> None:
        if self._open_line:
            click.echo()
            self._open_line = False

    def _paint(self, text: str, colour: str) -> str:
        return click.style(text, fg=colour) if self._colour else text

    def finish(self, result: Result, output: str = "text") -> int:
        """Print what became of the task, as text or as JSON, and return the exit code: 0 for an answer, else 1."""
        if self._tree is not None:
            self._tree.leave()
        self._end_line()
        if output == "json":
            click.echo(msgspec.json.format(msgspec.json.encode(result), indent=2))
        else:
            self._answer(result)
        if result.error:
            click.echo(harmless(f"error: {result.error}", sys.stderr), err=True)
        return 0 if result.phase == "Succeeded" else 1

    def _answer(self, result: Result) -> None:
        """Print the answer with its sources, unless it stands there already."""
        if result.executed is None:
            return
        outcome = result.executed.outcome
        if outcome.output.strip() != self._streamed.strip():
            click.echo(harmless(outcome.output, sys.stdout))
        if outcome.citations:
            click.echo("\nSources")
            for cited in outcome.citations:
                title = f"  {cited.title}" if cited.title else ""
                click.echo(f"  [{cited.number}] {cited.source}{title}")


def _urgent(event: Event) -> bool:
    """Return whether something in a part is for people: a question, or what went another way than it should."""
    urgent = facts.ApprovalRequested | facts.ApprovalResolved | facts.Fallback | facts.ModelRetried | facts.CallChecked
    return isinstance(event.data, urgent | facts.IndexProgress) or not event.task


@dataclass(frozen=True)
class Line:
    """What to say about a fact: a head (a phase, or nothing), a text, and its colour."""

    head: str
    text: str
    colour: str = ""


@singledispatch
def describe(fact: facts.AnyFact) -> Line | None:
    """Return what to say about a fact, or None when there is nothing for people to see in it."""
    del fact
    return None


@describe.register
def _(fact: facts.TaskStarted) -> Line:
    return Line("task", " ".join(fact.goal.split()))


@describe.register
def _(fact: facts.PhaseCompleted) -> Line:
    return Line(fact.phase, fact.why)


@describe.register
def _(fact: facts.TaskFailed) -> Line:
    return Line("failed", f"{fact.error}; task/{fact.retried} tries again" if fact.retried else fact.error, "red")


@describe.register
def _(fact: facts.KnowledgeSearched) -> Line:
    return Line("", f"found in {fact.knowledge}: {', '.join(fact.sources) or 'nothing'}", "bright_black")


@describe.register
def _(fact: SkillActivated) -> Line:
    return Line("", f"takes up the skill {fact.skill}: {fact.why}", "bright_black")


@describe.register
def _(fact: PassageFailed) -> Line:
    return Line("skipped", f"{fact.source} in the graph of {fact.knowledge}: {fact.reason}", "yellow")


@describe.register
def _(fact: facts.DocumentSkipped) -> Line:
    return Line("skipped", f"{fact.path} of {fact.knowledge} {fact.reason}", "yellow")


@describe.register
def _(fact: facts.IndexDamaged) -> Line:
    kept = f"{fact.vectors:,} of its vectors are kept"
    return Line("damaged", f"the index of {fact.knowledge} is made anew, {kept}: {fact.reason}", "yellow")


@describe.register
def _(fact: facts.ToolCompleted) -> Line:
    return Line("", f"{fact.tool} -> {_short(fact.result)}", "bright_black")


@describe.register
def _(fact: facts.ToolErred) -> Line:
    return Line("", f"{fact.tool} failed: {fact.error}", "yellow")


@describe.register
def _(fact: facts.ApprovalRequested) -> Line:
    call = f"{fact.tool}({_short(msgspec.json.encode(fact.arguments).decode())})"
    asked = (
        "it was interrupted and may have had its effect; call it again?" if fact.question == "repeat" else "call it?"
    )
    return Line("waits", f"{call}: {asked} loomd approve {fact.approval}, or loomd deny {fact.approval}", "yellow")


@describe.register
def _(fact: facts.ApprovalResolved) -> Line:
    said = Decision(fact.verdict, fact.by, fact.reason).said()
    return Line(fact.verdict, said, "green" if fact.verdict == "approved" else "yellow")


@describe.register
def _(fact: facts.CallChecked) -> Line:
    return Line("", f"{fact.by} {fact.action} ({fact.call}): {fact.reason}", "yellow")


@describe.register
def _(fact: facts.Fallback) -> Line:
    return Line("", f"{fact.phase}: {fact.reason}; {fact.fallback}", "yellow")


@describe.register
def _(fact: facts.ModelRetried) -> Line:
    instead = f"{fact.after} is asked instead" if fact.after else f"it is asked again in {fact.wait:.1f} s"
    return Line("", f"{fact.model} did not answer, {instead}: {fact.reason}", "yellow")


@describe.register
def _(fact: PartRetried) -> Line:
    return Line("", f"task/{fact.part} by {fact.by} failed ({_short(fact.reason)}): another agent gets it", "yellow")


@describe.register
def _(fact: AgentSplit) -> Line:
    parts = "".join(f"\n{'':{_WIDTH + 2}}{n}. {' '.join(goal.split())}" for n, goal in enumerate(fact.goals, start=1))
    return Line("", f"split into {len(fact.goals)} parts{parts}", "bright_black")


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN_GOAL else line[: _SHOWN_GOAL - 3] + "..."
