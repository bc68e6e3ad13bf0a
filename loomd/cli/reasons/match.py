"""MATCH: who took it. Called by `tell`."""

from collections.abc import Iterator

from loomd.api.client import Json
from loomd.cli.reasons.layout import listed

_PATHS = {
    "forge": "have a specialist take it",
    "best_available": "let the best bid take it",
    "queue": "let it wait",
    "fail": "let it fail",
}
"""What becomes of a task that nobody takes."""


def tell(decision: Json, seed: int, course: Json) -> Iterator[str]:
    """Yield who took it: a sentence, then what it rests on."""
    del course
    winner, bids, weights = decision["winner"], decision.get("bids", []), decision.get("weights", {})
    text = f"{winner} took it" if winner else "nobody took it"
    text += f", {decision.get('why', 'for no recorded reason')}."
    if nobody := decision.get("nobody"):
        if not decision.get("why", "").startswith(nobody):
            text += f" At first nobody took it: {nobody}."
        text += f" The cluster is to {_PATHS[decision['path']]} then."
    if domains := decision.get("domains"):
        text += f" With that it is a task in {', '.join(domains)}."
    if weights:
        formula = " + ".join(f"{share:.2f} x {name}" for name, share in weights.items()).replace("+ -", "- ")
        text += f" A bid is {formula}; the lowest that may win is {decision.get('reserve', 0.0):.2f}."
    if any("drawn" in bid for bid in bids):
        text += f" The draws for newcomers come from the seed {seed}, so that they can be repeated."
    if decision.get("bidders", 0) > len(bids):
        text += f" These are the best {len(bids)} of {decision['bidders']} bids."
    yield text
    yield from listed("", [_bid(bid, weights) for bid in bids])
    refused = decision.get("refused", {})
    yield from listed("left out: ", [f"{agent}, because {why}" for agent, why in refused.items()])
    if (more := decision.get("refusals", 0) - len(refused)) > 0:
        yield from listed("left out: ", [f"{more} more"])


def _bid(bid: Json, weights: Json) -> str:
    counted = [
        f"{weights[name]:.2f} x {value:.3f} {name}{_because(name, value, bid)}"
        for name, value in bid["factors"].items()
        if name in weights
    ]
    text = f"{bid['agent']} bid {bid['total']:.3f} = {' + '.join(counted)}".replace("+ -", "- ")
    beside = [f"{name} {value:.3f}" for name, value in bid["factors"].items() if name not in weights]
    return f"{text}; {', '.join(beside)}" if beside else text


def _because(name: str, value: float, bid: Json) -> str:
    """Return what a factor rests on."""
    seen = "1 task seen" if bid.get("seen") == 1 else f"{bid.get('seen', 0.0):g} tasks seen"
    if name == "capability" and bid.get("scores"):
        return f" (believed {', '.join(f'{one} {score:.2f}' for one, score in bid['scores'].items())}; {seen})"
    if name == "availability" and value > 0:
        return f" ({round(1 / value - 1)} in hand)"
    if name == "exploration" and bid.get("drawn"):
        return f" (drawn {bid['drawn']:.2f} x {bid.get('spread', 0.0):.3f}, as uncertain as it is; {seen})"
    if name in {"price", "cost"} and bid.get("uses"):
        read, written = bid["uses"]
        return f" (its tasks read {read:.2f} and wrote {written:.2f} tokens for each one expected)"
    return ""
