"""Who came last: of two changes of one thing the later one counts, also when the earlier one takes longer to open.

Acts are told apart by their numbers: who came later has a higher one. Called by the reconciler.
"""

from collections.abc import Collection, Iterable
from typing import TypeVar

from loomd.manifest.delivery import Delivery
from loomd.manifest.object import Ref

T = TypeVar("T")


class Latest:
    """The number of the newest act on each source and object."""

    def __init__(self) -> None:
        self._sources: dict[str, int] = {}
        self._wholes: dict[str, int] = {}
        """Of acts that decided all that a source declares."""
        self._objects: dict[Ref, int] = {}

    def note(
        self, number: int, refs: Iterable[Ref], deliveries: Iterable[Delivery] = (), wholes: Iterable[str] = ()
    ) -> None:
        """Note an act that is valid, and about to be carried out.

        Args:
            number: of the act.
            refs: the objects that it declares or deletes.
            deliveries: what it brings.
            wholes: further sources of which it decides all that they declare.
        """
        deliveries = tuple(deliveries)
        _raise(self._objects, refs, number)
        _raise(self._sources, (one.source for one in deliveries), number)
        _raise(self._wholes, (*wholes, *(one.source for one in deliveries if one.prune)), number)

    def overtook(self, number: int, delivery: Delivery) -> bool:
        """Return whether what a delivery brings was decided by somebody who came later."""
        newest = self._wholes.get(delivery.source, 0)
        if delivery.prune:  # what others added to it meanwhile would be deleted
            newest = max(newest, self._sources.get(delivery.source, 0))
        return newest > number

    def touched(self, number: int, refs: Collection[Ref]) -> bool:
        """Return whether somebody who came later declared or deleted one of some objects."""
        return any(self._objects.get(ref, 0) > number for ref in refs)


def _raise(numbers: dict[T, int], keys: Iterable[T], number: int) -> None:
    for key in keys:
        numbers[key] = max(number, numbers.get(key, 0))
