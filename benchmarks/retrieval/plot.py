"""Writes how a search grows with a knowledge base into its page: the picture, and the table between two marks.

    python benchmarks/retrieval/plot.py [FIGURES [PAGE]]

FIGURES are what `scale.py --json` wrote, by default `benchmarks/results/scale.json`; PAGE is by default
`docs/explanation/retrieval.md`, and the picture stands beside it. `scale.py --publish` does all of it. Both axes are
logarithmic. No library: a picture of lines is a page of text.
"""

import json
import math
import sys
from pathlib import Path
from typing import Any

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 360, 70, 190, 20, 50
LINES = {
    "hybrid p50 ms": ("hybrid search, p50 ms", "#1f6feb"),
    "keyword p50 ms": ("words alone, p50 ms", "#d29922"),
    "vector p50 ms": ("vectors alone, p50 ms", "#2ea043"),
    "update p50 ms": ("one passage changed, ms", "#cf222e"),
    "open ms": ("opened, ms", "#8250df"),
}


PROJECT = Path(__file__).resolve().parents[2]
FIGURES = PROJECT / "benchmarks" / "results" / "scale.json"
PAGE = PROJECT / "docs" / "explanation" / "retrieval.md"
WHERE = ("when", "python", "machine", "cpus", "load")
"""What is kept of where and when figures were measured; of those of an earlier run in `earlier`, by their names."""
MARKS = ("<!-- scale -->", "<!-- /scale -->")


def publish(source: Path = FIGURES, page: Path = PAGE) -> None:
    """Write the picture and the table of a page."""
    stored = json.loads(source.read_text("utf-8"))
    found = {int(name.split()[0]): values for name, values in stored["figures"].items() if name.endswith(" auto")}
    if len(found) < 2:
        sys.exit(f"{source}: expected figures of type auto for two sizes at least, got {sorted(stored['figures'])}")
    (page.parent.parent / "images" / f"{page.stem}.svg").write_text(picture(found), "utf-8")
    text = page.read_text("utf-8")
    if any(text.count(mark) != 1 for mark in MARKS):
        sys.exit(f"{page}: put the lines {MARKS[0]} and {MARKS[1]} where the table belongs")
    head, rest = text.split(MARKS[0])
    tail = rest.split(MARKS[1])[1]
    page.write_text(f"{head}{MARKS[0]}\n\n{table(found, stored)}\n\n{MARKS[1]}{tail}", "utf-8")


def table(found: dict[int, dict[str, float]], stored: dict[str, Any]) -> str:
    """Return the figures as a table, and where they are from."""
    titles = ("passages", "hybrid search, p50", "its CPU", "opened in", "memory", "one passage changed and found")
    titles = (*titles, "index built in", "nearest ten found")
    lines = [f"| {' | '.join(titles)} |", f"|{'---|' * len(titles)}"]
    for size, one in sorted(found.items()):
        cells = (
            f"{size:,}",
            f"{one['hybrid p50 ms']:.1f} ms",
            f"{one['hybrid cpu ms']:.1f} ms",
            f"{one['open ms'] / 1000:.2f} s",
            f"{one['memory MiB']:.0f} MiB",
            f"{one['update p50 ms']:.0f} ms",
            f"{one['build s']:.1f} s",
            f"{one['recall@10']:.2f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", *measured(found, stored)])


def measured(found: dict[int, dict[str, float]], stored: dict[str, Any]) -> list[str]:
    """Return where and when figures were measured, one line for each run."""
    runs: dict[str, list[str]] = {}
    for size in sorted(found):
        one = stored.get("earlier", {}).get(f"{size} auto", stored)
        where = f"{one['cpus']} {one['machine']} cores, Python {one['python']}, {one['when']}"
        load = "beside other work" if one["load"] is None else f"with a load of {one['load']} before"
        runs.setdefault(f"{where}, {load}.", []).append(f"{size:,}")
    if len(runs) == 1:
        return [f"Measured on {where}" for where in runs]
    return [f"{' and '.join(sizes)} passages were measured on {where}" for where, sizes in runs.items()]


def picture(found: dict[int, dict[str, float]]) -> str:
    """Return an SVG with a line for each figure."""
    sizes = sorted(found)
    values = [found[size][key] for key in LINES for size in sizes]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))

    def x(size: float) -> float:
        first, last = math.log10(sizes[0]), math.log10(sizes[-1])
        return LEFT + (math.log10(size) - first) / (last - first) * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (math.log10(value) - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    drawn = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif"'
            ' font-size="12">'
        ),
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for power in range(low, high + 1):
        at = y(10**power)
        drawn.append(f'<path d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}" stroke="#d0d7de"/>')
        drawn.append(f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{10**power:g} ms</text>')
    for size in sizes:
        drawn.append(f'<path d="M{x(size):.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#eaeef2"/>')
        drawn.append(f'<text x="{x(size):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{size:,}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    drawn.append(f'<text x="{middle:.1f}" y="{HEIGHT - 10}" text-anchor="middle">passages</text>')
    ends = sorted((y(found[sizes[-1]][key]), key) for key in LINES)
    placed = -math.inf
    for at, key in ends:
        title, colour = LINES[key]
        points = " ".join(f"{x(size):.1f},{y(found[size][key]):.1f}" for size in sizes)
        placed = max(at, placed + 15)
        drawn.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        drawn.append(f'<text x="{WIDTH - RIGHT + 8}" y="{placed + 4:.1f}" fill="{colour}">{title}</text>')
    return "\n".join([*drawn, "</svg>", ""])


if __name__ == "__main__":
    publish(*map(Path, sys.argv[1:3]))
