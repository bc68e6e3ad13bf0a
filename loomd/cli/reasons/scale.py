"""SCALE: whether it was split, and how. Called by `tell`."""

from collections.abc import Iterator

from loomd.api.client import Json
from loomd.cli.reasons.layout import listed
from loomd.cli.task import short


def tell(decision: Json, seed: int, course: Json) -> Iterator[str]:
    """Yield whether it was split, and how: a sentence, then what it rests on."""
    del seed, course
    parts = decision.get("subtasks", [])
    why = decision.get("why", "")
    yield (
        f"it was split into {len(parts)} parts, because {why}." if parts else f"one agent did it alone, because {why}."
    )
    needs = [" and ".join(str(need + 1) for need in part.get("needs", ())) for part in parts]
    yield from listed(
        "part ",
        [
            f'{at}: "{short(part["goal"])}"{f", which sees the results of {need}" if need else ""}'
            for at, (part, need) in enumerate(zip(parts, needs, strict=True), start=1)
        ],
    )
    if parts:
        retries, below = decision.get("retries", 0), decision.get("descendants")
        times = "once" if retries == 1 else f"up to {retries} times"
        again = f"is given to another agent {times}" if retries else "is missing"
        more = "" if below is None else f", and each part may have {below} parts of its own, with all below them"
        yield from listed("", [f"a part that fails {again}{more}"])
