"""What policies that choose among bids have in common: who may bid at all, and what is recorded of the bids."""

import functools
import math
import operator
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import TYPE_CHECKING, Self

import msgspec
from pydantic import Field

from loomd.amoeba.crowd import Crowd, Numbers, each, names_of, those_at, without
from loomd.amoeba.forging import NoWinner
from loomd.amoeba.policies.base import MatchPolicy
from loomd.amoeba.task import Bid, Matched, Sensed
from loomd.amoeba.world import Standing, Uses
from loomd.manifest.kind import Spec
from loomd.manifest.quantity import Share, Usd

if TYPE_CHECKING:
    from loomd.amoeba.asking import Asking
    from loomd.amoeba.crowd import Floats


class Filters(Spec):
    """Who may not bid, however good the bid would be."""

    tools: bool = False
    """Whether an agent is left out that lacks a tool which the task seems to need, or may not call it; otherwise it
    bids less."""
    budget: bool = True
    """Whether an agent is left out for the day when its daily budget is used up."""
    service: bool = True
    """Whether an agent is left out while its model's service is not called, because the last calls failed."""
    health: bool = True
    """Whether an agent is left out that is dying."""

    def lasting(self, sensed: Sensed, agents: Sequence[Standing]) -> dict[str, str]:
        """Return which agents cannot do such a task, and why."""
        if not self.tools or not sensed.tools:
            return {}
        if type(agents) is Crowd:
            return _unfit_of(sensed.tools, agents)
        return {agent.agent: why for agent in agents if (why := _unfit(sensed.tools, agent))}

    def passing(self, agents: Sequence[Standing]) -> dict[str, str]:
        """Return which agents take no task for now, and why."""
        field = agents.suspected if type(agents) is Crowd else agents
        suspects = [one for one in field if one.down or one.budget_left <= 0 or one.health == "dying"]
        return {agent.agent: why for agent in suspects if (why := self._away(agent))}

    def _away(self, agent: Standing) -> str:
        if self.budget and agent.budget_left <= 0:
            return "its daily budget is used up"
        if self.service and agent.down:
            return agent.down
        return "it is dying" if self.health and agent.health == "dying" else ""


def _unfit(needed: Sequence[str], agent: Standing) -> str:
    lacks = [tool for tool in needed if tool not in agent.tools]
    barred = [tool for tool in needed if agent.permits is not None and tool not in agent.permits]
    return _unfitness(lacks, barred)


def _unfit_of(needed: Sequence[str], crowd: Crowd) -> dict[str, str]:
    """Return the same of many, by name."""
    known = [(tool, *crowd.may_call(tool)) for tool in needed]
    able = functools.reduce(operator.and_, [may for _, _, may in known])
    found: dict[str, str] = {}
    for at in (~able).nonzero()[0].tolist():
        lacks = [tool for tool, has, _ in known if not has[at]]
        barred = [tool for tool, _, may in known if not may[at]]
        found[crowd.names[at]] = _unfitness(lacks, barred)
    return found


def _unfitness(lacks: Sequence[str], barred: Sequence[str]) -> str:
    if lacks:
        return f"it lacks {', '.join(lacks)}"
    return f"it may not call {', '.join(barred)}" if barred else ""


class Prices(Spec):
    """What a task is expected to cost: the tokens that SENSE expects, at the prices of the agent's model.

    Of an agent of which enough tasks were seen, as many tokens are expected as its tasks really took beside what SENSE
    had expected of them.
    """

    output: Share = 0.2
    """Share of the tokens that the model writes, as long as nothing else was learned of the agent; it reads the
    others."""
    high: Usd = Field(default=0.10, gt=0)
    """USD for a task at which the factor of a bid is a half; it is cost / (cost + this)."""

    def costs(self, tokens: int, agents: Sequence[Standing]) -> Numbers:
        """Return what a task of so many tokens is expected to cost with each agent, in USD."""
        assumed = Uses(1 - self.output, self.output)
        if type(agents) is Crowd:
            return _costs_of(tokens, agents, assumed)
        uses = [agent.uses or assumed for agent in agents]
        return [
            tokens * (use.read * agent.price[0] + use.written * agent.price[1])
            for use, agent in zip(uses, agents, strict=True)
        ]

    def factors(self, tokens: int, agents: Sequence[Standing]) -> Numbers:
        """Return the costs from 0 (nothing) to 1 (endlessly much)."""
        high = self.high

        def factor(cost: float) -> float:
            return cost / (cost + high)

        return each(factor, self.costs(tokens, agents))


def _costs_of(tokens: int, crowd: Crowd, assumed: Uses) -> "Floats":
    import numpy as np  # noqa: PLC0415  # loaded with the first crowd

    if (costs := crowd.costs) is None:
        return np.zeros(len(crowd))
    known = costs.read == costs.read  # not a number is not equal to itself
    read, written = np.where(known, costs.read, assumed.read), np.where(known, costs.written, assumed.written)
    usd: Floats = tokens * (read * costs.input + written * costs.output)
    return usd


class Offers(msgspec.Struct, frozen=True):
    """What agents bid.

    Attributes:
        totals: one number for each agent, the highest is the best.
        bid: returns the bid of an agent, by its place and its standing.
        weights: by what each factor of a bid was multiplied.
        reserve: the lowest total that may win.
    """

    totals: Numbers
    bid: Callable[[int, Standing], Bid]
    weights: dict[str, float] = {}
    reserve: float = -math.inf


class Choosing(MatchPolicy):
    """Chooses the best bid of those who may bid."""

    filters: Filters = Field(default_factory=Filters)
    """Who may not bid, however good the bid would be."""
    record: int = Field(default=5, ge=1, le=1000)
    """How many bids are kept and told of a task, the best of them; of those who may not bid so many are named, too."""
    no_winner: NoWinner = "best_available"
    """What happens when nobody bids enough, or all are left out for now: the best of them takes it all the same
    (`best_available`), the task waits (`queue`, as the cluster's `queue` says), a specialist is made for it (`forge`,
    as its `forge` says), or it fails (`fail`). Who lacks what the task needs never takes it."""

    @abstractmethod
    def offers(self, sensed: Sensed, agents: Sequence[Standing], draw: Random) -> Offers:
        """Return what each of some agents bids."""

    @property
    def otherwise(self) -> NoWinner:
        """Return what becomes of a task that nobody takes."""
        return self.no_winner

    def settling(self) -> Self:
        """Return the policy as it is when the best bid takes a task that nobody takes."""
        return self.model_copy(update={"no_winner": "best_available"})

    def passing(self, sensed: Sensed, agents: Sequence[Standing]) -> dict[str, str]:
        """Return which agents take no such task for now, and why."""
        del sensed
        return self.filters.passing(agents)

    def refused(self, sensed: Sensed, agents: Sequence[Standing]) -> Mapping[str, str]:
        """Return whom the filters leave out, and why."""
        return {**self.passing(sensed, agents), **self.filters.lasting(sensed, agents)}

    def praise(self, best: Bid, count: int) -> str:
        """Return why the best of so many bids wins."""
        return f"{f'highest of {count} bids' if count > 1 else 'the only bid'}: {best.total:.3f}"

    async def choose(self, sensed: Sensed, agents: Sequence[Standing], draw: Random, asking: "Asking") -> Matched:
        """Return the winner with the best bids, highest first."""
        del asking
        if not agents:
            return Matched("", (), "the cluster has no agents")
        unfit = self.filters.lasting(sensed, agents)
        fit = without(agents, unfit)
        away = self.passing(sensed, fit)
        able = without(fit, away)
        refused = {**unfit, **away} if unfit or away else {}
        note = ""
        if away and not able and self.no_winner == "best_available":
            able, refused, note = fit, {**away, **unfit}, "all are left out for now, and heard as the best available; "
        kept = dict(list(refused.items())[: self.record]) if refused else {}
        if not able:
            return Matched("", (), f"{_why(kept)}", refused=kept, refusals=len(refused))
        offers = self.offers(sensed, able, draw)
        bids = _best(offers, able, self.record)
        best = bids[0]
        winner, why = best.agent, f"{note}{self.praise(best, len(able))}"
        if best.total < offers.reserve:
            why = f"{note}best bid {best.total:.3f} is below the reserve {offers.reserve:g}"
            winner = winner if self.no_winner == "best_available" else ""
            why += "; taken as best available" if winner else ""
        return Matched(
            winner,
            bids,
            why,
            offers.weights,
            max(0.0, offers.reserve),
            bidders=len(able),
            refused=kept,
            refusals=len(refused),
        )


def _why(refused: Mapping[str, str]) -> str:
    return "nobody may bid: " + "; ".join(f"{agent}: {why}" for agent, why in refused.items())


def _best(offers: Offers, agents: Sequence[Standing], most: int) -> tuple[Bid, ...]:
    """Return the best bids, highest first, of equal ones those whose agents come first by name."""
    totals = offers.totals
    places = list(range(len(agents))) if len(agents) <= most else _highest(totals, most)
    if len(places) > 1:
        names = names_of(agents)
        places.sort(key=lambda at: (-totals[at], names[at]))
    del places[most:]
    return tuple(map(offers.bid, places, those_at(agents, places)))


def _highest(totals: Numbers, most: int) -> list[int]:
    """Return the places of the highest totals, with all that equal the last of them."""
    if isinstance(totals, list):
        least = sorted(totals)[-most]
        return [at for at, total in enumerate(totals) if total >= least]
    import numpy as np  # noqa: PLC0415  # loaded with the first crowd

    array = np.asarray(totals)
    places: list[int] = (array >= np.partition(array, -most)[-most]).nonzero()[0].tolist()
    return places


class Beliefs(msgspec.Struct, frozen=True):
    """What is believed of agents in the domains of a task, one number for each agent.

    Attributes:
        means: mean rewards, each domain by its weight.
        spreads: standard deviations of what the means may really be.
    """

    means: Numbers
    spreads: Numbers


def beliefs(sensed: Sensed, agents: Sequence[Standing], unknown: float) -> Beliefs:
    """Return what is believed of agents in the domains of a task.

    The variance of a mean is that of the rewards, and beside them of one reward that was only assumed, over the tasks
    seen: (variance + unknown^2 / (1 + count)) / (1 + count), as for normal rewards of an unknown mean (Russo et al., A
    Tutorial on Thompson Sampling, 2018).

    Args:
        sensed: the task.
        agents: the agents.
        unknown: the standard deviation of a domain in which nothing was seen.
    """
    domains = [(domain, share, share * share) for domain, share in sensed.domains.items()]
    prior, root = unknown * unknown, math.sqrt
    if type(agents) is Crowd:
        return _beliefs_of(domains, agents, prior)
    means: list[float] = []
    spreads: list[float] = []
    for agent in agents:
        scores, mean, spread = agent.scores, 0.0, 0.0
        for domain, share, square in domains:
            score = scores[domain]
            per = 1.0 / (1 + score.count)
            mean += share * score.mean
            spread += square * per * (score.variance + prior * per)
        means.append(mean)
        spreads.append(root(spread))
    return Beliefs(means, spreads)


def _beliefs_of(domains: Sequence[tuple[str, float, float]], crowd: Crowd, prior: float) -> Beliefs:
    """Return the same of many: each number is added and multiplied in the same order."""
    import numpy as np  # noqa: PLC0415  # loaded with the first crowd

    means, variances = np.zeros(len(crowd)), np.zeros(len(crowd))
    for domain, share, square in domains:
        score = crowd.scores[domain]
        per = 1.0 / (1 + score.count)
        means += share * score.mean
        variances += square * per * (score.variance + prior * per)
    return Beliefs(means, np.sqrt(variances))


def used(agent: Standing) -> tuple[float, ...]:
    """Return what an agent is known to read and to write for each token expected; nothing when it is not known."""
    return () if agent.uses is None else (agent.uses.read, agent.uses.written)


def seen(sensed: Sensed, agent: Standing) -> float:
    """Return how many tasks say what is believed of an agent, each domain by its weight."""
    return sum([share * agent.scores[domain].count for domain, share in sensed.domains.items()])


def normals(draw: Random, count: int) -> list[float]:
    """Return draws of the standard normal distribution (Box and Muller, 1958)."""
    drawn: list[float] = []
    uniform, root, log, turn = draw.random, math.sqrt, math.log, math.tau
    for _ in range((count + 1) // 2):
        radius, angle = root(-2.0 * log(1.0 - uniform())), turn * uniform()
        drawn += (radius * math.cos(angle), radius * math.sin(angle))
    return drawn[:count]
