"""Who may bid, what is kept of many bids, and how each policy weighs what is known, what is not, and what it costs."""

from collections import Counter
from random import Random
from typing import Any

import msgspec
import pytest

from loomd.amoeba.policies.auction import Auction
from loomd.amoeba.policies.cheapest import Cheapest
from loomd.amoeba.policies.choosing import Choosing, Filters, normals
from loomd.amoeba.policies.thompson import Thompson
from loomd.amoeba.task import Matched, Sensed
from loomd.amoeba.world import Score, Standing, Uses
from tests.amoeba.cases import MUTE
from tests.amoeba.test_policies import SENSED

ALL: list[Choosing] = [Auction(), Thompson(), Cheapest(capability=0.0)]
IDS = [policy.type for policy in (Auction(), Thompson(), Cheapest())]


def agent(name: str, mean: float = 0.6, variance: float = 0.0, count: int = 10_000, **more: Any) -> Standing:
    """Return an agent's standing in python; nothing is doubted of it by default."""
    score = Score(mean, variance, count)
    return msgspec.structs.replace(Standing(name, f"{name}-1", {"python": score}, score, 0, frozenset()), **more)


async def choose(policy: Choosing, *agents: Standing, seed: int = 0, sensed: Sensed = SENSED) -> Matched:
    """Return whom a policy chooses."""
    return await policy.choose(sensed, agents, Random(seed), MUTE)


WAYS: dict[str, tuple[dict[str, Any], str]] = {
    "budget": ({"budget_left": 0.0}, "its daily budget is used up"),
    "service": ({"down": "Provider/x is not called"}, "Provider/x is not called"),
    "health": ({"health": "dying"}, "it is dying"),
}
AWAY = [pytest.param(more, why, id=name) for name, (more, why) in WAYS.items()]


@pytest.mark.parametrize("policy", ALL, ids=IDS)
@pytest.mark.parametrize(("more", "why"), AWAY)
async def test_who_takes_no_task_for_now_is_left_out(policy: Choosing, more: dict[str, Any], why: str) -> None:
    """However good it is; the reason is kept."""
    matched = await choose(policy, agent("best", 0.99, **more), agent("poor", 0.3))
    assert (matched.winner, matched.refused, matched.refusals) == ("poor", {"best": why}, 1)
    assert [bid.agent for bid in matched.bids] == ["poor"]


@pytest.mark.parametrize(("more", "why"), AWAY)
async def test_when_all_are_left_out_the_best_takes_it_or_nobody(more: dict[str, Any], why: str) -> None:
    """What is the matter is over some time, unless the policy says to fail; either way it is told."""
    field = agent("good", 0.9, **more), agent("poor", 0.3, **more)
    taken = await choose(Auction(), *field)
    assert (taken.winner, taken.refused) == ("good", {"good": why, "poor": why})
    assert "all are left out for now" in taken.why
    failed = await choose(Auction(no_winner="fail"), *field)
    assert (failed.winner, failed.why) == ("", f"nobody may bid: good: {why}; poor: {why}")


@pytest.mark.parametrize("filtered", WAYS)
async def test_filters_can_be_switched_off(filtered: str) -> None:
    """Each on its own."""
    policy = Auction(filters=Filters.model_validate({filtered: False}))
    field = [agent(name, 0.9, **more) for name, (more, _) in WAYS.items()]
    matched = await choose(policy, *field, agent("other", 0.5))
    assert matched.winner == filtered
    assert set(matched.refused) == set(WAYS) - {filtered}


async def test_who_lacks_a_needed_tool_may_be_left_out() -> None:
    """Or may not call it; then it never takes the task, also when nobody else can."""
    sensed = Sensed(0.2, {"python": 1.0}, tools=("search",))
    lacking = agent("lacking", 0.9)
    barred = agent("barred", 0.9, tools=frozenset({"search"}), permits=frozenset())
    able = agent("able", 0.5, tools=frozenset({"search"}), permits=frozenset({"search"}))
    policy = Auction(filters=Filters(tools=True))
    matched = await choose(policy, lacking, barred, able, sensed=sensed)
    assert matched.winner == "able"
    assert matched.refused == {"lacking": "it lacks search", "barred": "it may not call search"}
    assert (await choose(policy, lacking, barred, sensed=sensed)).winner == ""
    assert (await choose(policy, lacking, barred)).winner  # this one needs no tool
    soft = await choose(Auction(exploration=0), lacking, barred, able, sensed=sensed)
    assert {bid.agent: bid.factors["tools"] for bid in soft.bids} == {"lacking": 0, "barred": 0, "able": 1}


@pytest.mark.parametrize("policy", ALL, ids=IDS)
async def test_of_many_bids_the_best_are_kept(policy: Choosing) -> None:
    """As many as the policy says, in order, with the winner first; it is said how many there were."""
    field = [agent(f"a{at:03}", at / 1000) for at in range(100)]
    whole = await choose(policy.model_copy(update={"record": 100}), *field)
    few = await choose(policy.model_copy(update={"record": 3}), *field)
    assert few.bids == whole.bids[:3]
    assert (few.winner, few.bidders) == (whole.winner, 100)
    assert few.winner == few.bids[0].agent
    totals = [bid.total for bid in whole.bids]
    assert totals == sorted(totals, reverse=True)


async def test_of_many_who_may_not_bid_some_are_named() -> None:
    """And it is said how many there were."""
    matched = await choose(Auction(record=2), *(agent(f"a{at}", budget_left=0.0) for at in range(9)), agent("z"))
    assert (len(matched.refused), matched.refusals, matched.winner) == (2, 9, "z")


async def test_equal_bids_are_told_apart_by_name() -> None:
    """Also beyond those that are kept."""
    field = [agent(name) for name in "dbac"]
    assert [bid.agent for bid in (await choose(Auction(record=2, exploration=0), *field)).bids] == ["a", "b"]


async def wins(policy: Choosing, *agents: Standing) -> Counter[str]:
    """Return how many of 400 tasks each wins."""
    return Counter([(await choose(policy, *agents, seed=seed)).winner for seed in range(400)])


@pytest.mark.parametrize("policy", [Auction(), Thompson()], ids=["auction", "thompson"])
async def test_uncertainty_explores_and_evidence_ends_it(policy: Choosing) -> None:
    """Who is unknown, or known to vary, gets more tasks than who is known to be a little worse."""
    rival = agent("rival", 0.6)
    unknown = await wins(policy, rival, agent("other", 0.55, count=0))
    unsteady = await wins(policy, rival, agent("other", 0.55, variance=0.06, count=5))
    known = await wins(policy, rival, agent("other", 0.55))
    assert 50 < unknown["other"] < 200
    assert 50 < unsteady["other"] < 200
    assert known["other"] == 0


async def test_declared_domains_mean_something_before_anything_was_learned() -> None:
    """Who declares a domain is asked, but for a few tasks, and not who is only unknown in it."""
    field = agent("declared", 0.6, count=0), agent("unknown", 0.3, count=0)
    assert (await wins(Auction(), *field))["declared"] > 380


async def test_prices_lower_bids() -> None:
    """Of equals the cheaper wins; a better one may cost more; without prices nothing is said of them."""
    free, dear = agent("free", 0.6), agent("dear", 0.6, price=(3e-6, 15e-6))
    sensed = Sensed(0.5, {"python": 1.0}, tokens=10_000)
    matched = await choose(Auction(), dear, free, sensed=sensed)
    assert (matched.winner, matched.weights["price"]) == ("free", -0.10)
    cost = 10_000 * (0.8 * 3e-6 + 0.2 * 15e-6)
    assert matched.bids[1].factors["price"] == pytest.approx(cost / (cost + 0.10))
    assert matched.bids[1].total == pytest.approx(
        sum(share * matched.bids[1].factors[name] for name, share in matched.weights.items())
    )
    better = msgspec.structs.replace(dear, scores={"python": Score(0.9, 0.0, 10_000)})
    assert (await choose(Auction(), better, free, sensed=sensed)).winner == "dear"
    assert "price" not in (await choose(Auction(), free, sensed=sensed)).weights
    assert (await choose(Auction(price=0), dear, sensed=sensed)).bids[0].factors.keys().isdisjoint({"price"})


async def test_cheapest_takes_the_cheapest_that_is_good_enough() -> None:
    """And when nobody is, the cheapest of all or nobody, and says so."""
    sensed = Sensed(0.5, {"python": 1.0}, tokens=1_000)
    poor, fair, good = (
        agent("poor", 0.2),
        agent("fair", 0.6, price=(1e-6, 1e-6)),
        agent("good", 0.9, price=(9e-6, 9e-6)),
    )
    matched = await choose(Cheapest(), good, fair, poor, sensed=sensed)
    assert (matched.winner, matched.refused) == ("fair", {"poor": "it is believed 0.20 good, and 0.5 is the least"})
    assert matched.bids[0].total == pytest.approx(-0.001, abs=1e-6)
    assert matched.why == "lowest of 2 prices: 0.001000 USD expected"
    strict = Cheapest.model_validate({"capability": 0.95})
    assert (await choose(strict, good, fair, poor, sensed=sensed)).winner == "poor"
    refused = Cheapest.model_validate({"capability": 0.95, "noWinner": "fail"})
    assert (await choose(refused, good, fair, sensed=sensed)).winner == ""


async def test_cheapest_prefers_the_idle_of_equals() -> None:
    """Free models are all equally cheap."""
    field = agent("busy", 0.9, running=2), agent("idle", 0.6)
    assert (await choose(Cheapest(), *field)).winner == "idle"
    assert (await choose(Cheapest(), agent("fair", 0.6), agent("good", 0.9))).winner == "good"


def test_draws_are_normal_and_repeat() -> None:
    """Mean 0, deviation 1, one in twenty beyond two deviations."""
    drawn = normals(Random(3), 20_001)
    assert len(drawn) == 20_001
    assert sum(drawn) / len(drawn) == pytest.approx(0.0, abs=0.03)
    assert sum(z * z for z in drawn) / len(drawn) == pytest.approx(1.0, abs=0.04)
    assert sum(abs(z) > 1.96 for z in drawn) / len(drawn) == pytest.approx(0.05, abs=0.006)
    assert normals(Random(3), 7) == drawn[:7]


async def test_bids_go_by_what_tasks_really_took() -> None:
    """Of equals at the same price the one that needs fewer tokens wins, also by `cheapest`; the bid says so."""
    price = (3e-6, 15e-6)
    terse, wordy = agent("terse", 0.6, price=price, uses=Uses(0.5, 0.1, 9)), agent("wordy", 0.6, price=price)
    sensed = Sensed(0.2, {"python": 1.0}, tokens=10_000)
    matched = await choose(Auction(exploration=0), wordy, terse, sensed=sensed)
    assert matched.winner == "terse"
    cost = 10_000 * (0.5 * 3e-6 + 0.1 * 15e-6)
    assert matched.bids[0].factors["price"] == pytest.approx(cost / (cost + 0.10))
    assert (matched.bids[0].uses, matched.bids[1].uses) == ((0.5, 0.1), ())
    matched = await choose(Cheapest(), wordy, terse, sensed=sensed)
    assert matched.winner == "terse"
    assert matched.bids[0].factors["cost"] == pytest.approx(cost)
    assert matched.bids[0].uses == (0.5, 0.1)
