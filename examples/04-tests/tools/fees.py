"""What late books cost."""


def late_fee(days: int) -> str:
    """Compute the fee of a book that comes back late.

    Args:
        days: how many days it is late.
    """
    return f"{days * 0.2:.2f} euros"
