"""`kind: Schedule`: tasks that are submitted by the clock.

What is declared here is all that a manifest says; `runner` submits the tasks of every object of this kind that serves.
"""

import re
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, ValidationInfo, field_validator, model_validator

from loomd.amoeba.expect import ExpectSpec
from loomd.amoeba.task import Durability
from loomd.manifest.kind import RefTo, Reload, Spec
from loomd.manifest.quantity import NO_NEWLINE, Duration
from loomd.manifest.rule import exactly_one, never, spelled
from loomd.manifest.wording import quoted
from loomd.tasks.terms import TaskBudget
from loomd.topology import Health, Parts

Now = Reload("immediate")
"""A change of the field acts on the next due time; nothing that runs looks at it."""

_EXPRESSION = (
    rf"^(@[a-z]{{1,10}}|[0-9A-Za-z*,/#-]{{1,100}}( {{1,9}}[0-9A-Za-z*,/#-]{{1,100}}){{4}})${NO_NEWLINE}",
    "expected minute, hour, day of the month, month and day of the week, such as 0 6 * * 1-5, or a name such as @daily",
)
_ZONE = (
    rf"^[A-Za-z][A-Za-z0-9_+-]{{0,40}}(/[A-Za-z0-9_+-]{{1,40}}){{0,2}}${NO_NEWLINE}",
    "expected the IANA name of a time zone, such as Europe/Berlin or UTC",
)
_GOAL = (r"\S", "expected what is wanted, in words")
_SPELLED = {"schedule": _EXPRESSION, "time_zone": _ZONE, "goal": _GOAL}
"""Pattern of each field, and what people are told of a text that does not fit it."""


_SET = {"not": {"type": "null"}}
_DECLARED = "expected no {} beside task: the declared task says it"
_OWN: dict[str, dict[str, Any]] = {
    "cluster": _SET,
    "budget": {"minProperties": 1},
    "expect": {"minProperties": 1},
    "durability": _SET,
}
"""What a declared task says in the place of the schedule, and when it counts as said."""


class ScheduleSpec(Spec):
    """A task that is submitted again and again, at times that a cron expression gives."""

    model_config = ConfigDict(
        json_schema_extra={
            "allOf": [
                *exactly_one("goal", "task")["allOf"],
                *(
                    rule
                    for name, said in _OWN.items()
                    for rule in never(_DECLARED.format(name), task=_SET, **{name: said})["allOf"]
                ),
            ]
        }
    )

    schedule: Annotated[str, Now] = Field(
        max_length=600, json_schema_extra=spelled(_EXPRESSION), examples=["0 6 * * 1-5", "@daily"]
    )
    """When it is due, as Debian's cron reads it: minute, hour, day of the month, month, day of the week. `L` is the
    last day of the month, `LW` its last working day, `5L` the last Friday, `1#2` the second Monday. Or one of
    `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`."""
    time_zone: Annotated[str, Now] = Field(
        default="UTC", json_schema_extra=spelled(_ZONE), examples=["Europe/Berlin", "UTC"]
    )
    """Time zone of `schedule`. When clocks are set forward, what is due in the hour that is left out starts right after
    it; when they are set back, what is due in the hour that comes twice starts once. What is due every few minutes or
    hours (minute or hour begins with `*`) goes by the hands of the clock: it is left out, and it comes twice."""
    goal: str | None = Field(
        default=None,
        max_length=100_000,
        json_schema_extra=spelled(_GOAL),
        examples=["Summarise the tickets that are open."],
    )
    """What is wanted, in words."""
    task: Annotated[str, RefTo("Task")] | None = Field(default=None, examples=["weekly-report"])
    """Declared task that is sent, in place of a goal: it says what is wanted, by whom, and on what terms."""
    cluster: Annotated[str, RefTo("Cluster")] | None = Field(default=None, examples=["support"])
    """Cluster that takes the task; needed only when there are several."""
    budget: TaskBudget = Field(default_factory=TaskBudget)
    """What one run may use."""
    expect: ExpectSpec = Field(default_factory=ExpectSpec)
    """What the answer must satisfy."""
    durability: Durability | None = None
    """What is kept of a run: every step, the run as a whole, or nothing; the cluster's own choice when unset."""
    concurrency_policy: Annotated[Literal["Allow", "Forbid", "Replace"], Now] = "Allow"
    """What happens when the run before still goes on: `Allow` starts another beside it, `Forbid` starts none until it
    has ended, `Replace` ends it and starts the new one."""
    missed_run_policy: Annotated[Literal["skip", "one", "all"], Now] = "one"
    """What happens with runs that could not start within a minute of their time, because the daemon was down, the clock
    was set forward, no cluster took the task, or `Forbid` held them back: `skip` drops them, `one` makes up the newest,
    `all` makes up each of the newest 100 (with `Replace` the newest only)."""
    starting_deadline: Annotated[Duration | None, Now] = Field(default=None, gt=0, examples=["2h"])
    """How late a run may start; later it is dropped. By default a run that is made up may be any time late."""
    jitter: Annotated[Duration, Now] = Field(default=0.0, ge=0, examples=["5m"])
    """Each run starts this much later at most, by a time that differs between schedules and due times and is always the
    same for one due time: what is due at the same minute does not start at the same second."""
    suspend: Annotated[bool, Now] = False
    """Start no runs. What would have been due meanwhile is not missed."""

    @field_validator(*_SPELLED)
    @classmethod
    def _is_spelled(cls, value: str | None, field: ValidationInfo) -> str | None:
        pattern, message = _SPELLED[str(field.field_name)]
        if value is not None and not re.search(pattern, value):
            raise ValueError(message)
        return value

    @model_validator(mode="after")
    def _one_task(self) -> Self:
        if (self.goal is None) == (self.task is None):
            raise ValueError("expected exactly one of goal, task")
        if self.task is not None:
            for name in _OWN:
                said = getattr(self, name)
                if said is not None and (not isinstance(said, Spec) or said.model_fields_set):
                    raise ValueError(_DECLARED.format(name))
        return self

    def check(self, root: Path) -> Iterator[tuple[str, str, str]]:
        """Yield what is wrong with the expression and the time zone."""
        del root
        from loomd.schedules.timetable import NAMES, Timetable  # noqa: PLC0415  # calendars, for those who need them

        zone = "UTC"
        try:
            Timetable("@daily", self.time_zone)
            zone = self.time_zone
        except ValueError as error:
            yield "/timeZone", str(error), "invalid-value"
        if self.schedule.startswith("@") and self.schedule not in NAMES:
            yield "/schedule", f"expected one of {', '.join(NAMES)}, got {quoted(self.schedule)}", "invalid-value"
            return
        try:
            table = Timetable(self.schedule, zone)
        except ValueError as error:
            said = str(error).removeprefix("Bad ")
            yield (
                "/schedule",
                f"expected a cron expression, got {quoted(self.schedule)}: look at its {said}",
                "invalid-value",
            )
            return
        if not table.is_ever_due:
            yield (
                "/schedule",
                f"expected times that come, got {quoted(self.schedule)}: there is no such day",
                "invalid-value",
            )

    @asynccontextmanager
    async def open(self, parts: Parts) -> AsyncGenerator["Scheduled", None]:
        """Yield what says how the schedule does; the runner submits its tasks as soon as it serves."""
        del parts
        yield Scheduled()


class Scheduled:
    """A schedule that is open: the runner notes in it what it sees, so that the object's conditions say so."""

    def __init__(self) -> None:
        self._seen: tuple[Health, ...] = ()

    def note(self, *seen: Health) -> None:
        """Take what was observed in place of what was observed before."""
        self._seen = seen

    def health(self) -> Iterable[Health]:
        """Return what was observed."""
        return self._seen
