"""`type: wordllama`: averaged word vectors of 256 numbers; small, quick, no weights to fetch. The default.

The weights are inside the installed package; nothing is ever downloaded.
"""

import importlib
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from loomd.embedders.base import Embedder, EmbedderSpec, threaded
from loomd.errors import NotFound
from loomd.topology import Parts

if TYPE_CHECKING:
    from loomd.embedders.base import Encode, Vectors

_MODEL = "l2_supercat"
_DIMENSION = 256


class WordLlamaSpec(EmbedderSpec):
    """Averaged word vectors: thousands of texts a second on one core, good for search beside keywords."""

    type: Literal["wordllama"] = "wordllama"

    @asynccontextmanager
    async def open(self, parts: Parts) -> AsyncGenerator[Embedder, None]:
        """Load the weights from the installed package and yield the embedder.

        Raises:
            NotFound: the package or its weights are not installed.
        """
        async with threaded(parts.name, lambda: _load(parts.name)) as embedder:
            yield embedder


def _load(name: str) -> "tuple[int, str, Encode]":
    from importlib.metadata import version  # noqa: PLC0415  # 5 ms that validation need not pay

    wordllama = _import(name)
    folder = Path(str(wordllama.__file__)).parent
    try:
        # Without these two arguments the library looks in the wrong folder and then asks the internet.
        model = wordllama.WordLlama.load(_MODEL, cache_dir=folder, dim=_DIMENSION, disable_download=True)
    except FileNotFoundError as error:
        raise NotFound(
            f"Embedder/{name} (type wordllama): {folder} holds no weights of {_MODEL}:"
            " pip install --force-reinstall wordllama"
        ) from error

    def encode(texts: Sequence[str]) -> "Vectors":
        vectors: Vectors = model.embed(list(texts))
        return vectors

    return _DIMENSION, f"wordllama/{_MODEL}-{_DIMENSION}/{version('wordllama')}", encode


def _import(name: str) -> Any:
    """Import the library and undo what its import does to logging: it makes everybody's INFO appear on stderr."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        return importlib.import_module("wordllama")
    except ImportError as error:
        raise NotFound(
            f"Embedder/{name} (type wordllama): the package {error.name} is missing: pip install 'loomd[local]'"
        ) from error
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
