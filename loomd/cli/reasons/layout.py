"""How the explanation of a task is set: paragraphs, lists, times. Called by `tell` and the phases' tellers."""

import re
import textwrap
import time
from collections.abc import Iterator, Sequence

from loomd.api.client import Json
from loomd.manifest.wording import without_secrets

_WIDTH = 100
_TIE = "\0"
_COMMAND = re.compile(r"`[^`\n]{1,80}`")


def listed(head: str, texts: Sequence[str]) -> Iterator[str]:
    """Yield a list, each line with `head` before it."""
    for text in texts:
        yield _wrapped(f"{head}{text}", "  - ", "    ")


def filled(text: str) -> str:
    """Return a paragraph; a line break before it stays."""
    lead = "\n" if text.startswith("\n") else ""
    return lead + _wrapped(text.strip(), "", "")


def _wrapped(text: str, first: str, others: str) -> str:
    """Return a text in lines; a command in backquotes stays on one, so that it can be copied."""
    text = _COMMAND.sub(lambda found: found[0].replace(" ", _TIE), without_secrets(text))
    lines = textwrap.fill(text, _WIDTH, initial_indent=first, subsequent_indent=others, break_on_hyphens=False)
    return lines.replace(_TIE, " ")


def clock(at: float) -> str:
    """Return a moment, in wall-clock seconds, as people here read it."""
    return time.strftime("%H:%M:%S", time.localtime(at))


def outcome_of(phase: Json) -> Json:
    """Return what came of EXECUTE, of a phase that is that."""
    found: Json = phase.get("decision", {}).get("outcome", {})
    return found
