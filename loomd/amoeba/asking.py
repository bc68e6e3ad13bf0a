"""How a phase asks a model for JSON: each call a recorded step within the budget and the time of the task.

A model that answers nonsense is asked again with what was wrong. When no usable answer comes, the fallback that the
question declares is taken, and a `fallback.used` event says so. Called by the phases and by their policies.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from loomd.agents.agent import Agent
from loomd.agents.ask import ask
from loomd.agents.base import ChatModel
from loomd.agents.budget import NOTHING, Budget, Exhausted, Spent
from loomd.agents.interception import enter
from loomd.amoeba.account import account_of, left
from loomd.amoeba.question import Question
from loomd.amoeba.task import Task
from loomd.amoeba.world import Run, World
from loomd.clock import Clock
from loomd.errors import Diverged, LoomdError, RecordFailed
from loomd.events.event import Fallback
from loomd.events.phase import Phase
from loomd.messages import Message, Reply, Request, gist

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True)
class Answer(Generic[T]):
    """What came of a question: a value, or None and why there is none, so that the fallback is taken."""

    value: T | None
    why: str = ""


class Asking:
    """Asks models on behalf of one phase of a task, one question at a time."""

    def __init__(self, phase: Phase, task: Task, world: World, run: Run, agent: str = "") -> None:
        """Ask nothing yet.

        Args:
            phase: the phase; it leads the keys of the steps.
            task: the task, with what its earlier phases left of its budget.
            world: the cluster.
            run: the record of the task.
            agent: the member that asks; empty for the cluster itself.
        """
        self._phase = phase
        self._task = task
        self._world = world
        self._run = run
        self._agent = agent
        self._account: Budget | None = None
        self._goal: str | None = None
        self.spent = NOTHING
        """What the phase has used so far, which its output says; a call that failed used nothing that is known."""

    async def ask(self, question: Question[T]) -> Answer[T]:
        """Return what a model answers, or why nothing usable came; then the fallback is told.

        Raises:
            RecordFailed: an answer could not be written.
            Diverged: something else is recorded.
        """
        answer = await self.consult(question)
        if answer.value is None:
            self.fall_back(answer.why, question.fallback)
        return answer

    @property
    def goal(self) -> str:
        """Return the task's goal as the interceptors of whoever asked let it pass; empty before anything was asked."""
        return self._goal or ""

    def left(self, task: Task) -> Task:
        """Return a task with what the phase has left of its budget so far."""
        return left(task, self.spent)

    async def consult(self, question: Question[T]) -> Answer[T]:
        """Return what a model answers, or why nothing usable came; whoever asks tells what is done then.

        Raises:
            RecordFailed: an answer could not be written.
            Diverged: something else is recorded.
        """
        try:
            agent = self._world.asker(self._agent)
            model = self._world.model(question.provider, self._agent)
            answer = await self._asked(question, agent, model)
        except (RecordFailed, Diverged):
            raise
        except TimeoutError:
            answer = Answer[T](None, "the time is over")
        except Exhausted as error:
            left = f"what is left of the budget of {error.reason.removeprefix('budget_')} is too little for this call"
            answer = Answer[T](None, error.note or left)
        except LoomdError as error:
            answer = Answer[T](None, str(error))
        return answer

    def fall_back(self, why: str, fallback: str, key: str = "") -> None:
        """Tell that something is done in place of what the phase should have done, and why; once per task by a key."""
        self._run.scope.emit(Fallback(self._phase, why, fallback), self._agent, key)

    async def _asked(self, question: Question[T], agent: Agent, model: ChatModel) -> Answer[T]:
        """Ask, and ask again with what was wrong.

        Raises:
            Exhausted: nothing is left for a call.
            LoomdError: the model failed, or an interceptor refused.
            TimeoutError: the task's time is over.
        """
        if self._task.budget.seconds == 0:  # none at all
            raise TimeoutError
        if self._goal is None:
            self._goal = await enter(agent, self._task.goal, self._run.scope, self._run, self._phase)
        messages, wrong = [Message("system", question.system), Message("user", question.content(self._goal))], ""
        for attempt in range(question.attempts):
            request = Request(
                tuple(messages),
                output_schema=question.schema,
                temperature=question.temperature,
                max_tokens=question.max_tokens,
                examples=question.examples,
            )
            call = partial(ask, agent, request, self._run.scope, model=model, budget=self._own())
            key = f"{self._phase}/{question.key}/{attempt}"
            step = partial(self._run.step, key, question.name, call, Reply, asked=gist(request))
            try:
                reply = await self._in_time(step, agent)
            finally:
                self._own().release()
            self.spent += Spent(reply.usage, reply.cost, 0, 1)
            self._own().close(self.spent)
            if reply.refused:
                return Answer(None, reply.refused)
            try:
                return Answer(question.read(reply.text))
            except ValueError as error:
                wrong = str(error)
                repair = f"That {question.noun} cannot be used: {wrong}."
                messages += [Message("assistant", reply.text), Message("user", repair)]
        return Answer(None, wrong)

    async def in_time(self, do: Callable[[], Awaitable[U]]) -> U:
        """Return what something comes to that the phase waits for, which ends when the task's time is over.

        Raises:
            TimeoutError: it is.
            NotFound: nobody is there for whom it could be asked.
        """
        return await self._in_time(do, self._world.asker(self._agent))

    async def _in_time(self, do: Callable[[], Awaitable[U]], agent: Agent) -> U:
        """Return what something comes to, which ends when the task's time is over.

        Raises:
            TimeoutError: it is.
        """
        async with asyncio.timeout(None) as timer:
            heed = partial(_heed, timer, self._task, self._world, agent.clock)
            heed()
            with agent.listening(heed):
                return await do()

    def _own(self) -> Budget:
        """Return the account of the phase; there is none as long as nothing is asked."""
        if self._account is None:
            self._account = account_of(self._task.budget, self._task, self._world, self._run.account)
        return self._account


def _heed(timer: asyncio.Timeout, task: Task, world: World, clock: Clock) -> None:
    """Let a call end when the task's time is over, as it is limited now."""
    if not timer.expired():
        left = task.deadline - world.cut(task.grant).seconds - clock.now()
        timer.reschedule(asyncio.get_running_loop().time() + left)
