"""EVALUATE: how good it was. Called by `tell`."""

from collections.abc import Iterator

from loomd.api.client import Json
from loomd.cli.reasons.layout import listed


def tell(decision: Json, seed: int, course: Json) -> Iterator[str]:
    """Yield how good it was: a sentence, then what it rests on."""
    del seed, course
    weights = decision.get("weights", {})
    parts = [
        f"{weights[name]:.2f} x {decision[name]:.3f} {name}" if name in weights else f"{name} {decision[name]:.3f}"
        for name in ("quality", "efficiency", "reliability")
    ]
    text = f"the reward is {decision['reward']:.3f} = {' + '.join(parts)}."
    if not decision["quality"]:
        text = f"the reward is {decision['reward']:.3f}, because without quality nothing else counts."
    yield text
    yield from listed("checked: ", decision.get("evidence", ()))
