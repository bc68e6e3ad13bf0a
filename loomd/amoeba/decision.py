"""What ADAPT decides: one struct for each sort of change, told apart by its tag in `type`; and how it is written.

A decision of a mechanism that only observes or proposes is recorded like any other, and not carried out.
"""

from collections.abc import Iterable
from typing import Any, Literal

import msgspec

from loomd.amoeba.blueprint import Blueprint
from loomd.amoeba.trial import Trial
from loomd.messages import JsonObject

Mechanism = Literal["score", "calibrate", "price", "retire", "forge", "evolve"]
"""What decides on changes that are stored."""

Done = Literal["", "observed", "proposed"]
"""What became of a decision: empty when it was carried out."""


class Seen(msgspec.Struct, frozen=True, array_like=True):
    """What one task showed: a reward, or an error of an estimate; what it counts for, and how uncertain it is."""

    value: float
    weight: float = 1.0
    uncertainty: float = 0.0


class ScoreMove(msgspec.Struct, frozen=True, omit_defaults=True, tag="score"):
    """The score of an agent in a domain moves, after a reward from 0 to 1.

    Attributes:
        agent: its name.
        spec: digest of its behaviour.
        domain: the domain.
        before: mean reward that was believed.
        after: what it is now.
        variance: of its rewards.
        count: tasks that say so.
        reason: in words.
        reward: of the last task.
        done: what became of it.
        seen: what it follows from as long as it is only observed or proposed, the oldest first; empty for a correction
            by people.
        since: id of the task that led to the first of these, where several tasks did; of a correction the word of a
            person that led to it.
    """

    agent: str
    spec: str
    domain: str
    before: float
    after: float
    variance: float
    count: int
    reason: str
    reward: float = 0.0
    done: Done = ""
    seen: tuple[Seen, ...] = ()
    since: str = ""


class Calibration(msgspec.Struct, frozen=True, omit_defaults=True, tag="calibration"):
    """The error of estimated complexity in a domain moves.

    Attributes:
        domain: in which the task was.
        before: by how much complexity was taken to be estimated too low, -1 to 1.
        after: by how much it is now.
        count: tasks that say so.
        predicted: what SENSE had taken the task for, before calibration.
        observed: what it turned out to be.
        reason: in words.
        done: what became of it.
        seen: by how much tasks were estimated too low, as in a move of a score.
        since: id of the task that led to the first of these, where several tasks did; of a correction the word of a
            person that led to it.
    """

    domain: str
    before: float
    after: float
    count: int
    predicted: float
    observed: float
    reason: str
    done: Done = ""
    seen: tuple[Seen, ...] = ()
    since: str = ""


class Expense(msgspec.Struct, frozen=True, omit_defaults=True, tag="expense"):
    """What an agent needs for each token that SENSE expects moves.

    Attributes:
        agent: its name.
        spec: digest of its behaviour.
        before: tokens that it was taken to read and to write.
        after: those that it is now.
        count: tasks that say so.
        reason: in words.
        done: what became of it.
        seen: tokens that tasks read and wrote for each one expected, as in a move of a score.
        since: id of the task that led to the first of these, where several tasks did; of a correction the word of a
            person that led to it.
    """

    agent: str
    spec: str
    before: tuple[float, float]
    after: tuple[float, float]
    count: int
    reason: str
    done: Done = ""
    seen: tuple[tuple[float, float], ...] = ()
    since: str = ""


class Retirement(msgspec.Struct, frozen=True, omit_defaults=True, tag="retirement"):
    """An agent that does badly gets no new tasks until `until`, in wall-clock seconds; what it does goes on."""

    agent: str
    spec: str
    until: float
    reason: str
    done: Done = ""


class Revival(msgspec.Struct, frozen=True, omit_defaults=True, tag="revival"):
    """An agent that was retired gets tasks again, on probation."""

    agent: str
    spec: str
    reason: str
    done: Done = ""


class Merge(msgspec.Struct, frozen=True, omit_defaults=True, tag="merge"):
    """What a specialist that goes had learned in a domain is added to what is believed of the agent it was made from.

    Attributes:
        agent: the agent that stays.
        spec: digest of its behaviour.
        origin: the specialist.
        domain: the domain.
        before: mean reward of the agent.
        after: what it is now.
        variance: of its rewards.
        count: tasks that say so, those of the specialist included as far as they count.
        reason: in words.
        done: what became of it.
    """

    agent: str
    spec: str
    origin: str
    domain: str
    before: float
    after: float
    variance: float
    count: int
    reason: str
    done: Done = ""


Turn = Literal["forged", "pruned", "promoted", "reverted"]
"""What happens to a blueprint: two ways of the forge, and two of evolution."""


class Shaping(msgspec.Struct, frozen=True, omit_defaults=True, tag="shaping"):
    """An agent is made anew from a blueprint, or goes.

    Attributes:
        agent: its name.
        how: what happens.
        blueprint: from which it is made; of one that is pruned the last.
        reason: in words.
        version: of the blueprint, counted from 1 below the agent's name.
        parent: the version that it takes the place of, or goes back to; 0 for what a person declared, or nothing.
        spec: digest of how the agent behaved before; empty when there was none.
        done: what became of it.
        trial: what came of trying it; None when it was not tried.
    """

    agent: str
    how: Turn
    blueprint: Blueprint
    reason: str
    version: int = 1
    parent: int = 0
    spec: str = ""
    done: Done = ""
    trial: Trial | None = None


Decision = ScoreMove | Calibration | Expense | Merge | Retirement | Revival | Shaping
"""One change that ADAPT wants. The cluster carries it out once per task."""

_MECHANISMS: dict[type, Mechanism] = {
    ScoreMove: "score",
    Calibration: "calibrate",
    Expense: "price",
    Merge: "score",
    Retirement: "retire",
    Revival: "retire",
}


def mechanism_of(decision: Decision) -> Mechanism:
    """Return what decided so."""
    if isinstance(decision, Shaping):
        return "forge" if decision.how in {"forged", "pruned"} else "evolve"
    return _MECHANISMS[type(decision)]


def said(decision: Decision) -> str:
    """Return a decision in a few words."""
    match decision:
        case ScoreMove():
            return f"{decision.agent} in {decision.domain} {decision.before:.3f} -> {decision.after:.3f}"
        case Calibration():
            return f"complexity of {decision.domain} {decision.before:+.3f} -> {decision.after:+.3f}"
        case Expense():
            return f"{decision.agent} needs {sum(decision.after):.2f} tokens for each one expected"
        case Merge():
            return f"{decision.agent} in {decision.domain} {decision.before:.3f} -> {decision.after:.3f}"
        case Retirement():
            return f"{decision.agent} is retired"
        case Revival():
            return f"{decision.agent} gets tasks again"
        case Shaping():
            return f"{decision.agent} is {_TURNS[decision.how]}"


_TURNS: dict[Turn, str] = {
    "forged": "forged",
    "pruned": "pruned",
    "promoted": "given better instructions",
    "reverted": "given back its earlier instructions",
}

_ESTIMATES = {"calibration", "expense"}
"""The decisions that correct estimates, as they are written."""
_UNTOLD = {"type": "score"}
"""What a decision is that does not say it: from before there were several sorts, when all moved a score."""

encode = msgspec.json.Encoder().encode
_object = msgspec.json.Decoder(dict[str, Any]).decode


def decode(written: bytes | msgspec.Raw) -> Decision:
    """Return a decision that was written as JSON."""
    return _read(_object(written))


class _Read(msgspec.Struct, frozen=True):
    """A decision as it is read: what fits a field is worked out once for a struct, and each time for a bare union."""

    one: Decision


def _read(written: JsonObject) -> Decision:
    return msgspec.convert({"one": {**_UNTOLD, **written}}, _Read).one


class Adapted(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is to be learned; `written` are the decisions as JSON values."""

    written: tuple[JsonObject, ...] = msgspec.field(default=(), name="decisions")

    @classmethod
    def of(cls, decisions: Iterable[Decision]) -> "Adapted":
        """Return these decisions."""
        return cls(tuple([msgspec.to_builtins(one) for one in decisions]))

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """Return what was decided."""
        return tuple(map(_read, self.written))

    @property
    def told(self) -> tuple[Decision, ...]:
        """Return what was decided, without how estimates are corrected."""
        return tuple(_read(one) for one in self.written if one.get("type") not in _ESTIMATES)

    @property
    def moves(self) -> tuple[ScoreMove, ...]:
        """Return the scores that moved; what was only observed or proposed is left out."""
        return tuple(one for one in self.decisions if isinstance(one, ScoreMove) and not one.done)
