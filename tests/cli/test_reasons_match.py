"""What MATCH decided, in sentences: the best of many bids, who was left out and why, and what a price took away."""

from loomd.cli.reasons.layout import filled, listed
from loomd.cli.reasons.match import tell
from loomd.cli.task import short

DECISION = {
    "winner": "a",
    "why": "highest of 40 bids: 0.500",
    "bids": [
        {
            "agent": "a",
            "total": 0.5,
            "factors": {"capability": 0.7, "exploration": -0.06, "price": 0.2, "luck": 0.1},
            "scores": {"law": 0.7},
            "seen": 3.0,
            "drawn": -0.5,
            "spread": 0.12,
        }
    ],
    "weights": {"capability": 0.4, "exploration": 0.4, "price": -0.1},
    "reserve": 0.2,
    "bidders": 40,
    "refused": {"b": "its daily budget is used up"},
    "refusals": 4,
}


def test_a_bid_and_who_could_not() -> None:
    """Everything that was recorded is said, and what was not kept is counted."""
    text = "\n".join(" ".join(line.split()) for line in tell(DECISION, 7, {}))
    for sentence in (
        "a took it, highest of 40 bids: 0.500.",
        "A bid is 0.40 x capability + 0.40 x exploration - 0.10 x price; the lowest that may win is 0.20.",
        "The draws for newcomers come from the seed 7,",
        "These are the best 1 of 40 bids.",
        "a bid 0.500 = 0.40 x 0.700 capability (believed law 0.70; 3 tasks seen)",
        "+ 0.40 x -0.060 exploration (drawn -0.50 x 0.120, as uncertain as it is; 3 tasks seen) - 0.10 x 0.200 price",
        "; luck 0.100",
        "- left out: b, because its daily budget is used up",
        "- left out: 3 more",
    ):
        assert sentence in " ".join(text.split()), text


def test_what_an_earlier_version_recorded() -> None:
    """Bids without a spread, and nobody left out."""
    (first,) = tell({"winner": "", "bids": []}, 1, {})
    assert first == "nobody took it, for no recorded reason."


def test_commands_are_cut_nowhere() -> None:
    """Neither by the end of a line, nor where a text is too long."""
    for before in range(70, 100):
        text = f"{'x ' * (before // 2)}see `loomd get proposals` and more of what there is to be said"
        for said in (filled(text), next(listed("", [text])), short(text)):
            assert "`" not in said or "`loomd get proposals`" in said, said
    assert short("a " * 60) == f"{'a ' * 48}a..."
