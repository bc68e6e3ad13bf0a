"""Search by vector: the one module that knows FAISS.

Vectors are kept as 16-bit floats in memory and compared all by inner product. The saved file is a copy of what the
chunk store holds: it carries its own SHA-256 and the store's generation, and one that does not match is made anew by
its caller. All calls block and belong to one thread.
"""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loomd.errors import Damaged

if TYPE_CHECKING:
    from loomd.knowledge.base import Vectors

_MAGIC = b"loomd-vectors-1\n"
_HASH_BYTES = 32
_GENERATION_BYTES = 32


class VectorIndex:
    """Vectors by id. An id is added at most once and may be removed."""

    def __init__(self, dimension: int, index: Any = None) -> None:
        import faiss  # noqa: PLC0415  # costs 200 ms: only when a knowledge base opens

        faiss.omp_set_num_threads(1)  # two threads are slower for a single query
        self._faiss = faiss
        self.dimension = dimension
        self._index = index if index is not None else _empty(faiss, dimension)

    def __len__(self) -> int:
        """Return the number of vectors."""
        return int(self._index.ntotal)

    def add(self, ids: Sequence[int], vectors: "Vectors") -> None:
        """Add `(ids, dimension)` float32 vectors under ids that are not there yet.

        Raises:
            ValueError: the shape is wrong (FAISS itself would only say that an assertion failed).
        """
        import numpy as np  # noqa: PLC0415  # loaded with FAISS

        if vectors.shape != (len(ids), self.dimension):
            raise ValueError(f"expected {len(ids)} vectors of {self.dimension} numbers, got {vectors.shape}")
        if ids:
            self._index.add_with_ids(np.ascontiguousarray(vectors, np.float32), np.asarray(ids, np.int64))

    def remove(self, ids: Sequence[int]) -> None:
        """Remove vectors; ids that are not there are ignored."""
        import numpy as np  # noqa: PLC0415  # loaded with FAISS

        if ids:
            self._index.remove_ids(np.asarray(ids, np.int64))

    def search(self, vector: "Vectors", limit: int) -> list[tuple[int, float]]:
        """Return the closest ids with their inner product, best first, for one vector of shape `(dimension,)`."""
        limit = min(limit, len(self))
        if limit == 0:
            return []
        scores, ids = self._index.search(vector.reshape(1, self.dimension), limit)
        return list(zip(ids[0].tolist(), scores[0].tolist(), strict=True))

    def save(self, path: Path, generation: str) -> None:
        """Write the index so that a reader finds the old file or the new one, never a half of it.

        Args:
            path: where to; its folder must exist.
            generation: state of the chunk store that this index is equal to, 32 characters.
        """
        data = generation.encode("ascii") + self._faiss.serialize_index(self._index).tobytes()
        aside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        with aside.open("wb") as file:
            file.write(_MAGIC + hashlib.sha256(data).digest() + data)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)


def load(path: Path, generation: str, dimension: int) -> VectorIndex | None:
    """Return the saved index, or None when there is none or it belongs to another state of the store.

    Raises:
        Damaged: the bytes are not what was written, or hold vectors of another length.
    """
    import faiss  # noqa: PLC0415  # costs 200 ms: only when a knowledge base opens
    import numpy as np  # noqa: PLC0415  # loaded with FAISS

    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    head, data = content[: len(_MAGIC) + _HASH_BYTES], content[len(_MAGIC) + _HASH_BYTES :]
    if head != _MAGIC + hashlib.sha256(data).digest():
        raise Damaged(f"{path}: the vectors are not what was saved (the SHA-256 differs)")
    if data[:_GENERATION_BYTES] != generation.encode("ascii"):
        return None
    index = faiss.deserialize_index(np.frombuffer(data, np.uint8, offset=_GENERATION_BYTES))
    if index.d != dimension:
        raise Damaged(f"{path}: holds vectors of {index.d} numbers, the embedder makes {dimension}")
    return VectorIndex(dimension, index)


def is_whole(path: Path) -> bool:
    """Return whether a saved index is what was written; one that is gone meanwhile is no damage."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return True
    return (
        content[: len(_MAGIC) + _HASH_BYTES] == _MAGIC + hashlib.sha256(content[len(_MAGIC) + _HASH_BYTES :]).digest()
    )


def _empty(faiss: Any, dimension: int) -> Any:
    quantizer = faiss.ScalarQuantizer.QT_fp16
    return faiss.IndexIDMap2(faiss.IndexScalarQuantizer(dimension, quantizer, faiss.METRIC_INNER_PRODUCT))
