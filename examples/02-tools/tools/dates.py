"""Dates."""

from datetime import date


def days_between(start: str, end: str) -> int:
    """Count the days from one date to another.

    Args:
        start: first date, as YYYY-MM-DD.
        end: second date, as YYYY-MM-DD.
    """
    return (date.fromisoformat(end) - date.fromisoformat(start)).days
