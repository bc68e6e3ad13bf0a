"""Models that read passages, for tests of graphs: they answer by rules and remember what they were asked."""

import asyncio
import itertools
import json
import re
from collections.abc import AsyncGenerator, Callable

from loomd.messages import Chunk, Reply, Request, Usage

USAGE = Usage(100, 20)
PRICE = 0.01
"""USD of one call."""

Answer = Callable[[str, Request], str | Reply | Exception]
"""Returns what is said of a passage."""


def passage_of(request: Request) -> str:
    """Return the passage that a request is about."""
    return request.messages[1].text.split("Passage:\n", 1)[1]


def capitals(passage: str, request: Request) -> str:
    """Name whatever is in capital letters, each related to the next."""
    del request
    names = list(dict.fromkeys(re.findall(r"\b[A-Z]{3,}\b", passage)))
    relations = [{"subject": one, "predicate": "with", "object": other} for one, other in itertools.pairwise(names)]
    return json.dumps(
        {"entities": [{"name": name, "type": "x", "aliases": []} for name in names], "relations": relations}
    )


def always(said: str | Reply | Exception) -> Answer:
    """Return what says the same of every passage."""

    def answer(passage: str, request: Request) -> str | Reply | Exception:
        del passage, request
        return said

    return answer


class Reader:
    """A model; the live form of kind Provider.

    Attributes:
        asked: the passages that it was asked about, once for each call.
        requests: what it was sent.
        goes_on: cleared while it does not answer.
    """

    def __init__(self, answer: Answer = capitals, name: str = "reader/one") -> None:
        self.name = name
        self.asked: list[str] = []
        self.requests: list[Request] = []
        self._answer = answer
        self.goes_on = asyncio.Event()
        self.goes_on.set()

    def cost(self, usage: Usage) -> float:
        """Return what a call costs."""
        return PRICE * usage.output / USAGE.output

    async def stream(self, request: Request) -> AsyncGenerator[Chunk, None]:
        """Answer."""
        passage = passage_of(request)
        self.asked.append(passage)
        self.requests.append(request)
        await self.goes_on.wait()
        said = self._answer(passage, request)
        if isinstance(said, Exception):
            raise said
        yield said if isinstance(said, Reply) else Reply(said, usage=USAGE, model=self.name, cost=PRICE)
