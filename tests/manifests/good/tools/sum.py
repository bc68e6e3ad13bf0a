"""A tool for the manifests of the corpus."""


def total(numbers: list[float]) -> float:
    """Return the sum of numbers."""
    return sum(numbers)
