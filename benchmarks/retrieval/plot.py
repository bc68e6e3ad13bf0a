"""Draws how a search grows with a knowledge base, from what `scale.py --json` wrote.

    python benchmarks/retrieval/plot.py benchmarks/results/scale.json docs/explanation/retrieval.svg

Both axes are logarithmic. No library: a picture of lines is a page of text.
"""

import json
import math
import sys
from pathlib import Path

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 360, 70, 190, 20, 50
LINES = {
    "hybrid p50 ms": ("hybrid search, p50 ms", "#1f6feb"),
    "keyword p50 ms": ("words alone, p50 ms", "#d29922"),
    "vector p50 ms": ("vectors alone, p50 ms", "#2ea043"),
    "update p50 ms": ("one passage changed, ms", "#cf222e"),
    "open ms": ("opened, ms", "#8250df"),
}


def main() -> None:
    source, target = map(Path, sys.argv[1:3])
    found = {int(name.split()[0]): values for name, values in json.loads(source.read_text("utf-8")).items()}
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
    target.write_text("\n".join([*drawn, "</svg>", ""]), "utf-8")


if __name__ == "__main__":
    main()
