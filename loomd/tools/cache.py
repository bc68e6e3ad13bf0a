"""Results that are handed out again for the same arguments. Called by the guard that every call passes.

They live with the live tool, in memory: a change of the manifest and a restart begin anew.
"""

from collections import OrderedDict

import msgspec
from pydantic import Field

from loomd.clock import Clock
from loomd.manifest.kind import Spec
from loomd.manifest.quantity import Duration
from loomd.messages import JsonObject
from loomd.tools.context import ToolContext

_encode = msgspec.json.Encoder(order="deterministic").encode


class Cache(Spec):
    """For how long the result of a call stands for further calls with the same arguments."""

    ttl: Duration = Field(gt=0, examples=["5m"])
    """Time for which a result is handed out again to every agent with the same `toolContext`, for the same tenant, user
    and session."""
    entries: int = Field(default=100, ge=1, le=100_000)
    """Most results that are kept; the one that was used longest ago goes first."""


class Results:
    """What calls gave, by their arguments."""

    def __init__(self, spec: Cache, clock: Clock) -> None:
        self._spec = spec
        self._clock = clock
        self._kept: OrderedDict[bytes, tuple[float, str]] = OrderedDict()

    def get(self, key: bytes) -> str | None:
        """Return a result that is young enough, or None."""
        found = self._kept.get(key)
        if found is None or self._clock.monotonic() - found[0] >= self._spec.ttl:
            return None
        self._kept.move_to_end(key)
        return found[1]

    def put(self, key: bytes, result: str) -> None:
        """Keep a result."""
        self._kept[key] = (self._clock.monotonic(), result)
        self._kept.move_to_end(key)
        if len(self._kept) > self._spec.entries:
            self._kept.popitem(last=False)


def key_of(arguments: JsonObject, context: ToolContext | None) -> bytes:
    """Return what tells calls apart: their arguments, what their agent says about them, and for whom they are made."""
    if context is None:
        return _encode(arguments)
    whose = (context.tenant, context.user, context.session)
    return _encode((arguments, dict(context.metadata), whose))
