"""EVALUATE: how good it was. Called by `tell`."""

from collections.abc import Iterator

from loomd.api.client import Json
from loomd.cli.reasons.layout import listed

_PARTS = ("quality", "efficiency", "reliability")
_CLOSE = 1e-6
"""By how much a product may differ from a reward that it is."""


def tell(decision: Json, seed: int, course: Json) -> Iterator[str]:
    """Yield how good it was: a sentence, then what it rests on."""
    del seed, course
    opinions = decision.get("opinions", [])
    text = f"the reward is {_sum(decision)}."
    if decision.get("uncertainty"):
        text += f" It may be off by {decision['uncertainty']:.3f} (one standard deviation)."
    if len(opinions) > 1:
        text += f" {len(opinions)} evaluators were heard, each by its weight."
    yield text
    for one in opinions:
        yield from listed("", [_opinion(one, alone=len(opinions) == 1)])
        yield from listed(f"{one['evaluator']}: ", one.get("evidence", ()))
    yield from listed("checked: ", decision.get("evidence", ()))


def _sum(said: Json) -> str:
    """Return a reward as the product or the sum that it is; of one that is neither, what else was said beside it."""
    reward, weights = f"{said['reward']:.3f}", said.get("weights", {})
    if weights.keys() >= set(_PARTS):
        worth = said["quality"] * (weights["quality"] + sum(weights[name] * said[name] for name in _PARTS[1:]))
        if abs(worth - said["reward"]) < _CLOSE:
            rest = " + ".join(f"{weights[name]:.2f} x {said[name]:.3f} {name}" for name in _PARTS[1:])
            return f"{reward} = {said['quality']:.3f} quality x ({weights['quality']:.2f} + {rest})"
    if weighed := [f"{weights[name]:.2f} x {said[name]:.3f} {name}" for name in _PARTS if name in weights]:
        return f"{reward} = {' + '.join(weighed)}"
    parts = [f"{name} {said[name]:.3f}" for name in _PARTS if said[name] != said["reward"]]
    return f"{reward}, with {', '.join(parts)}" if parts else reward


def _opinion(one: Json, *, alone: bool) -> str:
    """Return what one evaluator said, and with which weight."""
    if one.get("silent"):
        counted = "counts because nobody else was heard" if one.get("weight", 1.0) else "does not count"
        return f"the judge was not heard: {one['silent']}; what the rules say in its place {counted}"
    share = "" if alone else f" with the weight {one.get('weight', 1.0):.2f}"
    if "judge" not in one:
        return f"{one['evaluator']}{share}: quality {one['quality']:.3f}, reward {one['reward']:.3f}"
    bias, said = one.get("bias", 0.0), one.get("said", 0.0)
    why = f"it said {said:.3f}, and it is known to be off by {bias:+.3f}" if bias else f"it said {said:.3f}"
    spread = f", give or take {one['uncertainty']:.3f}" if one.get("uncertainty") else ""
    return f"the judge{share}: quality {one['quality']:.3f}{spread}; {why}"
