"""What indexing and searching cost, with `wordllama`: at the quickstart's documents and at 10,000 chunks.

    python benchmarks/retrieval/run.py [--quick] [--json FILE]

Needs `examples/01-quickstart/documents` (its build.py writes them). The large set is cut from the same text, with the
words of every document shuffled by a seed, so that chunks differ and have real lengths. `--quick` asks fewer questions
and makes 2,000 chunks. CPU is user + system of the process; run nothing beside it.

`made` are the figures of `scale.py` for 10,000 made passages, with `--quick` for 1,000: without an embedder, and held
against what is wanted of many more.

The knowledge base of loom-agent takes the same passages and vectors in an environment of its own (`beside.py`); without
one that is skipped:

    python -m venv benchmarks/retrieval/.venv
    benchmarks/retrieval/.venv/bin/pip install -r benchmarks/retrieval/requirements.txt
"""

import argparse
import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

from loomd.clock import SystemClock
from loomd.embedders.wordllama import WordLlamaSpec
from loomd.events.bus import Bus
from loomd.knowledge.spec import KnowledgeBaseSpec
from loomd.manifest.object import Metadata, Object, Ref
from loomd.manifest.problem import Position
from loomd.store.sqlite import open_store
from loomd.testing import open_spec
from loomd.topology import Parts, Services

sys.path.insert(0, str(Path(__file__).resolve().parent))
from beside import PYTHON, compare  # beside this file
from scale import grown

PROJECT = Path(__file__).resolve().parents[2]
DOCUMENTS = PROJECT / "examples" / "01-quickstart" / "documents"
QUESTIONS = PROJECT / "tests" / "knowledge" / "questions.jsonl"


def make_large(folder: Path, chunks: int) -> None:
    """Write documents of about four chunks each."""
    words = " ".join(path.read_text("utf-8") for path in sorted((DOCUMENTS / "python").glob("*.md"))).split()
    rng = random.Random(7)
    (folder / "docs").mkdir(parents=True)
    for number in range(chunks // 4):
        sections = []
        for section in range(4):
            at = rng.randrange(len(words) - 200)
            part = words[at : at + 110]
            rng.shuffle(part)
            sections.append(f"## Section {section}\n\n{' '.join(part)}\n")
        (folder / "docs" / f"{number:05}.md").write_text(f"# Document {number}\n\n" + "\n".join(sections), "utf-8")


def rss() -> float:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 2**20


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


async def measure(root: Path, path: str, state: Path, questions: list[str]) -> dict[str, float]:
    found: dict[str, float] = {}
    async with open_store(state) as store:
        clock = SystemClock()
        services = Services(store, Bus(clock), clock, state)

        def parts(kind: str, spec: object, live: dict) -> Parts:
            return Parts(Object(Ref(kind, "x"), Metadata(name="x"), spec, {}, root, Position("x")), services, live)

        embedder_spec = WordLlamaSpec()
        async with embedder_spec.open(parts("Embedder", embedder_spec, {})) as embedder:
            await embedder.embed(["warm"])
            spec = KnowledgeBaseSpec.model_validate({"sources": [{"path": path}], "embedder": "x"})
            live = {Ref("Embedder", "x"): embedder}
            before, cpu = time.perf_counter(), time.process_time()
            async with spec.open(parts("KnowledgeBase", spec, live)) as base:
                took = time.perf_counter() - before
                found |= {"chunks": len(base), "ingest s": took, "ingest cpu s": time.process_time() - cpu}
                found["chunks/s"] = len(base) / took
                documents = sum(1 for item in (root / path).rglob("*.md"))
                found["documents/s"] = documents / took
            before = time.perf_counter()
            async with spec.open(parts("KnowledgeBase", spec, live)) as base:
                found["reopen ms"] = (time.perf_counter() - before) * 1000
                for question in questions[:20]:
                    await base.search(question)
                times = []
                cpu = time.process_time()
                for question in questions:
                    before = time.perf_counter()
                    await base.search(question)
                    times.append((time.perf_counter() - before) * 1000)
                found["query cpu ms"] = (time.process_time() - cpu) * 1000 / len(questions)
                found["query p50 ms"] = statistics.median(times)
                found["query p99 ms"] = percentile(times, 0.99)
                victim = next(iter(sorted((root / path).rglob("*.md"))))
                text = victim.read_text("utf-8")
                try:
                    victim.write_text(text + "\nOne more line about ferrets.\n", "utf-8")
                    before = time.perf_counter()
                    await base.refresh()
                    found["one changed document ms"] = (time.perf_counter() - before) * 1000
                finally:
                    victim.write_text(text, "utf-8")
                found["rss MiB"] = rss()
    return found


async def next_to_the_seed(folder: Path, *, quick: bool) -> dict[str, float]:
    """Return the figures of a knowledge base and of that of the seed."""
    async with open_spec("Embedder", {"type": "wordllama"}, folder / "words") as words:
        count, theirs = (2000, 10) if quick else (10_000, 40)
        return await compare(DOCUMENTS / "python", words.embed, folder, count, 200, theirs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    if not DOCUMENTS.is_dir():
        sys.exit("no documents: run python examples/01-quickstart/build.py")
    questions = [json.loads(line)["question"] for line in QUESTIONS.read_text("utf-8").splitlines()]
    questions *= 2 if given.quick else 10
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "quick").mkdir()
        for path in DOCUMENTS.rglob("*.md"):
            target = place / "quick" / "docs" / path.relative_to(DOCUMENTS)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
        make_large(place / "large", 2000 if given.quick else 10_000)
        for name in ("quick", "large"):
            results[name] = asyncio.run(measure(place / name, "docs", place / f"state-{name}", questions))
        beside: dict[str, float] = {}
        if PYTHON.exists():
            (place / "beside").mkdir()
            beside = asyncio.run(next_to_the_seed(place / "beside", quick=given.quick))
        else:
            print("skipped loom-agent: install benchmarks/retrieval/requirements.txt into benchmarks/retrieval/.venv")
    for key in results["quick"]:
        print(f"{key:26}" + "".join(f"{results[name][key]:14.2f}" for name in results))
    for key, value in beside.items():
        print(f"{key:40}{value:14.4f}")
    made = grown(1000 if given.quick else 10_000)
    made["missed"] = 1 - made["recall@10"]
    for key, value in made.items():
        print(f"made passages, {key:30}{value:12.2f}")
    results |= {"made": made} | ({"beside": beside} if beside else {})
    if given.json:
        given.json.write_text(json.dumps(results, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
