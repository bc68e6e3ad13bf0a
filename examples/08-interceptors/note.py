"""The tool of the clerk."""


def note(text: str) -> str:
    """Notes a wish of a reader."""
    return f"noted: {text}"
