"""What becomes of what was learned: how far each mechanism may go, and the numbers that they go by.

Part of `kind: Cluster`, as `learning`. Pure: nothing here looks at a clock or a store.
"""

from typing import Literal

from pydantic import Field

from loomd.amoeba.decision import Mechanism, Seen
from loomd.amoeba.evolving import Evolve
from loomd.amoeba.expense import Price
from loomd.amoeba.history import History
from loomd.manifest.kind import Spec
from loomd.manifest.quantity import Duration, Share

Mode = Literal["off", "observe", "propose", "auto"]
"""How far a mechanism may go: nothing; record what it would do; ask people; do it."""
Reading = Literal["off", "observe", "auto"]
"""How far a mechanism may go that changes nothing that is stored, and so has nothing to propose."""

_DAY = 86_400.0


class Modes(Spec):
    """How far single mechanisms may go; `mode` holds for those that are not named."""

    score: Mode | None = Field(default=None, examples=["propose"])
    """Rewards move scores."""
    calibrate: Mode | None = Field(default=None, examples=["observe"])
    """What tasks took corrects how complex later ones are taken to be."""
    price: Mode | None = Field(default=None, examples=["propose"])
    """What an agent's tasks took says what bids expect the next one to cost, where models have prices."""
    retire: Mode | None = Field(default=None, examples=["propose"])
    """An agent that does badly gets no new tasks for a while; a specialist goes, as far as `forge` lets it."""
    forge: Mode | None = Field(default=None, examples=["propose"])
    """A specialist is made for tasks that nobody takes, and goes when it does badly."""
    evolve: Mode | None = Field(default=None, examples=["propose"])
    """An agent that does badly gets better instructions."""
    decay: Reading | None = Field(default=None, examples=["off"])
    """Scores that nothing renews go back toward what was believed at first."""
    history: Reading | None = Field(default=None, examples=["off"])
    """SENSE hears what past tasks took that are like the new one; when it is only observed, it names them and they do
    not count; with `off` no task is kept."""
    health: Reading | None = Field(default=None, examples=["observe"])
    """MATCH hears how well agents did lately; when it is only observed, people see it and MATCH does not."""


class Calibrate(Spec):
    """How the estimate of a task's complexity is corrected by what tasks really took."""

    pace: float = Field(default=0.3, gt=0, le=1)
    """How far one task moves the correction of its domains, by the domain's weight."""
    first: int = Field(default=3, ge=1)
    """Tasks of a domain that must have been seen before its correction is applied."""
    most: Share = 0.3
    """Largest correction of a task's complexity, up or down."""
    tokens_share: Share = 0.6
    """Share of tokens in what a task is said to have taken; the rest is the share of time."""
    reference_tokens: int = Field(default=16_000, ge=1)
    """Tokens, with those of all parts, at which a task has taken all that counts."""
    reference_time: Duration = Field(default=120.0, gt=0)
    """Time, without waiting for people, at which a task has taken all that counts."""

    def observed(self, tokens: int, seconds: float) -> float:
        """Return how complex a task turned out to be that took so many tokens and seconds, 0 to 1."""
        read, time = tokens / self.reference_tokens, max(0.0, seconds) / self.reference_time
        return self.tokens_share * min(1.0, read) + (1 - self.tokens_share) * min(1.0, time)

    def moved(self, before: float, seen: Seen) -> float:
        """Return the correction of a domain after one more error, given the one before it."""
        return before + self.pace * seen.weight * (seen.value - before)


class Illness(Spec):
    """When an agent counts as doing badly, by the rewards of its last tasks."""

    samples: int = Field(default=3, ge=1)
    """Tasks that must have been rewarded before anything is said."""
    window: int = Field(default=5, ge=1, le=100)
    """How many of the last rewards count."""
    warning: Share = 0.5
    """Mean reward below which an agent is `warning`."""
    dying: Share = 0.3
    """Mean reward below which an agent is `dying`, whatever `warning` says."""
    failed: Share = 0.2
    """Reward below which a task counts as failed."""
    failures: int = Field(default=4, ge=1)
    """Tasks that fail one after another after which an agent is `dying` whatever the mean is."""
    margin: Share = 0.05
    """By how much the mean must rise above a limit again before an agent counts as better."""


class Retire(Spec):
    """When an agent that is dying gets no new tasks, and when it gets some again."""

    declared: bool = False
    """Whether agents that a person declared may be retired, or only those that the cluster made itself, which are let
    go in place of that where `modes.forge` is `auto`."""
    samples: int = Field(default=5, ge=1)
    """Tasks that must have been rewarded since it was declared, edited or revived."""
    min_agents: int = Field(default=1, ge=1)
    """Agents that always take tasks; the last one of a domain that agents declare is never retired either."""
    cool_down: Duration = 3600.0
    """Time until an agent that was retired gets tasks again, on probation: what it did before says nothing any more."""
    backoff: float = Field(default=2.0, ge=1, le=10)
    """By what the time is multiplied each time the same agent is retired again."""
    max_cool_down: Duration = 7 * _DAY
    """Longest such time."""
    every: Duration = 600.0
    """Time in which at most one agent of the cluster is retired."""


class Learning(Spec):
    """What becomes of what the cluster learns."""

    mode: Mode = "auto"
    """How far all mechanisms may go: `off`, `observe` (what would be done is recorded), `propose` (people decide,
    see `loomd get proposals`), `auto`. Mechanisms that change nothing that is stored take `propose` for `observe`."""
    modes: Modes = Field(default_factory=Modes)
    """How far single mechanisms may go."""
    keep: Share = 0.3
    """Share of the tasks behind a score that still counts after the agent's behaviour was edited; its value stays.
    With 0 an edited agent learns anew. A rollback finds its old scores as they were."""
    half_life: Duration = 14 * _DAY
    """Time without a task after which a score has gone half the way back to what was believed at first; `0s` for
    never."""
    proposals: Duration = 7 * _DAY
    """Time after which a proposal that nobody decided counts as denied."""
    calibrate: Calibrate = Field(default_factory=Calibrate)
    """How complexity is corrected."""
    price: Price = Field(default_factory=Price)
    """How it is learned what an agent's tasks cost."""
    history: History = Field(default_factory=History)
    """Which past tasks a new one is compared with."""
    health: Illness = Field(default_factory=Illness)
    """When an agent does badly."""
    retire: Retire = Field(default_factory=Retire)
    """When it gets no new tasks."""
    evolve: Evolve = Field(default_factory=Evolve)
    """When it gets better instructions, and how these are tried."""

    def mode_of(self, mechanism: Mechanism) -> Mode:
        """Return how far a mechanism may go that changes what is stored."""
        found: Mode | None = getattr(self.modes, mechanism)
        return found or self.mode

    def reading_of(self, mechanism: Literal["decay", "health", "history"]) -> Reading:
        """Return how far a mechanism may go that changes nothing that is stored."""
        found: Reading | None = getattr(self.modes, mechanism)
        return found or ("observe" if self.mode == "propose" else self.mode)
