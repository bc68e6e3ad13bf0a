"""Computes what readers owe."""

GRACE = 2
"""Days for which nobody pays."""


def late_fee(days: int, a_day: float) -> float:
    """Return what a late return costs: nothing for the days of grace."""
    return max(0, days - GRACE) * a_day
