"""Every embedder type keeps the same promises; each is opened for real, minilm only where its weights are."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from loomd.embedders.base import Embedder, unit
from loomd.errors import BadReply, NotFound
from loomd.models.place import models_dir
from loomd.models.registry import find, is_here

Open = Callable[..., AbstractAsyncContextManager[Embedder]]

TEXTS = ["a cat sat on the mat", "how to leave a loop early", "", "größe 日本語 \ud800", "x " * 3000]


@pytest.fixture(params=["wordllama", "hash", "minilm"])
def kind_of(request: pytest.FixtureRequest) -> str:
    """Return the name of each type that can be opened here."""
    name = str(request.param)
    if name == "minilm" and not is_here(models_dir(), find("minilm")):
        pytest.skip("needs `loomd models pull minilm`")
    return name


async def test_vectors_are_unit_rows(opened: Open, kind_of: str) -> None:
    """A row is a float32 vector of the declared length, of length 1, or zeros for an empty text."""
    async with opened({"type": kind_of}) as embedder:
        vectors = await embedder.embed([text.replace("\ud800", "") for text in TEXTS])
        assert vectors.shape == (len(TEXTS), embedder.dimension)
        assert vectors.dtype == np.float32
        lengths = np.linalg.norm(vectors, axis=1)
        assert all(abs(length - 1) < 1e-5 or length == 0 for length in lengths)
        assert lengths[0] > 0


async def test_no_texts_make_no_vectors(opened: Open, kind_of: str) -> None:
    """An empty list is answered without the model."""
    async with opened({"type": kind_of}) as embedder:
        assert (await embedder.embed([])).shape == (0, embedder.dimension)


async def test_same_text_same_vector(opened: Open, kind_of: str) -> None:
    """A text's vector does not depend on its neighbours or on when it was made."""
    async with opened({"type": kind_of}) as embedder:
        alone = await embedder.embed([TEXTS[0]])
    async with opened({"type": kind_of}) as embedder:
        among = await embedder.embed(TEXTS[:2])
    assert np.allclose(alone[0], among[0], atol=1e-5)


@pytest.mark.parametrize("name", ["wordllama", "minilm"])
async def test_meaning_beats_spelling(opened: Open, name: str) -> None:
    """A model with meaning puts a paraphrase before a text about something else."""
    if name == "minilm" and not is_here(models_dir(), find("minilm")):
        pytest.skip("needs `loomd models pull minilm`")
    async with opened({"type": name}) as embedder:
        vectors = await embedder.embed(["The car is quick.", "A fast automobile", "The cake is sweet."])
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]


async def test_fingerprints_tell_types_and_sizes_apart(opened: Open) -> None:
    """What makes other vectors has another fingerprint."""
    found: list[str] = []
    for raw in ({"type": "wordllama"}, {"type": "hash"}, {"type": "hash", "dimension": 64}):
        async with opened(raw) as embedder:
            found.append(embedder.fingerprint)
    assert len(set(found)) == 3


async def test_missing_weights_say_what_to_run(opened: Open, tmp_path: Path) -> None:
    """Without its weights, minilm names the command that brings them."""
    with pytest.raises(NotFound, match="loomd models pull minilm"):
        async with opened({"type": "minilm"}, tmp_path):
            pass


@pytest.mark.parametrize(("name", "package"), [("wordllama", "wordllama"), ("minilm", "tokenizers")])
async def test_missing_package_says_what_to_install(
    opened: Open, monkeypatch: pytest.MonkeyPatch, name: str, package: str
) -> None:
    """Without its package, an embedder names the extra that brings it."""
    monkeypatch.setitem(__import__("sys").modules, package, None)
    extra = {"wordllama": "local", "minilm": "minilm"}[name]
    with pytest.raises(NotFound, match=rf"pip install 'loomd\[{extra}\]'"):
        async with opened({"type": name}):
            pass


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        ([[1.0, 2.0]], "expected 2 vectors of 2 numbers"),
        ([[1.0], [2.0]], "expected 2 vectors of 2 numbers"),
        ([[1.0, 0.0], [float("nan"), 0.0]], "text 2 of 2 holds NaN or infinity"),
        ([[float("inf"), 0.0], [1.0, 0.0]], "text 1 of 2 holds NaN or infinity"),
    ],
    ids=["count", "size", "nan", "infinity"],
)
def test_unusable_vectors_are_refused(vectors: list[list[float]], message: str) -> None:
    """Wrong sizes, NaN and infinity never leave an embedder."""
    with pytest.raises(BadReply, match=message):
        unit(vectors, 2, 2, "e")


def test_importing_wordllama_leaves_logging_alone() -> None:
    """The library's import would make everybody's INFO appear; ours undoes it."""
    import logging  # noqa: PLC0415  # looked at before and after

    before = list(logging.getLogger().handlers), logging.getLogger().level
    import_module("loomd.embedders.wordllama")._import("e")
    assert (list(logging.getLogger().handlers), logging.getLogger().level) == before
