"""What goes into one transaction of the writer: parts in their order, and groups of them that are written at once."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

from loomd.store.finish import Written

T = TypeVar("T")
R = TypeVar("R")

Group = Callable[[Sequence[Any]], Sequence[object]]
"""Writes values, in their order, and returns what came of each."""
Caller = Written[object]
"""Waits until something is on disk."""

_SMALL = 64 << 10
"""Bytes of records in a small batch."""


class Part(NamedTuple, Generic[R]):
    """Something to be written, or records that were handed in one after the other.

    Attributes:
        group: what writes it, at once with all that it writes in the same transaction.
        value: what it is given.
        caller: who waits for what comes of it; None where it must not be lost: it stays in its place until it is done.
        came: gets what came of it where it must not be lost.
        records: the records.
    """

    group: Group
    value: object
    caller: Caller | None = None
    came: list[Any] | None = None
    records: Sequence[R] = ()


@dataclass(slots=True)
class Batch(Generic[R]):
    """What goes into one transaction, and callers who wait for all of it.

    Attributes:
        work: its parts in their order.
        joined: callers who wait for all of it.
        open: the records at the end of the work, to which more may be added.
        count: how many records there are.
        size: how many bytes they have, about.
    """

    work: list[Part[R]] = field(default_factory=list)
    joined: list[Caller] = field(default_factory=list)
    open: list[R] | None = None
    count: int = 0
    size: int = 0

    @property
    def is_small(self) -> bool:
        """Return whether there are only records, few, and one caller waits for them."""
        return len(self.joined) == 1 and self.size <= _SMALL and all(part.records for part in self.work)

    @property
    def is_awaited(self) -> bool:
        """Return whether somebody waits for something in it."""
        return bool(self.joined) or any(part.caller is not None for part in self.work)

    def __bool__(self) -> bool:
        return bool(self.work or self.joined)


def run_each(operations: Sequence[Callable[[], T]]) -> list[T]:
    """Run operations that are their own group; they may write any table."""
    return [operation() for operation in operations]


def grouped(work: Sequence[Part[R]]) -> Iterator[tuple[Group, list[int]]]:
    """Yield groups with the places of the parts that each may write at once: operations stay where they are."""
    together: dict[Group, list[int]] = {}
    for place, part in enumerate(work):
        if part.group is run_each:
            yield from together.items()
            together = {}
            yield run_each, [place]
        else:
            together.setdefault(part.group, []).append(place)
    yield from together.items()
