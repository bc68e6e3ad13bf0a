"""Puts what was measured into a page of the documentation. Called by each `plot.py`."""

import sys
from pathlib import Path


def put(text: str, mark: str, part: str, page: Path) -> str:
    """Return a page with something between two marks."""
    first, last = f"<!-- {mark} -->", f"<!-- /{mark} -->"
    if any(text.count(one) != 1 for one in (first, last)):
        sys.exit(f"{page}: put the lines {first} and {last} where the table belongs")
    head, rest = text.split(first)
    return f"{head}{first}\n\n{part}\n\n{last}{rest.split(last)[1]}"
