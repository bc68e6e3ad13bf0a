"""How long tasks wait for an embedder: once, and for a moment; then words count until it answers again.

The first task after an embedder went away finds that out within `wait`. From then on nobody waits: all tasks of the
embedder, of whatever cluster, compare by words at once, and it is asked again beside them every half a minute.
Called by the live cluster, in place of the embedder.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from loomd.clock import Clock
from loomd.cluster.likeness import Embedder
from loomd.errors import Temporary

if TYPE_CHECKING:
    from loomd.cluster.likeness import Vector

_log = logging.getLogger("loomd.cluster")
AGAIN = 30.0
"""Seconds between questions to an embedder that does not answer; memory asks as often."""
_LATE = 16
"""Answers that came too late and are kept for whoever asks the same again."""


@dataclass
class _State:
    """What is known of an embedder.

    Attributes:
        why: why it is not waited for; empty when it is.
        asked: monotonic seconds of the last question.
        attempts: the questions that have no answer yet.
    """

    why: str = ""
    asked: float = 0.0
    attempts: "set[asyncio.Future[Vector]]" = field(default_factory=set)


_states: "WeakKeyDictionary[Embedder, _State]" = WeakKeyDictionary()
"""What is known of the embedders that are open in this process, whoever asks them."""


class Patient:
    """An embedder that no task waits for in vain; fits `likeness.Embedder`."""

    def __init__(self, name: str, embedder: Embedder, wait: float, clock: Clock) -> None:
        """Take the embedder to answer.

        Args:
            name: what it is called in what is told.
            embedder: the embedder.
            wait: longest time that a task waits for it, in seconds.
            clock: says when it is asked again.
        """
        self._name = name
        self._embedder = embedder
        self._wait = wait
        self._clock = clock
        self._state = _states.setdefault(embedder, _State())
        self._own: set[asyncio.Future[Vector]] = set()
        self._late: dict[tuple[str, ...], Vector] = {}

    @property
    def fingerprint(self) -> str:
        """Return a text that changes whenever the vectors of the same texts may change."""
        return self._embedder.fingerprint

    async def embed(self, texts: Sequence[str]) -> "Vector":
        """Return unit vectors, `(texts, dimension) float32`.

        Raises:
            LoomdError: the embedder failed, did not answer in time, or is away since an earlier question.
        """
        state, key = self._state, tuple(texts)
        if (late := self._late.pop(key, None)) is not None:
            return late
        if state.why:
            if not state.attempts and self._clock.monotonic() - state.asked >= AGAIN:
                self._begin(key)
            raise Temporary(state.why)
        attempt = self._begin(key)
        await asyncio.wait([attempt], timeout=self._wait)
        if not attempt.done():
            self._away(f"{self._name} has not answered within {self._wait:g} s")
            raise Temporary(state.why)
        return attempt.result()

    def close(self) -> None:
        """End what was asked here and has no answer."""
        for attempt in self._own:
            attempt.cancel()

    def _begin(self, texts: tuple[str, ...]) -> "asyncio.Future[Vector]":
        """Ask beside whoever asks; what comes of it is noted."""
        began = self._state.asked = self._clock.monotonic()
        attempt = asyncio.ensure_future(self._embedder.embed(texts))
        self._own.add(attempt)
        self._state.attempts.add(attempt)
        attempt.add_done_callback(partial(self._note, texts, began))
        return attempt

    def _note(self, texts: tuple[str, ...], began: float, attempt: "asyncio.Future[Vector]") -> None:
        """Take over what came of a question: an answer that took no longer than tasks wait for it ends the absence."""
        self._own.discard(attempt)
        self._state.attempts.discard(attempt)
        if attempt.cancelled():
            return
        if (error := attempt.exception()) is not None:
            if isinstance(error, Temporary):
                self._away(str(error))
            return
        if not self._state.why:
            return
        self._late[texts] = attempt.result()
        if len(self._late) > _LATE:
            del self._late[next(iter(self._late))]
        if self._clock.monotonic() - began <= self._wait * len(texts):
            _log.info("%s answers again", self._name)
            self._state.why = ""

    def _away(self, why: str) -> None:
        """Let nobody wait for the embedder from now on."""
        if not self._state.why:
            _log.warning("%s; words are compared, and it is asked again every %g s", why, AGAIN)
        self._state.why = f"{why}; it is asked again every {AGAIN:g} s, and no task waits for it"
