"""How soon a cluster notices that its agents have changed: at task 1,000 the best of each domain becomes the worst.

    python -m benchmarks.adaptivity.drift [--seeds 60] [--json FILE] [--svg FILE] [--peer PYTHON]

The world and the players are those of the regret benchmark (`world.py`, `players.py`), with the turn of `turn.py`.

The goal: back within 60 tasks per domain, with the same setting that loses at most half of what a greedy moving average
loses when nothing changes.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.adaptivity.players import PLAYERS
from benchmarks.adaptivity.turn import NEAR, SPAN, measure

GOAL = 60
ROOT = Path(__file__).resolve().parents[2]
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 360, 60, 150, 30, 50
COLOURS = {
    "loomd": "#cf222e",
    "greedy EMA": "#d29922",
    "UCB1": "#8250df",
    "Thompson": "#1f6feb",
    "random": "#8c959f",
    "loom-agent 0.6.5": "#2ea043",
}


def plot(found: dict[str, Any]) -> str:
    """Return a picture of the share of the best skill over the tasks of a domain since the change, as SVG."""
    most = 120

    def x(task: float) -> float:
        return LEFT + task / most * (WIDTH - LEFT - RIGHT)

    def y(share: float) -> float:
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-size="12">',
        "<style>text { font-family: sans-serif }</style>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for tenth in range(0, 11, 2):
        at = y(tenth / 10)
        drawn.append(f'<path d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}" stroke="#d0d7de"/>')
        drawn.append(f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{tenth / 10:g}</text>')
    drawn.append(f'<path d="M{LEFT} {y(NEAR):.1f}H{WIDTH - RIGHT}" stroke="#57606a" stroke-dasharray="4 3"/>')
    drawn += [
        f'<text x="{x(task):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{task}</text>'
        for task in range(0, most + 1, 20)
    ]
    ends: list[tuple[float, str]] = []
    for name, values in found.items():
        if name not in COLOURS:
            continue
        curve = values["share of the best after the change"][: most + 1]
        smooth = [statistics.mean(curve[max(0, at - SPAN + 1) : at + 1]) for at in range(len(curve))]
        points = " ".join(f"{x(at):.1f},{y(share):.1f}" for at, share in enumerate(smooth))
        drawn.append(f'<polyline points="{points}" fill="none" stroke="{COLOURS[name]}" stroke-width="2"/>')
        ends.append((y(smooth[-1]), name))
    placed = -math.inf
    for at, name in sorted(ends):
        placed = max(at, placed + 15)
        drawn.append(f'<text x="{WIDTH - RIGHT + 8}" y="{placed + 4:.1f}" fill="{COLOURS[name]}">{name}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    drawn.append(
        f'<text x="{middle:.1f}" y="{HEIGHT - 10}" text-anchor="middle">tasks of a domain since its best agent became'
        " its worst</text>"
    )
    drawn.append(f'<text x="{LEFT}" y="{TOP - 12}">skill of who is chosen / best skill, mean of ten tasks</text>')
    return "\n".join([*drawn, "</svg>"]) + "\n"


def main() -> int:
    """Measure, print, write; end with 1 when the goal is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=60)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--svg", type=Path)
    parser.add_argument("--peer", help="interpreter of an environment with loom-agent")
    args = parser.parse_args()
    found = measure(args.seeds, PLAYERS)
    if args.peer:
        command = [args.peer, "-m", "benchmarks.adaptivity.peer", str(args.seeds)]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True, text=True)
        found |= json.loads(done.stdout)
    print(f"{'':20}{'back, mean':>12}{'+-':>6}{'median':>8}{'regret':>9}{'unchanged':>11}")
    for name, one in found.items():
        print(
            f"{name:20}{one['tasks until back, mean']:12.1f}"
            f"{one['tasks until back, standard error']:6.1f}{one['tasks until back, median']:8.0f}"
            f"{one['regret with the change']:9.1f}{one['regret, nothing changes']:11.1f}"
        )
    if args.json:
        args.json.write_text(json.dumps({"seeds": args.seeds, "goal": GOAL, "players": found}) + "\n")
    if args.svg:
        args.svg.write_text(plot(found))
    own, greedy = found["loomd"], found["greedy EMA"]
    met = own["tasks until back, mean"] <= GOAL
    met &= own["regret, nothing changes"] <= greedy["regret, nothing changes"] / 2
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
