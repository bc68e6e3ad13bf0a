"""What a change is about beside its objects: who wants it and why, what became of it, and how much is kept."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from loomd.errors import LoomdError
from loomd.manifest.delivery import Delivery
from loomd.manifest.problem import Problems
from loomd.manifest.raised import words_of
from loomd.reconcile.plan import Plan
from loomd.reconcile.state import SourceBook


@dataclass(frozen=True)
class Bounds:
    """How much is kept.

    Attributes:
        history: revisions in the store.
        live: topologies that were given up and that tasks still hold.
        drain: seconds that the oldest of those gets when there are too many, before its tasks are moved.
    """

    history: int = 100
    live: int = 8
    drain: float = 30.0


Note = Callable[[SourceBook, Plan], None]
"""Notes in the book of sources what was carried out; it is called on a copy before, and on the book itself after."""


def _note_nothing(book: SourceBook, plan: Plan) -> None:
    del book, plan


def _do_nothing() -> None:
    pass


@dataclass(frozen=True)
class Act:
    """Who wants a change, and why.

    Attributes:
        cause: `apply`, `sync`, `delete`, `edit`, `undo`.
        source: the source that changes.
        manager: who acts; by default the cause.
        dry_run: change nothing.
        note: what it means for the sources.
        done: called once it serves.
    """

    cause: str
    source: str
    manager: str = ""
    dry_run: bool = False
    note: Note = _note_nothing
    done: Callable[[], None] = _do_nothing


def named_by(deliveries: Sequence[Delivery]) -> str:
    """Return the sources that deliver, for people."""
    return ", ".join(one.source for one in deliveries)


def lines_of(error: Exception) -> tuple[str, ...]:
    """Return why a change was refused, a line for each problem."""
    if isinstance(error, Problems):
        return tuple(str(problem) for problem in error.problems)
    if isinstance(error, LoomdError):
        return (str(error),)
    return (words_of(error),)
