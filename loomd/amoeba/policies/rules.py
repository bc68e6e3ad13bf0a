"""Rules: quality is what can be checked about the answer without a model; every check is part of the evidence."""

import re
from typing import Literal, Self

from pydantic import Field, model_validator

from loomd.agents.schema import violation
from loomd.amoeba.asking import Asking
from loomd.amoeba.policies.base import EvaluatePolicy
from loomd.amoeba.task import Evaluated, Executed, Task
from loomd.manifest.kind import Spec
from loomd.manifest.quantity import Duration, Share

_REFUSAL = re.compile(
    r"^\W*(?:i(?:'m| am) (?:sorry|unable)|sorry|i (?:cannot|can't|do not know|don't know)|as an ai)\b", re.IGNORECASE
)


class RewardWeights(Spec):
    """Share of each part in the reward; they must sum to 1."""

    quality: Share = 0.5
    """Share of the checks."""
    efficiency: Share = 0.3
    """Share of tokens and time."""
    reliability: Share = 0.2
    """Share of calls and children without a failure."""

    @model_validator(mode="after")
    def _sum_to_one(self) -> Self:
        total = self.quality + self.efficiency + self.reliability
        if abs(total - 1.0) > 1e-6:
            raise ValueError(f"expected weights that sum to 1, got weights that sum to {total:g}")
        return self


class Rules(EvaluatePolicy):
    """Checks the answer by rules."""

    type: Literal["rules"] = "rules"
    weights: RewardWeights = Field(default_factory=RewardWeights)
    """Share of each part in the reward."""
    grounding: Share = 0.6
    """Share of the answer's content words that must stand in the cited passages for full marks."""
    ungrounded: Share = 0.3
    """Share of them below which the citation is worth nothing; between the two its worth grows evenly."""
    reference_tokens: int = Field(default=16_000, ge=1)
    """Tokens at which the token half of efficiency reaches 0."""
    reference_time: Duration = 120.0
    """Time at which the time half of efficiency reaches 0."""

    async def evaluate(self, task: Task, executed: Executed, asking: Asking) -> Evaluated:
        """Return reward, quality, efficiency and reliability with the evidence."""
        del asking
        checks = self._checks(task, executed)
        quality = 0.0 if checks[0][1] == 0 else sum(score for _, score in checks) / len(checks)
        outcome = executed.outcome
        tokens = min(1.0, outcome.usage.total / self.reference_tokens)
        time = min(1.0, max(0.0, outcome.seconds - outcome.waited) / self.reference_time)
        efficiency = 1 - (tokens + time) / 2
        calls = len(outcome.tools) + len(executed.children)
        reliability = 1 - (outcome.tool_errors + len(executed.missing)) / calls if calls else 1.0
        weights = self.weights
        reward = weights.quality * quality + weights.efficiency * efficiency + weights.reliability * reliability
        evidence = [f"{name}: {score:.2f}" for name, score in checks]
        evidence.append(f"{outcome.usage.total} tokens in {outcome.seconds:.1f} s")
        if calls:
            evidence.append(f"{outcome.tool_errors + len(executed.missing)} of {calls} calls and children failed")
        return Evaluated(
            reward if quality else 0.0,
            quality,
            efficiency,
            max(0.0, reliability),
            tuple(evidence),
            weights.model_dump(),
        )

    def _checks(self, task: Task, executed: Executed) -> list[tuple[str, float]]:
        """Return the checks that apply, each from 0 to 1; the first is whether there is an answer at all."""
        outcome, expect = executed.outcome, task.expect
        text = outcome.output.strip()
        checks = [("there is an answer", float(bool(text) and not executed.error))]
        checks.append(("it is not a refusal", float(outcome.stop_reason != "refused" and not _REFUSAL.match(text))))
        checks.append((f"it ended as {outcome.stop_reason}", 1.0 if outcome.stop_reason == "completed" else 0.3))
        if outcome.offered or expect.cites:
            checks.append((f"it cites {len(outcome.citations)} passages", float(bool(outcome.citations))))
        if outcome.citations:
            span = max(self.grounding - self.ungrounded, 1e-9)
            score = min(1.0, max(0.0, (outcome.grounding - self.ungrounded) / span))
            checks.append((f"{outcome.grounding:.0%} of its words stand in them", score))
        if outcome.unknown_citations:
            checks.append((f"it cites {len(outcome.unknown_citations)} passages that do not exist", 0.0))
        lowered = text.lower()
        checks += [(f'it contains "{word}"', float(word.lower() in lowered)) for word in expect.contains]
        if expect.output_schema is not None:
            wrong = violation(text, expect.output_schema)
            checks.append((f"it fits the schema{'' if wrong is None else f' ({wrong})'}", float(wrong is None)))
        if executed.children:
            done = 1 - len(executed.missing) / len(executed.children)
            checks.append((f"{len(executed.missing)} of {len(executed.children)} parts are missing", done))
        return checks
