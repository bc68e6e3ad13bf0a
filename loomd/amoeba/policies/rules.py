"""Rules: quality is what can be checked about the answer without a model; every check is part of the evidence."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Literal, Self

import msgspec
from pydantic import Field, model_validator

from loomd.amoeba.expect import Met
from loomd.amoeba.policies.base import Case, EvaluatePolicy
from loomd.amoeba.refusal import refuses
from loomd.amoeba.task import Opinion
from loomd.manifest.kind import Spec
from loomd.manifest.quantity import Duration, Share

if TYPE_CHECKING:
    from loomd.amoeba.asking import Asking

Weight = Annotated[float, Field(ge=0)]


class RewardWeights(Spec):
    """Share of each part in the reward; they must sum to 1.

    The reward is quality x (`quality` + `efficiency` x efficiency + `reliability` x reliability): that a bad answer
    took little is worth no more than the answer.
    """

    quality: Share = 0.5
    """Share of the quality that counts whatever the answer took."""
    efficiency: Share = 0.3
    """Share of tokens and time, in proportion to the quality."""
    reliability: Share = 0.2
    """Share of calls and children without a failure, in proportion to the quality."""

    @model_validator(mode="after")
    def _sum_to_one(self) -> Self:
        total = self.quality + self.efficiency + self.reliability
        if abs(total - 1.0) > 1e-6:
            raise ValueError(f"expected weights that sum to 1, got weights that sum to {total:g}")
        return self


class CheckWeights(Spec):
    """By how much each check counts in the quality; 0 leaves it out.

    Where a task says what it expects, the quality is the share of that which is met, lowered by the other checks as
    far as these weigh beside it.
    """

    answer: float = Field(default=1.0, gt=0)
    """There is an answer; without one the quality is 0."""
    refusal: Weight = 1.0
    """It is not a refusal; 0 leaves out `refusals`, too."""
    ending: Weight = 1.0
    """The work was completed; what ended otherwise is worth `unfinished`."""
    citations: Weight = 1.0
    """It cites passages when some were offered."""
    grounding: Weight = 1.0
    """Its words stand in what it cites."""
    invented: Weight = 1.0
    """It cites nothing that does not exist; looked at when it does."""
    expected: Weight = 1.0
    """Each thing that the task expects of it."""
    parts: Weight = 1.0
    """No part is missing."""


class Refusals(Spec):
    """What a refusal is worth where the task does not say what it expects, so that nothing says whether it was right.

    Refusals are found by English words. An answer that was shown passages and says that they do not hold what is asked
    is none.
    """

    quality: Share = 0.33
    """Quality at most. As it is, who refuses everything is in `warning` and gets better instructions, but is not dying:
    that takes a task that says what it expects, a judge, or a person."""
    uncertainty: Share = 0.1
    """Standard deviation of that quality; the larger it is, the less a refusal moves a score."""
    words: int = Field(default=100, ge=1)
    """How many words a refusal has at most; what is longer is taken to say something."""


class Rules(EvaluatePolicy):
    """Checks the answer by rules."""

    type: Literal["rules"] = "rules"
    weights: RewardWeights = Field(default_factory=RewardWeights)
    """Share of each part in the reward."""
    checks: CheckWeights = Field(default_factory=CheckWeights)
    """By how much each check counts."""
    refusals: Refusals = Field(default_factory=Refusals)
    """What a refusal is worth when nobody says whether it was right."""
    unfinished: Share = 0.3
    """What the check is worth of work that was not completed, but for example cut short by a limit."""
    grounding: Share = 0.6
    """Share of the answer's content words that must stand in the cited passages for full marks."""
    ungrounded: Share = 0.3
    """Share of them below which the citation is worth nothing; between the two its worth grows evenly."""
    reference_tokens: int = Field(default=16_000, ge=1)
    """Tokens at which the token half of efficiency reaches 0."""
    reference_time: Duration = Field(default=120.0, gt=0)
    """Time at which the time half of efficiency reaches 0."""

    async def evaluate(self, case: Case, asking: "Asking") -> Opinion:
        """Return reward, quality, efficiency and reliability with the evidence."""
        del asking
        return self.opinion(case)

    def opinion(self, case: Case) -> Opinion:
        """Return what the rules say."""
        refused = self._refused(case)
        checks, wanted = self._checks(case, refused=refused), self._wanted(case) if case.met else []
        worth = sum([score * weight for _, score, weight in checks]) + sum([weight for _, _, weight in wanted])
        worth /= sum([weight for _, _, weight in (*checks, *wanted)])
        met = sum([score for _, score, _ in wanted]) / len(wanted) if wanted else 1.0
        quality = worth * met if checks[0][1] else 0.0
        unsure = refused and quality > 0 and not wanted and self.checks.refusal > 0
        if unsure:
            quality = min(quality, self.refusals.quality)
        executed, outcome = case.executed, case.executed.outcome
        tokens = min(1.0, outcome.usage.total / self.reference_tokens)
        time = min(1.0, max(0.0, outcome.seconds - outcome.waited) / self.reference_time)
        efficiency = 1 - (tokens + time) / 2
        calls = len(outcome.tools) + len(executed.children)
        reliability = 1 - (outcome.tool_errors + len(executed.missing)) / calls if calls else 1.0
        evidence = [f"{name}: {score:.2f}" for name, score, weight in (*checks, *wanted) if weight]
        if wanted:
            evidence.append(f"{met:.0%} of what the task expects is met")
        if unsure:
            evidence.append(
                f"nothing says whether the refusal is right: {self.refusals.quality:.2f} at most, "
                f"give or take {self.refusals.uncertainty:.2f}"
            )
        evidence += [f"{one.said}: {one.wrong}, so it says nothing" for one in case.met if one.broken]
        evidence.append(f"{outcome.usage.total} tokens in {outcome.seconds:.1f} s")
        if calls:
            evidence.append(f"{outcome.tool_errors + len(executed.missing)} of {calls} calls and children failed")
        said = opinion("rules", quality, efficiency, max(0.0, reliability), evidence, self.weights)
        if not refused:
            return said
        uncertainty = self.refusals.uncertainty if unsure else 0.0
        return msgspec.structs.replace(said, uncertainty=uncertainty, refused=True)

    def _refused(self, case: Case) -> bool:
        """Return whether the answer is a refusal."""
        outcome = case.executed.outcome
        shown = outcome.offered > 0
        return outcome.stop_reason == "refused" or refuses(outcome.output, words=self.refusals.words, shown=shown)

    def _checks(self, case: Case, *, refused: bool) -> list[tuple[str, float, float]]:
        """Return the checks that apply whatever the task expects: what, from 0 to 1, and its weight.

        The first is whether there is an answer.
        """
        outcome, of = case.executed.outcome, self.checks
        text = outcome.output.strip()
        ended = 1.0 if outcome.stop_reason == "completed" else self.unfinished
        checks = [
            ("there is an answer", float(bool(text) and not case.executed.error), of.answer),
            ("it is not a refusal", float(not refused), of.refusal),
            (f"it ended as {outcome.stop_reason}", ended, of.ending),
        ]
        if outcome.offered and not case.task.expect.cites:
            cited = float(bool(outcome.citations))
            checks.append((f"it cites {len(outcome.citations)} passages", cited, of.citations))
        if outcome.citations:
            span = max(self.grounding - self.ungrounded, 1e-9)
            score = min(1.0, max(0.0, (outcome.grounding - self.ungrounded) / span))
            checks.append((f"{outcome.grounding:.0%} of its words stand in them", score, of.grounding))
        if outcome.unknown_citations:
            unknown = len(outcome.unknown_citations)
            checks.append((f"it cites {unknown} passages that do not exist", 0.0, of.invented))
        if parts := case.executed.children:
            missing = len(case.executed.missing)
            checks.append((f"{missing} of {len(parts)} parts are missing", 1 - missing / len(parts), of.parts))
        return checks

    def _wanted(self, case: Case) -> list[tuple[str, float, float]]:
        """Return what the task expects, in the same way; nothing when that is left out."""
        weight = self.checks.expected
        return [(_said(one), float(not one.wrong), weight) for one in case.met if weight and not one.broken]


def _said(one: Met) -> str:
    """Return an expectation; what a check says is told with it."""
    return f"{one.said} ({one.wrong})" if one.field == "checks" and one.wrong else one.said


def opinion(
    evaluator: str,
    quality: float,
    efficiency: float,
    reliability: float,
    evidence: Iterable[str],
    weights: RewardWeights,
) -> Opinion:
    """Return what an evaluator says, with the reward."""
    shares = dict(vars(weights))
    reward = reward_of(shares, quality, efficiency, reliability)
    return Opinion(evaluator, reward, quality, efficiency, reliability, tuple(evidence), shares)


def reward_of(shares: Mapping[str, float], quality: float, efficiency: float, reliability: float) -> float:
    """Return the reward of three parts by their shares: what it took counts in proportion to the quality."""
    return quality * slope_of(shares, efficiency, reliability)


def slope_of(shares: Mapping[str, float], efficiency: float, reliability: float) -> float:
    """Return by how much the reward moves with the quality."""
    return shares["quality"] + shares["efficiency"] * efficiency + shares["reliability"] * reliability
