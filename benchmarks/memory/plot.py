"""Writes which facts of a long conversation are recalled, and what a recall costs as a memory grows, into its page.

    python benchmarks/memory/plot.py

Figures are those of `run.py` and `growth.py` in `benchmarks/results`, the page is `docs/explanation/memory.md`, and its
pictures are in `docs/images`. Each table stands between two marks of the page.
"""

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "retrieval"))
from curves import bars, curves  # the pictures of all pages
from page import put

PROJECT = Path(__file__).resolve().parents[2]
RESULTS = PROJECT / "benchmarks" / "results"
PAGE = PROJECT / "docs" / "explanation" / "memory.md"
SIDES = {
    "loomd": "loomd",
    "loomd without an embedder": "by words alone",
    "loom-agent level 3": "loom-agent",
}
"""Who is asked, as `run.py` calls it, and as the picture does."""
TURNS = "recall@5 of turns "
TIMES = {
    "first recall cpu ms": "first recall",
    "told and recalled cpu ms": "told, then recalled",
    "recall cpu ms": "recall",
    "by meaning cpu ms": "of that by meaning",
    "open cpu ms": "opened",
}


def publish(page: Path = PAGE) -> None:
    """Write the pictures and the tables of a page."""
    told, grown = (json.loads((RESULTS / name).read_text("utf-8")) for name in ("memory.json", "memory-growth.json"))
    images = page.parent.parent / "images"
    (images / "memory-recall.svg").write_text(bars(by_turns(told["figures"]), "share of the facts recalled"), "utf-8")
    lines = {title: [(int(size), one[key]) for size, one in grown["figures"].items()] for key, title in TIMES.items()}
    (images / "memory-growth.svg").write_text(curves(lines, "ms", "texts that one may see"), "utf-8")
    text = put(page.read_text("utf-8"), "recall", recalled(told), page)
    page.write_text(put(text, "growth", growth(grown), page), "utf-8")


def by_turns(figures: dict[str, float]) -> dict[str, dict[str, float]]:
    """Return the share of facts that each side recalls, by the turns in which they were told."""
    parts = [key.removeprefix(f"loomd, {TURNS}") for key in figures if key.startswith(f"loomd, {TURNS}")]
    return {
        part.replace(" to ", "-"): {title: figures[f"{side}, {TURNS}{part}"] for side, title in SIDES.items()}
        for part in parts
    }


def recalled(stored: dict[str, Any]) -> str:
    """Return how many facts each side recalls, as a table."""
    found, columns = stored["figures"], ("recall@5", "recall@5 of those that left the window", "recall@1")
    rows = {
        "loomd": "loomd",
        "loomd, questions with hardly a word of the fact": "loomd, hard",
        "loomd without an embedder": "loomd without an embedder",
        "loom-agent, its third level": "loom-agent level 3",
        "loom-agent, its second level": "loom-agent level 2",
    }
    lines = ["| memory | recalled among five | of those that left the window | recalled first |", "|---|---|---|---|"]
    for title, side in rows.items():
        shares = [found[f"{side}, {column}"] for column in columns]
        lines.append(f"| {title} | {' | '.join(f'{share:.0%}' for share in shares)} |")
    return "\n".join([*lines, "", measured(stored)])


def growth(stored: dict[str, Any]) -> str:
    """Return what a recall costs by size, as a table."""
    titles = ("opened", "first recall", "recall", "of that by meaning", "told, then recalled")
    keys = [next(key for key, title in TIMES.items() if title == wanted) for wanted in titles]
    lines = [f"| texts that one may see | {' | '.join(titles)} |", f"|---|{'---|' * len(titles)}"]
    for size, one in stored["figures"].items():
        lines.append(f"| {int(size):,} | {' | '.join(show(one[key]) for key in keys)} |")
    return "\n".join([*lines, "", measured(stored)])


def show(value: float) -> str:
    """Return milliseconds with the digits that matter."""
    return f"{value:,.0f} ms" if value >= 10 else f"{value:.1f} ms"


def measured(stored: dict[str, Any]) -> str:
    """Return where and when figures were measured."""
    where = f"{stored['cpus']} {stored['machine']} cores, Python {stored['python']}, {stored['when']}"
    load = "beside other work" if stored["load"] is None else f"with a load of {stored['load']} before"
    return f"Measured on {where}, {load}."


if __name__ == "__main__":
    publish()
