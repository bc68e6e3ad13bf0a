"""Which events a reader wants: of one task with its children, of some types, of a namespace, since a moment.

Read from the parameters of a request. Called by `stream`.
"""

from dataclasses import dataclass

import msgspec
from aiohttp import web

from loomd.api.problem import BadRequest
from loomd.errors import NotFound
from loomd.events.event import TYPES, Event, facts_of
from loomd.manifest.wording import did_you_mean
from loomd.store.records import Row


class _Envelope(msgspec.Struct):
    """What of a stored event tells whether it is wanted."""

    ts: float
    namespace: str = "default"


_envelope = msgspec.json.Decoder(_Envelope).decode


@dataclass(frozen=True)
class Filter:
    """What an event must be.

    Attributes:
        task: id of the task that it, or a parent of it, belongs to; empty for all.
        types: the types that are wanted; empty for all.
        namespace: its namespace; empty for all.
        since: wall-clock seconds before which nothing is wanted.
    """

    task: str = ""
    types: frozenset[str] = frozenset()
    namespace: str = ""
    since: float = 0.0

    def takes(self, event: Event) -> bool:
        """Return whether an event is wanted."""
        return (
            (not self.task or event.task == self.task or event.task.startswith(f"{self.task}."))
            and (not self.types or event.type in self.types)
            and (not self.namespace or event.namespace == self.namespace)
            and event.ts >= self.since
        )

    def takes_row(self, row: Row) -> bool:
        """Return whether the event of a row is wanted; the row is of a task that is."""
        if self.types and row.type not in self.types:
            return False
        if not self.namespace and not self.since:
            return True
        envelope = _envelope(row.body)
        return envelope.ts >= self.since and self.namespace in {"", envelope.namespace}


def read_filter(request: web.Request) -> Filter:
    """Return what the parameters `task`, `type`, `namespace` and `since` of a request say.

    `type` may be given several times, and is a name (`task.failed`) or a pattern (`task.*`).

    Raises:
        BadRequest: the moment is no number.
        NotFound: there is no such type; the text names the closest.
    """
    query = request.query
    types = frozenset(name for said in query.getall("type", []) if said for name in _types(said))
    return Filter(query.get("task", ""), types, query.get("namespace", ""), _moment(query.get("since", "")))


def _types(said: str) -> list[str]:
    try:
        return [str(fact.__struct_config__.tag) for fact in facts_of(said)]
    except NotFound:
        raise NotFound(f"no type of events {said[:80]!r}: {did_you_mean(said, TYPES, 'there are')}") from None


def _moment(said: str) -> float:
    try:
        return max(0.0, float(said or "0"))
    except ValueError:
        raise BadRequest(f"since: expected seconds since 1970-01-01 UTC, got {said[:40]!r}") from None
