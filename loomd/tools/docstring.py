"""What a Google-style docstring says of a function and of its parameters. Called where functions are described."""


def read_docstring(text: str) -> tuple[str, dict[str, str]]:
    """Return the first paragraph and the descriptions under `Args:`."""
    summary = " ".join(text.partition("\n\n")[0].split())
    described: dict[str, str] = {}
    inside, indent, last = False, 0, ""
    for line in text.splitlines():
        body = line.strip()
        depth = len(line) - len(line.lstrip())
        if body in ("Args:", "Arguments:", "Parameters:"):
            inside, indent, last = True, 0, ""
        elif inside and body and depth == 0:
            inside = False
        elif inside and body:
            indent = indent or depth
            name, colon, rest = body.partition(":")
            if depth == indent and colon:
                last = name.split("(")[0].strip().lstrip("*")
                described[last] = rest.strip()
            elif last:
                described[last] = f"{described[last]} {body}".strip()
    return summary, described
