"""Shows one turn of a conversation as it comes: thoughts folded into a line, the answer, calls of tools, its sources.

The answer goes to standard output, all else to standard error. Called by `conversation`.
"""

import sys

import click
import msgspec

from loomd.amoeba.task import Result
from loomd.cli.colour import GREY, RED, YELLOW, harmless, is_coloured, painter
from loomd.cli.show import describe
from loomd.events import event as facts
from loomd.events.event import Event

_SHOWN = 100
"""Characters of a call that are shown."""
_CALLS = (facts.ToolCompleted, facts.ToolErred, facts.ApprovalRequested, facts.ApprovalResolved, facts.ModelRetried)


class Spoken:
    """What was shown of a turn.

    Args:
        live: whether a person looks on: else only the answer is printed, at its end.
        reasoning: whether thoughts are shown in full.
    """

    def __init__(self, *, live: bool, reasoning: bool) -> None:
        self._live = live
        self._reasoning = reasoning
        self._paint = painter(sys.stderr)
        self._moves = is_coloured(sys.stderr)
        self._root = ""
        self._words = 0
        self._said = ""
        self._shown = ""

    def hear(self, event: Event) -> None:
        """Show an event, if there is something to see in it."""
        fact = event.data
        self._root = self._root or event.task
        if not self._live:
            return
        if isinstance(fact, facts.ReasoningDelta | facts.ModelDelta | facts.ModelCalled):
            if event.task == self._root:  # what its parts say is no answer
                self._speak(fact)
        elif isinstance(fact, facts.ToolStarted):
            arguments = msgspec.json.encode(fact.arguments).decode()
            self._note(f"{fact.tool} {_short(arguments)}")
        elif isinstance(fact, _CALLS):
            self._tell(fact)

    def finish(self, result: Result) -> None:
        """Show the rest: an answer that was not streamed, its sources, why it failed or stopped."""
        self._unthink()
        outcome = result.executed.outcome if result.executed is not None else None
        if outcome is not None:
            if outcome.output.strip() != self._shown.strip() or not self._live:
                click.echo(harmless(outcome.output, sys.stdout))
            for cited in outcome.citations if self._live else ():
                self._note(f"[{cited.number}] {cited.source}  {cited.title}".rstrip())
            if outcome.stop_reason not in {"completed", "error"}:
                why = outcome.stop_reason if result.error else outcome.end  # an error says the rest
                self._note(f"stopped: {harmless(why, sys.stderr)}", YELLOW)
        if result.error:
            click.echo(self._paint(harmless(f"error: {result.error}", sys.stderr), RED), err=True)

    def _speak(self, fact: facts.ReasoningDelta | facts.ModelDelta | facts.ModelCalled) -> None:
        """Show what a model says, as it comes."""
        if isinstance(fact, facts.ReasoningDelta):
            self._think(fact.text)
            return
        self._unthink()
        if isinstance(fact, facts.ModelDelta):
            self._said += fact.text
            click.echo(harmless(fact.text, sys.stdout), nl=False)
            return
        self._shown, self._said = self._said, ""
        if self._shown and not self._shown.endswith("\n"):
            click.echo()

    def _tell(self, fact: facts.AnyFact) -> None:
        if isinstance(fact, facts.ModelRetried):
            self._said = ""
        line = describe(fact)
        if line is not None:
            text = line.text.partition(" loomd approve ")[0]
            self._note(f"{line.head} {text}".strip(), GREY if isinstance(fact, facts.ToolCompleted) else YELLOW)

    def _think(self, text: str) -> None:
        """Show a thought, or how long it has become."""
        self._words += max(1, len(text.split()))
        if self._reasoning:
            click.echo(self._paint(harmless(text, sys.stderr), GREY), nl=False, err=True)
        elif self._moves:
            click.echo(f"\r\x1b[K{self._paint(f'thinking ({self._words} words)', GREY)}", nl=False, err=True)

    def _unthink(self) -> None:
        """Let what comes next begin on a line of its own."""
        if not self._words:
            return
        if self._reasoning:
            click.echo(err=True)
        else:
            folded = self._paint(f"thought for {self._words} words (/reasoning shows them)", GREY)
            click.echo(f"\r\x1b[K{folded}" if self._moves else folded, err=True)
        self._words = 0

    def _note(self, text: str, colour: str = GREY) -> None:
        self._unthink()
        if self._said and not self._said.endswith("\n"):
            click.echo()
        self._said = ""
        click.echo(self._paint(harmless(text, sys.stderr), colour), err=True)


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
