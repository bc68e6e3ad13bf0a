"""What is asked of models beside an agent's own conversation: on the account of its work, recorded, and told.

Fits `loomd.knowledge.asking.Asker`. A call is a recorded step of its own below that of whoever asks, so that work that
goes on after an interruption pays for none twice; so is what a part of a search came to, with what was used for it. Who
asks outside of any task pays from a day's account alone.
"""

import asyncio
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import partial
from typing import Protocol, TypeVar, cast

import msgspec

from loomd.accounts.account import Hold, Want, searcher
from loomd.accounts.account import Spent as DaySpent
from loomd.agents.agent import Agent
from loomd.agents.ask import ask
from loomd.agents.base import ChatModel
from loomd.agents.budget import NOTHING, Budget, Exhausted, Limits, Spent
from loomd.agents.measure import price_of
from loomd.agents.spending import exhausted, measured, settle_service
from loomd.clock import Clock
from loomd.events.bus import Scope
from loomd.events.event import AnyFact
from loomd.knowledge.asking import Asker, Scores, Unpaid
from loomd.messages import Chunk, Reply, Request, gist
from loomd.topology import Services

T = TypeVar("T")

MODEL_STEP = "search:model"
"""Name of the step in which a search asks a model."""
SERVICE_STEP = "search:service"
"""Name of the step in which a search asks a service that is no language model."""
_PART = "search"
"""How the name of a step begins that holds what a part of a search came to."""
_ROOM = 1e12
"""USD of an account that only a day's budget limits."""
_TOGETHER = 8
"""Models that one search asks at the same time."""

_encode = msgspec.json.Encoder().encode


class Recording(Protocol):
    """The part of an agent's recorded steps that is needed here."""

    async def step(self, key: str, name: str, do: Callable[[], Awaitable[T]], result: type[T], *, asked: str = "") -> T:
        """Return the recorded result of a step, or do it and record it."""
        ...

    def recorded(self, prefix: str) -> Spent:
        """Return what was used before an interruption in the steps below a key."""
        ...


class Judged(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a service answered, as it is recorded, and the USD that it cost."""

    scores: Scores
    cost: float = 0.0


class _Kept(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a part of a search came to, as it is recorded, and what was used for it."""

    value: msgspec.Raw
    spent: Spent = NOTHING


class _Watch:
    """Measures how long somebody is waited for; time in which several are waited for counts once."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._running = 0
        self._began = 0.0

    def start(self) -> None:
        """Note that somebody is waited for."""
        if not self._running:
            self._began = self._clock.monotonic()
        self._running += 1

    def stop(self) -> float:
        """Note that one came; return the seconds since the first was waited for, once nobody is any more."""
        self._running -= 1
        return 0.0 if self._running else self._clock.monotonic() - self._began


def _forget(spent: Spent, seconds: float) -> None:
    del spent, seconds


class Asking:
    """Asks models and services for one search.

    Args:
        agent: who searches, with the interceptors that look at every request.
        steps: where calls are recorded.
        scope: the envelope of the events.
        key: prefix of the keys of the calls' steps.
        above: the account of the work.
        told: is called after each call with what it used, and the seconds that it took.

    Attributes:
        account: what the calls used, below the account of the work.
    """

    def __init__(
        self,
        agent: Agent,
        steps: Recording,
        scope: Scope,
        key: str,
        above: Budget,
        told: Callable[[Spent, float], None] = _forget,
    ) -> None:
        self._agent = agent
        self._steps = steps
        self._scope = scope
        self._key = key
        self._told = told
        self._watch = _Watch(agent.clock)
        self._gate = asyncio.Semaphore(_TOGETHER)
        self.account = Budget(tokens=above.tokens, cost=above.cost, above=above, known=steps.recorded(key))

    async def keep(self, name: str, do: Callable[[Asker], Awaitable[T]], result: type[T]) -> T:
        """Return what a part of the search came to; see `Asker`.

        What was used for it is booked either way: when it was recorded, when it is done now, and when it fails.

        Raises:
            RecordFailed: it could not be written.
            LoomdError: what `do` raised.
        """
        key = f"{self._key}/{name}"
        part = Asking(self._agent, self._steps, self._scope, key, self.account, self._seconds)

        async def whole() -> _Kept:
            value = await do(part)
            return _Kept(msgspec.Raw(_encode(value)), part.account.total)

        kept: _Kept | None = None
        try:
            kept = await self._steps.step(key, f"{_PART}:{name}", whole, _Kept)
            return msgspec.json.decode(kept.value, type=result)
        finally:
            spent = part.account.total if kept is None else kept.spent
            self._fold(part.account, spent)
            self._told(spent, 0.0)

    def _seconds(self, spent: Spent, seconds: float) -> None:
        """Tell the seconds of a call within a part; what was used for the part is told once, as a whole."""
        del spent
        self._told(NOTHING, seconds)

    def _below(self) -> Budget:
        return Budget(tokens=self.account.tokens, cost=self.account.cost, above=self.account)

    def _fold(self, account: Budget, spent: Spent) -> None:
        """Book what was used on an account below this one, which ends with it."""
        self.account.below[:] = [one for one in self.account.below if one is not account]
        self.account.book(spent, 1.0)

    async def ask(self, name: str, model: object, request: Request) -> Reply:
        """Return what a model answers; see `Asker`.

        Raises:
            Unpaid: nothing is left for it; its cause is the `Exhausted` that says of what.
            LoomdError: the model failed.
        """
        account, spent = self._below(), Spent(steps=1)
        do = partial(self._asked, cast("ChatModel", model), request, account)
        self._watch.start()
        try:
            reply = await self._steps.step(f"{self._key}/{name}", MODEL_STEP, do, Reply, asked=gist(request))
            spent += Spent(reply.usage, reply.cost)
        except Exhausted as error:
            spent = NOTHING
            raise unpaid(error) from error
        finally:
            account.release()
            self._fold(account, spent)
            self._told(spent, self._watch.stop())
        return reply

    async def _asked(self, model: ChatModel, request: Request, account: Budget) -> Reply:
        """Return what a model answers now.

        Raises:
            Exhausted: nothing is left for it.
        """
        async with self._gate:
            size = measured(self._agent, model, request)
            room = account.room(Want(size.tokens, request.max_tokens, price_of(model)))
            if room < request.max_tokens:
                request = msgspec.structs.replace(request, max_tokens=room)
            return await ask(self._agent, request, self._scope, model=model, size=size, budget=account)

    async def call(self, name: str, about: str, do: Callable[[], Awaitable[Scores]], cost: float) -> Scores:
        """Return what a service answers; see `Asker`.

        Raises:
            Unpaid: so much is not left; its cause as for `ask`.
            LoomdError: what `do` raised.
        """
        key, spent = f"{self._key}/{name}", NOTHING
        self._watch.start()
        try:
            paid = partial(self._paid, key, do, cost)
            judged = await self._steps.step(key, SERVICE_STEP, paid, Judged, asked=f"request={about}")
            spent = Spent(cost=judged.cost)
        finally:
            self.account.book(spent, 1.0)
            self._told(spent, self._watch.stop())
        return judged.scores

    async def _paid(self, key: str, do: Callable[[], Awaitable[Scores]], cost: float) -> Judged:
        """Return what a service answers, its price set aside meanwhile; what fails costs nothing."""
        agent, hold, began = self._agent, Hold(0, {}), self._agent.clock.monotonic()
        if cost > (left := self.account.left):
            used = self.account.cost - left
            error = Exhausted("budget_cost", self.account.cost, used)
            raise unpaid(error) from error
        try:
            agent.accounts.widen(agent.namespace, agent.account, hold, cost)
            self.account.held[key] = cost
            scores = await do()
            settle_service(agent, self._scope, hold, cost, agent.clock.monotonic() - began)
        except DaySpent as spent:
            error = exhausted(spent)
            raise unpaid(error) from error
        finally:
            self.account.held.pop(key, None)
            agent.accounts.release(agent.namespace, agent.account, hold)
        return Judged(scores, cost)

    def tell(self, fact: AnyFact) -> None:
        """Make known what happened, in the name of who searches."""
        self._scope.emit(fact, self._agent.name)


def unpaid(error: Exhausted) -> Unpaid:
    """Return what a search is told when a limit has no room for a call."""
    if error.note:
        return Unpaid(error.note)
    return Unpaid(f"{error.reason}: {error.used:.10g} of {error.limit:.10g} used, too little for this call")


class _Unrecorded:
    """Steps that nobody comes back to; fits `Recording`."""

    async def step(self, key: str, name: str, do: Callable[[], Awaitable[T]], result: type[T], *, asked: str = "") -> T:
        """Do it."""
        del key, name, result, asked
        return await do()

    def recorded(self, prefix: str) -> Spent:
        """Return nothing."""
        del prefix
        return NOTHING


class _NoModel:
    """The model of who has none of its own; fits `ChatModel`."""

    name = "none"

    def stream(self, request: Request) -> AsyncGenerator[Chunk, None]:
        """Refuse: it is never asked."""
        raise RuntimeError(f"who has no model of its own was asked: {request.messages[-1:]}")


def of_the_day(base: str, namespace: str, services: Services) -> Asking:
    """Return what pays for a search outside of any task: the day's account of the namespace.

    Args:
        base: the knowledge base that is searched; what it uses is booked under its name.
        namespace: where it is.
        services: what the daemon lends.
    """
    agent = Agent(
        name=searcher(base),
        namespace=namespace,
        digest="",
        description="",
        domains={},
        model=_NoModel(),
        prompt="",
        limits=Limits(),
        clock=services.clock,
        accounts=services.accounts,
        averages=services.averages,
    )
    scope = Scope(services.bus, "", namespace=namespace)
    return Asking(agent, _Unrecorded(), scope, "search", Budget(tokens=sys.maxsize, cost=_ROOM))
