"""Functions that no model could call."""


def silent(a: int) -> int:
    return a


def placed(a: int, /, *more: int, **named: int) -> int:
    """Add up."""
    return a + sum(more) + sum(named.values())
