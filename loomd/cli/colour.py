"""Colours for a terminal that wants them, and whether somebody looks at all. Called by the verbs that show changes."""

import os
import sys
from collections.abc import Callable
from typing import TextIO

from loomd.manifest.wording import inert

RED, GREEN, YELLOW, BLUE, CYAN, GREY, BOLD = "31", "32", "33", "34", "36", "90", "1"

Paint = Callable[[str, str], str]
"""Takes a text and a colour."""


def painter(stream: TextIO | None = None) -> Paint:
    """Return a function that colours text, when a terminal reads the stream and `NO_COLOR` is not set.

    Args:
        stream: where the text goes; standard output by default.
    """
    if is_coloured(sys.stdout if stream is None else stream):
        return lambda text, code: f"\x1b[{code}m{text}\x1b[0m" if text and code else text
    return lambda text, _: text


def harmless(text: str, stream: TextIO) -> str:
    """Return a text from outside as a terminal may show it, `inert`; what is no terminal gets it as it is.

    Characters that the terminal does not have are spelled out, too.
    """
    if not stream.isatty():
        return text
    return inert(text).encode(stream.encoding, "backslashreplace").decode(stream.encoding)


def is_coloured(stream: TextIO) -> bool:
    """Return whether a stream takes colours: only a terminal does, without `NO_COLOR` and `TERM=dumb`."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
