"""What was used by day, and moving averages. SQL only; called by `sqlite`, writes inside the writer's transaction."""

import sqlite3
from collections.abc import Iterable, Sequence

import msgspec

from loomd.store import seal
from loomd.store.records import Average, Charge

_ADD = """
INSERT INTO usage (namespace, agent, day, input, output, cached, cost, calls, tool_calls, seconds)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (day, namespace, agent) DO UPDATE SET
    input = input + excluded.input, output = output + excluded.output, cached = cached + excluded.cached,
    cost = cost + excluded.cost, calls = calls + excluded.calls, tool_calls = tool_calls + excluded.tool_calls,
    seconds = seconds + excluded.seconds
"""
_USAGE = """
SELECT namespace, agent, day, input, output, cached, cost, calls, tool_calls, seconds FROM usage WHERE day = ?
ORDER BY namespace, agent
"""


def add(db: sqlite3.Connection, charges: Sequence[Charge]) -> None:
    """Add to what was used: once for each agent and day."""
    sums: dict[tuple[str, str, str], Charge] = {}
    for one in charges:
        key = (one.day, one.namespace, one.agent)
        sums[key] = _sum(sums[key], one) if key in sums else one
    db.executemany(_ADD, [msgspec.structs.astuple(one) for one in sums.values()])


def usage(db: sqlite3.Connection, day: str) -> list[Charge]:
    """Return what was used on a day."""
    return [Charge(*row) for row in db.execute(_USAGE, (day,))]


def keep(db: sqlite3.Connection, averages: Iterable[Average]) -> None:
    """Keep moving averages; of one that comes twice the later counts."""
    last = {(one.subject, one.name): one for one in averages}
    seal.put(db, "averages", [msgspec.structs.astuple(one) for one in last.values()])


def averages(db: sqlite3.Connection) -> list[Average]:
    """Return all moving averages."""
    query = "SELECT subject, name, value, count, updated FROM averages ORDER BY 1, 2"
    return [Average(*row) for row in db.execute(query)]


def _sum(one: Charge, other: Charge) -> Charge:
    return Charge(
        one.namespace,
        one.agent,
        one.day,
        one.input + other.input,
        one.output + other.output,
        one.cached + other.cached,
        one.cost + other.cost,
        one.calls + other.calls,
        one.tool_calls + other.tool_calls,
        one.seconds + other.seconds,
    )
