"""Draws curves as an SVG, without a library: a picture of lines is a page of text. Called by `plot.py`."""

import math
from collections.abc import Callable, Mapping, Sequence

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 360, 70, 190, 20, 50
COLOURS = ("#1f6feb", "#d29922", "#2ea043", "#cf222e", "#8250df", "#bf3989")
Points = Sequence[tuple[float, float]]


def curves(lines: Mapping[str, Points], unit: str, below: str, linear: tuple[float, float] | None = None) -> str:
    """Return a picture with a line for each title.

    Args:
        lines: points of each line, from left to right.
        unit: of what goes up.
        below: what goes to the right, on a logarithmic axis.
        linear: the ends of the axis that goes up; by default it is logarithmic, and as long as it must be.
    """
    places = sorted({x for points in lines.values() for x, _ in points})
    first, last = math.log10(places[0]), math.log10(places[-1])
    ticks, share = _linear(*linear) if linear else _logarithmic([y for points in lines.values() for _, y in points])

    def x(place: float) -> float:
        return LEFT + (math.log10(place) - first) / (last - first) * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - share(value) * (HEIGHT - TOP - BOTTOM)

    drawn = [head()]
    for tick in ticks:
        drawn.append(f'<path d="M{LEFT} {y(tick):.1f}H{WIDTH - RIGHT}" stroke="#d0d7de"/>')
        drawn.append(
            f'<text x="{LEFT - 8}" y="{y(tick) + 4:.1f}" text-anchor="end">{f"{tick:g} {unit}".strip()}</text>'
        )
    for place in places:
        drawn.append(f'<path d="M{x(place):.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#eaeef2"/>')
        drawn.append(f'<text x="{x(place):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{place:,}</text>')
    drawn.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2:.1f}" y="{HEIGHT - 10}" text-anchor="middle">{below}</text>')
    colours = dict(zip(lines, COLOURS, strict=False))
    lowest = -math.inf
    for title, points in sorted(lines.items(), key=lambda line: y(line[1][-1][1])):
        lowest = max(y(points[-1][1]), lowest + 15)
        drawn_as = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in points)
        drawn.append(f'<polyline points="{drawn_as}" fill="none" stroke="{colours[title]}" stroke-width="2"/>')
        drawn.append(f'<text x="{WIDTH - RIGHT + 8}" y="{lowest + 4:.1f}" fill="{colours[title]}">{title}</text>')
    return "\n".join([*drawn, "</svg>", ""])


def bars(groups: Mapping[str, Mapping[str, float]], unit: str) -> str:
    """Return a picture with a group of bars for each title, all between 0 and 1."""
    wide = (WIDTH - LEFT - 20) / len(groups)
    names = list(next(iter(groups.values())))

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - value * (HEIGHT - TOP - BOTTOM)

    drawn = [head()]
    for tick in (0, 0.2, 0.4, 0.6, 0.8, 1):
        drawn.append(f'<path d="M{LEFT} {y(tick):.1f}H{WIDTH - 20}" stroke="#d0d7de"/>')
        drawn.append(f'<text x="{LEFT - 8}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for at, (title, group) in enumerate(groups.items()):
        left, bar = LEFT + at * wide, wide * 0.8 / len(group)
        for number, (name, colour) in enumerate(zip(names, COLOURS, strict=False)):
            top, start = y(group[name]), left + wide * 0.1 + number * bar
            size = f'width="{bar:.1f}" height="{HEIGHT - BOTTOM - top:.1f}"'
            drawn.append(f'<rect x="{start:.1f}" y="{top:.1f}" {size} fill="{colour}"/>')
        middle = left + wide / 2
        drawn.append(f'<text x="{middle:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{title}</text>')
    for number, (name, colour) in enumerate(zip(names, COLOURS, strict=False)):
        at = LEFT + number * 130
        drawn.append(f'<rect x="{at}" y="{HEIGHT - 21}" width="12" height="12" fill="{colour}"/>')
        drawn.append(f'<text x="{at + 18}" y="{HEIGHT - 11}">{name}</text>')
    drawn.append(f'<text x="{WIDTH - 20}" y="{HEIGHT - 11}" text-anchor="end">{unit}</text>')
    return "\n".join([*drawn, "</svg>", ""])


def head() -> str:
    """Return how a picture begins."""
    box = f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {box}>\n<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>'


def _linear(low: float, high: float) -> tuple[list[float], Callable[[float], float]]:
    ticks = [low + (high - low) * part / 5 for part in range(6)]
    return [round(tick, 6) for tick in ticks], lambda value: (value - low) / (high - low)


def _logarithmic(values: Sequence[float]) -> tuple[list[float], Callable[[float], float]]:
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    ticks = [10.0**power for power in range(low, high + 1)]
    return ticks, lambda value: (math.log10(value) - low) / (high - low)
