"""What a tool gives as text that a model can read: valid Unicode, no control characters, of bounded length.

Called by tools for what comes from outside, and by the agent's loop for what the model is shown.
"""

import re

_ESCAPES = re.compile(
    r"""
    \x1b \[ [0-?]* [\ -/]* [@-~]             # colours and moves
    | \x1b [\]PX^_] [^\x07\x1b]* (?: \x07 | \x1b\\ )?   # titles, links, and other strings for a terminal
    | \x1b [\ -/]* [0-~]
    """,
    re.VERBOSE,
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_REPLACEMENT = "\ufffd"


def plain(data: bytes) -> str:
    """Return what a program wrote as text.

    Bytes that are no UTF-8, null bytes and other control characters become U+FFFD, escape sequences of terminals are
    left out, and of a line that was written over by carriage returns the last state stays.
    """
    text = _ESCAPES.sub("", data.decode("utf-8", "replace")).replace("\r\n", "\n")
    if "\r" in text:
        text = "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
    return _CONTROL.sub(_REPLACEMENT, text)


def cut(text: str, limit: int, note: str = "") -> str:
    """Return a text of at most `limit` bytes in UTF-8; what is cut says how much is missing.

    Args:
        text: what may be too long; lone surrogates are replaced.
        limit: most bytes, without what is said about the cut.
        note: what else is said about the cut; `{at}` in it is the number of characters that are left.
    """
    if len(text) <= limit and text.isascii():
        return text
    data = text.encode("utf-8", "replace")
    if len(data) <= limit:
        return data.decode()
    left = data[:limit].decode("utf-8", "ignore")
    return f"{left}\n[cut: {limit} of {len(data)} bytes{note.replace('{at}', str(len(left)))}]"
