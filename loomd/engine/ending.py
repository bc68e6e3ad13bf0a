"""What is told of a task, and what its end says. Called by the engine."""

import logging
from collections.abc import Mapping
from typing import Any

from loomd.agents.work import Outcome
from loomd.amoeba.account import whole
from loomd.amoeba.task import Ended, Executed, Matched, Result, Task
from loomd.errors import LoomdError
from loomd.events.bus import Bus, Scope
from loomd.events.event import TaskCompleted, TaskFailed
from loomd.events.phase import Phase
from loomd.manifest.raised import words_of

_log = logging.getLogger("loomd.engine")

HERE = "`loomd resume task/{0}` lets it go on on what serves, "
AWAY = (
    "{0}; it was moved because too many earlier revisions are open, and goes on on its own once one of them closes; "
    "`loomd cancel task/{1}` ends it"
)
WAYS = "`loomd retry task/{0}` runs it anew, `loomd cancel task/{0}` ends it"
STRAY = "it was cancelled from within, by something that is not loomd's"
"""What is said of a task that nobody cancelled, and that ended so."""


def scope_of(bus: Bus, task: Task) -> Scope:
    """Return what tells of a task; of one that is not kept only to who listens."""
    kept = task.durability != "none"
    return Scope(bus, task.id, task.parent, task.namespace, task.revision, kept=kept)


def reason_of(error: BaseException) -> str:
    """Return the message of an error; the first one of a group; an unexpected one with its type."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, LoomdError):
        return str(error)
    _log.error("unexpected error in a task", exc_info=error)
    return words_of(error)


def announce(scope: Scope, result: Result) -> None:
    """Make the end of a task known."""
    executed, evaluated = result.executed, result.evaluated
    if result.phase == "Succeeded" and executed is not None and evaluated is not None:
        outcome = executed.outcome
        fact = TaskCompleted(outcome.stop_reason, evaluated.reward, outcome.cost, outcome.usage)
        scope.emit(fact, executed.agent, key="ended")
    else:
        ended = executed.outcome.stop_reason if executed is not None else "error"
        reason = "cancelled" if result.phase == "Cancelled" else "error" if ended == "completed" else ended
        scope.emit(TaskFailed(reason, result.error, result.retried), executed.agent if executed else "", key="ended")


def unfinished(task: Task, phase: Ended, error: str, done: Mapping[Phase, Any], partial: Outcome | None) -> Result:
    """Return the result of a task that did not come to its end.

    Args:
        task: the task.
        phase: how it ended.
        error: why.
        done: what came out of the phases that ended.
        partial: what there is of the work, when EXECUTE did not end.
    """
    matched: Matched | None = done.get("match")
    executed: Executed | None = done.get("execute")
    if executed is None and partial is not None:
        executed = Executed(partial, matched.winner if matched else "", error=error)
    if executed is not None:
        executed = whole(executed, done.get("evaluate"))
    return Result(
        task,
        phase,
        done.get("sense"),
        matched,
        done.get("scale"),
        executed,
        done.get("evaluate"),
        done.get("adapt"),
        error,
    )
