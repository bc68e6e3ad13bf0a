"""What every embedder type declares, and the one check that all vectors pass before anybody gets them.

An embedder turns texts into unit vectors whose inner product says how alike the texts are. A type is one module here
with one `EmbedderSpec`; its live thing is an `Embedder` around a plain blocking function. Nothing here opens a
connection.
"""

import asyncio
from abc import abstractmethod
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any

from loomd.errors import BadReply
from loomd.manifest.kind import Spec
from loomd.topology import Parts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]
    Encode = Callable[[Sequence[str]], Vectors]

STEP = 256
"""Texts that most models of this machine take less than a second for."""


class EmbedderSpec(Spec):
    """A model that turns text into vectors. Each type adds its field `type`."""

    def means(self, old: Spec) -> Iterator[str]:
        """Yield that vectors of another model are worth nothing."""
        if self != old:
            yield "every index that uses it is built anew"

    @abstractmethod
    def open(self, parts: Parts) -> AbstractAsyncContextManager[object]:
        """Open the live `Embedder`; it fits the protocols of its users by shape.

        Raises:
            NotFound: a package or a model file is missing; the text says what to install or pull.
        """


class Embedder:
    """A live embedder. Its model runs in one thread that it owns, never in the event loop.

    Attributes:
        name: name of the object.
        dimension: length of every vector.
        fingerprint: type, model and version: equal fingerprints make equal vectors of equal texts.
        step: texts that take less than a second; whoever has more asks for so many at once, and sees how far it is.
    """

    def __init__(
        self, name: str, dimension: int, fingerprint: str, encode: "Encode", pool: ThreadPoolExecutor, step: int = STEP
    ) -> None:
        self.name = name
        self.step = step
        self.dimension = dimension
        self.fingerprint = fingerprint
        self._encode = encode
        self._pool = pool

    async def embed(self, texts: Sequence[str]) -> "Vectors":
        """Return one vector per text, in order: `(texts, dimension)` float32.

        Every row has length 1; a text without anything that the model knows (an empty one) is a row of zeros.

        Raises:
            BadReply: the model made a vector of another size, or one with NaN or infinity.
        """
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._checked, texts)

    def _checked(self, texts: Sequence[str]) -> "Vectors":
        return unit(self._encode(texts) if texts else None, len(texts), self.dimension, self.name)


@asynccontextmanager
async def threaded(
    name: str, load: Callable[[], tuple[int, str, "Encode"]], step: int = STEP
) -> AsyncGenerator[Embedder, None]:
    """Load a model in a thread of its own and yield the embedder around it.

    Args:
        name: name of the object.
        load: returns dimension, fingerprint and the blocking function; runs in the thread.
        step: texts that take less than a second.
    """
    pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"embedder-{name}")
    try:
        dimension, fingerprint, encode = await asyncio.get_running_loop().run_in_executor(pool, load)
        yield Embedder(name, dimension, fingerprint, encode, pool, step)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def unit(vectors: Any, count: int, dimension: int, name: str) -> "Vectors":
    """Return vectors scaled to length 1; rows of zeros stay.

    Args:
        vectors: what a model made, or None for no texts.
        count: how many were asked for.
        dimension: how long each must be.
        name: name of the embedder, for the message.

    Raises:
        BadReply: the shape is not `(count, dimension)`, or a value is NaN or infinite.
    """
    import numpy as np  # noqa: PLC0415  # costs 80 ms: only when something is embedded

    with np.errstate(over="ignore"):  # it becomes infinity, which is refused
        array = np.zeros((0, dimension), np.float32) if vectors is None else np.asarray(vectors, np.float32)
    if array.shape != (count, dimension):
        raise BadReply(
            f"Embedder/{name}: expected {count} vectors of {dimension} numbers, got an array of shape {array.shape}:"
            " the model is not the one that was declared"
        )
    if not np.isfinite(array).all():
        row = int(np.flatnonzero(~np.isfinite(array).all(axis=1))[0])
        raise BadReply(f"Embedder/{name}: the vector of text {row + 1} of {count} holds NaN or infinity")
    lengths = np.linalg.norm(array, axis=1, keepdims=True)
    scaled: Vectors = np.divide(array, lengths, out=np.zeros_like(array), where=lengths > 0)
    return scaled
