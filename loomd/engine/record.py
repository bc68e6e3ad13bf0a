"""The record of one running task: what is in it is not done again; fits `amoeba.world.Run`."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

import msgspec

from loomd.amoeba.task import Result, Task
from loomd.errors import Diverged, LoomdError, RecordFailed, ToolFailed
from loomd.events.bus import Scope
from loomd.events.event import Event, Phase, PhaseCompleted, PhaseStarted, StepCompleted, StepStarted
from loomd.topology import Services

T = TypeVar("T")

_encode = msgspec.json.Encoder().encode


class TaskRecorder:
    """Answers from the journal what was done before, and records what is done now."""

    def __init__(
        self,
        services: Services,
        scope: Scope,
        recorded: Mapping[str, Event],
        child: Callable[[Task], Awaitable[Result]],
    ) -> None:
        self._services = services
        self._scope = scope
        self._recorded = recorded
        self._child = child

    @property
    def resumed(self) -> bool:
        """Return whether the task ran before."""
        return bool(self._recorded)

    @property
    def scope(self) -> Scope:
        """Return the envelope of the task's events."""
        return self._scope

    async def phase(self, name: Phase, result: type[T], do: Callable[[], Awaitable[T]], why: Callable[[T], str]) -> T:
        """Return the recorded output of a phase, or run it and record its output.

        The record is not awaited: the next step or the task's end makes it durable.
        """
        key = f"phase/{name}"
        if key in self._recorded:
            return msgspec.json.decode(self._value(key, name), type=result)
        clock = self._services.clock
        self._scope.emit(PhaseStarted(name))
        started = clock.monotonic()
        value = await do()
        fact = PhaseCompleted(name, why(value), msgspec.Raw(_encode(value)), clock.monotonic() - started)
        self._scope.emit(fact, key=key)
        return value

    async def step(
        self, key: str, name: str, do: Callable[[], Awaitable[T]], result: type[T], *, once: bool = False
    ) -> T:
        """Return the recorded result of a step, or do it and wait until its result is on disk.

        Raises:
            Diverged: another step is recorded under this key.
            RecordFailed: the result could not be written.
            ToolFailed: a step that must not happen twice was begun before a crash, and its end is unknown.
        """
        done = f"step/{key}"
        if done in self._recorded:
            return msgspec.json.decode(self._value(done, name), type=result)
        if once:
            await self._intend(f"intent/{key}", name)
        value = await do()
        await self._keep(StepCompleted(name, msgspec.Raw(_encode(value))), done)
        return value

    async def child(self, task: Task) -> Result:
        """Run a subtask as a task of its own."""
        return await self._child(task)

    async def _intend(self, key: str, name: str) -> None:
        """Record that an effect is about to happen."""
        if key in self._recorded:
            raise ToolFailed(f"{name} was begun before an interruption and may have had its effect; it is not repeated")
        await self._keep(StepStarted(name), key)

    async def _keep(self, fact: StepStarted | StepCompleted, key: str) -> None:
        """Record a fact and wait until it is on disk."""
        try:
            await self._services.store.durable(self._scope.emit(fact, key=key).seq)
        except LoomdError as error:
            raise RecordFailed(f"Task/{self._scope.task}: {key} could not be recorded: {error}") from error

    def _value(self, key: str, name: str) -> msgspec.Raw:
        """Return what is recorded under a key, after checking that it is what is asked for."""
        fact = self._recorded[key].data
        if isinstance(fact, PhaseCompleted) and fact.phase == name:
            return fact.value
        if isinstance(fact, StepCompleted) and fact.name == name:
            return fact.value
        raise Diverged(f"Task/{self._scope.task}: recorded under {key} is {fact}, the task now does {name}")
