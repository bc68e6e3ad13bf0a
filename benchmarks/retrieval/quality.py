"""How good the ranking is: keyword, vector and hybrid side by side, on collections that people have judged.

    python benchmarks/retrieval/quality.py FOLDER... [--embedder wordllama] [--also JSON]
                                           [--graph JSON] [--judge MODEL] [--questions N] [--state FOLDER] [--json FILE]

A FOLDER holds one collection as it is published: BEIR (`corpus.jsonl`, `queries.jsonl`, `qrels/test.tsv`), TREC
(`topics*`, `qrels*`, documents in all other files), Cranfield, CISI, MED and CACM (`.I` records), or NPL (`doc-text`).
Every document is a file of a real knowledge base with the defaults of a manifest; a document stands where its first
passage stands. README.md beside this folder says where the collections are.

What is measured, as trec_eval does: nDCG@10 with the grade as gain, recall@10 and @100 and the reciprocal rank of the
first document that is relevant at all (grade above 0). Questions without one are left out. `held out` is nDCG@10 over
every second question: defaults were chosen by the others. With `--judge` a local model is there for `expand` and
`rerank` as provider `judge`, and `--questions` takes a sample of the questions, drawn alike every time; it is told in
how many searches it gave no usable answer.
"""

import argparse
import asyncio
import json
import math
import random
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loomd.agents.asking import of_the_day
from loomd.clock import SystemClock
from loomd.embedders.kind import KIND as EMBEDDER
from loomd.events.bus import Bus
from loomd.knowledge.kind import KIND as KNOWLEDGE
from loomd.manifest.object import Metadata, Object, Ref
from loomd.manifest.problem import Position
from loomd.models.place import models_dir
from loomd.providers.kind import KIND as PROVIDER
from loomd.store.sqlite import open_store
from loomd.topology import Parts, Services

HALVES = ("keyword", "vector")
METRICS = ("nDCG@10", "recall@5", "recall@10", "recall@100", "MRR")
FOLDER_SIZE = 1000
Grades = dict[str, int]
"""How relevant each judged document is to a question; 0 and less is not relevant."""


@dataclass(frozen=True)
class Collection:
    """Documents (title, text), questions, and what people judged, by their ids."""

    documents: dict[str, tuple[str, str]]
    queries: dict[str, str]
    judged: dict[str, Grades]


# --- measures ---------------------------------------------------------------------------------------------------------


def ndcg(ranked: Sequence[str], grades: Grades, k: int) -> float:
    """Return the discounted gain of the first k, as a share of the best that is possible."""
    ideal = sorted((grade for grade in grades.values() if grade > 0), reverse=True)
    best = _gain(ideal[:k])
    return _gain([max(grades.get(item, 0), 0) for item in ranked[:k]]) / best if best else 0.0


def _gain(grades: Sequence[int]) -> float:
    return sum(grade / math.log2(rank + 1) for rank, grade in enumerate(grades, 1))


def recall(ranked: Sequence[str], grades: Grades, k: int) -> float:
    """Return the share of the relevant documents that are among the first k."""
    relevant = {item for item, grade in grades.items() if grade > 0}
    return len(relevant.intersection(ranked[:k])) / len(relevant) if relevant else 0.0


def reciprocal_rank(ranked: Sequence[str], grades: Grades) -> float:
    """Return 1 / the rank of the first relevant document, or 0."""
    return next((1 / rank for rank, item in enumerate(ranked, 1) if grades.get(item, 0) > 0), 0.0)


def measure(near: Sequence[str], far: Sequence[str], grades: Grades) -> dict[str, float]:
    """Return all measures of one question: `near` as it is asked for by default, `far` for a hundred documents."""
    return {
        "nDCG@10": ndcg(near, grades, 10),
        "recall@5": recall(near, grades, 5),
        "recall@10": recall(near, grades, 10),
        "recall@100": recall(far, grades, 100),
        "MRR": reciprocal_rank(near[:10], grades),
    }


# --- formats ----------------------------------------------------------------------------------------------------------


def load(folder: Path) -> Collection:
    """Read a collection in whichever of the known formats it is."""
    names = sorted(path.name for path in folder.iterdir())
    if "corpus.jsonl" in names:
        return load_beir(folder)
    if "doc-text" in names:
        return load_npl(folder)
    if any(name.startswith("topics") for name in names):
        return load_trec(folder)
    if any(_text(folder / name)[:3] == ".I " for name in names if (folder / name).is_file()):
        return load_records(folder)
    sys.exit(f"{folder}: not a collection that is known: {', '.join(names) or 'empty'}")


def load_beir(folder: Path, split: str = "test") -> Collection:
    """Read `corpus.jsonl`, `queries.jsonl` and `qrels/SPLIT.tsv`, which begins with a line of names."""
    rows = [json.loads(line) for line in _lines(folder / "corpus.jsonl")]
    documents = {row["_id"]: (row.get("title") or "", row["text"]) for row in rows}
    queries = {row["_id"]: row["text"] for row in map(json.loads, _lines(folder / "queries.jsonl"))}
    judged: dict[str, Grades] = {}
    for line in _lines(folder / "qrels" / f"{split}.tsv")[1:]:
        query, document, grade = line.split("\t")
        judged.setdefault(query, {})[document] = int(grade)
    return Collection(documents, queries, judged)


def load_trec(folder: Path) -> Collection:
    """Read `topics*` (title of each `<top>`), `qrels*` (query, anything, document, grade) and `<DOC>`s of the rest."""
    documents, queries, judged = dict[str, tuple[str, str]](), dict[str, str](), dict[str, Grades]()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        text = _text(path)
        if path.name.startswith("topics"):
            for top in re.findall(r"<top>(.*?)</top>", text, re.DOTALL):
                number = re.search(r"<num>\s*(?:Number:)?\s*(\S+)", top)
                title = re.search(r"<title>\s*(?:Topic:)?\s*([^<]*)", top)
                if number and title:
                    queries[number[1]] = _plain(title[1])
        elif path.name.startswith("qrels"):
            for query, _, document, grade in (line.split() for line in _lines(path)):
                judged.setdefault(query, {})[document] = int(grade)
        else:
            for doc in re.findall(r"<DOC>(.*?)</DOC>", text, re.DOTALL | re.IGNORECASE):
                name = _tagged(doc, "DOCNO")
                documents[name] = (_tagged(doc, "TITLE") or _tagged(doc, "HEADLINE"), _tagged(doc, "TEXT"))
    return Collection(documents, queries, judged)


def _tagged(document: str, tag: str) -> str:
    parts = re.findall(rf"<{tag}>(.*?)</{tag}>", document, re.DOTALL | re.IGNORECASE)
    return _plain(re.sub(r"<[^>]*>", " ", " ".join(parts)))


def load_records(folder: Path) -> Collection:
    """Read a collection of `.I` records, as Cranfield, CISI, MED and CACM are.

    The largest file of records has the documents, the next one the questions, counted from 1 as the judgements do. The
    judgements are a file of numbers: question, document, and what is read as relevant unless it is negative, since the
    collections do not agree what their codes mean.
    """
    files = sorted(folder.iterdir(), key=lambda path: -path.stat().st_size)
    records = [path for path in files if _text(path).startswith(".I ")]
    numbers = [path for path in files if re.match(r"\s*\d+\s+\d+\s", _text(path))]
    if len(records) < 2 or len(numbers) != 1:
        sys.exit(f"{folder}: expected documents, questions and one file of judgements")
    documents = {str(number): (record["T"], record["W"]) for number, record in _records(records[0])}
    queries = {str(place): record["W"] for place, (_, record) in enumerate(_records(records[1]), 1)}
    judged: dict[str, Grades] = {}
    for line in _lines(numbers[0]):
        query, document, *code = line.split()
        judged.setdefault(query, {})[document] = 0 if code and float(code[0]) < 0 else 1
    return Collection(documents, queries, judged)


def _records(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    for block in re.split(r"^\.I ", _text(path), flags=re.MULTILINE)[1:]:
        number, _, rest = block.partition("\n")
        parts = re.split(r"^\.([A-Z])[ \t]*$", rest, flags=re.MULTILINE)
        yield (
            int(number),
            {"T": "", "W": ""} | {key: _plain(value) for key, value in zip(parts[1::2], parts[2::2], strict=True)},
        )


def load_npl(folder: Path) -> Collection:
    """Read `doc-text`, `query-text` and `rlv-ass`: a number, then lines, ended by a slash."""
    blocks = {name: _blocks(folder / name) for name in ("doc-text", "query-text", "rlv-ass")}
    return Collection(
        {number: ("", text) for number, text in blocks["doc-text"].items()},
        {number: text.lower() for number, text in blocks["query-text"].items()},
        {number: dict.fromkeys(text.split(), 1) for number, text in blocks["rlv-ass"].items()},
    )


def _blocks(path: Path) -> dict[str, str]:
    found = (block.strip().partition("\n") for block in re.split(r"^\s*/\s*$", _text(path), flags=re.MULTILINE))
    return {number.strip(): _plain(text) for number, _, text in found if number}


def _text(path: Path) -> str:
    return path.read_text("utf-8", errors="replace")


def _lines(path: Path) -> list[str]:
    return [line for line in _text(path).split("\n") if line.strip()]


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


# --- a knowledge base over a collection -------------------------------------------------------------------------------


def write(collection: Collection, folder: Path) -> dict[str, str]:
    """Write a file per document below `folder/docs`; return the ids of the documents by the paths of the files."""
    ids: dict[str, str] = {}
    for place, (ident, (title, text)) in enumerate(collection.documents.items()):
        path = Path("docs") / str(place // FOLDER_SIZE) / (f"{place}.md" if title else f"{place}.txt")
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(f"# {_plain(title)}\n\n{text}\n" if title else f"{text}\n", "utf-8")
        ids[path.as_posix()] = ident
    return ids


@asynccontextmanager
async def opened(root: Path, state: Path, embedder: str, way: dict[str, Any], judge: str = ""):
    """Open a knowledge base as a manifest declares it; yield it with who pays for what it asks."""
    async with open_store(state) as store:
        clock = SystemClock()
        services = Services(store, Bus(clock), clock, models_dir())

        def parts(kind: str, spec: Any, live: dict) -> Parts:
            return Parts(Object(Ref(kind, "x"), Metadata(name="x"), spec, {}, root, Position("x")), services, live)

        async with AsyncExitStack() as stack:
            made = EMBEDDER.adapter.validate_python({"type": embedder})
            live = {Ref("Embedder", "x"): await stack.enter_async_context(made.open(parts("Embedder", made, {})))}
            if judge:
                provider = PROVIDER.adapter.validate_python({"type": "local", "model": judge})
                opening = provider.open(parts("Provider", provider, {}))
                live[Ref("Provider", "judge")] = await stack.enter_async_context(opening)
            raw = {"sources": [{"type": "files", "path": "docs"}], "embedder": "x", **way}
            spec = KNOWLEDGE.adapter.validate_python(raw)
            base = await stack.enter_async_context(spec.open(parts("KnowledgeBase", spec, live)))
            await base.settled()
            yield base, of_the_day("x", "default", services)


def documents_of(found: Sequence[Any], ids: dict[str, str]) -> list[str]:
    """Return the documents of passages, each where its first passage stands."""
    return list(dict.fromkeys(ids[passage.source.rpartition(":")[0]] for passage in found))


async def judge(
    collection: Collection, embedder: str, ways: dict[str, dict[str, Any]], place: Path, model: str = ""
) -> dict[str, Any]:
    """Return for each way of searching the measures of every question, by the question."""
    ids = write(collection, place)
    found: dict[str, Any] = {"failed": {}}
    for way, fields in ways.items():
        async with opened(place, place / "state", embedder, fields, model) as (base, asker):
            rows: dict[str, dict[str, float]] = {}
            failed = 0
            for query, grades in collection.judged.items():
                text = collection.queries[query]
                close = await base.look(text, 20, asker=asker)
                failed += bool(close.notes)
                near = far = documents_of(close.passages, ids)
                if not model:  # which is asked once for a question
                    far = documents_of((await base.look(text, 200)).passages, ids)
                rows[query] = measure(near, far, grades)
            found[way] = rows
            found["failed"] |= {way: failed} if failed else {}
            found["passages"] = len(base)
    return found


def mean(rows: dict[str, dict[str, float]]) -> dict[str, float]:
    return {metric: round(statistics.fmean(row[metric] for row in rows.values()), 4) for metric in METRICS}


def margin(rows: dict[str, dict[str, dict[str, float]]], mode: str, metric: str = "nDCG@10") -> dict[str, Any]:
    """Return what a way is better than the better half by, and the standard error of that over the questions."""
    best = max(("keyword", "vector"), key=lambda half: mean(rows[half])[metric])
    by_query = [row[metric] - rows[best][query][metric] for query, row in rows[mode].items()]
    error = statistics.stdev(by_query) / math.sqrt(len(by_query)) if len(by_query) > 1 else 0.0
    return {"over": best, "by": round(statistics.fmean(by_query), 4), "standard error": round(error, 4)}


def told(rows: dict[str, dict[str, dict[str, float]]]) -> dict[str, Any]:
    """Return the means over all questions, and over every second one, by which nothing was tuned."""
    odd = {mode: dict(list(by_query.items())[1::2]) for mode, by_query in rows.items()}
    return {
        mode: mean(rows[mode])
        | {"held out": mean(odd[mode])}
        | kinds(rows[mode])
        | ({"margin": margin(rows, mode), "margin held out": margin(odd, mode)} if mode not in HALVES else {})
        for mode in rows
    }


def kinds(rows: dict[str, dict[str, float]]) -> dict[str, Any]:
    """Return the means by the beginnings of ids that end with a number; nothing where all questions are of one kind."""
    by_kind: dict[str, dict[str, dict[str, float]]] = {}
    for query, row in rows.items():
        by_kind.setdefault(re.sub(r"-?\d+$", "", query), {})[query] = row
    return {"kinds": {kind: mean(part) for kind, part in by_kind.items()}} if 1 < len(by_kind) < 10 else {}


def chosen(collection: Collection) -> Collection:
    """Return a collection with the questions that have a relevant document."""
    judged = {q: g for q, g in collection.judged.items() if q in collection.queries and max(g.values()) > 0}
    return Collection(collection.documents, collection.queries, judged)


def sampled(collection: Collection, count: int | None) -> Collection:
    """Return a collection with so many of its questions; the same ones every time."""
    if count is None or count >= len(collection.judged):
        return collection
    drawn = sorted(random.Random(0).sample(sorted(collection.judged), count))
    return Collection(collection.documents, collection.queries, {one: collection.judged[one] for one in drawn})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "folders", nargs="+", type=Path, metavar="FOLDER", help="a collection; its name is the folder's"
    )
    parser.add_argument("--embedder", action="append", help="wordllama by default, or minilm; may be repeated")
    parser.add_argument("--also", action="append", default=[], help="one more way: fields of spec.retrieval, as JSON")
    parser.add_argument(
        "--graph", action="append", default=[], help="hybrid with a graph: fields of spec.graph, as JSON"
    )
    parser.add_argument("--state", type=Path, help="where indexes are kept, so that another run embeds nothing anew")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--judge", default="", help="a local model, as provider `judge`; recall@100 is then that of 20")
    parser.add_argument("--questions", type=int, help="how many questions are drawn; all by default")
    given = parser.parse_args()
    ways = {mode: {"retrieval": {"mode": mode}} for mode in (*HALVES, "hybrid")}
    ways |= {way: {"retrieval": json.loads(way)} for way in given.also}
    ways |= {f"graph {way}": {"graph": json.loads(way)} for way in given.graph}
    results: dict[str, Any] = {"when": time.strftime("%Y-%m-%d"), "collections": {}}
    columns = (*METRICS, "held out")
    print(f"{'collection':14}{'embedder':11}{'way':24}" + "".join(f"{column:>11}" for column in columns))
    for folder in given.folders:
        collection = sampled(chosen(load(folder)), given.questions)
        found: dict[str, Any] = {"documents": len(collection.documents), "questions": len(collection.judged)}
        for embedder in given.embedder or ["wordllama"]:
            with tempfile.TemporaryDirectory() as made:
                place = (given.state or Path(made)) / folder.resolve().name
                rows = asyncio.run(judge(collection, embedder, ways, place, given.judge))
            if failed := rows.pop("failed"):
                found["failed"] = failed
                print(f"no usable answer: {failed}", flush=True)
            found["passages"] = rows.pop("passages")
            found[embedder] = told(rows)
            for way, means in found[embedder].items():
                figures = [*(means[metric] for metric in METRICS), means["held out"]["nDCG@10"]]
                line = "".join(f"{figure:11.3f}" for figure in figures)
                by = f"  {means['margin']['by']:+.3f} over {means['margin']['over']}" if "margin" in means else ""
                print(f"{folder.resolve().name:14}{embedder:11}{way:24}{line}{by}", flush=True)
                for kind, part in means.get("kinds", {}).items():
                    print(f"{'':25}  {kind:22}" + "".join(f"{part[metric]:11.3f}" for metric in METRICS), flush=True)
        results["collections"][folder.resolve().name] = found
        if given.json:
            given.json.write_text(json.dumps(results, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
