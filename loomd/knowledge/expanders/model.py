"""`type: model`: a language model says what else to look for; all is searched, and what is found is joined by rank.

`wordings` asks for the question in other words (multi-query, as the fusion of A. H. Raudaschl, RAG-Fusion,
arXiv:2402.03367), `answer` for a passage that might answer it: L. Gao and others, Precise Zero-Shot Dense Retrieval
without Relevance Labels (HyDE), ACL 2023 (arXiv:2212.10496). What is made up is looked for only; no agent ever sees it.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated, Literal

from pydantic import Field

from loomd.knowledge.asking import Asker, AskingSpec, answer_of, object_in
from loomd.knowledge.expanders.base import ExpandSpec, Look, Wording
from loomd.manifest.kind import RefTo
from loomd.manifest.quantity import Tokens
from loomd.messages import JsonObject, Message, Request
from loomd.topology import Parts

_WORDINGS = """You help to search documents. Say the question in {count} other ways: other words for the same things, \
technical terms in place of everyday ones and the other way round. Do not answer it.
Answer with a JSON object: {{"wordings": [{count} texts]}}."""
_ANSWER = """You help to search documents. Write a short passage as it might stand in a document that answers the \
question, in the words of such a document. Guess what you do not know: the passage is only used to find the real one.
Answer with a JSON object: {"answer": the passage}."""
_LONGEST = 2000
"""Characters of a wording that are looked for."""


class ModelExpand(AskingSpec, ExpandSpec):
    """A language model says what else is looked for."""

    type: Literal["model"] = "model"
    provider: Annotated[str, RefTo("Provider")] = Field(examples=["judge"])
    """Provider whose model is asked; it is paid by whoever searches."""
    method: Literal["wordings", "answer"] = "wordings"
    """`wordings` asks for the question in other words, `answer` for a passage that might answer it (HyDE)."""
    count: int = Field(default=3, ge=1, le=8)
    """How many wordings are asked for."""
    weight: float = Field(default=0.5, gt=0, le=10)
    """What each of them counts beside the question itself, which counts 1, where passages are joined by rank."""
    max_tokens: Tokens = 300
    """Longest answer of the model, in tokens."""

    @asynccontextmanager
    async def open(self, parts: Parts) -> AsyncGenerator["ModelExpander", None]:
        """Yield the live expander."""
        yield ModelExpander(self, parts.get("Provider", self.provider, object))


class ModelExpander:
    """A live expander around a model."""

    def __init__(self, spec: ModelExpand, model: object) -> None:
        self._spec = spec
        self._model = model

    async def expand(self, question: str, look: Look, asker: Asker) -> Sequence[Wording]:
        """Return the question, and what the model says.

        Raises:
            BadReply: it says nothing that can be used, also when it is asked again.
            LoomdError: as `Asker.ask`.
        """
        del look
        spec = self._spec
        count = spec.count if spec.method == "wordings" else 0
        prompt = _WORDINGS.format(count=count) if count else _ANSWER
        turns = (Message("system", prompt), Message("user", f"Question: {question}"))
        request = Request(turns, output_schema=_schema(count), max_tokens=spec.max_tokens)
        said = await answer_of(asker, "expand", self._model, request, partial(wordings_in, count=count))
        others = dict.fromkeys(one for one in said if one.casefold() != question.strip().casefold())
        return [Wording(question), *(Wording(one, spec.weight) for one in others)]


def _schema(count: int) -> JsonObject:
    text = {"type": "string", "minLength": 1, "maxLength": _LONGEST}
    several = {"type": "array", "items": text, "minItems": count, "maxItems": count}
    name, shape = ("wordings", several) if count else ("answer", text)
    return {"type": "object", "properties": {name: shape}, "required": [name], "additionalProperties": False}


def wordings_in(text: str, count: int) -> list[str]:
    """Return what an answer says to look for: so many wordings at most, or with 0 the passage.

    Raises:
        ValueError: it says nothing; the text is for the model.
    """
    name = "wordings" if count else "answer"
    found = object_in(text).get(name)
    listed: list[object] = list(found) if count and isinstance(found, list) else [] if count else [found]
    texts = [one.strip()[:_LONGEST] for one in listed if isinstance(one, str) and one.strip()]
    if not texts or len(texts) < len(listed):
        raise ValueError(f'"{name}" is not what was asked for: {"a list of texts" if count else "a text"}')
    return texts[: count or 1]
