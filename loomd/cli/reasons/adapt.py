"""ADAPT: what was learned. Called by `tell`."""

from collections.abc import Iterator

from loomd.api.client import Json
from loomd.cli.reasons.layout import clock, listed, outcome_of

_DONE = {"observed": " (only observed: spec.learning.mode)", "proposed": " (only proposed: `loomd get proposals`)"}


_OTHERS = "a budget of the task, a person, a crash, or interceptors that let the request not pass"
_TURNS = {
    "forged": "a member from now on",
    "pruned": "no member any more",
    "promoted": "given better instructions",
    "reverted": "given back its earlier instructions",
}
"""What happened to an agent, by how its blueprint changed."""


def tell(decision: Json, seed: int, course: Json) -> Iterator[str]:
    """Yield what was learned: a sentence, then what it rests on."""
    del seed
    moves = decision.get("decisions", [])
    if any(not one.get("done") for one in moves):
        yield "this was learned."
    elif moves:
        yield "nothing was changed; this would be."
    elif any(outcome_of(phase).get("temporary") for phase in course["phases"]):
        yield "nothing was learned, because a service that was away says nothing about an agent."
    elif any(outcome_of(phase).get("foreign") for phase in course["phases"]):
        yield f"nothing was learned, because not the agent ended it: {_OTHERS}."
    else:
        yield "nothing was learned."
    lines = [f"{_said(one)}{_DONE.get(one.get('done', ''), '')}" for one in moves]
    if moves and not any(one.get("type", "score") == "score" for one in moves):
        lines += [
            f"no score moved: {1 - executed.get('own', 1.0):.0%} of the work was done by parts, each learned from "
            "itself"
            for executed in (phase.get("decision", {}) for phase in course["phases"])
            if executed.get("children")
        ]
    yield from listed("", lines)


def _off(error: float) -> str:
    """Return by how much an estimate is off."""
    return f"{abs(error):.3f} too {'low' if error >= 0 else 'high'}"


def _sayers(count: int) -> str:
    """Return how many tasks say so."""
    return "1 task says so now" if count == 1 else f"{count} tasks say so now"


def _said(one: Json) -> str:
    match one.get("type", "score"):
        case "calibration":
            return (
                f"complexity in {one['domain']} is estimated {_off(one['after'])}, before {_off(one['before'])}, "
                f"because it was {one['reason']}; {_sayers(one['count'])}"
            )
        case "expense":
            (read, written), was = one["after"], sum(one["before"])
            return (
                f"{one['agent']} reads {read:.2f} and writes {written:.2f} tokens for each one expected, before "
                f"{was:.2f} together, because {one['reason']}; {_sayers(one['count'])}"
            )
        case "merge":
            return (
                f"{one['agent']} in {one['domain']}: from {one['before']:.3f} to {one['after']:.3f}, because "
                f"{one['reason']}; {_sayers(one['count'])}"
            )
        case "retirement":
            return f"{one['agent']} gets no new tasks until {clock(one['until'])}, because of its {one['reason']}"
        case "revival":
            return f"{one['agent']} gets tasks again, because {one['reason']}"
        case "shaping":
            return f"{one['agent']} is {_TURNS[one['how']]}, because of this: {one['reason']}"
        case _:
            return (
                f"{one['agent']} in {one['domain']}: from {one['before']:.3f} to {one['after']:.3f}, because of "
                f"{one['reason']}; {_sayers(one['count'])}"
            )
