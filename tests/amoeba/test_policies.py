"""Policies are pure: their tests are tables."""

from random import Random

import msgspec
import pytest
from pydantic import ValidationError

from loomd.agents.work import Citation, Outcome
from loomd.amoeba.expect import Expect
from loomd.amoeba.policies.auction import Auction, BidWeights
from loomd.amoeba.policies.ema import Ema
from loomd.amoeba.policies.heuristic import Heuristic, Signs
from loomd.amoeba.policies.never import Never
from loomd.amoeba.policies.rules import Rules
from loomd.amoeba.policies.static import Static
from loomd.amoeba.policies.threshold import Threshold
from loomd.amoeba.task import Budget, Evaluated, Executed, Sensed, Task
from loomd.amoeba.world import Score, Signals, Standing
from loomd.messages import Usage
from tests.amoeba.cases import MUTE, TASK, case

SENSED = Sensed(0.2, {"python": 1.0})


def standing(agent: str, mean: float, count: int = 100, running: int = 0, tools: tuple[str, ...] = ()) -> Standing:
    """Return an agent's standing in python."""
    return Standing(agent, f"{agent}-1", {"python": Score(mean, 0.0, count)}, Score(mean), running, frozenset(tools))


@pytest.mark.parametrize(
    ("goal", "low", "high"),
    [
        pytest.param("What is a generator?", 0.0, 0.3, id="look-up"),
        pytest.param("Explain how the with statement calls __enter__ and __exit__.", 0.0, 0.45, id="one-explanation"),
        pytest.param(
            "Compare lists and tuples, then explain when to use each, and list three pitfalls.", 0.6, 1.0, id="three"
        ),
        pytest.param("1. Find the population\n2. Compute the density\n3. Write a report", 0.6, 1.0, id="list"),
    ],
)
async def test_heuristic_complexity_grows_with_the_requests(goal: str, low: float, high: float) -> None:
    """A look-up is simple, several joined requests are not."""
    sensed = await Heuristic().sense(Signals(goal, 0, {"python": 0.5}, {}), MUTE)
    assert low <= sensed.complexity <= high, sensed


@pytest.mark.parametrize(
    ("goal", "requests", "demanding"),
    [
        pytest.param("Fetch it", 1, 0, id="neither"),
        pytest.param("Fetch it; send it", 2, 0, id="semicolon"),
        pytest.param("Fetch it and then send it", 2, 0, id="and-then-is-one"),
        pytest.param("Fetch it As Well As the map, and list both", 3, 0, id="capitals-and-clause"),
        pytest.param("Fetch it for each of them", 2, 0, id="two-words"),
        pytest.param("Authenticate the planet", 1, 0, id="words-within-words"),
        pytest.param("Name the tradeoff", 1, 1, id="one-word"),
        pytest.param("Name the trade-offs step by step", 1, 2, id="hyphen-and-three-words"),
    ],
)
async def test_heuristic_counts_requests_and_demanding_words(goal: str, requests: int, demanding: int) -> None:
    """Whole words, in any case of letters; what is said in several words counts once."""
    signs = Signs(base=0.0, part=0.2, demanding=0.1, length=0.0, most_demanding=9)
    sensed = await Heuristic(signs=signs).sense(Signals(goal, 0, {}, {}), MUTE)
    assert sensed.complexity == pytest.approx(0.2 * (requests - 1) + 0.1 * demanding)


async def test_heuristic_weights_domains_by_likeness() -> None:
    """Domains that fit share the weight, others play no part; without any the task is general."""
    sensed = await Heuristic().sense(Signals("x", 0, {"python": 0.6, "cooking": 0.01, "docs": 0.2}, {}), MUTE)
    assert sensed.domains == pytest.approx({"python": 0.75, "docs": 0.25})
    assert (await Heuristic().sense(Signals("x", 0, {}, {}), MUTE)).domains == {"general": 1.0}


async def test_the_thresholds_of_the_heuristic_are_fields() -> None:
    """Where complexity begins, how many demanding words count, and from when on a tool is needed."""
    signals = Signals("Compare, plan and design it", 0, {}, {"search": 0.3})
    usual = await Heuristic().sense(signals, MUTE)
    assert usual.tools == ("search",)
    signs = Signs(base=0.2, most_demanding=3)
    other = await Heuristic(signs=signs, tool_likeness=0.31).sense(signals, MUTE)
    assert other.complexity == pytest.approx(usual.complexity + 0.1 + 0.2)
    assert other.tools == ()


async def test_auction_prefers_the_capable_and_the_idle() -> None:
    """The same capability loses when it is busy."""
    matched = await Auction(exploration=0).choose(
        SENSED, [standing("bad", 0.2), standing("good", 0.9)], Random(0), MUTE
    )
    assert matched.winner == "good"
    assert [bid.agent for bid in matched.bids] == ["good", "bad"]
    busy = await Auction(exploration=0).choose(
        SENSED, [standing("a", 0.8, running=9), standing("b", 0.7)], Random(0), MUTE
    )
    assert busy.winner == "b"


async def test_auction_counts_needed_tools() -> None:
    """Between equals the one with the tools wins."""
    sensed = Sensed(0.2, {"python": 1.0}, tools=("search",))
    matched = await Auction(exploration=0).choose(
        sensed, [standing("a", 0.5), standing("b", 0.5, tools=("search",))], Random(0), MUTE
    )
    assert matched.winner == "b"


async def test_auction_explores_the_unknown_and_repeats_with_the_seed() -> None:
    """An unknown agent wins some draws against a slightly better known one; equal seeds draw equally."""
    field = [standing("known", 0.55, count=1000), standing("new", 0.5, count=0)]
    winners = [(await Auction().choose(SENSED, field, Random(seed), MUTE)).winner for seed in range(50)]
    assert {"known", "new"} == set(winners)
    assert winners == [(await Auction().choose(SENSED, field, Random(seed), MUTE)).winner for seed in range(50)]


@pytest.mark.parametrize(("no_winner", "winner"), [("best_available", "poor"), ("fail", "")])
async def test_auction_below_the_reserve(no_winner: str, winner: str) -> None:
    """Nobody above the reserve: the policy says whether the best loser takes it."""
    policy = Auction.model_validate({"noWinner": no_winner, "reserve": 0.99})
    matched = await policy.choose(SENSED, [standing("poor", 0.1, running=50)], Random(0), MUTE)
    assert matched.winner == winner
    assert "below the reserve" in matched.why


async def test_auction_without_agents() -> None:
    """An empty cluster has no winner and says so."""
    assert (await Auction().choose(SENSED, [], Random(0), MUTE)).winner == ""


def test_weights_must_sum_to_one() -> None:
    """A typing slip in the weights is refused with the sum."""
    with pytest.raises(ValidationError, match=r"that sum to 1\.5"):
        BidWeights(capability=0.9)


async def test_static_names_its_agent() -> None:
    """The named agent wins, or nobody."""
    assert (await Static(agent="a").choose(SENSED, [standing("a", 0), standing("b", 1)], Random(0), MUTE)).winner == "a"
    assert (await Static(agent="z").choose(SENSED, [standing("a", 0)], Random(0), MUTE)).winner == ""


@pytest.mark.parametrize(
    ("complexity", "depth", "tokens", "most"),
    [
        pytest.param(0.9, 0, None, 5, id="complex"),
        pytest.param(0.6, 0, None, 0, id="not-above"),
        pytest.param(0.9, 2, None, 0, id="too-deep"),
        pytest.param(0.9, 0, 5_999, 0, id="too-poor"),
        pytest.param(0.9, 0, 8_000, 3, id="as-many-as-it-can-pay"),
    ],
)
def test_threshold(complexity: float, depth: int, tokens: int | None, most: int) -> None:
    """A task is split when it is complex, shallow and rich enough; the reason is given either way."""
    task = Task("t", "x", depth=depth, budget=Budget(tokens=tokens))
    decided, why = Threshold().parts(Sensed(complexity, {}), task)
    assert decided == most
    assert why


def test_never_splits() -> None:
    """Never means never."""
    assert Never().parts(Sensed(1.0, {}), TASK)[0] == 0


GOOD = Outcome(
    "A generator yields values lazily [1]",
    "completed",
    Usage(100, 20),
    offered=3,
    citations=(Citation(1, "a.md:1-2", text="A generator yields values lazily"),),
    grounding=1.0,
)


@pytest.mark.parametrize(
    ("outcome", "expect", "low", "high"),
    [
        pytest.param(GOOD, Expect(), 1.0, 1.0, id="grounded"),
        pytest.param(Outcome("", "completed"), Expect(), 0.0, 0.0, id="empty"),
        pytest.param(Outcome("I'm sorry, I cannot help", "completed"), Expect(), 0.33, 0.33, id="refusal"),
        pytest.param(msgspec.structs.replace(GOOD, citations=(), grounding=0.0), Expect(), 0.7, 0.8, id="uncited"),
        pytest.param(msgspec.structs.replace(GOOD, unknown_citations=(9,)), Expect(), 0.8, 0.9, id="invented-source"),
        pytest.param(GOOD, Expect(contains=("lazily", "purple")), 0.5, 0.5, id="half-of-the-expected-words"),
        pytest.param(msgspec.structs.replace(GOOD, stop_reason="max_steps"), Expect(), 0.8, 0.95, id="cut-short"),
        pytest.param(GOOD, Expect(output_schema={"type": "object"}), 0.0, 0.0, id="wrong-schema"),
    ],
)
async def test_rules_quality(outcome: Outcome, expect: Expect, low: float, high: float) -> None:
    """Each check moves quality, and none makes it a constant."""
    task = msgspec.structs.replace(TASK, expect=expect)
    evaluated = await Rules().evaluate(case(Executed(outcome, "a"), task), MUTE)
    assert low <= evaluated.quality <= high, evaluated


@pytest.mark.parametrize(
    ("grounding", "worth"),
    [pytest.param(0.25, 0.0, id="unfounded"), pytest.param(0.45, 0.5, id="half"), pytest.param(0.7, 1.0, id="founded")],
)
async def test_rules_grounding(grounding: float, worth: float) -> None:
    """A citation whose passage does not hold the answer's words is worth nothing."""
    evaluated = await Rules().evaluate(case(Executed(msgspec.structs.replace(GOOD, grounding=grounding), "a")), MUTE)
    (line,) = [line for line in evaluated.evidence if "words stand in them" in line]
    assert float(line.rpartition(" ")[2]) == pytest.approx(worth)


async def test_rules_reward_falls_with_cost_time_and_failures() -> None:
    """Efficiency and reliability are measured, not assumed."""
    cheap = await Rules().evaluate(case(Executed(GOOD, "a")), MUTE)
    dear = await Rules().evaluate(
        case(Executed(msgspec.structs.replace(GOOD, usage=Usage(16_000, 0), seconds=120), "a")), MUTE
    )
    broken = await Rules().evaluate(
        case(Executed(msgspec.structs.replace(GOOD, tools=("x", "y"), tool_errors=1), "a")), MUTE
    )
    assert dear.efficiency == 0.0
    assert dear.reward < cheap.reward
    assert broken.reliability == 0.5
    assert any("1 of 2 calls" in line for line in broken.evidence)


async def test_rules_count_missing_parts() -> None:
    """A split task with a failed child is worth less."""
    evaluated = await Rules().evaluate(
        case(Executed(GOOD, "a", children=("t1.1", "t1.2"), missing=("the second",))), MUTE
    )
    assert evaluated.quality < 1.0
    assert evaluated.reliability == 0.5


def test_ema_moves_toward_the_reward() -> None:
    """The score moves by step times weight times error; the count grows; small domains are left alone."""
    sensed = Sensed(0.2, {"python": 0.95, "docs": 0.05})
    winner = Standing("a", "a-1", {"python": Score(0.5, 0.0, 3), "docs": Score(0.5)}, Score(0.5), 0, frozenset())
    decisions = Ema().decide(sensed, Executed(GOOD, "a"), Evaluated(1.0, 1.0, 1.0, 1.0), winner)
    assert [d.domain for d in decisions] == ["python"]
    assert decisions[0].after == pytest.approx(0.5 + 1 / 5 * 0.95 * 0.5)
    assert decisions[0].count == 4
    assert decisions[0].variance > 0
    assert decisions[0].reason == "reward 1.000 in python (weight 0.95, step 0.20)", "by which it can be worked out"


@pytest.mark.parametrize(
    ("alpha", "count", "step"),
    [
        pytest.param(0.1, 0, 0.5, id="first"),
        pytest.param(0.1, 3, 0.2, id="fourth"),
        pytest.param(0.1, 1000, 0.1, id="floor"),
        pytest.param(0.3, 3, 0.3, id="own-floor"),
    ],
)
def test_the_step_follows_what_is_known(alpha: float, count: int, step: float) -> None:
    """The first reward counts as much as the prior, later ones less; what may drift is never believed for good."""
    winner = standing("a", 0.5, count=count)
    (move,) = Ema(alpha=alpha).decide(SENSED, Executed(GOOD, "a"), Evaluated(1.0, 1.0, 1.0, 1.0), winner)
    assert move.after == pytest.approx(0.5 + step * 0.5)
    assert move.reward == 1.0


@pytest.mark.parametrize(
    ("uncertainty", "step"),
    [
        pytest.param(0.0, 0.2, id="certain"),
        pytest.param(0.1, 0.2 / 1.8, id="as-noisy-as-any"),
        pytest.param(0.5, 0.2 / 21, id="hardly-known"),
    ],
)
def test_an_uncertain_reward_moves_a_score_less(uncertainty: float, step: float) -> None:
    """What a judge says who errs counts less than what a rule says."""
    winner = standing("a", 0.5, count=3)
    reward = Evaluated(1.0, 1.0, 1.0, 1.0, uncertainty=uncertainty)
    (move,) = Ema().decide(SENSED, Executed(GOOD, "a"), reward, winner)
    assert move.after == pytest.approx(0.5 + step * 0.5)


def test_a_service_that_was_away_teaches_nothing() -> None:
    """A temporary failure is no fault of the agent; one for good is."""
    away = Executed(Outcome("", "error", error="unreachable", temporary=True), "a", error="unreachable")
    broken = Executed(Outcome("", "error", error="no such model"), "a", error="no such model")
    failed = Evaluated(0.0, 0.0, 0.0, 0.0)
    assert Ema().decide(SENSED, away, failed, standing("a", 0.5)) == []
    assert Ema().decide(SENSED, broken, failed, standing("a", 0.5))[0].after < 0.5


def test_the_lead_of_a_split_learns_in_proportion_to_its_own_work() -> None:
    """What the children did is theirs: with nothing of its own the lead learns nothing."""
    winner = standing("a", 0.5)
    half = Ema().decide(SENSED, Executed(GOOD, "a", own=0.5), Evaluated(1.0, 1.0, 1.0, 1.0), winner)
    assert half[0].after == pytest.approx(0.5 + 0.15 * 0.5 * 0.5)
    assert Ema().decide(SENSED, Executed(GOOD, "a", own=0.0), Evaluated(1.0, 1.0, 1.0, 1.0), winner) == []
