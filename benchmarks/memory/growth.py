"""What recalling costs as a memory grows: 1,000 to 100,000 texts that one may see, without embedding.

    python benchmarks/memory/growth.py [--sizes 1000,10000,100000] [--json FILE]

Texts are made: words by Zipf's law, and vectors of 256 numbers around as many centres as a long life has topics. The
same texts and questions are made every time, and `--found FILE` writes down what each question recalls, so that two
versions can be compared. Beside those that may be recalled stands a tenth of them that others said. `plot.py` draws the
figures.
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from loomd.clock import SystemClock
from loomd.memory.base import MemorySpec
from loomd.memory.item import Draft, Turn, Whose
from loomd.memory.recall import Recall, open_recall

DIMENSION, WORDS, CENTRES, PART, ASKED = 256, 20_000, 2_000, 1000, 60
ADA, BOB = Whose("ada", "acme", "ann", "", "t1"), Whose("ada", "acme", "bob", "", "t2")
NOW = 1_700_000_000.0


class Made:
    """Texts with their vectors, by what they say; stands for an embedder."""

    fingerprint = "made"
    dimension = DIMENSION

    def __init__(self) -> None:
        rng = np.random.default_rng(3)
        self._centres = rng.standard_normal((CENTRES, DIMENSION)).astype(np.float32)
        self._words = np.array(["".join(chr(97 + at // 26**k % 26) for k in range(4)) for at in range(WORDS)])
        share = 1 / np.arange(1, WORDS + 1)
        self._share = share / share.sum()

    def text(self, number: int) -> str:
        """Return the text with a number, which is its last word."""
        rng = np.random.default_rng([5, number])
        return f"{' '.join(self._words[rng.choice(WORDS, 14, p=self._share)])} {number}"

    def question(self, number: int) -> str:
        """Return a few words of a text; its number says which one is meant."""
        said = self.text(number).split()
        return f"{' '.join(np.random.default_rng([7, number]).choice(said[:-1], 5))} {number}"

    async def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Return unit vectors; those of a text and of a question about it are close."""
        rows = []
        for text in texts:
            number = int(text.rsplit(" ", 1)[1])
            near = np.random.default_rng([9, number])
            own = self._centres[near.integers(CENTRES)] + 0.8 * near.standard_normal(DIMENSION)
            rows.append(own + 0.3 * np.random.default_rng(len(text)).standard_normal(DIMENSION))
        found = np.array(rows, np.float32)
        return found / np.linalg.norm(found, axis=1, keepdims=True)


async def fill(recall: Recall, made: Made, size: int) -> None:
    """Remember the texts, some more important than others, one a minute."""
    for whose, begin, end in ((ADA, 0, size), (BOB, size, size + size // 10)):
        for at in range(begin, end, PART):
            drafts = [
                Draft(f"k{number}", made.text(number), "fact", 0.2 + number % 7 / 10)
                for number in range(at, min(at + PART, end))
            ]
            await recall.add(whose, Turn(f"t{at}", "", "", "", NOW + 60 * at), drafts)


async def by_meaning(recall: Recall, made: Made, asked: list[str]) -> float:
    """Return the CPU milliseconds of comparing vectors alone."""
    shelf, vectors = recall._shelf, await made.embed(asked)  # noqa: SLF001  # the half that has no door of its own
    took: list[float] = []

    def compare() -> None:
        for vector in vectors:
            began = time.process_time()
            shelf._near.likeness(ADA.homes, vector, "made", 50)  # noqa: SLF001
            took.append((time.process_time() - began) * 1e3)

    await recall._run(compare)  # noqa: SLF001
    return statistics.median(took)


async def measure(size: int, found: dict[str, list[str]]) -> dict[str, float]:
    """Return what it costs to open a memory of a size, to recall from it, and to add to it."""
    spec = {"enabled": True, "embedder": "made", "topK": 5, "keep": 2 * size}
    limits = MemorySpec.model_validate({"recall": spec})._limits()  # noqa: SLF001  # as it opens by itself
    made, clock = Made(), SystemClock()
    rng = np.random.default_rng(11)
    asked = [made.question(int(number)) for number in rng.integers(size, size=ASKED)]
    with tempfile.TemporaryDirectory(dir=Path(__file__).parent, prefix="growth-") as folder:
        path = Path(folder) / "recall.db"
        async with open_recall(path, "Memory/made", limits, made, clock) as recall:
            await fill(recall, made, size)
        began, cpu = time.perf_counter(), time.process_time()
        async with open_recall(path, "Memory/made", limits, made, clock) as recall:
            opened = time.perf_counter() - began
            figures = {"open ms": opened * 1e3, "open cpu ms": (time.process_time() - cpu) * 1e3}
            cpu = time.process_time()
            await recall.find(ADA, asked[0])
            figures["first recall cpu ms"] = (time.process_time() - cpu) * 1e3
            took: list[float] = []
            cpu = time.process_time()
            for question in asked:
                began = time.perf_counter()
                found[f"{size} {question}"] = await recall.find(ADA, question)
                took.append((time.perf_counter() - began) * 1e3)
            figures["recall cpu ms"] = (time.process_time() - cpu) * 1e3 / ASKED
            figures["recall p50 ms"] = statistics.median(took)
            figures["by meaning cpu ms"] = await by_meaning(recall, made, asked)
            cpu = time.process_time()
            for number in range(2 * size, 2 * size + 20):
                turn = Turn(f"t{number}", "", "", "", NOW + 60 * number)
                await recall.add(ADA, turn, [Draft(f"k{number}", made.text(number), "fact")])
                (best, *_) = await recall.find(ADA, made.text(number))
                assert best == made.text(number), best
            figures["told and recalled cpu ms"] = (time.process_time() - cpu) * 1e3 / 20
    return figures


def main() -> None:
    """Measure each size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="1000,10000,100000")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--found", type=Path, help="write down what each question recalls")
    given = parser.parse_args()
    found: dict[str, list[str]] = {}
    results: dict[str, dict[str, float]] = {}
    load = round(os.getloadavg()[0], 2)
    for size in map(int, given.sizes.split(",")):
        results[str(size)] = figures = asyncio.run(measure(size, found))
        print(f"{size}:", *(f"  {key:28} {value:10,.2f}" for key, value in figures.items()), sep="\n", flush=True)
    if given.json:
        where = {"python": platform.python_version(), "machine": platform.machine(), "cpus": os.cpu_count()}
        kept = {"when": time.strftime("%Y-%m-%d"), **where, "load": load, "figures": results}
        given.json.write_text(json.dumps(kept, indent=2) + "\n", "utf-8")
    if given.found:
        given.found.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
