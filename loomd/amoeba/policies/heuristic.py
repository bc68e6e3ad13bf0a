"""Heuristic sense: the structure of the text, its likeness to domains, and what past tasks took; no model call."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from loomd.amoeba.history import Known, known
from loomd.amoeba.policies.base import SensePolicy
from loomd.amoeba.task import GENERAL, Sensed
from loomd.amoeba.world import Signals
from loomd.manifest.kind import Spec
from loomd.manifest.quantity import Share

if TYPE_CHECKING:
    from loomd.amoeba.asking import Asking

_WORD = re.compile(r"\w+")
_ITEM = re.compile(r"(?m)^\s*(?:[-*]|\d+[.)])\s+\S")
_CLAUSE = re.compile(
    r"(?:,|\band\b)\s+(?:[a-z]+\s+){0,2}?(?:what|which|who|how|why|when|where|explain|describe|list|compare|"
    r"write|summarise|summarize|find|compute|calculate|draft|give|name|say|tell)\b"
)


class _Words:
    """Counts words and turns of phrase in a text of small letters; most texts hold none, which is seen at once."""

    def __init__(self, *patterns: str) -> None:
        self._begin = [re.split("[^a-z ]", one)[0] for one in patterns]
        self._all = re.compile(rf"\b(?:{'|'.join(patterns)})\b")

    def count(self, text: str) -> int:
        """Return how many a text holds."""
        return len(self._all.findall(text)) if any(map(text.__contains__, self._begin)) else 0


_JOINT = _Words("then", "and then", "and also", "as well as", "afterwards", "finally", "for each", "in addition")
_DEMANDING = _Words(
    "compare",
    "contrast",
    "design",
    "plan",
    "analyse",
    "analyze",
    "evaluate",
    "investigate",
    "research",
    "report",
    "trade-?offs?",
    "step by step",
    "pros and cons",
    "strategy",
    "architecture",
    "in detail",
)


class Signs(Spec):
    """How much each sign of a demanding text adds to complexity."""

    base: Share = 0.1
    """Complexity of a single request without any sign."""
    part: Share = 0.3
    """Added for each request beyond the first: questions, list items, joined clauses."""
    demanding: Share = 0.2
    """Added for each demanding word (compare, design, analyse, ...), at most `mostDemanding` times."""
    most_demanding: int = Field(default=2, ge=0, le=100)
    """Demanding words that count; more of them add nothing."""
    length: Share = 0.2
    """Added in full for a text of `longWords` words, in proportion for a shorter one."""
    findings: Share = 0.05
    """Added when the task builds on results of others."""


class Heuristic(SensePolicy):
    """Reads the structure of the text, and what similar past tasks really took; needs no model."""

    type: Literal["heuristic"] = "heuristic"
    signs: Signs = Field(default_factory=Signs)
    """Weights of the signs."""
    long_words: int = Field(default=150, ge=1)
    """Length in words at which a text counts as long."""
    min_likeness: Share = 0.12
    """Likeness to a domain (0 to 1) below which the domain plays no part."""
    tool_likeness: Share = 0.24
    """Likeness to a tool (0 to 1) from which on the task counts as one that needs it."""
    max_domains: int = Field(default=3, ge=1)
    """Most domains of one task."""
    base_tokens: int = Field(default=1_500, ge=0)
    """Tokens that the simplest task is expected to take."""
    tokens_per_complexity: int = Field(default=12_000, ge=0)
    """Tokens added for a task of complexity 1, in proportion below."""
    past: Share = 0.8
    """Most that past tasks which are like this one count beside the structure of its text, in complexity, domains and
    tokens: n of them that are quite like it count n / (n + `pastDoubt`) of this. With 0 they do not count."""
    past_doubt: float = Field(default=2.0, gt=0, le=1000)
    """Past tasks quite like this one that the structure of its text is worth."""

    async def sense(self, signals: Signals, asking: "Asking") -> Sensed:
        """Return complexity, domains and needs, with the evidence for them."""
        del asking
        alone, evidence = self._complexity(signals)
        before = self.known(signals)
        share = 0.0 if before is None else before.share
        complexity = alone if before is None else alone + share * (before.complexity - alone)
        domains = self._domains(signals, before)
        tools = tuple(name for name, fit in signals.tools.items() if fit >= self.tool_likeness)
        evidence.append("domains by likeness: " + ", ".join(f"{n} {w:.2f}" for n, w in domains.items()))
        if signals.neighbours:
            evidence.append(_told(signals, share))
        return Sensed(
            complexity,
            domains,
            tools,
            self.expected(alone, before),
            "heuristic",
            tuple(evidence),
            past=share,
            alone=None if before is None else alone,
        )

    def placed(self, likeness: Mapping[str, float]) -> dict[str, float]:
        """Return the domains that a task fits by likeness alone, with weights that sum to 1; none when it fits none."""
        return self._shares({name: fit for name, fit in likeness.items() if fit >= self.min_likeness})

    def known(self, signals: Signals) -> Known | None:
        """Return what past tasks say that are like this one; None when there are none, or they do not count."""
        return known(signals.neighbours, self.past, self.past_doubt) if signals.neighbours and signals.counted else None

    def expected(self, complexity: float, before: Known | None) -> int:
        """Return how many tokens a task is expected to take that is so complex, in the light of past ones."""
        tokens = self.base_tokens + round(self.tokens_per_complexity * complexity)
        return tokens if before is None else round(tokens + before.share * (before.tokens - tokens))

    def _complexity(self, signals: Signals) -> tuple[float, list[str]]:
        text, small = signals.goal, signals.goal.lower()  # to ignore the case takes twice as long
        words = len(_WORD.findall(text))
        parts = max(text.count("?"), 1, len(_ITEM.findall(text))) + small.count(";") + _JOINT.count(small)
        if "," in small or "and" in small:
            parts += len(_CLAUSE.findall(small))
        demanding = min(self.signs.most_demanding, _DEMANDING.count(small))
        complexity = (
            self.signs.base
            + self.signs.part * (parts - 1)
            + self.signs.demanding * demanding
            + self.signs.length * min(1.0, words / self.long_words)
            + self.signs.findings * (signals.findings > 0)
        )
        evidence = [f"{words} words", f"{parts} request{'s' if parts > 1 else ''}"]
        if demanding:
            evidence.append(f"{demanding} demanding word{'s' if demanding > 1 else ''}")
        return min(1.0, complexity), evidence

    def _domains(self, signals: Signals, before: Known | None) -> dict[str, float]:
        """Return the weights of the domains that the goal fits, and of those of past tasks, summing to 1."""
        found = self.placed(signals.likeness) or {GENERAL: 1.0}
        if before is None or not (past := {n: w for n, w in before.domains.items() if n in signals.likeness}):
            return found
        share = before.share * sum(past.values())
        mixed = {name: (1 - share) * weight for name, weight in found.items()}
        for name, weight in self._shares(past).items():
            mixed[name] = mixed.get(name, 0.0) + share * weight
        return self._shares(mixed)

    def _shares(self, fits: Mapping[str, float]) -> dict[str, float]:
        """Return the best of some weights, so that they sum to 1; none when they are all 0."""
        best = list(fits.items())
        if len(best) > 1:
            best = sorted(best, key=lambda item: (-item[1], item[0]))[: self.max_domains]
        total = sum([fit for _, fit in best])
        return {name: fit / total for name, fit in best} if total else {}


def _told(signals: Signals, share: float) -> str:
    """Return which past tasks were heard, and what they count."""
    what = f"past tasks count {share:.0%}" if signals.counted else "past tasks are only observed"
    named = (
        f"task/{one.task} ({one.likeness:.2f} alike) took {one.observed:.2f} of 1, {one.tokens} tokens"
        for one in signals.neighbours
    )
    return f"{what}: {'; '.join(named)}"
