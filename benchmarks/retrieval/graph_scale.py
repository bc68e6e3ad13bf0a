"""What a graph costs as a knowledge base grows: looking for entities, opening, memory, searches and changes.

    python benchmarks/retrieval/graph_scale.py [--sizes 10000,100000] [--json FILE]

The passages of `scale.py` as sentences that name people, places and things: as many names as passages, by Zipf's law,
eight in each passage. Questions name one of them, a third of them a rare one. The same questions are searched with the
graph and without it on the same index, in turn; `added` is what the graph adds to the time and to the CPU time of one.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from scale import ASKED, DIMENSION, PART, Corpus, memory, pending

from loomd.knowledge.arriving import encode
from loomd.knowledge.base import Chunking, IndexSpec, Retrieval
from loomd.knowledge.graph_index import GraphIndex
from loomd.knowledge.graph_spec import GraphSpec
from loomd.knowledge.index import Index
from loomd.knowledge.question import Question
from loomd.knowledge.sources.files import FilesSource
from loomd.knowledge.survey import Recipe
from loomd.knowledge.terms import extract

NAMED = 8
"""Names in a passage."""
RECIPE = Recipe([FilesSource(path="made")], Chunking(), "made", DIMENSION, "rules/made")
BATCH = 256


class Named:
    """The passages of a corpus, as sentences with names; the same seed makes the same ones."""

    def __init__(self, size: int) -> None:
        self.corpus = Corpus(size)
        share = 1 / np.arange(1, size + 1)
        self._share = share / share.sum()

    def name(self, number: int) -> str:
        """Return a name of two words."""
        letters = [chr(97 + number // 26**k % 26) for k in range(5)]
        return f"{''.join(letters[:2]).capitalize()}on {''.join(letters[2:]).capitalize()}er{letters[0]}"

    def part(self, number: int) -> tuple[list[str], np.ndarray]:
        """Return texts and unit vectors of one part."""
        texts, vectors = self.corpus.part(number)
        rng = np.random.default_rng([13, number])
        drawn = rng.choice(len(self._share), (len(texts), NAMED), p=self._share)
        return [self._text(text.split(), names) for text, names in zip(texts, drawn.tolist(), strict=True)], vectors

    def _text(self, words: list[str], names: list[int]) -> str:
        each = len(words) // (NAMED // 2)
        sentences = []
        for at in range(NAMED // 2):
            part = words[at * each : (at + 1) * each]
            one, other = self.name(names[2 * at]), self.name(names[2 * at + 1])
            sentences.append(" ".join([part[0].capitalize(), *part[1:5], one, *part[5:9], other, *part[9:]]) + ".")
        return " ".join(sentences)

    def parts(self) -> Iterator[tuple[list[str], np.ndarray]]:
        """Yield all parts."""
        return (self.part(number) for number in range((self.corpus.size + PART - 1) // PART))

    def questions(self) -> tuple[list[str], np.ndarray]:
        """Return questions that name something, and their vectors."""
        asked, vectors = self.corpus.questions()
        rng = np.random.default_rng(17)
        frequent = rng.choice(len(self._share), ASKED, p=self._share)
        rare = rng.integers(len(self._share), size=ASKED)
        names = [rare[at] if at % 3 == 0 else frequent[at] for at in range(ASKED)]
        return [f"{text} {self.name(int(name))}" for text, name in zip(asked, names, strict=True)], vectors


def link(graph: GraphIndex) -> dict[str, float]:
    """Look through all passages that wait, and return what that took."""
    finding = linking = after = count = 0.0
    while rows := graph.unlinked(int(after), BATCH):
        after = rows[-1].id
        began = time.perf_counter()
        found = {graph.digest(one.chunk): extract(one.chunk.title, one.chunk.text) for one in rows}
        finding += time.perf_counter() - began
        began = time.perf_counter()
        graph.keep(found)
        graph.link([(one, graph.digest(one.chunk), found[graph.digest(one.chunk)]) for one in rows])
        linking += time.perf_counter() - began
        count += len(rows)
    began = time.perf_counter()
    graph.save()
    return {
        "find ms each": finding * 1000 / count,
        "store ms each": linking * 1000 / count,
        "build s": time.perf_counter() - began,
    }


def fill(folder: Path, size: int) -> dict[str, float]:
    """Make the index and its graph, and return what the graph took."""
    how = IndexSpec()
    index = Index(folder, RECIPE, how)
    for number, (texts, vectors) in enumerate(Named(size).parts()):
        documents = pending(texts, number)
        keys = (key for document in documents for key, _ in document.chunks)
        index.write(documents, dict(zip(keys, encode(vectors), strict=True)), how)
    graph = graph_of(index)
    before = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    found = link(graph)
    index.save(how)
    index.close()
    after = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return found | {"disk MiB": (after - before) / 2**20}


def graph_of(index: Index) -> GraphIndex:
    assert index.graph is not None
    return index.graph


def measure(folder: Path, size: int) -> dict[str, float]:
    """Open what was made, and search it with the graph and without."""
    import faiss  # noqa: F401, PLC0415  # what costs an import is not what opening costs

    asked, vectors = Named(size).questions()
    how = IndexSpec()
    before = time.perf_counter()
    index = Index(folder, RECIPE, how)
    found = {"open ms": (time.perf_counter() - before) * 1000}
    standing = graph_of(index).standing()
    found |= {"entities": standing.entities, "relations": standing.relations}
    retrieval = Retrieval(top_k=10)
    ways: dict[str, list[Question]] = {
        name: [Question(text, vector, retrieval, 10, (), graph) for text, vector in zip(asked, vectors, strict=True)]
        for name, graph in (("without", None), ("with", GraphSpec()))
    }
    took: dict[str, list[float]] = {name: [] for name in ways}
    used = dict.fromkeys(ways, 0.0)
    with ThreadPoolExecutor(1) as pool:  # as a knowledge base does it: in another thread
        for turn in range(4):
            for name, questions in ways.items():
                for question in questions:
                    cpu, began = time.process_time(), time.perf_counter()
                    pool.submit(index.search, [question]).result()
                    if turn:  # the first one warms up
                        took[name].append((time.perf_counter() - began) * 1000)
                        used[name] += (time.process_time() - cpu) * 1000
    for name, times in took.items():
        found |= {f"{name} p50 ms": statistics.median(times), f"{name} p99 ms": sorted(times)[int(len(times) * 0.99)]}
    found["added p50 ms"] = found["with p50 ms"] - found["without p50 ms"]
    found["added cpu ms"] = (used["with"] - used["without"]) / len(took["with"])
    reached = [graph_of(index).search(text, GraphSpec(), 50) for text in asked]
    found["questions that lead somewhere"] = sum(bool(one.ranked) for one in reached) / len(reached)
    began = time.perf_counter()
    graph_of(index).note(removed=False)
    graph_of(index).save()
    found["change s"] = time.perf_counter() - began
    index.close()
    return found | {"memory MiB": memory("VmRSS")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="10000,100000")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--step", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step:
        step, folder, size = given.step
        print(json.dumps((fill if step == "fill" else measure)(Path(folder), int(size))))
        return
    results: dict[str, dict[str, float]] = {}
    for size in given.sizes.split(","):
        with tempfile.TemporaryDirectory(dir=Path(__file__).parent, prefix="scale-") as place:
            folder = Path(place) / "default" / "made"
            folder.mkdir(parents=True)
            found: dict[str, float] = {}
            for step in ("fill", "measure"):
                command = [sys.executable, __file__, "--step", step, str(folder), size]
                done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True, env=os.environ)
                found |= json.loads(done.stdout.splitlines()[-1])
        results[size] = found
        print(f"{size}:", *(f"  {key:32} {value:12,.2f}" for key, value in found.items()), sep="\n", flush=True)
    if given.json:
        given.json.write_text(json.dumps(results, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
