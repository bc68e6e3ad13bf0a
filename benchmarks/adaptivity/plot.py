"""Draws how regret adds up, from what `run.py` measured.

python benchmarks/adaptivity/plot.py benchmarks/results/adaptivity.json docs/images/regret.svg
"""

import json
import sys
from pathlib import Path

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 680, 360, 60, 190, 20, 50
COLOURS = {
    "random": "#8c959f",
    "loom-agent 0.6.5": "#bf3989",
    "UCB1": "#d29922",
    "greedy EMA": "#cf222e",
    "Thompson": "#8250df",
    "loomd": "#1f6feb",
}


def main() -> None:
    source, target = map(Path, sys.argv[1:3])
    figures = json.loads(source.read_text("utf-8"))["figures"]
    curves: dict[str, list[tuple[int, float]]] = {}
    for key, value in figures.items():
        head, _, name = key.partition(", ")
        if head.startswith("regret at ") and name in COLOURS:
            curves.setdefault(name, [(0, 0.0)]).append((int(head.rpartition(" ")[2]), value))
    last = max(at for curve in curves.values() for at, _ in curve)
    high = max(value for curve in curves.values() for _, value in curve)
    step = next(size for size in (50, 100, 200, 500) if high / size <= 8)

    def x(tasks: float) -> float:
        return LEFT + tasks / last * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - value / high * (HEIGHT - TOP - BOTTOM)

    drawn = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif"'
            ' font-size="12">'
        ),
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for value in range(0, int(high) + 1, step):
        drawn.append(f'<path d="M{LEFT} {y(value):.1f}H{WIDTH - RIGHT}" stroke="#d0d7de"/>')
        drawn.append(f'<text x="{LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{value}</text>')
    drawn += [
        f'<text x="{x(tasks):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{tasks:,}</text>'
        for tasks in range(0, last + 1, last // 4)
    ]
    middle = (LEFT + WIDTH - RIGHT) / 2
    drawn.append(f'<text x="{middle:.1f}" y="{HEIGHT - 10}" text-anchor="middle">tasks</text>')
    placed = float("-inf")
    for name, curve in sorted(curves.items(), key=lambda item: -item[1][-1][1]):
        points = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in curve)
        placed = max(y(curve[-1][1]), placed + 15)
        label = f"{name}, {curve[-1][1]:.0f}"
        drawn.append(f'<polyline points="{points}" fill="none" stroke="{COLOURS[name]}" stroke-width="2"/>')
        drawn.append(f'<text x="{WIDTH - RIGHT + 8}" y="{placed + 4:.1f}" fill="{COLOURS[name]}">{label}</text>')
    drawn.append("</svg>")
    target.write_text("\n".join(drawn) + "\n", "utf-8")


if __name__ == "__main__":
    main()
