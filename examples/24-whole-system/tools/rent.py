"""The tool of the treasurer."""

EUROS = 0.42
"""Rent of a square metre for a year."""


def rent(metres: float) -> str:
    """Compute the rent of a plot for a year.

    Args:
        metres: its size in square metres.
    """
    return f"{metres * EUROS:.2f} euros"
