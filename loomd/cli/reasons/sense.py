"""SENSE: what kind of task it was taken for. Called by `tell`."""

from collections.abc import Iterator

from loomd.api.client import Json
from loomd.cli.reasons.layout import listed


def tell(decision: Json, seed: int, course: Json) -> Iterator[str]:
    """Yield what kind of task it was taken for: a sentence, then what it rests on."""
    del seed, course
    domains = ", ".join(f"{name} {weight:.0%}" for name, weight in decision["domains"].items())
    text = f"the policy {decision.get('method', 'heuristic')} gave it the complexity {decision['complexity']:.2f}"
    text += f" of 1, the domains {domains}, and expected about {decision.get('tokens', 0)} tokens."
    if decision.get("tools"):
        text += f" It seemed to need {', '.join(decision['tools'])}."
    yield text
    yield from listed("evidence: ", decision.get("evidence", ()))
