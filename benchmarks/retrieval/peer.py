"""The knowledge base of the seed, loom-agent, over passages and vectors that were made before; run by `beside.py`.

    python benchmarks/retrieval/peer.py FOLDER ASKED [SERVICE]

FOLDER holds `passages.json` (texts, questions, and the length of a vector) and `vectors.bin` (their float32 vectors, in
that order). Its store and its fusion are those that come along; passages are not cut any more. SERVICE is `PER_CALL,
PER_TEXT`: seconds that a service would take to embed, which its embedder then waits. Prints figures as JSON.
"""

import array
import asyncio
import json
import sys
import time
from pathlib import Path

from loom import Document, KnowledgeBase, RetrieverOptions
from loom.knowledge import FixedSizeChunker, InMemoryVectorStore

TOP = 10


class Made:
    """Vectors by text; waits as long as a service would take."""

    def __init__(self, vectors: dict[str, list[float]], service: tuple[float, float] | None) -> None:
        self._vectors = vectors
        self._service = service

    async def embed(self, text: str) -> list[float]:
        """Return one vector; questions are not waited for."""
        return self._vectors[text]

    async def embed_batch(self, texts: list[str]) -> list[list[float]]:
        """Return vectors, after the service's time."""
        if self._service is not None:
            await asyncio.sleep(self._service[0] + self._service[1] * len(texts))
        return [self._vectors[text] for text in texts]


async def main() -> None:
    """Take in the passages, then ask."""
    folder, asked = Path(sys.argv[1]), int(sys.argv[2])
    service = tuple(map(float, sys.argv[3].split(","))) if len(sys.argv) > 3 else None
    made = json.loads((folder / "passages.json").read_text("utf-8"))
    numbers = array.array("f")
    numbers.frombytes((folder / "vectors.bin").read_bytes())
    size, texts, questions = made["dimension"], made["texts"], made["questions"][:asked]
    every = [*texts, *made["questions"]]
    vectors = {text: numbers[at * size : (at + 1) * size].tolist() for at, text in enumerate(every)}
    whole = FixedSizeChunker(size=1_000_000)  # every document is one passage, as it is for the other side
    base = KnowledgeBase(whole, Made(vectors, service), InMemoryVectorStore())
    documents = [Document(id=str(number), content=text) for number, text in enumerate(texts)]
    began, cpu = time.perf_counter(), time.process_time()
    await base.ingest(documents)
    found = {"ingest s": time.perf_counter() - began, "ingest cpu s": time.process_time() - cpu}
    hits, took = 0, []
    cpu = time.process_time()
    for question, answer in zip(questions, made["answers"], strict=False):
        began = time.perf_counter()
        best = await base.query(question, RetrieverOptions(limit=TOP))
        took.append((time.perf_counter() - began) * 1e3)
        hits += any(one.chunk.content == texts[answer] for one in best)
    if questions:
        found["query cpu ms"] = (time.process_time() - cpu) * 1e3 / len(questions)
        found["query p50 ms"] = sorted(took)[len(took) // 2]
        found["hit@10"] = hits / len(questions)
    print(json.dumps(found))


asyncio.run(main())
