"""ADAPT: what was learned. Called by `tell`."""

from collections.abc import Iterator

from loomd.api.client import Json
from loomd.cli.reasons.layout import listed, outcome_of


def tell(decision: Json, seed: int, course: Json) -> Iterator[str]:
    """Yield what was learned: a sentence, then what it rests on."""
    del seed
    moves = decision.get("decisions", [])
    if moves:
        yield "this was learned."
    elif any(outcome_of(phase).get("temporary") for phase in course["phases"]):
        yield "nothing was learned, because a service that was away says nothing about an agent."
    else:
        yield "nothing was learned."
    yield from listed(
        "",
        [
            f"{one['agent']} in {one['domain']}: from {one['before']:.3f} to {one['after']:.3f}, because of "
            f"{one['reason']}; {one['count']} tasks say so now"
            for one in moves
        ],
    )
