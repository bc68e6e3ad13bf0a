"""Policies of packages: what they raise, how long they take, and what they say, is held to what a phase may say."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal, TypeVar
from unittest.mock import AsyncMock, Mock

import msgspec
import pytest

from loomd.agents.work import Outcome
from loomd.amoeba import deciding
from loomd.amoeba.asking import Asking
from loomd.amoeba.deciding import PolicyFailed, asked, decided
from loomd.amoeba.decision import ScoreMove
from loomd.amoeba.policies.base import SensePolicy
from loomd.amoeba.policies.ema import Ema
from loomd.amoeba.policies.never import Never
from loomd.amoeba.sense import placed
from loomd.amoeba.task import GENERAL, Bid, Evaluated, Executed, Matched, Opinion, Sensed, Task
from loomd.amoeba.world import Score, Signals, Standing
from loomd.errors import Diverged, RecordFailed
from loomd.manifest.kind import Spec

T = TypeVar("T")
WINNER = Standing("ada", "ada-1", {"law": Score(0.5)}, Score(0.5), 0, frozenset())


class Wild(Spec):
    """A policy of a package."""

    type: Literal["wild"] = "wild"


class Clock:
    """Gives a policy a moment."""

    async def in_time(self, do: Callable[[], Awaitable[T]]) -> T:
        """Return what comes in time."""
        async with asyncio.timeout(0.01):
            return await do()


def move(**more: Any) -> ScoreMove:
    """Return how a score moves."""
    return msgspec.structs.replace(ScoreMove("ada", "ada-1", "law", 0.5, 0.6, 0.0, 1, "so"), **more)


GOOD: list[tuple[Callable[[Any], str], Any]] = [
    (deciding.sensed, Sensed(0.2, {"law": 0.25, "tax": 0.75})),
    (lambda said: deciding.matched(said, {"ada"}), Matched("ada", (Bid("ada", 0.5, {"capability": 0.5}),))),
    (lambda said: deciding.matched(said, {"ada"}), Matched("", why="nobody is good enough")),
    (deciding.parts, (3, "it is long")),
    (deciding.opinion, Opinion("wild", 1.0, 1.0, 0.0, 0.5)),
    (lambda said: deciding.moves(said, WINNER), [move()]),
    (lambda said: deciding.moves(said, WINNER), []),
    (deciding.score, Score(0.5, 0.01, 3)),
    (deciding.refused, {"ada": "it is busy"}),
    (deciding.placed, {"law": 0.25, "t\u00e4x": 0.75}),
    (deciding.placed, {}),
]
BAD: list[tuple[Callable[[Any], str], Any, str]] = [
    (deciding.sensed, None, "it returned nothing, expected Sensed"),
    (deciding.sensed, Sensed("high", {"law": 1.0}), "Expected `float`, got `str`"),  # type: ignore[arg-type]  # what is wrong
    (deciding.sensed, Sensed(math.nan, {"law": 1.0}), "complexity is nan"),
    (deciding.sensed, Sensed(17, {"law": 1.0}), "complexity is 17"),
    (deciding.sensed, Sensed(0.2, {}), "expected at least one"),
    (deciding.sensed, Sensed(0.2, {"law": math.nan}), "weight from 0 to 1"),
    (deciding.sensed, Sensed(0.2, {"law": 0.2}), "sum to 0.2"),
    (deciding.sensed, Sensed(0.2, {"law": 1.0}, tokens=-1), "tokens are -1"),
    (lambda said: deciding.matched(said, {"ada"}), Matched("bob"), '"bob" is none of those'),
    (lambda said: deciding.matched(said, {"ada"}), Matched("ada", (Bid("ada", math.nan, {}),)), "no number"),
    (deciding.parts, None, "got `null`"),
    (deciding.parts, (3,), "length 2"),
    (deciding.opinion, Opinion("wild", 17.0, 1.0, 1.0, 1.0), "reward is 17"),
    (deciding.opinion, Opinion("wild", 1.0, 1.0, 1.0, 1.0, uncertainty=math.inf), "uncertainty is inf"),
    (lambda said: deciding.moves(said, WINNER), None, "expected a list of ScoreMove"),
    (lambda said: deciding.moves(said, WINNER), [42], "got `int`"),
    (lambda said: deciding.moves(said, WINNER), [move(after=math.nan)], "score is nan"),
    (lambda said: deciding.moves(said, WINNER), [move(agent="bob")], "a score of bob"),
    (lambda said: deciding.moves(said, WINNER), [move(domain="tax")], 'a score in "tax"'),
    (lambda said: deciding.moves(said, WINNER), [move(), move()], "twice"),
    (deciding.score, Score(0.5, -1.0, 3), "variance is -1"),
    (deciding.refused, {"ada": 3}, "got `int`"),
    (deciding.placed, {"law": 0.5}, "sum to 0.5"),
    (deciding.placed, {"law": "much"}, "got `str`"),
    (deciding.placed, None, "got `null`"),
]
UNSTORABLE: list[tuple[Callable[[Any], str], Any, str]] = [
    (deciding.sensed, Sensed(0.2, {"law": 1.0}, alone=math.nan), "nan is no number"),
    (deciding.sensed, Sensed(0.2, {"law": 1.0}, tokens=2**63), "more than 63 bits"),
    (deciding.sensed, Sensed(0.2, {"law": 1.0}, evidence=("so \ud800",)), "not valid Unicode"),
    (
        lambda said: deciding.matched(said, {"ada"}),
        Matched("ada", (Bid("ada", 0.5, {}, spread=math.inf),)),
        "inf is no",
    ),
    (deciding.opinion, Opinion("wild", 1.0, 1.0, 0.0, 0.5, judge="wild", said=-math.inf), "-inf is no number"),
    (lambda said: deciding.moves(said, WINNER), [move(count=2**63)], "more than 63 bits"),
    (deciding.score, Score(0.5, 0.01, 2**63), "more than 63 bits"),
]


@pytest.mark.parametrize(("check", "said"), GOOD)
def test_what_a_phase_may_say_passes(check: Callable[[Any], str], said: object) -> None:
    """Nothing is wrong with it."""
    assert not check(said)
    assert decided("sense", Wild(), lambda: said, check) is said


@pytest.mark.parametrize(("check", "said", "wrong"), BAD)
def test_what_no_phase_can_say_is_named(check: Callable[[Any], str], said: object, wrong: str) -> None:
    """Types, numbers that are none, and who is not there."""
    assert wrong in check(said)


@pytest.mark.parametrize(("check", "said", "wrong"), UNSTORABLE)
def test_what_cannot_be_kept_as_it_is_said_is_refused(check: Callable[[Any], str], said: object, wrong: str) -> None:
    """Wherever it stands: in a record it would be something else, and the database would refuse all that comes."""
    with pytest.raises(PolicyFailed, match=f"cannot be used: .*{wrong}"):
        decided("sense", Wild(), lambda: said, check)


@pytest.mark.parametrize("error", [ValueError("no"), KeyError("no"), SystemExit("no"), TimeoutError("no")])
async def test_what_a_policy_raises_names_it(error: BaseException) -> None:
    """Also what would end the process."""

    def fail() -> int:
        raise error

    async def wait() -> int:
        return fail()

    wanted = rf"the scale policy wild, of the module {__name__}, raised {type(error).__name__}: '?no"
    with pytest.raises(PolicyFailed, match=wanted):
        decided("scale", Wild(), fail, str)
    if not isinstance(error, TimeoutError):
        with pytest.raises(PolicyFailed, match=wanted):
            await asked("scale", Wild(), wait, str, Clock())


def test_what_a_policy_raises_holds_no_secret_and_steers_no_terminal() -> None:
    """Its text goes into the end of the task, and to whoever looks at that."""

    def fail() -> int:
        raise ValueError("no answer of https://me:sesame@example.org \x1b[2J")

    with pytest.raises(PolicyFailed) as raised:
        decided("scale", Wild(), fail, str)
    assert str(raised.value).endswith(r"raised ValueError: no answer of https://***@example.org \x1b[2J")


async def test_a_policy_has_the_time_of_the_task() -> None:
    """It does not hang."""
    with pytest.raises(PolicyFailed, match="did not answer within the task's time"):
        await asked("match", Wild(), dawdle, str, Clock())


async def dawdle() -> str:
    """Take longer than anybody waits."""
    await asyncio.sleep(3600)
    return "late"


@pytest.mark.parametrize("error", [RecordFailed("the disk is full"), Diverged("another question")])
async def test_what_the_record_says_passes(error: Exception) -> None:
    """That nothing can be written, or that something else is recorded, is no fault of a policy."""

    async def fail() -> str:
        raise error

    async def fail_in_a_group() -> str:
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())
        return ""

    for asking in (fail, fail_in_a_group):
        with pytest.raises(type(error)):
            await asked("sense", Wild(), asking, lambda _: "", Clock())


class WildSense(SensePolicy):
    """Says of a task that goes on what no domain weighs."""

    type: Literal["wild"] = "wild"

    async def sense(self, signals: Signals, asking: Asking) -> Sensed:  # noqa: ARG002  # an interface
        """Return that it fits none."""
        return Sensed(0.2, {GENERAL: 1.0})

    def placed(self, likeness: Mapping[str, float]) -> dict[str, float]:
        """Return more than everything."""
        return dict.fromkeys(likeness, math.inf)


async def test_where_a_task_goes_on_is_held_to_the_same() -> None:
    """It fits what it fitted before, and that is told."""
    world, asking, sensed = Mock(), Mock(), Sensed(0.2, {GENERAL: 1.0})
    world.signals = AsyncMock(return_value=Signals("x", 0, {"law": 0.5}, {}))
    assert await placed(sensed, Task("t1", "x"), world, WildSense(), asking) is sensed
    ((why, instead), _) = asking.fall_back.call_args
    assert "the sense policy wild, of the module" in why
    assert "its domains are {'law': inf}" in why
    assert instead == "it fits the domains that it fitted before"


def test_our_own_are_asked_directly() -> None:
    """What they say is right, and checked by tests alone."""
    assert decided("scale", Never(), lambda: (0, ""), lambda _: "wrong") == (0, "")
    executed, evaluated = Executed(Outcome("x", "completed"), "ada"), Evaluated(1.0, 1.0, 1.0, 1.0)
    said = Ema().decide(Sensed(0.2, {"law": 1.0}), executed, evaluated, WINNER)
    assert said
    assert not deciding.moves(said, WINNER)
