"""The record of one running task: what is in it is not done again; fits `amoeba.world.Run`.

How much is recorded is the task's mode: with `steps` every phase and every side effect; with `task` only what people
decided and that it was acted on, so that an interrupted task begins anew; with `none` nothing, so that it is lost.
"""

import random
from bisect import bisect_right
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, TypeVar

import msgspec

from loomd.agents.approval import Ask, Decision
from loomd.agents.budget import NOTHING, Budget, Exhausted, Spent
from loomd.agents.work import Outcome
from loomd.amoeba.task import ENGINE, Ended, Result, Task
from loomd.engine.deaths import Deaths
from loomd.engine.ending import unfinished
from loomd.engine.interruption import unrecorded
from loomd.engine.lent import Lent
from loomd.engine.loose import Loose
from loomd.engine.mailbox import question
from loomd.engine.spent import spent_in
from loomd.engine.waiting import Received, Wait, queued, said_of
from loomd.errors import Diverged, LoomdError, Uncertain
from loomd.events.bus import Scope
from loomd.events.event import (
    AnyFact,
    ApprovalRequested,
    ApprovalResolved,
    Event,
    PhaseCompleted,
    PhaseStarted,
    StepCompleted,
    StepFailed,
    StepStarted,
    subject,
)
from loomd.events.fact import Fact
from loomd.events.phase import Phase
from loomd.store.records import ApprovalRecord

T = TypeVar("T")
F = TypeVar("F", bound=Fact)

_encode = msgspec.json.Encoder().encode
_decision = msgspec.json.Decoder(Decision).decode


class TaskRecorder:
    """Answers from the journal what was done before, and records what is done now."""

    def __init__(
        self, task: Task, lent: Lent, scope: Scope, recorded: dict[str, Event], *, resumed: bool = False
    ) -> None:
        self.resumed = resumed
        """Whether the task ran before, however much was recorded then."""
        self._task = task
        self._lent = lent
        self._scope = scope
        self._recorded = recorded
        self._steps = sorted(key for key in recorded if key.startswith("step/"))
        self._taken: set[str] = set()
        self._keeps = task.durability == "steps"
        self.deaths = Deaths(recorded, scope, steps=self._keeps, counts=resumed and task.durability != "none")
        self._phases: dict[Phase, Any] = {}
        self._partial: Outcome | None = None
        self.account = lent.account
        """The account of the task, when it is a part of another."""
        self._asking = 0
        self._compares = task.engine == ENGINE
        self._agreed: dict[str, str] = {}
        self._questions: dict[str, set[str]] = {}
        self._decisions: dict[str, ApprovalResolved] = {}
        self._waits: dict[str, Wait] = {}
        """By the id of the question."""
        self._parts: dict[str, float] = {}
        """How long parts of the task waited."""
        for key, event in recorded.items():
            self._remember(key, event)
        now = lent.services.clock.now()
        for approval, wait in self._waits.items():
            if wait.ended is None:  # it goes on if that is asked again
                done = recorded.get(f"step/{wait.step}")
                self._waits[approval] = wait._replace(ended=max(wait.began, done.ts if done is not None else now))

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
            value = msgspec.json.decode(self._value(key, name, ""), type=result)
        else:
            clock = self._lent.services.clock
            self._scope.emit(PhaseStarted(name))
            started = clock.monotonic()
            value = await do()
            if self.resumed:
                await self._lent.settle()
            fact = PhaseCompleted(name, why(value), msgspec.Raw(_encode(value)), clock.monotonic() - started)
            self._scope.emit(fact, key=key if self._keeps else "")
        self._phases[name] = value
        return value

    async def step(
        self,
        key: str,
        name: str,
        do: Callable[[], Awaitable[T]],
        result: type[T],
        *,
        asked: str = "",
        once: bool = False,
        again: int = 0,
    ) -> T:
        """Return the recorded result of a step, or do it and wait until its result is on disk.

        Raises:
            Diverged: another step is recorded under this key, or this one was asked something else, or was denied.
            RecordFailed: the result could not be written.
            Uncertain: a step that must not happen twice was begun before a crash, and its end is unknown.
        """
        if not self._keeps:
            await self.deaths.enter(name, self._keep)
            if once and self._agreed:
                await self.consume(key, name, asked, again=again)
            return await do()
        done = f"step/{key}"
        if done in self._recorded:
            return msgspec.json.decode(self._value(done, name, asked), type=result)
        if key in self._questions:
            await self._refuse_denied(key, name)
        if self.resumed:
            await self._lent.settle()
            await self.deaths.enter(name, self._keep)
        if once:
            await self._intend(key, "", name, asked, again=again)
        try:
            value = await (self.deaths.watch(do, self._keep) if self.resumed else do())
        except BaseException as error:
            if asked:
                ended = error.reason if isinstance(error, Exhausted) else ""
                with suppress(LoomdError):  # what is raised matters more than its record
                    self._scope.emit(StepFailed(name, asked, ended), key=f"failed/{key}")
            raise
        if self._steps and not getattr(value, "failed", False):
            self._refuse_left(done)
        await self._keep(StepCompleted(name, msgspec.Raw(_encode(value)), asked), done)
        return value

    async def skip(self, key: str, name: str, value: T, *, asked: str = "") -> T:
        """Return the recorded result of a step, or record what stands for it because people did not agree to it.

        So a later run needs to know neither whether anybody has to be asked by then, nor what of.

        Raises:
            Diverged: another step is recorded under this key, or this one was asked something else.
            RecordFailed: it could not be written.
        """
        if not self._keeps:
            return value
        done = f"step/{key}"
        if done in self._recorded:
            return msgspec.json.decode(self._value(done, name, asked), type=type(value))
        await self._lent.settle()
        await self._keep(StepCompleted(name, msgspec.Raw(_encode(value)), asked), done)
        return value

    async def consume(self, key: str, name: str, asked: str, *, again: int) -> None:
        """Record that a step that is not recorded itself is begun, if people agreed to it: they agreed to it once.

        Raises:
            RecordFailed: that could not be written.
            Uncertain: it was begun before an interruption.
        """
        if key in self._agreed:
            await self._intend(key, self._agreed[key], name, asked, again=again)

    def loose(self) -> "Loose":
        """Return steps that are done and not recorded, for work that begins anew when it is interrupted."""
        return Loose(self, self._task.id, self._lent.mailbox, self._lent.services.clock)

    def now(self, key: str) -> float:
        """Return the wall-clock time at which this was first asked; what comes after it makes it durable."""
        return self.draw(key, "clock", self._lent.services.clock.now, float)

    def random(self, key: str) -> float:
        """Return a number from 0 to 1, drawn from the task's seed and the key."""
        draw = random.Random(f"{self._task.seed}/{self._task.id}/{key}").random  # noqa: S311  # draws that can be repeated, no secrets
        return self.draw(key, "random", draw, float)

    async def sleep(self, key: str, seconds: float) -> None:
        """Return when so many seconds have gone by since this was first asked."""
        until = self.now(f"{key}/began") + seconds
        self.deaths.leave()
        await self._lent.mailbox.sleep(until)

    async def receive(self, key: str, name: str, seconds: float) -> object:
        """Return what was sent to the task under a name.

        Raises:
            TimeoutError: nothing came within so many seconds since this was first asked.
        """
        until = self.now(f"{key}/began") + seconds

        async def wait() -> Received:
            self.deaths.leave()
            try:
                return Received(await self._lent.mailbox.receive(self._task.id, name, until))
            except TimeoutError:
                return Received(late=True)

        received = await self.step(f"{key}/received", f"signal:{name}", wait, Received)
        if received.late:
            raise TimeoutError
        return received.value

    async def approve(self, key: str, ask: Ask, *, anew: bool = False) -> Decision:
        """Return what a person decides about a step, once it is recorded: about this tool with these arguments.

        Args:
            key: the key of the step.
            ask: what is asked.
            anew: whether the work began anew, so that it may ask something else than it did before.

        Raises:
            Diverged: people were asked about another call.
            RecordFailed: the question could not be written.
        """
        anew = anew or not self._keeps
        asked = question(ask, self._task.id, self._scope.namespace, key, self._lent.services.clock.now())
        if not anew:
            self._refuse_other(key, ask, asked.id)
        fact = self._decisions.get(asked.id)
        if fact is None and ask.question == "call" and f"step/{key}" in self._recorded:
            return Decision("approved")
        decision = await self._decided(key, ask, asked) if fact is None else said_of(fact)
        if anew and decision.verdict == "approved":
            self._agreed[key] = asked.id
        return decision

    async def _decided(self, key: str, ask: Ask, asked: ApprovalRecord) -> Decision:
        """Ask people, and return what they decide once it is recorded."""
        clock, mailbox = self._lent.services.clock, self._lent.mailbox
        await self._lent.settle()
        wait = self._waits.get(asked.id, Wait(key, asked.created))._replace(ended=None)
        self._waits[asked.id] = wait
        record = await self._written(key, mailbox.ask(asked))
        request = ApprovalRequested(record.id, ask.tool, ask.arguments, ask.question, record.expires)
        await self._mark(1)
        self.deaths.leave()
        try:
            await self._keep(request, f"asked/{key}/{record.id}")
            decision = await self._written(key, mailbox.decision(record))
        finally:
            await self._mark(-1)
        await self._resolve(key, record.id, decision, wait._replace(ended=max(wait.began, clock.now())))
        return decision

    async def denied(self, key: str, ask: Ask) -> Decision | None:
        """Return what people decided about a step when they did not agree to it, though nobody has to be asked now.

        Raises:
            RecordFailed: it was decided while the task did not run, and could not be written.
        """
        asked = question(ask, self._task.id, self._scope.namespace, key, 0.0)
        if key not in self._questions:
            if not self.resumed or f"step/{key}" in self._recorded:
                return None
            # It may have been interrupted before it told that people are asked, which they have been already.
            if await self._written(key, self._lent.services.store.get_approval(asked.id)) is None:
                return None
            self._questions[key] = {asked.id}
        await self._take_over(key)
        fact = self._decisions.get(asked.id)
        return None if fact is None or fact.verdict == "approved" else said_of(fact)

    async def _take_over(self, key: str) -> None:
        """Take over what was denied while the task did not run, as if it had been told then."""
        now = self._lent.services.clock.now()
        for approval in sorted(self._questions.get(key, set()) - self._decisions.keys()):
            stored = await self._written(key, self._lent.services.store.get_approval(approval))
            if stored is None or not stored.decision or (said := _decision(stored.decision)).verdict == "approved":
                continue
            await self._resolve(key, approval, said, self._waits.get(approval, Wait(key, now, now)))

    async def _resolve(self, key: str, approval: str, said: Decision, wait: Wait) -> None:
        """Record what was decided about a step."""
        waited = (wait.ended or wait.began) - wait.began
        fact = ApprovalResolved(approval, said.verdict, said.by, said.reason, said.at, waited)
        await self._keep(fact, f"approval/{key}/{approval}")
        self._waits[approval] = wait
        self._decisions[approval] = fact

    def waited(self, prefix: str = "") -> float:
        """Return how many seconds were spent waiting for people, in steps whose keys begin so; all by default.

        Time in which several were waited for counts once; of parts it is known only how long each waited.
        """
        if not self._parts and not self._waits:
            return 0.0
        total = sum(seconds for key, seconds in self._parts.items() if key.startswith(prefix))
        if not self._waits:
            return total
        now, counted = self._lent.services.clock.now(), float("-inf")
        spans = ((wait.began, wait.ended) for wait in self._waits.values() if wait.step.startswith(prefix))
        for began, ended in sorted((began, now if ended is None else ended) for began, ended in spans):
            total += max(0.0, ended - max(began, counted))
            counted = max(counted, ended)
        return total

    def leave(self, outcome: Outcome) -> None:
        """Note what there is of the work when it is cancelled."""
        self._partial = outcome

    def recorded(self, prefix: str) -> Spent:
        """Return what was used before an interruption in the steps below a key."""
        return spent_in(self._recorded, prefix) if self._recorded else NOTHING

    async def parts(self) -> Spent:
        """Return what was used before an interruption in the parts of the task."""
        return await self._lent.parts() if self.resumed else NOTHING

    def queued(self) -> AbstractAsyncContextManager[None]:
        """Return a context in which the task is known to wait for somebody to take it."""
        self.deaths.leave()
        return queued(self._lent)

    async def child(self, task: Task, account: Budget) -> Result:
        """Run a subtask as a task of its own."""
        result = await self._lent.child(task, account)
        if result.executed is not None and result.executed.outcome.waited:
            self._parts[f"child/{task.id}"] = result.executed.outcome.waited
        return result

    def ended(self, phase: Ended, error: str) -> Result:
        """Return the result of a task that did not come to its end, with what there is of it."""
        return unfinished(self._task, phase, error, self._phases, self._partial)

    def draw(self, key: str, name: str, take: Callable[[], T], result: type[T]) -> T:
        """Return a recorded value, or take and record it; what comes after it makes it durable.

        Raises:
            Diverged: another step is recorded under this key.
        """
        done = f"step/{key}"
        if done in self._recorded:
            return msgspec.json.decode(self._value(done, name, ""), type=result)
        value = take()
        if self._keeps:
            self._scope.emit(StepCompleted(name, msgspec.Raw(_encode(value))), key=done)
        return value

    def told(self, key: str, fact: type[F]) -> F | None:
        """Return what was made known under a key before an interruption."""
        event = self._recorded.get(key) if self._keeps else None
        return event.data if event is not None and isinstance(event.data, fact) else None

    async def _mark(self, more: int) -> None:
        """Make known that the task waits for a person as long as one is asked at least."""
        before, self._asking = self._asking, self._asking + more
        if not before or not self._asking:
            await self._lent.mark("WaitingApproval" if self._asking else "Running")

    def _remember(self, key: str, event: Event) -> None:
        """Take over what people were asked and said about a step, and how long the task waited for it."""
        fact = event.data
        if isinstance(fact, ApprovalRequested | ApprovalResolved):
            step = subject(key, fact)
            self._questions.setdefault(step, set()).add(fact.approval)
            if isinstance(fact, ApprovalResolved):
                self._decisions[fact.approval] = fact
                if self._keeps:
                    self._waits[fact.approval] = Wait(step, event.ts - fact.seconds, event.ts)
            elif self._keeps:
                self._waits.setdefault(fact.approval, Wait(step, event.ts))

    def _refuse_other(self, key: str, ask: Ask, approval: str) -> None:
        """Raise when people were asked about a step, and not this.

        Raises:
            Diverged: so it is.
        """
        if other := self._questions.get(key, set()) - {approval}:
            where = f"Task/{self._scope.task}: recorded under {key} is the question {min(other)}"
            raise Diverged(f"{where}, the task now asks about another call of {ask.tool}: no answer holds for both")

    async def _refuse_denied(self, key: str, name: str) -> None:
        """Raise when a step is about to be done that people did not agree to.

        Raises:
            Diverged: so it is.
        """
        await self._take_over(key)
        for approval in self._questions.get(key, ()):
            fact = self._decisions.get(approval)
            if fact is not None and fact.verdict != "approved":
                said = said_of(fact).said()
                where = f"Task/{self._scope.task}: recorded under {key} is a question ({said})"
                raise Diverged(f"{where}, the task now does {name} without asking")

    async def _intend(self, step: str, agreed: str, name: str, asked: str, *, again: int) -> None:
        """Record that an effect is about to happen, or is to be repeated; each agreement is used up by that.

        Raises:
            Uncertain: that is recorded already.
        """
        key = f"intent/{step}/{agreed}" if agreed else f"intent/{step}"
        begun = self._recorded.get(key)
        if begun is not None and isinstance(begun.data, StepStarted):
            self._refuse_unlike(key, begun.data, asked)
        row = f"{key}/repeat/{again}" if again else key
        if row in self._recorded:
            raise Uncertain(
                f"{name} was begun before an interruption and may have had its effect; it is not repeated", step
            )
        await self._keep(StepStarted(name, asked), row)

    async def _keep(self, fact: AnyFact, key: str) -> None:
        """Record a fact and wait until it is on disk.

        Raises:
            RecordFailed: it could not be written.
        """
        try:
            await self._lent.services.store.durable(self._scope.emit(fact, key=key).seq)
        except LoomdError as error:
            raise unrecorded(f"Task/{self._scope.task}: {key}", error) from error

    async def _written(self, key: str, work: Awaitable[T]) -> T:
        """Return what writing something returns.

        Raises:
            RecordFailed: it could not be written.
        """
        try:
            return await work
        except LoomdError as error:
            raise unrecorded(f"Task/{self._scope.task}: {key}", error) from error

    def _refuse_left(self, key: str) -> None:
        """Refuse the end of a step that did not come to a part of it that is recorded: it is not what it was.

        What was taken from the record was taken with all of its own parts.

        Raises:
            Diverged: there is such a part.
        """
        for at in range(bisect_right(self._steps, f"{key}/"), len(self._steps)):
            one = self._steps[at]
            if not one.startswith(f"{key}/"):
                return
            ends = (at for at in range(len(key) + 1, len(one)) if one[at] == "/")
            if one not in self._taken and not any(one[:at] in self._taken for at in ends):
                raise Diverged(f"Task/{self._scope.task}: {one} is recorded, and {key} ended now without it")

    def _value(self, key: str, name: str, asked: str) -> msgspec.Raw:
        """Return what is recorded under a key, after checking that it is what is asked for.

        Raises:
            Diverged: another step is recorded under this key, or this one was asked something else.
        """
        fact = self._recorded[key].data
        self._taken.add(key)
        if isinstance(fact, PhaseCompleted) and fact.phase == name:
            return fact.value
        if isinstance(fact, StepCompleted) and fact.name == name:
            self._refuse_unlike(key, fact, asked)
            return fact.value
        raise Diverged(f"Task/{self._scope.task}: recorded under {key} is {fact}, the task now does {name}")

    def _refuse_unlike(self, key: str, fact: StepStarted | StepCompleted, asked: str) -> None:
        """Raise when a recorded step was asked something else; not every record says what it was.

        Raises:
            Diverged: so it is; the text says what differs.
        """
        if not (self._compares and asked and fact.asked) or asked == fact.asked:
            return
        before = fact.asked.split()
        other = " and ".join(part.partition("=")[0] for part in asked.split() if part not in before)
        raise Diverged(
            f"Task/{self._scope.task}: recorded under {key} is {fact.name} with other {other} than it has now"
        )
