"""`type: minilm`: all-MiniLM-L6-v2 with int8 weights, 384 numbers; finds paraphrases better, about 25 texts a second.

The weights are the model `minilm` of `loomd models`; the tokenizer lies beside this module. Never downloads anything.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from loomd.embedders.base import Embedder, EmbedderSpec, threaded
from loomd.errors import NotFound
from loomd.models.registry import find, locate
from loomd.topology import Parts

if TYPE_CHECKING:
    from loomd.embedders.base import Encode, Vectors

_MODEL = "minilm"
_DIMENSION = 384
_STEP = 16
"""Texts that take less than a second; they are encoded one by one, so that more at once would be no faster."""
_TOKENIZER = "minilm_tokenizer.json"


class MiniLmSpec(EmbedderSpec):
    """A small sentence model: better with paraphrases than `wordllama`, a hundred times slower to index."""

    type: Literal["minilm"] = "minilm"
    max_tokens: int = Field(default=256, ge=16, le=512)
    """Tokens of a text that count; what follows is not seen."""
    threads: int = Field(default=2, ge=1, le=64)
    """Threads for one text."""

    @asynccontextmanager
    async def open(self, parts: Parts) -> AsyncGenerator[Embedder, None]:
        """Load the weights and yield the embedder.

        Raises:
            NotFound: a package is not installed, or the weights are not there; the text says what to run.
        """
        folder = parts.services.models_dir
        load = partial(_load, parts.name, folder, self.max_tokens, self.threads)
        async with threaded(parts.name, load, _STEP) as embedder:
            yield embedder


def _load(name: str, folder: Path, max_tokens: int, threads: int) -> "tuple[int, str, Encode]":
    try:
        import onnxruntime as ort  # noqa: PLC0415  # an extra
        from tokenizers import Tokenizer  # noqa: PLC0415  # an extra
    except ImportError as error:
        raise NotFound(
            f"Embedder/{name} (type minilm): the package {error.name} is missing: pip install 'loomd[minilm]'"
        ) from error
    weights = locate(_MODEL, folder)
    tokenizer = Tokenizer.from_str(Path(__file__).with_name(_TOKENIZER).read_text(encoding="utf-8"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(str(weights), options, providers=["CPUExecutionProvider"])
    names = [item.name for item in session.get_inputs()]
    digest = find(_MODEL, folder).files[0].sha256[:12]

    def encode(texts: Sequence[str]) -> "Vectors":
        import numpy as np  # noqa: PLC0415  # loaded with onnxruntime

        # One text at a time: a batch is padded to its longest text, which takes longer and a gigabyte of memory.
        return np.stack([_encode_one(session, names, tokenizer.encode(text)) for text in texts])

    return _DIMENSION, f"minilm/{digest}-{max_tokens}/1", encode


def _encode_one(session: Any, names: Sequence[str], encoding: Any) -> "Vectors":
    """Return the mean of a text's token vectors, `(dimension,)` float32."""
    import numpy as np  # noqa: PLC0415  # loaded with onnxruntime

    given = {
        "input_ids": np.array([encoding.ids], np.int64),
        "attention_mask": np.ones((1, len(encoding.ids)), np.int64),
        "token_type_ids": np.zeros((1, len(encoding.ids)), np.int64),
    }
    vectors: Vectors = session.run(None, {name: given[name] for name in names})[0]
    mean: Vectors = vectors.reshape(-1, vectors.shape[-1]).mean(axis=0)
    return mean
