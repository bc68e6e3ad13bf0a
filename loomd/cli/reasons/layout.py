"""How the explanation of a task is set: paragraphs, lists, times. Called by `tell` and the phases' tellers."""

import textwrap
import time
from collections.abc import Iterator, Sequence

from loomd.api.client import Json
from loomd.manifest.wording import without_secrets

_WIDTH = 100


def listed(head: str, texts: Sequence[str]) -> Iterator[str]:
    """Yield a list, each line with `head` before it."""
    for text in texts:
        yield textwrap.fill(
            f"{head}{without_secrets(text)}",
            _WIDTH,
            initial_indent="  - ",
            subsequent_indent="    ",
            break_on_hyphens=False,
        )


def filled(text: str) -> str:
    """Return a paragraph; a line break before it stays."""
    lead = "\n" if text.startswith("\n") else ""
    return lead + textwrap.fill(without_secrets(text.strip()), _WIDTH, break_on_hyphens=False)


def clock(at: float) -> str:
    """Return a moment, in wall-clock seconds, as people here read it."""
    return time.strftime("%H:%M:%S", time.localtime(at))


def outcome_of(phase: Json) -> Json:
    """Return what came of EXECUTE, of a phase that is that."""
    found: Json = phase.get("decision", {}).get("outcome", {})
    return found
