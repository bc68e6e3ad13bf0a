"""Embeds texts in the calls that an embedder makes of them, and keeps what has come: a process may die at any time.

What a service answered is kept at once, also before the documents are whole that it belongs to; what an embedder of
this machine made is kept about every second, so that a fast one is never waited for. Knows no store. Called by a
knowledge base.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loomd.knowledge.base import Vectors

EVERY = 1.0
"""Seconds after which vectors are kept that were made on this machine."""

Vectored = dict[bytes, bytes]
"""Vectors as they are stored, by the digest of what was embedded."""


def encode(vectors: "Vectors") -> list[bytes]:
    """Return the stored form of each row."""
    return [row.tobytes() for row in vectors.astype("<f2")]


class Arriving:
    """Embeds texts.

    Args:
        embed: returns a vector of each text.
        batch: texts that are asked for together.
        keep: takes vectors whose documents are not written yet: those that are new, and how many there are of all.
        every: seconds after which vectors that have come are kept; 0 for at once.
    """

    def __init__(
        self,
        embed: Callable[[Sequence[str]], Awaitable["Vectors"]],
        batch: int,
        keep: Callable[[Vectored, int], Awaitable[object]],
        every: float = EVERY,
    ) -> None:
        self._embed = embed
        self._batch = batch
        self._keep = keep
        self._every = every
        self._unkept: Vectored = {}
        self._came = 0
        self._kept_at = asyncio.get_running_loop().time()

    def written(self) -> None:
        """Note that what has come so far is written with its documents."""
        self._unkept, self._came = {}, 0
        self._kept_at = asyncio.get_running_loop().time()

    async def embed(self, texts: Mapping[bytes, str]) -> Vectored:
        """Return the vectors of texts.

        Raises:
            LoomdError: what the embedder raised; what came before is kept.
        """
        keys, found = list(texts), Vectored()
        calls: dict[asyncio.Future[Vectors], list[bytes]] = {}
        for at in range(0, len(keys), self._batch):
            part = keys[at : at + self._batch]
            calls[asyncio.ensure_future(self._embed([texts[key] for key in part]))] = part
        try:
            pending = set(calls)
            while pending:
                longest = self._every if self._unkept else None
                done, pending = await asyncio.wait(pending, timeout=longest, return_when=asyncio.FIRST_COMPLETED)
                failed = [call for call in done if call.exception() is not None]
                for call in done.difference(failed):
                    new = dict(zip(calls[call], encode(call.result()), strict=True))
                    found |= new
                    self._unkept |= new
                    self._came += len(new)
                for call in pending if failed else ():
                    call.cancel()
                if failed or asyncio.get_running_loop().time() - self._kept_at >= self._every:
                    await self._keep_all()
                for call in failed:
                    call.result()
        except asyncio.CancelledError:
            await self._keep_all()
            raise
        finally:
            for call in calls:
                call.cancel()
            if calls:
                await asyncio.wait(calls)
        return found

    async def _keep_all(self) -> None:
        if self._unkept:
            await self._keep(self._unkept, self._came)
        self._unkept, self._kept_at = {}, asyncio.get_running_loop().time()
