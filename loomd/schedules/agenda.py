"""What is known of one schedule and what it is to do next. Pure: the runner looks at clocks and does it.

A schedule has a mark: all due times up to it are dealt with, each started, dropped or begun already. So what lies
between the mark and now is what is to be decided, after a second or after a year. Called by `runner`.
"""

import hashlib
from collections.abc import Sequence
from typing import Literal, NamedTuple

import msgspec
from msgspec.structs import replace

from loomd.schedules.spec import ScheduleSpec
from loomd.schedules.timetable import Due, Timetable, timetable

Status = Literal["True", "False", "Unknown"]

ON_TIME = 60.0
"""Seconds after which a run that has not started counts as missed."""
MOST = 100
"""Most runs that are made up."""
KEPT = 10
"""Runs of which is told what became of them."""


class Run(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of a due time, or of the last of several that were missed together.

    Attributes:
        due: when it was due, wall-clock seconds.
        at: when it was started or given up.
        task: the task that was submitted, or empty.
        missed: why it was given up, or empty.
        count: how many due times this stands for.
    """

    due: float
    at: float
    task: str = ""
    missed: str = ""
    count: int = 1


class ScheduleState(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is known of a schedule beside its manifest; it is stored whenever it changes.

    Attributes:
        mark: all due times up to here are dealt with, wall-clock seconds.
        rule: what the due times come from; under another rule the mark begins anew.
        suspended: whether somebody suspended it, beside what its manifest says.
        reason: why.
        runs: the last ones, newest first.
        active: the tasks that may still go on.
        error: why the run that is due could not be submitted, or empty.
        unserved: whether that is because no cluster takes it.
        conditions: status of its own conditions, and since when.
    """

    mark: float
    rule: str
    suspended: bool = False
    reason: str = ""
    runs: tuple[Run, ...] = ()
    active: tuple[str, ...] = ()
    error: str = ""
    unserved: bool = False
    conditions: dict[str, tuple[Status, float]] = {}

    @property
    def last(self) -> Run | None:
        """Return the run that was started last."""
        return next((run for run in self.runs if run.task), None)

    def knows(self, task: str) -> bool:
        """Return whether a task is among the last runs."""
        return any(run.task == task for run in self.runs)

    def started(self, due: float, task: str, now: float) -> "ScheduleState":
        """Return the state after a run was started."""
        runs = (Run(due, now, task), *self.runs)[:KEPT]
        active = (*(one for one in self.active if one != task), task)
        return replace(self, mark=max(self.mark, due), runs=runs, active=active, error="", unserved=False)

    def by_hand(self, task: str, now: float) -> "ScheduleState":
        """Return the state after somebody started a run that was not due."""
        return replace(self, runs=(Run(now, now, task), *self.runs)[:KEPT])

    def given_up(self, missed: Due, why: str, now: float) -> "ScheduleState":
        """Return the state after due times were given up."""
        run = Run(missed.times[-1], now, missed=why, count=len(missed.times))
        return replace(self, mark=max(self.mark, run.due), runs=(run, *self.runs)[:KEPT])


class Choice(NamedTuple):
    """What becomes of due times: the older ones are missed for good, the newer ones are to be started."""

    missed: Due
    run: tuple[float, ...]


class Agenda:
    """When the runs of one schedule start: its due times, each moved by its jitter.

    Args:
        spec: what is declared.
        uid: identity of the object.
    """

    def __init__(self, spec: ScheduleSpec, uid: str) -> None:
        self._spec = spec
        self._uid = uid
        self._table: Timetable = timetable(spec.schedule, spec.time_zone)

    @property
    def rule(self) -> str:
        """Return what the due times come from."""
        spec = self._spec
        return f"{spec.schedule} {spec.time_zone}{' suspended' if spec.suspend else ''}"

    def begins(self, due: float) -> float:
        """Return when the run of a due time starts."""
        draw = int.from_bytes(self._digest(f"jitter {due:.0f}")[:8]) / 2**64
        return due + self._spec.jitter * draw

    def task(self, due: float) -> str:
        """Return the id of the task of a due time: always the same, so that it is accepted once."""
        return f"t{int(due * 1000):011x}-{self._digest(f'task {due:.0f}').hex()[:12]}"

    def seed(self, due: float) -> int:
        """Return the seed of the task of a due time."""
        return int.from_bytes(self._digest(f"seed {due:.0f}")[:4])

    def next(self, mark: float) -> float | None:
        """Return the first due time after a mark, or None when there is none any more."""
        return self._table.after(mark)

    def choose(self, mark: float, now: float) -> Choice:
        """Return what becomes of the due times between the mark and now whose runs should have started."""
        due = self._table.between(mark, now, MOST + 1)
        begun = [self.begins(one) <= now for one in due.times]
        upto = begun.index(False) if False in begun else len(begun)  # a later one never overtakes
        times = due.times[:upto]
        kept = self._kept(times, now)
        if due.more and kept == len(times):  # the oldest one stands for those before it, which are missed
            kept -= 1
        return Choice(Due(times[: len(times) - kept], more=due.more and bool(times)), times[len(times) - kept :])

    def _kept(self, times: Sequence[float], now: float) -> int:
        """Return how many of the newest are started."""
        spec = self._spec
        late = float("inf") if spec.starting_deadline is None else spec.starting_deadline
        if spec.missed_run_policy == "skip":
            late = min(late, ON_TIME)
        stale = next((at for at, one in enumerate(reversed(times)) if now - self.begins(one) > late), len(times))
        every = spec.missed_run_policy == "all" and spec.concurrency_policy != "Replace"
        return stale if every else min(stale, 1)

    def _digest(self, text: str) -> bytes:
        return hashlib.sha256(f"{self._uid} {text}".encode()).digest()
