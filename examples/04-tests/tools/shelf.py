"""The shelf on which reserved books wait."""

from pathlib import Path

SHELF = Path("reserved.txt")


def reserve(title: str) -> str:
    """Put a book aside.

    Args:
        title: title of the book.
    """
    with SHELF.open("a", encoding="utf-8") as shelf:
        shelf.write(f"{title}\n")
    return "reserved until Friday"
