"""Looks whether an answer names the right fee."""

import re

CENTS_A_DAY = 20


def check(answer: str, goal: str) -> str | None:
    """Return what is wrong with an answer about a late book, or nothing."""
    days = re.search(r"(\d+) days", goal)
    if days is None:
        return None
    fee = f"{int(days.group(1)) * CENTS_A_DAY / 100:.2f}"
    if fee not in answer:
        return f"expected the fee {fee}"
    return None
