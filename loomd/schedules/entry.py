"""One schedule while it serves: its object, what is known of it, and when to look at it again. Called by `runner`."""

import asyncio
from dataclasses import dataclass
from typing import Literal

from msgspec.structs import replace

from loomd.manifest.object import Object, Ref
from loomd.schedules.agenda import Agenda, Run, ScheduleState, Status
from loomd.schedules.spec import Scheduled, ScheduleSpec
from loomd.topology import Health, HealthReason

NEVER = float("inf")


@dataclass(frozen=True)
class Standing:
    """How a schedule does.

    Attributes:
        suspended: whether it starts no runs.
        reason: why it is suspended, or empty.
        last: the run that was started last.
        next: when it is due next, wall-clock seconds; None while it is suspended.
        active: the tasks that go on.
        runs: what became of the last due times, newest first.
        waiting: why a run that is due does not start, or empty.
    """

    suspended: bool
    reason: str
    last: Run | None
    next: float | None
    active: tuple[str, ...]
    runs: tuple[Run, ...]
    waiting: str


class Entry:
    """One schedule that serves.

    Args:
        item: the object.
        uid: its identity.
        state: what is stored of it, or None.
        since: the time from which on it is due when nothing is stored.

    Attributes:
        lock: held by whoever changes what is known.
        next: when the next run starts, wall-clock seconds.
        blocked: why a run that is due does not start, or empty.
        saved: the state as it is stored, or None.
        tried: the task that was submitted last, whether that was heard to have worked or not.
    """

    def __init__(self, item: Object, uid: str, state: ScheduleState | None, since: float) -> None:
        self.item = item
        self.uid = uid
        self.agenda = Agenda(item.spec, uid)
        self.state = state or ScheduleState(since, self.agenda.rule)
        self.lock = asyncio.Lock()
        self.next = NEVER
        self.blocked = ""
        self.saved = state
        self.tried = ""
        self.plan()

    @property
    def ref(self) -> Ref:
        """Return the name of the object."""
        return self.item.ref

    @property
    def spec(self) -> ScheduleSpec:
        """Return what is declared."""
        spec: ScheduleSpec = self.item.spec
        return spec

    @property
    def suspended(self) -> bool:
        """Return whether it starts no runs."""
        return self.spec.suspend or self.state.suspended

    def declare(self, item: Object, now: float) -> None:
        """Take over what is declared now; other due times count from now on."""
        self.item, self.agenda = item, Agenda(item.spec, self.uid)
        if self.state.rule != self.agenda.rule:
            self.state = replace(self.state, mark=now, rule=self.agenda.rule, error="", unserved=False)
            self.blocked = ""
        self.plan()

    def take(self, state: ScheduleState) -> None:
        """Take over what is known now."""
        self.state = state
        self.plan()

    def end(self, task: str) -> None:
        """Note that one of its tasks has ended."""
        self.state = replace(self.state, active=tuple(one for one in self.state.active if one != task))

    def plan(self) -> None:
        """Find out when the next run starts."""
        due = None if self.suspended else self.agenda.next(self.state.mark)
        self.next = NEVER if due is None else self.agenda.begins(due)
        if due is None:
            self.blocked = ""

    def wants_a_look(self, now: float) -> bool:
        """Return whether a run should start, or the clock was set back."""
        return not self.suspended and (now >= self.next or now < self.state.mark)

    def standing(self, now: float) -> Standing:
        """Return how it does."""
        state, spec = self.state, self.spec
        due = None if self.suspended else self.agenda.next(max(state.mark, now))
        reason = state.reason or ("by hand" if state.suspended else "by spec.suspend" if spec.suspend else "")
        return Standing(self.suspended, reason, state.last, due, state.active, state.runs, self.blocked)

    def tell(self, live: object, now: float) -> None:
        """Tell the live thing how it does."""
        if isinstance(live, Scheduled):
            live.note(
                self._turn("Suspended", *self._suspension(), now), self._turn("TaskSubmitted", *self._submission(), now)
            )

    def _suspension(self) -> tuple[Status, HealthReason, str]:
        if self.suspended:
            return "True", "Suspended", self.state.reason or "it starts no runs"
        return "False", "Active", "its runs start when they are due"

    def _submission(self) -> tuple[Status, HealthReason, str]:
        state = self.state
        if state.error:
            return "False", "ClusterNotServing" if state.unserved else "NotSubmitted", f"a run is due: {state.error}"
        if state.last is None:
            return "Unknown", "NotDue", "no run was due yet"
        return "True", "Submitted", f"Task/{state.last.task} was submitted last"

    def _turn(
        self,
        condition: Literal["Suspended", "TaskSubmitted"],
        status: Status,
        reason: HealthReason,
        message: str,
        now: float,
    ) -> Health:
        """Return a condition, with the time at which its status became what it is."""
        before, since = self.state.conditions.get(condition, (None, now))
        if before != status:
            since = now
            conditions: dict[str, tuple[Status, float]] = {**self.state.conditions, condition: (status, since)}
            self.state = replace(self.state, conditions=conditions)
        return Health(condition, status, reason, message, since)
