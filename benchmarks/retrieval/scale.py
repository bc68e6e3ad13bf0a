"""What searching costs as a knowledge base grows: 1,000 to 1,000,000 passages of 384 numbers, without embedding.

    python benchmarks/retrieval/scale.py [--sizes 1000,10000,100000] [--types auto] [--json FILE | --publish]

`--publish` keeps the figures in `benchmarks/results/scale.json`, those of other sizes beside them, and writes the
picture and the table of `docs/explanation/retrieval.md`.

Passages are made: words by Zipf's law, vectors around as many centres as a large collection has topics, questions
near a passage and in words of its own, without stop words. The index is that of a knowledge base, with its store, its
words and its vectors; only the embedder is left out. Each size runs in a process of its own, so that its memory is its
own. `recall@10` is the share of the ten nearest passages that the index of vectors finds, against comparing all.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from loomd.knowledge.arriving import encode
from loomd.knowledge.base import Chunking, IndexSpec, Retrieval
from loomd.knowledge.chunk import Chunk
from loomd.knowledge.index import Index
from loomd.knowledge.question import Question
from loomd.knowledge.sources.files import FilesSource
from loomd.knowledge.survey import Pending, Recipe

sys.path.insert(0, str(Path(__file__).resolve().parent))
from plot import FIGURES, WHERE, publish  # beside this file

DIMENSION = 384
WORDS = 30_000
STOP_WORDS = 10
"""The most frequent words, those that more than half of all passages have: questions go without them, as stop words are
taken out of a question before it is looked up. Those that are left are as frequent as the words of the questions of NPL
and CACM, and more frequent than those of web questions (TREC DL)."""
CENTRES = 5_000
PART = 5_000
PER_DOCUMENT = 5
ASKED = 200


class Corpus:
    """Made passages; the same seed makes the same ones."""

    def __init__(self, size: int) -> None:
        self.size = size
        rng = np.random.default_rng(7)
        self._centres = rng.standard_normal((CENTRES, DIMENSION)).astype(np.float32)
        self._words = np.array(["".join(chr(97 + at // 26**k % 26) for k in range(4)) for at in range(WORDS)])
        share = 1 / np.arange(1, WORDS + 1)
        self._share = share / share.sum()

    def part(self, number: int) -> tuple[list[str], np.ndarray]:
        """Return texts and unit vectors of one part."""
        rng = np.random.default_rng([7, number])
        count = min(PART, self.size - number * PART)
        lengths = rng.integers(50, 110, count)
        drawn = self._words[rng.choice(WORDS, int(lengths.sum()), p=self._share)]
        texts = [" ".join(words) for words in np.split(drawn, np.cumsum(lengths)[:-1])]
        vectors = self._centres[rng.integers(CENTRES, size=count)] + 0.8 * rng.standard_normal((count, DIMENSION))
        return texts, unit(vectors)

    def parts(self) -> Iterator[tuple[list[str], np.ndarray]]:
        """Yield all parts."""
        return (self.part(number) for number in range((self.size + PART - 1) // PART))

    def questions(self) -> tuple[list[str], np.ndarray]:
        """Return six words of a passage each, none of them a stop word, and a vector near its."""
        rng = np.random.default_rng(11)
        texts, vectors = self.part(0)
        chosen = rng.integers(len(texts), size=ASKED)
        stop = set(self._words[:STOP_WORDS])
        asked = [" ".join(rng.choice([word for word in texts[at].split() if word not in stop], 6)) for at in chosen]
        noise = rng.standard_normal((ASKED, DIMENSION)) * (0.4 / DIMENSION**0.5)
        return asked, unit(vectors[chosen] + noise)


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def pending(texts: list[str], number: int) -> list[Pending]:
    chunks = [(b"%d" % (number * PART + at), Chunk(f"Part {at % 50}", text, 1, 1)) for at, text in enumerate(texts)]
    return [
        Pending(f"{number}-{at}.md", "d", chunks[at : at + PER_DOCUMENT]) for at in range(0, len(chunks), PER_DOCUMENT)
    ]


def memory(field: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return float(line.split()[1]) / 1024
    return 0.0


def timed(index: Index, questions: list[Question], together: int = 1) -> dict[str, float]:
    with ThreadPoolExecutor(1) as pool:  # as a knowledge base does it: in another thread
        for question in questions[:20]:
            pool.submit(index.search, [question]).result()
        took, cpu = [], time.process_time()
        for at in range(0, len(questions), together):
            before = time.perf_counter()
            pool.submit(index.search, questions[at : at + together]).result()
            took.append((time.perf_counter() - before) * 1000 / together)
        used = (time.process_time() - cpu) * 1000 / len(questions)
    return {"p50 ms": statistics.median(took), "p99 ms": sorted(took)[int(len(took) * 0.99)], "cpu ms": used}


def fill(folder: Path, size: int, how: IndexSpec) -> dict[str, float]:
    """Build the index, and return what that took."""
    corpus = Corpus(size)
    made = 0.0
    began = time.perf_counter()
    index = Index(folder, RECIPE, how)
    for number, (texts, vectors) in enumerate(corpus.parts()):
        waited = time.perf_counter()
        documents, stored = pending(texts, number), encode(vectors)
        keys = (key for document in documents for key, _ in document.chunks)
        known = dict(zip(keys, stored, strict=True))
        made += time.perf_counter() - waited
        index.write(documents, known, how)
    written = time.perf_counter()
    index.save(how)
    saved = time.perf_counter()
    index.close()
    disk = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 2**20
    return {
        "write passages/s": size / (written - began - made),
        "build s": saved - written,
        "disk MiB": disk,
        "peak MiB": memory("VmHWM"),
    }


RECIPE = Recipe([FilesSource(path="made")], Chunking(), "made", DIMENSION)


def measure(folder: Path, size: int, how: IndexSpec) -> dict[str, float]:
    """Open what was built and search it."""
    import faiss  # noqa: F401, PLC0415  # what costs an import is not what opening costs

    corpus = Corpus(size)
    asked, vectors = corpus.questions()
    empty = memory("VmRSS")
    before = time.perf_counter()
    index = Index(folder, RECIPE, how)
    found = {"open ms": (time.perf_counter() - before) * 1000}
    for mode in ("keyword", "vector", "hybrid"):
        retrieval = Retrieval(mode=mode, top_k=10)
        questions = [Question(text, vector, retrieval, 10) for text, vector in zip(asked, vectors, strict=True)]
        found |= {f"{mode} {name}": value for name, value in timed(index, questions).items()}
    found["hybrid, 20 together ms each"] = timed(index, questions, 20)["p50 ms"]
    found["memory MiB"] = memory("VmRSS") - empty
    found["memory in all MiB"] = memory("VmRSS")
    updates = []
    for number in range(20):
        document = Pending(f"new-{number}.md", "d", [(b"new", Chunk("New", f"A passage about ferrets {number}", 1, 1))])
        before = time.perf_counter()
        index.write([document], {b"new": encode(vectors[:1])[0]}, how)
        index.save(how)
        (best, *_), *_ = index.search([Question(f"ferrets {number}", None, Retrieval(mode="keyword"), 1)])
        assert best[0].path == f"new-{number}.md", best
        updates.append((time.perf_counter() - before) * 1000)
    found["update p50 ms"], found["update worst ms"] = statistics.median(updates), max(updates)
    exact = nearest(corpus, vectors)
    retrieval = Retrieval(mode="vector", top_k=10, candidates=10)
    asking = [Question(text, vector, retrieval, 10) for text, vector in zip(asked, vectors, strict=True)]
    hits = 0
    for question, best in zip(asking, exact, strict=True):
        ((stored),) = index.search([question])
        hits += len({row.chunk.text for row, _ in stored} & best)
    found["recall@10"] = hits / 10 / ASKED
    index.close()
    return found


def nearest(corpus: Corpus, asked: np.ndarray) -> list[set[str]]:
    """Return the texts of the ten nearest passages of each question, by comparing all."""
    best: list[list[tuple[float, str]]] = [[] for _ in asked]
    for texts, vectors in corpus.parts():
        scores = asked @ vectors.astype(np.float16).astype(np.float32).T
        for row, found in zip(scores, best, strict=True):
            found += [(float(row[at]), texts[at]) for at in np.argpartition(-row, min(10, len(row) - 1))[:10]]
            found.sort(reverse=True)
            del found[10:]
    return [{text for _, text in found} for found in best]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="1000,10000,100000")
    parser.add_argument("--types", default="auto")
    parser.add_argument("--json", type=Path, help="keep the figures in a file, those of other sizes beside them")
    parser.add_argument("--publish", action="store_true", help="keep the figures, and write the page about them")
    parser.add_argument("--step", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step:
        step, folder, size, kind = given.step
        run = fill if step == "fill" else measure
        print(json.dumps(run(Path(folder), int(size), IndexSpec(type=kind))))
        return
    results: dict[str, dict[str, float]] = {}
    load = os.getloadavg()[0]
    for kind in given.types.split(","):
        for size in map(int, given.sizes.split(",")):
            name = f"{size} {kind}"
            results[name] = found = grown(size, kind)
            print(f"{name}:", *(f"  {key:28} {value:12,.2f}" for key, value in found.items()), sep="\n", flush=True)
    if given.json or given.publish:
        keep(given.json or FIGURES, results, load)
    if given.publish:
        publish()


def grown(size: int, kind: str = "auto") -> dict[str, float]:
    """Return the figures of an index of so many passages: built in one process, searched in another."""
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory(dir=Path(__file__).parent, prefix="scale-") as place:
        folder = Path(place) / "default" / "made"
        folder.mkdir(parents=True)
        for step in ("fill", "measure"):
            command = [sys.executable, __file__, "--step", step, str(folder), str(size), kind]
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True, env=os.environ)
            found |= json.loads(done.stdout.splitlines()[-1])
    return found


def keep(path: Path, results: dict[str, dict[str, float]], load: float) -> None:
    """Write figures down, with where and when they were measured; those of other sizes stay, with theirs."""
    before = json.loads(path.read_text("utf-8")) if path.is_file() else {"figures": {}}
    old = {name: values for name, values in before["figures"].items() if name not in results}
    measured = {name: before.get("earlier", {}).get(name, {key: before[key] for key in WHERE}) for name in old}
    figures = sorted((old | results).items(), key=lambda pair: (pair[0].split()[1], int(pair[0].split()[0])))
    here = (time.strftime("%Y-%m-%d"), platform.python_version(), platform.machine(), os.cpu_count(), round(load, 1))
    kept = {
        **dict(zip(WHERE, here, strict=True)),
        "figures": {name: {key: round(value, 4) for key, value in values.items()} for name, values in figures},
        **({"earlier": measured} if measured else {}),
    }
    path.write_text(json.dumps(kept, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
