"""Columns of a terminal that a text takes: wide characters take two, those that combine with others none."""


def columns(text: str) -> int:
    """Return how many columns a text on one line takes."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def padded(text: str, width: int) -> str:
    """Return a text filled with spaces up to a number of columns; a longer one as it is."""
    return text + " " * (width - columns(text))


def cut(text: str, width: int, end: str = "") -> str:
    """Return a text that takes a number of columns at most.

    Args:
        text: a text on one line.
        width: the most columns.
        end: what stands at the end in the place of what was cut off.
    """
    if columns(text) <= width:
        return text
    room = max(0, width - columns(end))
    if text.isascii():
        return text[:room] + end
    taken = 0
    for at, char in enumerate(text):
        taken += _columns(char)
        if taken > room:
            return text[:at] + end
    return text


def _columns(char: str) -> int:
    import unicodedata  # noqa: PLC0415  # a megabyte that text in ASCII does without

    if char.isascii():
        return 1
    if unicodedata.category(char) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(char) in {"W", "F"} else 1
