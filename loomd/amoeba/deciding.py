"""How the phases ask their policies: one that a package brings is held to what a phase may say, and to the task's time.

loomd's own policies are asked directly; tests hold them to the same.
"""

import logging
import math
import re
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import msgspec

from loomd.amoeba.decision import ScoreMove
from loomd.amoeba.task import Matched, Opinion, Sensed
from loomd.amoeba.world import Score, Standing
from loomd.errors import Diverged, Permanent, RecordFailed
from loomd.events.phase import Phase
from loomd.manifest.kind import Spec
from loomd.manifest.raised import raise_within, words_of

T = TypeVar("T")

_log = logging.getLogger("loomd.amoeba")

_OWN = __name__.partition(".")[0]
_SLACK = 0.01
"""By how much weights that are to sum to 1 may miss it."""
_LARGEST = 2**63 - 1
"""Largest number without a fraction that the database keeps."""
_SURROGATE = re.compile("[\ud800-\udfff]")


class PolicyFailed(Permanent):
    """A policy that a package brings raised, took too long, or said what a phase cannot say."""


class Clocked(Protocol):
    """Ends what takes longer than the task may."""

    async def in_time(self, do: Callable[[], Awaitable[T]]) -> T:
        """Return what something comes to; a TimeoutError ends it when the task's time is over."""
        ...


async def asked(
    phase: Phase, policy: Spec, do: Callable[[], Awaitable[T]], check: Callable[[T], str], clock: Clocked
) -> T:
    """Return what a policy says that may take its time.

    Args:
        phase: whose policy it is.
        policy: the policy.
        do: asks it.
        check: says what is wrong with the answer, or returns an empty string.
        clock: ends it with the task's time.

    Raises:
        PolicyFailed: it raised, took too long, or said what cannot be.
        RecordFailed: what it asked a model could not be written.
        Diverged: it asked a model something else than is recorded.
    """
    if is_own(policy):
        return await do()
    try:
        return _held(phase, policy, await clock.in_time(do), check)
    except (RecordFailed, Diverged, PolicyFailed):
        raise
    except TimeoutError as error:
        raise PolicyFailed(f"{_name(phase, policy)} did not answer within the task's time") from error
    except (Exception, SystemExit) as error:
        for kind in (RecordFailed, Diverged):
            raise_within(error, kind)  # of one of several questions
        raise _raised(phase, policy, error) from error


def decided(phase: Phase, policy: Spec, do: Callable[[], T], check: Callable[[T], str]) -> T:
    """Return what a policy says at once.

    Args:
        phase: whose policy it is.
        policy: the policy.
        do: asks it.
        check: says what is wrong with the answer, or returns an empty string.

    Raises:
        PolicyFailed: it raised, or said what cannot be.
    """
    if is_own(policy):
        return do()
    try:
        return _held(phase, policy, do(), check)
    except PolicyFailed:
        raise
    except (Exception, SystemExit) as error:
        raise _raised(phase, policy, error) from error


def is_own(policy: Spec) -> bool:
    """Return whether a policy is one of loomd's own."""
    return type(policy).__module__.partition(".")[0] == _OWN


def _held(phase: Phase, policy: Spec, said: T, check: Callable[[T], str]) -> T:
    if wrong := check(said) or _unstorable(msgspec.to_builtins(said)):
        raise PolicyFailed(f"{_name(phase, policy)} cannot be used: {wrong}")
    return said


def _raised(phase: Phase, policy: Spec, error: BaseException) -> PolicyFailed:
    _log.error("%s raised", _name(phase, policy), exc_info=error)
    return PolicyFailed(f"{_name(phase, policy)} raised {words_of(error)}")


def _name(phase: Phase, policy: Spec) -> str:
    own: str = getattr(policy, "type", type(policy).__name__)
    return f"the {phase} policy {own}, of the module {type(policy).__module__},"


def sensed(said: Sensed) -> str:
    """Return what is wrong with what SENSE is told."""
    if wrong := _typed(said, Sensed) or _shares("complexity", said.complexity):
        return wrong
    if wrong := _weights(said.domains):
        return wrong
    return "" if said.tokens >= 0 else f"its tokens are {said.tokens}, expected 0 or more"


def matched(said: Matched, agents: Collection[str]) -> str:
    """Return what is wrong with what MATCH is told of some agents."""
    if wrong := _typed(said, Matched):
        return wrong
    if said.winner and said.winner not in agents:
        return f'its winner "{said.winner}" is none of those who may take the task'
    odd = next((one.agent for one in said.bids if not all(map(math.isfinite, (one.total, *one.factors.values())))), "")
    return f"the bid of {odd} is no number" if odd else ""


def parts(said: tuple[int, str]) -> str:
    """Return what is wrong with what SCALE is told."""
    return _typed(said, tuple[int, str])


def opinion(said: Opinion) -> str:
    """Return what is wrong with what EVALUATE is told."""
    if wrong := _typed(said, Opinion):
        return wrong
    names = ("reward", "quality", "efficiency", "reliability", "uncertainty")
    return next((wrong for name in names if (wrong := _shares(name, getattr(said, name)))), "")


def moves(said: Sequence[ScoreMove], winner: Standing) -> str:
    """Return what is wrong with how ADAPT is told to move the scores of a winner."""
    if not isinstance(said, list | tuple):
        return f"it returned {_kind(said)}, expected a list of ScoreMove"
    if wrong := _typed(list(said), list[ScoreMove]):
        return wrong
    for one in said:
        if (one.agent, one.spec) != (winner.agent, winner.spec):
            return f"it moves a score of {one.agent}, expected those of the winner, {winner.agent}"
        if one.domain not in winner.scores:
            return f'it moves a score in "{one.domain}", expected the domains of the task: {", ".join(winner.scores)}'
        if wrong := _shares("score", one.after) or score(Score(one.after, one.variance, one.count)):
            return wrong
    domains = [one.domain for one in said]
    return "" if len(set(domains)) == len(domains) else f"it moves a score twice: {', '.join(domains)}"


def score(said: Score) -> str:
    """Return what is wrong with a score."""
    if wrong := _typed(said, Score) or _shares("score", said.mean) or _shares("variance", said.variance):
        return wrong
    return "" if said.count >= 0 else f"its count of tasks is {said.count}, expected 0 or more"


def placed(said: Mapping[str, float]) -> str:
    """Return what is wrong with the domains that a task is told to fit; it may fit none."""
    return _typed(said, dict[str, float]) or (_weights(said) if said else "")


def refused(said: Mapping[str, str]) -> str:
    """Return what is wrong with whom MATCH is told to leave out."""
    return _typed(dict(said), dict[str, str])


def _weights(domains: Mapping[str, float]) -> str:
    if not domains or any(not 0 <= one <= 1 for one in domains.values()):
        return f"its domains are {domains}, expected at least one, each with a weight from 0 to 1"
    total = sum(domains.values())
    return "" if abs(total - 1) <= _SLACK else f"the weights of its domains sum to {total:g}, expected 1"


def _unstorable(said: object) -> str:
    """Return what of an answer, as plain data, no journal and no database keeps as it is."""
    match said:
        case float() if not math.isfinite(said):
            return f"{said:g} is no number"
        case int() if abs(said) > _LARGEST:
            return "a number in it has more than 63 bits"
        case str() if not said.isascii() and _SURROGATE.search(said):
            return "a text in it is not valid Unicode"
        case dict():
            return next((wrong for one in [*said, *said.values()] if (wrong := _unstorable(one))), "")
        case list() | tuple():
            return next((wrong for one in said if (wrong := _unstorable(one))), "")
        case _:
            return ""


def _shares(name: str, value: float) -> str:
    return "" if 0 <= value <= 1 else f"its {name} is {value:g}, expected 0 to 1"


def _typed(said: Any, kind: Any) -> str:
    """Return what is wrong with the types of an answer, which nothing looks at when it is made."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and not isinstance(said, kind):
        return f"it returned {_kind(said)}, expected {kind.__name__}"
    try:
        msgspec.convert(msgspec.to_builtins(said), kind)
    except (msgspec.ValidationError, TypeError, ValueError) as error:
        return str(error)
    return ""


def _kind(said: object) -> str:
    return "nothing" if said is None else f"a value of type {type(said).__name__}"
