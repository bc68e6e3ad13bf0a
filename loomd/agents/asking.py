"""What is asked of models beside an agent's own conversation: on the account of its work, recorded, and told.

Fits `loomd.knowledge.asking.Asker`. A call is a recorded step of its own below that of whoever asks, so that work that
goes on after an interruption pays for none twice. Who asks outside of any task pays from a day's account alone.
"""

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
from loomd.events.bus import Scope
from loomd.events.event import AnyFact
from loomd.knowledge.asking import Scores, Unpaid
from loomd.messages import Chunk, Reply, Request, gist
from loomd.topology import Services

T = TypeVar("T")

MODEL_STEP = "search:model"
"""Name of the step in which a search asks a model."""
SERVICE_STEP = "search:service"
"""Name of the step in which a search asks a service that is no language model."""
_ROOM = 1e12
"""USD of an account that only a day's budget limits."""


class Recording(Protocol):
    """The part of an agent's recorded steps that is needed here."""

    async def step(self, key: str, name: str, do: Callable[[], Awaitable[T]], result: type[T], *, asked: str = "") -> T:
        """Return the recorded result of a step, or do it and record it."""
        ...

    def draw(self, key: str, name: str, take: Callable[[], T], result: type[T]) -> T:
        """Return the recorded value under a key, or what `take` returns."""
        ...

    def recorded(self, prefix: str) -> Spent:
        """Return what was used before an interruption in the steps below a key."""
        ...


class Judged(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a service answered, as it is recorded, and the USD that it cost."""

    scores: Scores
    cost: float = 0.0


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
        self.account = Budget(tokens=above.tokens, cost=above.cost, above=above, known=steps.recorded(key))

    async def ask(self, name: str, model: object, request: Request) -> Reply:
        """Return what a model answers; see `Asker`.

        Raises:
            Unpaid: nothing is left for it; its cause is the `Exhausted` that says of what.
            LoomdError: the model failed.
        """
        asked, key, began = cast("ChatModel", model), f"{self._key}/{name}", self._agent.clock.monotonic()
        size = measured(self._agent, asked, request)
        tokens = self._steps.draw(f"{key}/size", "size", lambda: size.tokens, int)
        made, spent = 1, NOTHING
        try:
            room = self.account.room(Want(tokens, request.max_tokens, price_of(asked)))
            if room < request.max_tokens:
                request = msgspec.structs.replace(request, max_tokens=room)
            call = partial(ask, self._agent, request, self._scope, model=asked, size=size, budget=self.account)
            reply = await self._steps.step(key, MODEL_STEP, call, Reply, asked=gist(request))
            spent = Spent(reply.usage, reply.cost)
        except Exhausted as error:
            made = 0
            raise unpaid(error) from error
        finally:
            self.account.release()
            self._book(spent + Spent(steps=made), began)
        return reply

    async def call(self, name: str, do: Callable[[], Awaitable[Scores]], cost: float) -> Scores:
        """Return what a service answers; see `Asker`.

        Raises:
            Unpaid: so much is not left; its cause as for `ask`.
            LoomdError: what `do` raised.
        """
        key, began = f"{self._key}/{name}", self._agent.clock.monotonic()
        judged = await self._steps.step(key, SERVICE_STEP, partial(self._paid, key, do, cost), Judged)
        self._book(Spent(cost=judged.cost), began)
        return judged.scores

    async def _paid(self, key: str, do: Callable[[], Awaitable[Scores]], cost: float) -> Judged:
        """Return what a service answers, its price set aside meanwhile; what fails costs nothing."""
        agent, hold, began = self._agent, Hold(0, {}), self._agent.clock.monotonic()
        if cost > (left := self.account.left):
            used = self.account.cost - left
            error = Exhausted("budget_cost", self.account.cost, used)
            raise unpaid(error) from error
        try:
            agent.accounts.widen(agent.namespace, agent.name, hold, cost)
            self.account.held[key] = cost
            scores = await do()
            settle_service(agent, self._scope, hold, cost, agent.clock.monotonic() - began)
        except DaySpent as spent:
            error = exhausted(spent)
            raise unpaid(error) from error
        finally:
            self.account.held.pop(key, None)
            agent.accounts.release(agent.namespace, agent.name, hold)
        return Judged(scores, cost)

    def _book(self, spent: Spent, began: float) -> None:
        self.account.book(spent, 1.0)
        self._told(spent, self._agent.clock.monotonic() - began)

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

    def draw(self, key: str, name: str, take: Callable[[], T], result: type[T]) -> T:
        """Take it."""
        del key, name, result
        return take()

    def recorded(self, prefix: str) -> Spent:
        """Return nothing."""
        del prefix
        return NOTHING


class _NoModel:
    """The model of who has none of its own; fits `ChatModel`."""

    name = "none"

    def stream(self, request: Request) -> AsyncGenerator[Chunk, None]:
        """Refuse: it is never asked."""
        raise NotImplementedError(f"{self.name}: {request}")


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
