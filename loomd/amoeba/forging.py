"""What becomes of a task that nobody takes: how long it waits, and when a specialist is made for it.

Parts of `kind: Cluster`, as `queue` and `forge`. Pure: nothing here looks at a clock or a store.
"""

from typing import Annotated, Literal

import msgspec
from pydantic import Field

from loomd.manifest.kind import RefTo, Spec
from loomd.manifest.quantity import Duration, Share, Tokens

NoWinner = Literal["forge", "best_available", "queue", "fail"]
"""What becomes of a task that nobody takes: a specialist is made for it, the best bid takes it all the same, it waits,
or it fails."""

_DAY = 86_400.0


class Queue(Spec):
    """How a task waits that nobody takes. It may be cancelled, and goes on waiting after a restart."""

    longest: Duration = 600.0
    """Longest time that a task waits, and never longer than its own time lasts (`limits.time`)."""
    every: Duration = Field(default=10.0, gt=0)
    """Time after which another auction is held at the latest. One is held as well when members, their scores or their
    health change, when a task ends, and when another revision serves, on which the task then goes on."""
    then: Literal["best_available", "fail"] = "fail"
    """What becomes of a task that has waited so long: the best bid takes it all the same, or it fails."""


class Forge(Spec):
    """When a specialist is made for a task that nobody takes, with `match.noWinner: forge`, and when it goes again.

    How far the cluster may go with it is `learning.modes.forge`.
    """

    below: Share = 0.4
    """What must be believed of some agent at least in the domains of a task; when nobody is believed to be so good,
    nobody takes the task, whatever the bids."""
    blueprints: list[Annotated[str, RefTo("Blueprint")]] = Field(default_factory=list, examples=[["lawyer"]])
    """Blueprints that people declared. One joins the cluster when nobody takes a task that it fits, before a model is
    asked to design anything."""
    likeness: Share = 0.3
    """How well a task must fit what a specialist or a blueprint says of itself, by the cluster's `embedder` or by
    shared words, so that it gets the task and no other one is designed."""
    alike: Share = 0.5
    """Share of the domains of both from which on a new design is taken for a specialist that there is, and not made."""
    creator: Annotated[str, RefTo("Agent")] | None = Field(default=None, examples=["generalist"])
    """The member that specialists are made from: they have its model, its knowledge, its limits, some of its tools, and
    use up its budgets. Whoever bid most when unset."""
    provider: Annotated[str, RefTo("Provider")] | None = Field(default=None, examples=["local"])
    """Provider of the model that designs; the cluster's planner, or else the creator's own model, when unset. What it
    uses is billed to the task, and to the creator's day."""
    max_tokens: Tokens = 1200
    """Longest design, in tokens."""
    attempts: int = Field(default=2, ge=1, le=5)
    """How often the model is asked for one design before the task goes on without."""
    fallback: Literal["best_available", "queue", "fail"] = "best_available"
    """What becomes of the task when no specialist is made: no usable design comes, a limit is reached, or people are
    asked first."""
    tenants: bool = False
    """Whether a specialist may be designed for a task of a tenant or a user. A design is made from the task and is read
    in the tasks of others, so by default these get a specialist that is there or that people declared, or else
    `fallback`. With true a specialist made from the task of one tenant serves the tasks of all: what that task said may
    stand in its name, description and prompt, which people of other tenants and their models read. Tenants that are
    kept apart get a cluster each."""
    prior: Share = 0.7
    """Most that is believed of a new specialist in any domain, whatever its design says."""
    probation: int = Field(default=3, ge=1, le=100)
    """Tasks for which a specialist is on probation; then it goes when their mean reward is below `prune`."""
    prune: Share = 0.2
    """Mean of the last rewards below which a specialist goes. One that works goes when its work is done. One that is
    `dying` and not as bad goes after `coolDown`, once `learning.retire.samples` tasks say so, and is not retired."""
    idle_timeout: Duration = 7 * _DAY
    """Time without a task after which a specialist goes; `0s` for never. One that did well comes back, with what it has
    learned, when nobody takes a task that it fits."""
    most: int = Field(default=50, ge=0, le=1000)
    """Most specialists that the cluster has at a time."""
    every: Duration = 60.0
    """Shortest time between two designs."""
    daily: int = Field(default=20, ge=0)
    """Most designs in a day (UTC)."""
    cool_down: Duration = 3600.0
    """Time without designs after one that could not be used, and time in which nothing is designed for tasks that fit a
    specialist which did badly, whether it went or is dying. One that is dying for so long goes."""
    backoff: float = Field(default=2.0, ge=1, le=10)
    """By what that time is multiplied with each failure that follows."""
    max_cool_down: Duration = 7 * _DAY
    """Longest such time."""

    def rest(self, times: int) -> float:
        """Return for how many seconds nothing is designed after so many failures, one after another."""
        return min(self.max_cool_down, self.cool_down * self.backoff ** min(times - 1, 64)) if times else 0.0


class Plan(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the forge is to do for a task; a recorded step.

    Attributes:
        way: `award` it to a specialist that there is, let one `join`, `design` one, or do nothing.
        agent: who gets it.
        creator: of whom a specialist is made.
        why: in words.
        team: what the members of the cluster say of themselves, by their names; for a design.
        tools: what the creator's tools do, by their names; for a design.
    """

    way: Literal["award", "join", "design", "none"]
    agent: str = ""
    creator: str = ""
    why: str = ""
    team: dict[str, str] = {}
    tools: dict[str, str] = {}
