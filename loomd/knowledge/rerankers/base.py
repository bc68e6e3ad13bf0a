"""What all rerankers have in common: how many passages are judged, and how one is opened.

A type is one module here with one `RerankSpec`. It judges; what is done with its scores is `loomd.knowledge.refining`'s
business.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from pydantic import Field

from loomd.knowledge.asking import Asker, AskingSpec, Scores
from loomd.topology import Parts

Take = Callable[[int, Scores], None]
"""Takes the scores of some texts that follow each other: the place of the first, from 0, and theirs."""


class Reranker(Protocol):
    """A live reranker."""

    async def judge(self, question: str, texts: Sequence[str], asker: Asker, take: Take) -> None:
        """Say of each text how well it answers the question, the higher the better; equal ones keep their order.

        Args:
            question: as it was asked.
            texts: passages with their headings, the best first.
            asker: who pays.
            take: is given scores as soon as they come: they count also when others do not come in time.

        Raises:
            LoomdError: no usable answer came for some.
        """
        ...


class RerankSpec(AskingSpec):
    """How the best passages of a search are judged once more. Each type adds its field `type`."""

    candidates: int = Field(default=20, ge=2, le=200)
    """Passages that are judged, the best of the search; the others stay behind them in their order."""

    @abstractmethod
    def open(self, parts: Parts) -> AbstractAsyncContextManager[Reranker]:
        """Open the reranker for as long as the context lasts; it asks nobody yet.

        Args:
            parts: those of the knowledge base.
        """
