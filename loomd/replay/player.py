"""Runs a recorded task again: what was recorded answers, and what the task asks is held against it.

Models, tools, searches, clocks, draws, approvals and the auction come from the recording; the code between them runs
as it is now. The first difference ends the replay. Called by `export`, the verb `replay` and tests of agents.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NoReturn, TypeVar

import msgspec

from loomd.agents.approval import Ask, Decision
from loomd.agents.base import Steps
from loomd.agents.budget import NOTHING, Budget, Exhausted, Spent
from loomd.agents.work import Ended, Outcome, StopReason
from loomd.amoeba.task import ENGINE, Executed, Matched, Result, Scaled, Sensed, Task
from loomd.cassette import MODEL, Cassette, TapedTool, plain, redacted
from loomd.errors import Diverged, LoomdError, Permanent, Temporary, Uncertain
from loomd.events.bus import Scope
from loomd.events.event import AnyFact, ApprovalRequested, ApprovalResolved, StepCompleted, StepFailed
from loomd.events.fact import Fact
from loomd.events.phase import Phase
from loomd.manifest.object import Ref, Snapshot
from loomd.messages import JsonObject, Reply, Request, fingerprint
from loomd.replay.difference import Difference, Differs, of_requests, of_values
from loomd.replay.reel import Reel, accepted, reel
from loomd.replay.stage import Frozen, Stage, declared, staged
from loomd.replay.stand_in import TAKE, Take

T = TypeVar("T")
F = TypeVar("F", bound=Fact)

_KEPT: frozenset[Phase] = frozenset(("sense", "match", "adapt"))
"""Phases whose output is taken from the recording: they rest on what was known at that time."""
_DONE = ("step", "failed", "intent")
"""How the keys of a step begin that was begun or done."""
_NO_PLAN = "no usable plan came"
_decode = msgspec.json.decode


class EndOfTape(Diverged):
    """The recording ends here, because the task did."""


class Unrecorded(Diverged):
    """The steps of a piece of work were not kept, so that only its outcome is known."""


@dataclass
class Played:
    """What came of a replay.

    Attributes:
        result: what became of the task; None when it differs.
        difference: the first difference.
        takes: what was asked of models and tools as it was recorded, by task and key of the step.
    """

    result: Result | None = None
    difference: Difference | None = None
    takes: dict[tuple[str, str], Take] = field(default_factory=dict[tuple[str, str], Take])

    @property
    def whole(self) -> bool:
        """Return whether the task did what was recorded, to its end."""
        return self.result is not None and self.difference is None


async def replay(cassette: Cassette, against: Snapshot | None = None) -> Played:
    """Run the task of a cassette again.

    Args:
        cassette: what was recorded.
        against: the objects to run on; by default those of the cassette.

    Raises:
        LoomdError: it cannot be run at all.
    """
    task = accepted(cassette.tasks[0])
    if task.engine != ENGINE:
        raise Permanent(
            f"task {cassette.task} was recorded by version {task.engine} of the engine, this one is version {ENGINE}: "
            "replay it with the loomd that recorded it, or record it again"
        )
    brought: dict[str, list[TapedTool]] = {}
    for tool in cassette.tools.values():
        brought.setdefault(tool.of or tool.tool.name, []).append(tool)
    known = {
        one.name: (one.digest, brought[one.name])
        for one in cassette.objects
        if one.kind == "Tool" and one.name in brought
    }
    cluster = Ref("Cluster", cassette.cluster, cassette.namespace)
    with TemporaryDirectory(prefix="loomd-replay-") as folder:
        snapshot = declared(cassette, Path(folder)) if against is None else against
        async with staged(snapshot, cluster, Frozen(task.created), known) as stage:
            return await play(cassette, stage)


async def play(cassette: Cassette, stage: Stage) -> Played:
    """Run the task of a cassette again on a stage.

    Raises:
        LoomdError: it cannot be run at all.
    """
    reels = {one.task.id: one for one in (reel(taped, cassette.tools) for taped in cassette.tasks)}
    if cassette.task not in reels:
        raise Permanent(f"the cassette of task {cassette.task} does not hold that task")
    played = Played()
    try:
        played.result = await Player(reels[cassette.task], reels, stage, played).run()
    except BaseException as error:
        first = _first(error)
        if not isinstance(first, Differs):
            raise first from None
        played.difference = first.difference
    return played


def _first(error: BaseException) -> BaseException:
    """Return the difference in a group of errors, or else its first."""
    while isinstance(error, BaseExceptionGroup):
        ours = error.subgroup(Differs) or error.subgroup(LoomdError)
        error = (ours or error).exceptions[0]
    return error


class Player:
    """The record of one task that runs again; fits `amoeba.world.Run`."""

    resumed = False
    account = None

    def __init__(self, reel: Reel, reels: Mapping[str, Reel], stage: Stage, played: Played) -> None:
        self._reel = reel
        self._reels = reels
        self._stage = stage
        self._played = played
        self._left = {key for key, fact in reel.facts.items() if _counts(fact)}
        """Keys of what was recorded and has to be done again, or asked again: steps and questions."""
        task = reel.task
        self.scope = Scope(stage.services.bus, task.id, task.parent, task.namespace, task.revision)

    async def run(self) -> Result:
        """Return what becomes of the task; of one whose recording has no end what was recorded of it.

        Raises:
            Differs: it does something else than was recorded.
        """
        reel, task = self._reel, self._reel.task
        try:
            result = await self._stage.cluster.run(task, self)
        except BaseException as error:
            if not isinstance(_first(error), EndOfTape):
                raise
            return Result(
                task,
                reel.taped.phase,  # type: ignore[arg-type]  # as it was recorded
                reel.value("sense", Sensed),
                reel.value("match", Matched),
                reel.value("scale", Scaled),
                reel.value("execute", Executed),
                error=reel.taped.error,
            )
        if left := sorted(self._left):
            raise self._differs(left[0], "was recorded and is not done any more")
        if result.phase != reel.taped.phase:
            raise self._differs("end", "the task ends otherwise", of_values(reel.taped.phase, result.phase, "/phase"))
        return result

    async def phase(self, name: Phase, result: type[T], do: Callable[[], Awaitable[T]], why: Callable[[T], str]) -> T:
        """Return the recorded output of a phase, after running those again that rest on what was recorded alone."""
        del why
        recorded = self._reel.value(name, result)
        if name in _KEPT:
            if recorded is None:
                raise EndOfTape(name)
            self._left = {key for key in self._left if not key.partition("/")[2].startswith(f"{name}/")}
            if isinstance(recorded, Matched):
                self._require_member(recorded)
            return recorded
        try:
            now = await do()
        except Unrecorded:
            if recorded is None:
                raise EndOfTape(name) from None
            return recorded
        if recorded is None:
            raise EndOfTape(name)
        if lines := of_values(_essence(recorded), _essence(now)):
            raise self._differs(name, f"the phase {name} comes to something else", lines)
        return recorded

    def _require_member(self, matched: Matched) -> None:
        members = self._stage.cluster.agents
        made = matched.made
        if matched.winner and (matched.winner if made is None else made.creator) not in members:
            lines = [f"- {matched.winner}", f"+ {', '.join(members)}"]
            raise self._differs("match", f"the winner {matched.winner} is no member of the cluster any more", lines)

    def queued(self) -> AbstractAsyncContextManager[None]:
        """Return a context in which nothing happens: who took the task is recorded."""
        return nullcontext()

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
        """Return the recorded result of a step, after holding what is asked against what was asked."""
        del once
        done = f"step/{key}"
        if f"asked/{key}" in self._left:
            raise self._differs(key, f"people were asked about {name}, and are not any more")
        fact = self._reel.facts.get(done)
        if not isinstance(fact, StepCompleted):
            await self._beyond(key, name, do, asked, again)
        repeats = {one for one in self._left if one.startswith(f"asked/{key}/repeat")}
        self._left -= {done, *repeats}  # whether it was repeated is not known any more
        self._compare_name(key, fact, name)
        value = _decode(fact.value, type=result)
        if isinstance(value, Reply) and value.refused:
            return value
        if name in MODEL and isinstance(value, Reply):
            take, _ = await self._take(do, value)
            self._compare_request(done, take, value.asked, fingerprint)
            self._played.takes[self._reel.task.id, done] = take
        elif name.startswith("tool:"):
            take, now = await self._take(do, Reply())
            self._compare_call(done, name, take, (value, now))
            self._played.takes[self._reel.task.id, done] = take
        return value

    async def denied(self, key: str, ask: Ask) -> None:
        """Return nothing: whoever does not ask any more differs."""
        del key, ask

    async def skip(self, key: str, name: str, value: T, *, asked: str = "") -> T:
        """Return the recorded result of a step to which people did not agree.

        Earlier versions recorded only what they decided.
        """

        async def tell() -> T:
            return value

        if f"step/{key}" not in self._reel.facts:
            return value
        return await self.step(key, name, tell, type(value), asked=asked)

    def now(self, key: str) -> float:
        """Return the recorded time."""
        return self.draw(key, "clock", self._stage.services.clock.now, float)

    def random(self, key: str) -> float:
        """Return the recorded number."""
        return self.draw(key, "random", lambda: 0.0, float)

    def draw(self, key: str, name: str, take: Callable[[], T], result: type[T]) -> T:
        """Return the recorded value; what was not recorded then is taken now."""
        del name
        fact = self._reel.facts.get(f"step/{key}")
        return _decode(fact.value, type=result) if isinstance(fact, StepCompleted) else take()

    def told(self, key: str, fact: type[F]) -> F | None:
        """Return what was made known under a key."""
        found = self._reel.facts.get(key)
        return found if isinstance(found, fact) else None

    async def sleep(self, key: str, seconds: float) -> None:
        """Return at once: on the stage nothing takes time."""

    async def receive(self, key: str, name: str, seconds: float) -> object:
        """Refuse: tools alone wait for signals, and none runs.

        Raises:
            Diverged: always.
        """
        del seconds
        raise Diverged(f"the signal {name} is waited for outside a recorded call: {key}")

    async def approve(self, key: str, ask: Ask) -> Decision:
        """Return what was decided.

        Raises:
            Differs: nobody was asked, or about something else.
            EndOfTape: the task ended before that.
        """
        facts = self._reel.facts
        before, decided = facts.get(f"asked/{key}"), facts.get(f"approval/{key}")
        if isinstance(before, ApprovalRequested):
            self._left.discard(f"asked/{key}")
            recorded, now = ({"tool": one.tool, "arguments": one.arguments} for one in (before, ask))
            if lines := of_values(redacted(recorded, JsonObject), redacted(now, JsonObject)):
                raise self._differs(key, "people are asked about something else", lines)
            if isinstance(decided, ApprovalResolved):
                return Decision(decided.verdict, decided.by, decided.reason, decided.at)
        elif self._reel.taped.phase == "Succeeded" or any(f"{how}/{key}" in facts for how in _DONE):
            raise self._differs(key, f"people are asked about the tool {ask.tool}, which was not recorded")
        raise EndOfTape(key)

    def loose(self) -> Steps:
        """Give up the work: its steps were not kept, and what people were asked in it belongs to no step.

        Raises:
            Unrecorded: always.
        """
        self._left = {key for key in self._left if not key.startswith("asked/")}
        raise Unrecorded(self._reel.task.id)

    def recorded(self, prefix: str) -> Spent:
        """Return nothing: all of it is done again."""
        del prefix
        return NOTHING

    async def parts(self) -> Spent:
        """Return nothing, likewise."""
        return NOTHING

    def waited(self, prefix: str = "") -> float:
        """Return 0: nobody is waited for."""
        del prefix
        return 0.0

    def leave(self, outcome: object) -> None:
        """Forget what there is of the work: what was recorded of it counts."""

    async def child(self, task: Task, account: Budget) -> Result:
        """Run a recorded part again; what it may use was limited when it was recorded."""
        del account
        reel = self._reels.get(task.id)
        if reel is None:
            raise self._differs("execute", f"a part is done that was not recorded: {task.goal}")
        return await Player(reel, self._reels, self._stage, self._played).run()

    async def _take(self, do: Callable[[], Awaitable[T]], reply: Reply) -> tuple[Take, T | None]:
        """Do a step with stand-ins and return what was asked of them, and what came of it."""
        take = Take(reply)
        token = TAKE.set(take)
        try:
            return take, await do()
        except Diverged:
            raise
        except LoomdError:
            return take, None  # the recorded result counts
        finally:
            TAKE.reset(token)

    def _compare_name(self, key: str, fact: StepCompleted | StepFailed, name: str) -> None:
        if fact.name != name:
            raise self._differs(key, "another step is done", [f"- {fact.name}", f"+ {name}"])

    def _compare_request(self, place: str, take: Take, mark: str, marked: Callable[[Request], str]) -> None:
        """Hold a request against the recorded one; where that is not kept, its mark against the recorded mark."""
        key, now = place.partition("/")[2], take.request
        if now is None:
            raise self._differs(key, "the model is not asked any more")
        recorded = self._reel.requests.get(place)
        if recorded is None:
            if mark and mark != marked(now):
                raise self._differs(key, "the model is asked something else; the recording does not hold what it was")
            return
        if lines := of_requests(recorded, plain(now)):
            raise self._differs(key, "the model is asked something else", lines)

    def _compare_call(self, place: str, name: str, take: Take, outcomes: tuple[object, object]) -> None:
        """Hold a tool call against the recorded one; one that does not reach the tool must have failed alike."""
        recorded, now = outcomes
        key, tool = place.partition("/")[2], name.removeprefix("tool:")
        if take.arguments is None:
            if lines := of_values(recorded, now):
                raise self._differs(key, f"the call of the tool {tool} comes to something else", lines)
            return
        before = self._reel.arguments.get(place)
        call = redacted({"arguments": take.arguments}, dict[str, JsonObject])["arguments"]
        if before is not None and (lines := of_values(before, call, "/arguments")):
            raise self._differs(key, f"the tool {tool} is called with something else", lines)

    async def _compare_failed(
        self, key: str, name: str, do: Callable[[], Awaitable[object]], fact: StepFailed, asked: str
    ) -> None:
        """Hold a step that brought no result against the recorded one."""
        place = f"failed/{key}"
        self._compare_name(key, fact, name)
        take, _ = await self._take(do, Reply())
        if name in MODEL:
            self._compare_request(place, take, fact.asked, lambda _: asked)
        else:
            self._compare_call(place, name, take, (None, {}))
        self._played.takes[self._reel.task.id, place] = take

    async def _beyond(
        self, key: str, name: str, do: Callable[[], Awaitable[object]], asked: str, again: int
    ) -> NoReturn:
        """Do as the recording did where it has no step: fail alike, or end.

        Raises:
            LoomdError: the recorded failure.
            Exhausted: the time was over, or a limit left no room for it.
            Uncertain: it was begun, and its end was not known.
            EndOfTape: the task ended here.
            Differs: nothing of the kind was recorded.
        """
        executed, scaled = self._reel.value("execute", Executed), self._reel.value("scale", Scaled)
        failed = self._reel.facts.get(f"failed/{key}")
        begun = (f"intent/{key}/repeat/{again}" if again else f"intent/{key}") in self._reel.facts
        if isinstance(failed, StepFailed):
            await self._compare_failed(key, name, do, failed, asked)
            if failed.ended and (executed is None or not executed.outcome.temporary):
                reason = msgspec.convert(failed.ended, StopReason)
                alike = executed is not None and executed.outcome.stop_reason == reason
                raise Exhausted(reason, 0.0, 0.0, ended=_ended(executed.outcome) if executed and alike else None)
        if (name == "model" or failed is not None) and key.startswith("execute") and executed is not None:
            _fail_alike(executed.outcome, tried=failed is not None)
            if executed.outcome.stop_reason == "uncertain" and failed is not None:  # of the same turn it may be another
                raise Uncertain(executed.outcome.error, key if begun else "")
        if name == "plan" and scaled is not None and _NO_PLAN in scaled.why:
            raise Permanent(scaled.why)
        if key.startswith("evaluate/") and isinstance(failed, StepFailed):
            raise Permanent("the model failed, as it did when that was recorded")
        if (executed if key.startswith("execute") else scaled) is None and self._reel.taped.phase != "Succeeded":
            raise EndOfTape(key)
        if begun:
            raise Uncertain(
                f"{name} was begun before an interruption and may have had its effect; it is not repeated", key
            )
        if again:
            raise EndOfTape(key)
        asks = name in MODEL or name.startswith("tool:")
        take = (await self._take(do, Reply()))[0] if asks else Take(Reply())
        raise self._differs(key, f"a step is done that was not recorded: {name}", _asked(take))

    def _differs(self, step: str, what: str, lines: list[str] | None = None) -> Differs:
        return Differs(Difference(self._reel.task.id, step, what, tuple(lines or ())))


def _fail_alike(outcome: Outcome, *, tried: bool) -> None:
    """Raise what ended recorded work, when it was a failure, the time was over, or a day's budget spent."""
    if outcome.stop_reason == "error" and outcome.error:
        raise Temporary(outcome.error) if outcome.temporary else Permanent(outcome.error)
    if outcome.stop_reason == "budget_time":
        raise Exhausted("budget_time", outcome.seconds, outcome.seconds, ended=_ended(outcome))
    if tried and outcome.temporary:
        raise Exhausted(outcome.stop_reason, 0.0, 0.0, ended=_ended(outcome))


def _ended(outcome: Outcome) -> Ended:
    """Return the end of recorded work."""
    return Ended(outcome.stop_reason, outcome.note, outcome.foreign, outcome.temporary)


def _counts(fact: AnyFact) -> bool:
    """Return whether a recorded step must be done again, or a question asked again."""
    if isinstance(fact, StepCompleted):
        return fact.name in MODEL or fact.name.startswith("tool:")
    return isinstance(fact, ApprovalRequested)


def _essence(value: object) -> dict[str, Any]:
    """Return what of a phase's output must be alike: neither how long it took nor how it is worded."""
    if isinstance(value, Scaled):
        return {"subtasks": redacted(value.subtasks, list[Any])}
    found = redacted(value, dict[str, Any])
    if isinstance(value, Executed):
        outcome = found["outcome"]
        for name in ("seconds", "waited"):
            outcome.pop(name, None)
        if value.outcome.stop_reason in {"budget_time", "cancelled"}:  # pieces of an answer are not recorded
            for name in ("output", "citations", "grounding", "unknown_citations"):
                outcome.pop(name, None)
    return found


def _asked(take: Take) -> list[str]:
    """Return what a step asks that was not recorded."""
    if take.request is not None and take.request.messages:
        return of_values(None, plain(take.request).messages[-1].text, "/last message")
    return of_values(None, take.arguments, "/arguments") if take.arguments is not None else []
