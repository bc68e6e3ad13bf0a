"""The measures of `benchmarks/retrieval/quality.py`, against values worked out by hand, and its formats."""

import importlib.util
import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest


def _load(name: str) -> Any:
    path = Path(__file__).parents[2] / "benchmarks" / "retrieval" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"retrieval_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[f"retrieval_{name}"] = module
    spec.loader.exec_module(module)
    return module


quality, hops = _load("quality"), _load("hops")

GRADES = {"a": 3, "b": 2, "c": 1, "d": 0, "e": -1}


@pytest.mark.parametrize(
    ("ranked", "expected"),
    [
        (["a", "b", "c"], 1.0),
        # (2/1 + 3/1.58496) / (3/1 + 2/1.58496 + 1/2) = 3.89279 / 4.76186
        (["b", "a"], 0.81749),
        # unknown and not relevant ones take a place: (3/log2(3) + 1/log2(5)) / 4.76186
        (["d", "a", "x", "c"], (3 / math.log2(3) + 1 / math.log2(5)) / 4.76186),
        (["e", "x"], 0.0),
        ([], 0.0),
    ],
    ids=["ideal", "swapped", "with-others", "nothing-relevant", "empty"],
)
def test_ndcg(ranked: list[str], expected: float) -> None:
    """The gain of a document is its grade, over the logarithm of its rank; the ideal order is 1."""
    assert quality.ndcg(ranked, GRADES, 10) == pytest.approx(expected, abs=1e-4)


def test_ndcg_looks_at_the_first_k() -> None:
    """What stands behind counts neither for a ranking nor for the ideal one: 2/3 of one document."""
    assert quality.ndcg(["b", "a"], GRADES, 1) == pytest.approx(2 / 3)


def test_recall() -> None:
    """Three documents are relevant; of the first two found, one is."""
    assert quality.recall(["a", "d", "b"], GRADES, 2) == pytest.approx(1 / 3)
    assert quality.recall(["a", "d", "b"], GRADES, 10) == pytest.approx(2 / 3)
    assert quality.recall(["a"], {"a": 0}, 10) == 0.0


def test_reciprocal_rank() -> None:
    """The first relevant document counts, by its rank."""
    assert quality.reciprocal_rank(["x", "d", "c", "a"], GRADES) == pytest.approx(1 / 3)
    assert quality.reciprocal_rank(["x"], GRADES) == 0.0


def test_beir(tmp_path: Path) -> None:
    """Rows of JSON, judgements behind a line of names; a line separator inside a text is none of the file."""
    corpus = {"_id": "d1", "title": "T", "text": "one\u2028two"}
    (tmp_path / "corpus.jsonl").write_text(json.dumps(corpus, ensure_ascii=False) + "\n", "utf-8")
    (tmp_path / "queries.jsonl").write_text('{"_id": "q1", "text": "which?"}\n{"_id": "q2", "text": "none"}\n', "utf-8")
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t2\nq2\td1\t0\n", "utf-8")
    found = quality.load(tmp_path)
    assert found.documents == {"d1": ("T", "one\u2028two")}
    assert found.judged == {"q1": {"d1": 2}, "q2": {"d1": 0}}
    assert quality.chosen(found).judged == {"q1": {"d1": 2}}


def test_trec(tmp_path: Path) -> None:
    """Topics by their title, documents by their number and their text."""
    (tmp_path / "topics.txt").write_text(
        "<top>\n<num> Number: 301\n<title> International\n organized crime\n<desc> Description:\nmore\n</top>\n"
    )
    (tmp_path / "qrels.txt").write_text("301 0 FT1 1\n301 0 FT2 0\n")
    (tmp_path / "ft").mkdir()
    (tmp_path / "ft" / "1").write_text(
        "<DOC>\n<DOCNO> FT1 </DOCNO>\n<HEADLINE>A head</HEADLINE>\n<TEXT>\nBody <b>text</b>.\n</TEXT>\n</DOC>\n"
    )
    found = quality.load(tmp_path)
    assert found.documents == {"FT1": ("A head", "Body text .")}
    assert found.queries == {"301": "International organized crime"}
    assert found.judged == {"301": {"FT1": 1, "FT2": 0}}


def test_records(tmp_path: Path) -> None:
    """Cranfield's questions are counted from 1, whatever their numbers; a negative code is not relevant."""
    (tmp_path / "cran.all").write_text(".I 1\n.T\na title\n.A\nsomebody\n.W\nthe text\n of it\n.I 2\n.W\nanother\n" * 2)
    (tmp_path / "cran.qry").write_text(".I 001\n.W\nfirst question\n.I 004\n.W\nsecond .\n")
    (tmp_path / "cranqrel").write_text("1 1 2 \n2 2 -1\n2 1 4\n")
    found = quality.load(tmp_path)
    assert found.documents == {"1": ("a title", "the text of it"), "2": ("", "another")}
    assert found.queries == {"1": "first question", "2": "second ."}
    assert found.judged == {"1": {"1": 1}, "2": {"2": 0, "1": 1}}


def test_npl(tmp_path: Path) -> None:
    """Numbers, lines and slashes."""
    (tmp_path / "doc-text").write_text("\n1\ncompact memories\nare flexible\n   /\n2\nanother\n   /\n   /\n")
    (tmp_path / "query-text").write_text("1\nMEMORIES\n/\n")
    (tmp_path / "rlv-ass").write_text("1\n 1  2\n 3\n   /\n")
    found = quality.load(tmp_path)
    assert found.documents == {"1": ("", "compact memories are flexible"), "2": ("", "another")}
    assert found.queries == {"1": "memories"}
    assert found.judged == {"1": {"1": 1, "2": 1, "3": 1}}


async def test_a_collection_is_judged_with_a_real_knowledge_base(tmp_path: Path) -> None:
    """Of a document that is several passages, the first counts, and the words of the question find it."""
    long = "\n\n".join(f"Paragraph {n} about turbines and blades, " + "more of the same, " * 60 for n in range(4))
    made = quality.Collection(
        {"t": ("Turbines", long), "b": ("", "Bread is baked from flour.")}, {"1": "turbines"}, {"1": {"t": 1}}
    )
    found = await quality.judge(made, "hash", {"keyword": {"retrieval": {"mode": "keyword"}}}, tmp_path)
    assert found["passages"] > 2
    assert found["keyword"]["1"] == dict.fromkeys(quality.METRICS, 1.0)


async def test_a_graph_answers_what_several_documents_say(tmp_path: Path) -> None:
    """Of made questions that need two articles a graph finds more, and of those that need one as much."""
    hops.write(hops.World(seed=7), tmp_path / "made")
    whole = quality.load(tmp_path / "made")
    asked = [
        query for query in whole.judged if query in {f"{kind}-{at}" for kind in ("one", "two") for at in range(20)}
    ]
    made = quality.Collection(whole.documents, whole.queries, {query: whole.judged[query] for query in asked})
    assert all(set(grades) <= set(made.documents) for grades in made.judged.values())
    ways = {"off": {}, "on": {"graph": {}}, "more": {"graph": {"weight": 0.5}}}
    found = await quality.judge(made, "hash", ways, tmp_path / "place")
    kinds = {way: quality.kinds(found[way])["kinds"] for way in ways}
    assert [kinds[way]["one"]["recall@5"] for way in ways] == [1.0, 1.0, 1.0]
    off, on, more = (kinds[way]["two"]["recall@10"] for way in ways)
    assert off + 0.1 < on < more
