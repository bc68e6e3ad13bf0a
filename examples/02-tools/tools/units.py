"""Lengths."""

from typing import Literal

METRES = {"metres": 1.0, "km": 1000.0, "miles": 1609.344, "feet": 0.3048, "inches": 0.0254}
Unit = Literal["metres", "km", "miles", "feet", "inches"]


def convert_length(value: float, unit: Unit, to: Unit) -> float:
    """Convert a length from one unit to another.

    Args:
        value: the number.
        unit: its unit.
        to: the unit wanted.
    """
    return round(value * METRES[unit] / METRES[to], 4)
