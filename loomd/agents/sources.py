"""How a prompt is shared between its sources, as written in a manifest, and how relevance moves the shares. Pure."""

from collections.abc import Mapping
from typing import Literal, get_args

from pydantic import Field

from loomd.manifest.kind import Spec
from loomd.manifest.quantity import Share, Tokens

Source = Literal["skills", "memory", "findings", "knowledge"]
"""What may enter a prompt beside the agent's own words, the tools and the goal."""

SOURCES: tuple[Source, ...] = get_args(Source)


class Shares(Spec):
    """Weights of the sources: what each gets of a prompt when there is too little room for all."""

    skills: float = Field(default=2.0, ge=0)
    """Weight of skills; what does not fit whole is not taken up. Their own budgets hold as well."""
    memory: float = Field(default=1.0, ge=0)
    """Weight of what was remembered from earlier tasks."""
    findings: float = Field(default=3.0, ge=0)
    """Weight of results that the work builds on."""
    knowledge: float = Field(default=4.0, ge=0)
    """Weight of passages from knowledge bases."""
    history: float = Field(default=5.0, gt=0)
    """Weight of earlier turns of a conversation, and of those to come: what models say and tools return."""


class ContextSpec(Spec):
    """How a prompt is put together."""

    tokens: Tokens | None = Field(default=None, examples=[16_000])
    """Most tokens of a request and its answer; the provider's window holds as well. By default that window alone."""
    unknown: Tokens = 128_000
    """What is taken for the window when neither this agent nor its provider says one, in tokens."""
    mode: Literal["adaptive", "fixed"] = "adaptive"
    """Whether the shares follow how much of each source was used in earlier answers, or stay as declared."""
    shares: Shares = Field(default_factory=Shares)
    """What each source gets when there is too little room for all."""
    expected: Share = 0.5
    """What share of a source is believed to be used before anything was learned; it leaves the weight as it is."""
    pace: float = Field(default=0.2, gt=0, le=1)
    """How far one task moves what is believed, and one call how tokens are counted: new = old + pace x (seen - old)."""
    used_from: Share = 0.2
    """Share of its words that an answer must hold for a remembered text or a result to count as used."""
    least: float = Field(default=0.5, gt=0, le=1)
    """Least factor by which what was learned changes a weight."""
    most: float = Field(default=2.0, ge=1)
    """Largest factor by which what was learned changes a weight."""

    def weights(self, relevance: Mapping[str, float]) -> dict[str, float]:
        """Return the weights of all sources, moved by how much of each was used before."""
        declared: dict[str, float] = {name: getattr(self.shares, name) for name in SOURCES}
        if self.mode == "adaptive" and self.expected > 0:
            for name, used in relevance.items():
                declared[name] *= min(self.most, max(self.least, used / self.expected))
        return {**declared, "history": self.shares.history}
