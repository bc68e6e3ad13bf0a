"""The conditions of objects and sources: what was observed, since when, and why. Pure.

Exactly six fields, as everywhere in this field. Reasons are a closed list; `lastTransitionTime` moves only when the
status flips. Called by `status` and `state`.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Literal, cast, get_args

import msgspec

Status = Literal["True", "False", "Unknown"]

ConditionType = Literal[
    "Ready",
    "Reconciling",
    "Stalled",
    "SchemaValid",
    "RefsResolved",
    "ProviderReachable",
    "IndexReady",
    "Degraded",
    "Suspended",
    "TaskSubmitted",
]

Reason = Literal[
    # objects
    "Serving",
    "NotOpen",
    "RefsUnresolved",
    "DependencyNotReady",
    "Valid",
    "Invalid",
    "Resolved",
    "UpToDate",
    "Progressing",
    "CandidateRefused",
    # sources
    "Applied",
    "NotApplied",
    "Refused",
    "Failed",
    "Suspended",
    "Active",
    "RolledBack",
]
"""Why a condition has its status, beside the reasons that live things give (`loomd.topology`)."""


class Condition(msgspec.Struct, frozen=True, rename="camel"):
    """One observation.

    Attributes:
        type: what was observed.
        status: `True`, `False` or `Unknown`.
        observed_generation: generation of the object at that time.
        last_transition_time: when the status became what it is, RFC 3339 in UTC.
        reason: one word of a closed list.
        message: one sentence for people.
    """

    type: str
    status: Status
    observed_generation: int
    last_transition_time: str
    reason: str
    message: str


class Seen(msgspec.Struct, frozen=True):
    """An observation without its history: type, status, reason and message; `since` when it is known."""

    type: ConditionType
    status: Status
    reason: str
    message: str
    since: float | None = None

    @staticmethod
    def of(condition: Condition) -> "Seen":
        """Return what a condition says, without its history."""
        kind = cast("ConditionType", condition.type)
        return Seen(kind, condition.status, condition.reason, condition.message)


def merge(before: Sequence[Condition], seen: Iterable[Seen], generation: int, now: float) -> tuple[Condition, ...]:
    """Return the conditions after an observation; a status that stays keeps its transition time.

    Args:
        before: the conditions so far.
        seen: what was observed now; a type that is not among it is dropped.
        generation: generation that was observed.
        now: wall-clock seconds.
    """
    known = {one.type: one for one in before}
    merged: list[Condition] = []
    for one in seen:
        old = known.get(one.type)
        at = rfc3339(now if one.since is None else one.since)
        since = old.last_transition_time if old is not None and old.status == one.status else at
        merged.append(Condition(one.type, one.status, generation, since, one.reason, one.message))
    return tuple(sorted(merged, key=lambda one: _ORDER[one.type]))


def rfc3339(seconds: float) -> str:
    """Return wall-clock seconds as RFC 3339 in UTC, to the second."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


_ORDER: dict[str, int] = {name: at for at, name in enumerate(get_args(ConditionType))}
