"""What the engine lends to the record of a task: the world outside, its parts, its account."""

from collections.abc import Awaitable, Callable

import msgspec

from loomd.agents.budget import Budget, Spent
from loomd.amoeba.task import Result, Task
from loomd.engine.mailbox import Mailbox
from loomd.topology import Services


class Lent(msgspec.Struct, frozen=True):
    """What the engine lends to the record of a task.

    Attributes:
        services: journal and clock.
        mailbox: where it waits for the world outside.
        child: runs a subtask, on an account of its own.
        parts: returns what its parts had used when it was interrupted.
        mark: makes known in which phase the task is while it runs, and waits.
        settle: is called before anything is done that is not recorded.
        follow: lets the task go on on what serves.
        behind: returns whether something else serves on which the task may go on.
        account: that of the task, when it is a part of another.
    """

    services: Services
    mailbox: Mailbox
    child: Callable[[Task, Budget], Awaitable[Result]]
    parts: Callable[[], Awaitable[Spent]]
    mark: Callable[[str], Awaitable[None]]
    settle: Callable[[], Awaitable[None]]
    follow: Callable[[], None]
    behind: Callable[[], bool]
    account: Budget | None = None
