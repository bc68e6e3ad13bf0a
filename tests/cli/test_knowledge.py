"""`loomd knowledge` at a real daemon: what is found and why, how it stands, and indexes built anew."""

import json
import re
import threading
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from loomd.cli.knowledge import index_lines, ready_lines, status_row
from tests.cli.terminal import Folder
from tests.daemon.process import PATIENCE, Daemon
from tests.knowledge.vectors_service import vector_service

BASE = """
apiVersion: loomd.dev/v1
kind: Embedder
metadata: {name: words, namespace: SPACE}
spec: {type: hash}
---
apiVersion: loomd.dev/v1
kind: KnowledgeBase
metadata: {name: pets, namespace: SPACE}
spec: {sources: [{path: docs}], embedder: words}
"""


MORE = """
apiVersion: loomd.dev/v1
kind: KnowledgeBase
metadata: {name: more, namespace: SPACE}
spec: {sources: [SOURCE, {path: docs}], embedder: words}
"""


@pytest.fixture
def house(folder: Folder) -> Folder:
    """Return a folder with a knowledge base that serves."""
    docs = folder.path / "docs"
    docs.mkdir()
    (docs / "cats.md").write_text("# Animals\n\n## Cats\n\nCats purr and chase mice.\n")
    (docs / "dogs.md").write_text("# Animals\n\n## Dogs\n\nDogs bark at \x1b[2Jstrangers.\n")
    (docs / "broken.md").write_bytes(b"no \xff text")
    folder.write("base.yaml", BASE)
    folder.apply()
    return folder


def test_a_search_says_why(house: Folder) -> None:
    """Each passage has its score, and its place in the ranks of words and of meaning."""
    told = house.said("knowledge", "search", "pets", "who chases mice?", "-n", house.space)
    table, _, passages = told.partition("\n\n")
    head, best, *_ = table.splitlines()
    assert head.split() == ["SCORE", "KEYWORD", "VECTOR", "SOURCE", "TITLE"]
    assert best.split()[:3] == ["1", "1.000", "1"]
    assert "docs/cats.md:5-5  Animals > Cats" in best
    assert passages.splitlines()[:2] == ["[1] docs/cats.md:5-5", "    Cats purr and chase mice."]
    found = json.loads(house.said("knowledge", "search", "pets", "mice", "--top", "1", "-n", house.space, "-o", "json"))
    (item,) = found["items"]
    assert (item["keyword"]["rank"], item["vector"]["rank"], item["number"]) == (1, 1, 1)


def test_all_that_is_known_of_a_passage(house: Folder) -> None:
    """As JSON: where it stands, its hash, and the document with its own hash and properties, which can be checked."""
    text = "---\nteam: vets\ntags: [small, loud]\nyear: 2024\n---\n# Birds\n\n## Parrots\n\nParrots talk.\n"
    (house.path / "docs/birds.md").write_text(text)
    house.change("{path: docs}", "{path: docs, metadata: {shelf: b}}", "base.yaml")
    house.apply()
    search = ("knowledge", "search", "pets", "parrots", "--top", "1", "-n", house.space)
    (item,) = json.loads(house.said(*search, "-o", "json"))["items"]
    assert item["place"] == {"unit": "line", "first": 10, "last": 10}
    assert item["sha256"] == sha256(b"Birds > Parrots\nParrots talk.").hexdigest()
    assert item["document"] == {
        "path": "docs/birds.md",
        "sha256": sha256(text.encode()).hexdigest(),
        "properties": {"team": "vets", "tags": ["small", "loud"], "year": 2024, "format": "markdown", "shelf": "b"},
    }
    assert house.said(*search, "-o", "jsonpath={.items[0].document.properties.team}") == "vets\n"


def test_what_cannot_be_searched(house: Folder) -> None:
    """A name that is not there, no question, and words that are nowhere are told apart."""
    assert "pets" in house.loomd("knowledge", "search", "pet", "mice", "-n", house.space).stderr
    nothing = house.loomd("knowledge", "search", "pets", " ", "-n", house.space)
    assert (nothing.returncode, "expected a question" in nothing.stderr) == (2, True)
    assert house.loomd("knowledge", "search", "pets", "\U0001f408" * 4000, "-n", house.space).returncode in {0, 1}
    long = house.loomd("knowledge", "search", "pets", "mice " * 20_000, "-n", house.space)
    assert (long.returncode, "at most 4,000 characters, got 100,000" in long.stderr) == (2, True)
    house.change("embedder: words", "embedder: words, retrieval: {mode: keyword}", "base.yaml")
    house.apply()
    unknown = house.loomd("knowledge", "search", "pets", "zyzzyva", "-n", house.space)
    assert (unknown.returncode, unknown.stderr) == (1, "nothing was found\n")


def test_how_it_stands(house: Folder) -> None:
    """One line for each, all of one, and in what describe says; documents that were left out with the reason."""
    head, row = house.said("knowledge", "status", "-n", house.space).splitlines()
    assert head.split()[:4] == ["KNOWLEDGEBASE", "READY", "DOCUMENTS", "PASSAGES"]
    assert row.split()[:4] == ["pets", "True", "2", "2"]
    for told in (
        house.said("knowledge", "status", "pets", "-n", house.space),
        house.said("describe", "kb/pets", "-n", house.space),
    ):
        assert "passages:   2" in told
        assert re.search(r"\n *SOURCE +DOCUMENTS +READ +CHANGED\n *docs +3 +\d+s ago +\d+s ago\n", told)
        assert "docs/broken.md  it is not UTF-8 (line 1, byte 3)" in told
    item = json.loads(house.said("knowledge", "status", "pets", "-n", house.space, "-o", "json"))
    index = item["status"]["index"]
    assert index["embedder"].startswith("hash/")
    (source,) = index["sources"]
    assert (source["name"], source["documents"], source["read"]) == ("docs", 3, index["refreshed"])
    assert source["changed"] <= source["read"]


SHELVES = """
apiVersion: loomd.dev/v1
kind: Tool
metadata: {name: look, namespace: SPACE}
spec: {type: knowledge, knowledge: pets, filter: {aisle: a}}
"""


def test_a_filter_that_finds_nothing_is_told(house: Folder) -> None:
    """Where one looks at the knowledge base, and at the tool that searches it."""
    house.write("tool.yaml", SHELVES)
    house.change("embedder: words", "embedder: words, retrieval: {filter: {shelf: b}}", "base.yaml")
    house.apply()
    said = 'filter:     no document has the property "shelf", for which the filter asks: nothing is found; '
    deadline = time.monotonic() + PATIENCE
    while said not in (status := house.said("knowledge", "status", "pets", "-n", house.space)):
        assert time.monotonic() < deadline, status  # its documents are compared with what is stored before that
        time.sleep(0.05)
    assert re.search(r"Degraded +True +\S+ +FilterUnmatched", house.said("describe", "kb/pets", "-n", house.space))
    told = house.said("describe", "tool/look", "-n", house.space)
    assert re.search(r"Degraded +True +\S+ +FilterUnmatched +no document of pets has the property \"aisle\"", told)


def test_indexes_are_built_anew(house: Folder) -> None:
    """From what is stored, and with --embed from the documents."""
    assert house.said("knowledge", "rebuild", "pets", "-n", house.space) == "pets: 2 passages of 2 documents\n"
    told = house.said("knowledge", "rebuild", "pets", "--embed", "-n", house.space)
    assert told == "pets: 2 passages of 2 documents, 2 of them embedded\n"
    assert "docs/cats.md" in house.said("knowledge", "search", "pets", "who chases mice?", "-n", house.space)


def test_what_is_not_fetched_yet_is_said(house: Folder) -> None:
    """A source that does not answer keeps nothing from serving; the condition says which, and when it is asked again.

    Then it is replaced: what serves goes on until the new one is whole, and one that cannot be had is refused.
    """
    nowhere = f"{{type: git, url: 'file://{house.path}/nowhere'}}"
    house.write("more.yaml", MORE.replace("SPACE", house.space).replace("SOURCE", nowhere))
    house.apply()
    deadline = time.monotonic() + PATIENCE
    while "FetchFailed" not in (told := house.said("knowledge", "status", "-n", house.space)):
        assert time.monotonic() < deadline, told
        time.sleep(0.05)
    told = house.said("knowledge", "status", "more", "-n", house.space)
    assert "ready:      False (FetchFailed): KnowledgeBase/" in told
    assert "spec.sources[0]" in told
    assert "it is asked again in" in told
    assert "passages:   2" in told
    assert "FetchFailed" in house.said("describe", "kb/more", "-n", house.space)
    assert "Cats purr" in house.said("knowledge", "search", "more", "who chases mice?", "-n", house.space)
    house.change("nowhere", "elsewhere", "more.yaml")
    refused = house.loomd("apply", "-f", "manifests")
    assert refused.returncode != 0
    assert "elsewhere" in refused.stderr


SLOW = """
apiVersion: loomd.dev/v1
kind: Embedder
metadata: {name: slow, namespace: SPACE}
spec: {type: openai, model: m, dimension: 4, baseUrl: "URL", batch: 1, calls: 1}
---
apiVersion: loomd.dev/v1
kind: KnowledgeBase
metadata: {name: slow, namespace: SPACE}
spec: {sources: [{path: docs}], embedder: slow}
"""


@pytest.mark.parametrize(
    ("declared", "index", "said"),
    [
        ("auto", {"type": "flat", "loose": 26}, "flat: compares all"),
        (
            "ivfpq",
            {"type": "flat", "loose": 26},
            "flat: compares all, as there are no more than 1,000 passages; ivfpq is declared, and is built beyond that",
        ),
        (
            "hnsw",
            {"type": "hnsw", "depth": 9, "recall": 0.9},
            "hnsw: looks at 9 candidates, and found 90.0% of the nearest passages",
        ),
        ("ivf", {"type": "ivf", "depth": 8}, "ivf: looks at 8 lists, and found 100.0% of the nearest passages"),
    ],
)
def test_which_index_is_in_use_and_why(declared: str, index: dict[str, Any], said: str) -> None:
    """A small base is compared exactly whatever is declared; a graph of neighbours has candidates, not lists."""
    known = {
        "documents": 1,
        "passages": 20,
        "bytes": 1,
        "embedder": "hash/1",
        "dimension": 8,
        "refreshed": "now",
        "sources": [],
    }
    lines = index_lines({"spec": {"index": {"type": declared}}, "status": {"index": {**known, **index}}})
    assert [line for line in lines if line.startswith("index:")] == [f"index:      {said}"]


@pytest.mark.parametrize(
    ("reason", "row", "line"),
    [
        ("IndexDamaged", "True, damaged", "damaged:    since 2026-12-01T00:00:00Z: why"),
        ("SourceUnreachable", "True, stays as it was", "behind:     since 2026-12-01T00:00:00Z: why"),
        ("FilterUnmatched", "True", "filter:     why"),
    ],
)
def test_what_is_wrong_with_one_that_serves(reason: str, row: str, line: str) -> None:
    """In a word in the list of all, and as a line of its own in what is said of one."""
    ready = {"type": "Ready", "status": "True", "reason": "Serving", "message": "it is open and serves"}
    degraded = {"type": "Degraded", "status": "True", "reason": reason, "message": "why"}
    degraded["lastTransitionTime"] = "2026-12-01T00:00:00Z"
    item = {"metadata": {"name": "kb"}, "status": {"conditions": [ready, degraded]}}
    assert status_row(item, 0.0)[1] == row
    assert ready_lines(item) == [line]


@pytest.mark.parametrize(
    ("reason", "refreshed", "said"),
    [
        ("SourceUnreachable", "2026-12-01T06:02:52Z", "behind:     since 2026-12-01T06:02:52Z: why"),
        ("EmbedFailed", "2026-12-01T05:00:00Z", "behind:     since 2026-12-01T06:02:37Z: why"),
        ("EmbedFailed", None, "behind:     since 2026-12-01T06:02:37Z: why"),
        ("IndexDamaged", "2026-12-01T06:02:52Z", "damaged:    since 2026-12-01T06:02:37Z: why"),
    ],
)
def test_since_when_a_base_is_behind(reason: str, refreshed: str | None, said: str) -> None:
    """One that was degraded before, as documents were left out, is behind since it was read well at the earliest."""
    since = "2026-12-01T06:02:37Z"
    degraded = {"type": "Degraded", "status": "True", "reason": reason, "lastTransitionTime": since, "message": "why"}
    serves = {"type": "Ready", "status": "True", "reason": "Serving", "lastTransitionTime": since, "message": ""}
    assert ready_lines({"status": {"conditions": [serves, degraded], "index": {"refreshed": refreshed}}}) == [said]


def test_how_far_the_first_indexing_is(folder: Folder) -> None:
    """While a base is opened for the first time, everything that would show it says how far that is."""
    (folder.path / "docs").mkdir()
    for at in range(400):
        (folder.path / "docs" / f"{at}.md").write_text(f"Text {at}.\n")
    with vector_service() as service:
        service.pause = 0.1
        folder.write("base.yaml", SLOW.replace("URL", service.url))
        applied = threading.Thread(target=folder.process, args=("apply", "-f", "manifests"))
        applied.start()
        try:
            deadline = time.monotonic() + PATIENCE
            pattern = re.compile(r"it is being opened since \S+: [1-9]\d* of 400 passages are indexed")
            while not pattern.search(told := folder.loomd("knowledge", "status", "-n", folder.space).stderr):
                assert time.monotonic() < deadline, told
                time.sleep(0.1)
            assert "KnowledgeBase/" in told
            for arguments in (
                ("get", "knowledgebases"),
                ("get", "kb", "slow"),
                ("knowledge", "status", "slow"),
                ("knowledge", "search", "slow", "text"),
            ):
                told = folder.loomd(*arguments, "-n", folder.space).stderr
                assert pattern.search(told), (arguments, told)
            wait = ("wait", "kb/slow", "--for", "condition=IndexReady", "-n", folder.space)
            late = folder.loomd(*wait, "--timeout", "1s")
            assert late.returncode == 1, late.stderr
            assert pattern.search(late.stderr), late.stderr
            missing = folder.loomd("wait", "kb/other", "-n", folder.space)
            assert missing.returncode == 2, missing.stderr
            soon = threading.Timer(0.3, setattr, (service, "pause", 0.0))
            soon.start()
            assert folder.said(*wait) == f"KnowledgeBase/{folder.space}/slow condition met\n"
        finally:
            service.pause = 0.0
            applied.join()
        assert folder.loomd("knowledge", "status", "-n", folder.space).stderr == ""
        assert "passages:   400" in folder.said("knowledge", "status", "slow", "-n", folder.space)
        service.pause = 0.05
        try:
            for at in range(300):
                (folder.path / "docs" / f"{at}.md").write_text(f"Text {at}, again.\n")
            folder.apply()
            until_told(folder, r"indexing:   new and changed documents are indexed: [1-9]\d* of 300 passages")
        finally:
            service.pause = 0.0
        until_told(folder, r"(?s)\A(?!.*indexing:)")
        another_is_made(folder, service, pattern.pattern)


def another_is_made(folder: Folder, service: Any, told_as: str) -> None:
    """Change what embeds alone: how far the other index is, is told of the one that serves."""
    service.pause = 0.1
    folder.change("model: m", "model: n", "base.yaml")
    another = threading.Thread(target=folder.process, args=("apply", "-f", "manifests"))
    another.start()
    try:
        until_told(folder, rf"next: +{told_as}")
        for arguments in (("describe", "kb", "slow"), ("rollout", "status", "--no-watch")):
            told = folder.loomd(*arguments, *(("-n", folder.space) if arguments[0] == "describe" else ())).stdout
            assert re.search(told_as, told), (arguments, told)
    finally:
        service.pause = 0.0
        another.join()
    assert "next:" not in until_told(folder, "passages:   400")


def until_told(folder: Folder, pattern: str) -> str:
    """Return what is said of the slow base, once it fits a pattern."""
    deadline = time.monotonic() + PATIENCE
    while not re.search(pattern, told := folder.said("knowledge", "status", "slow", "-n", folder.space)):
        assert time.monotonic() < deadline, told
        time.sleep(0.1)
    return told


@pytest.mark.parametrize("fault", ["wrong", "down"])
def test_an_embedder_that_fails_is_told(tmp_path: Path, fault: str) -> None:
    """What is stored serves on; describe and status say why new documents are not there, until they are by itself."""
    (tmp_path / "home").mkdir()
    daemon = Daemon(tmp_path / "home")
    folder = Folder(daemon, tmp_path, "default")
    daemon.folder = folder.path
    (folder.path / "docs").mkdir()
    (folder.path / "docs/a.md").write_text("Text a.\n")

    def until(text: str, *, there: bool = True) -> str:
        deadline = time.monotonic() + PATIENCE
        while (text in (told := folder.loomd("knowledge", "status", "slow").stdout)) is not there or "Z" not in told:
            assert time.monotonic() < deadline, told
            time.sleep(0.1)
        return told

    with vector_service() as service:
        folder.write("base.yaml", SLOW.replace("URL", service.url).replace("batch: 1", "deadline: 2s"))
        try:
            daemon.start()
            until("passages:   1")
            service.dimension, service.status = (5, 200) if fault == "wrong" else (4, 503)
            (folder.path / "docs/b.md").write_text("Text b.\n")
            told = until("behind:")
            assert "passages:   1" in told
            said = r"behind:     since 20\S+Z: Embedder/slow.*(numbers, got 5|HTTP 503).*; it is tried again in \d+ s"
            assert re.search(said, told), told
            assert "stays as it was" in folder.said("knowledge", "status")
            assert "EmbedFailed" in folder.said("describe", "kb/slow")
            service.dimension, service.status = 4, 200
            told = until("behind:", there=False)
            assert "passages:   2" in told
        finally:
            daemon.kill()


LINKED = """
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: reader, namespace: SPACE}
spec:
  type: scripted
  replies:
    - when: ilse*oskelby
      json: {entities: [{name: ilse marrow}, {name: oskelby}], relations: []}
      times: null
      usage: {input: 50, output: 20}
    - when: ilse
      json: {entities: [{name: ilse marrow}, {name: tide gauges}], relations: [RELATION]}
      times: null
      usage: {input: 50, output: 20}
    - {json: {entities: [{name: atlantis}]}, times: null, usage: {input: 50, output: 20}}
---
apiVersion: loomd.dev/v1
kind: KnowledgeBase
metadata: {name: country, namespace: SPACE}
spec:
  sources: [{path: land}]
  embedder: words
  graph: GRAPH
""".replace("RELATION", "{subject: ilse marrow, predicate: made, object: tide gauges}")


@pytest.fixture
def country(house: Folder) -> Folder:
    """Return a folder with a knowledge base that has a graph by rules."""
    land = house.path / "land"
    land.mkdir()
    (land / "gauges.md").write_text("# Gauges\n\nIlse Marrow made tide gauges at Veltrano Systems.\n")
    (land / "people.md").write_text("# People\n\nIlse Marrow came from Oskelby.\n")
    for at in range(8):
        (land / f"{at}.md").write_text(f"# Note {at}\n\nnothing about anything, {at}.\n")
    house.write("country.yaml", LINKED.replace("GRAPH", "{weight: 2}"))
    house.apply()
    looked_through(house, "by rules/1")
    return house


def looked_through(country: Folder, said: str) -> str:
    """Return the status of the knowledge base with a graph, once that says something and is not at work any more."""
    until = time.monotonic() + PATIENCE
    while (
        said not in (told := country.said("knowledge", "status", "country", "-n", country.space)) or "are still" in told
    ):
        assert time.monotonic() < until, told
        time.sleep(0.1)
    return told


def test_a_graph_is_shown(country: Folder) -> None:
    """Its own place for each passage, and what it holds in status and describe."""
    told = country.said("knowledge", "search", "country", "who worked at Veltrano Systems?", "-n", country.space)
    head, *lines = told.partition("\n\n")[0].splitlines()
    assert head.split() == ["SCORE", "KEYWORD", "VECTOR", "GRAPH", "SOURCE", "TITLE"]
    (led,) = [line for line in lines if "people.md" in line]
    assert re.search(r"  [12] \([01]\.\d+\)  land/people.md:3-3", led)
    found = country.said("knowledge", "search", "country", "Veltrano Systems", "-n", country.space, "-o", "json")
    assert {"rank", "score"} == set(next(one["graph"] for one in json.loads(found)["items"] if one["graph"]))
    for what in (("knowledge", "status", "country"), ("describe", "kb/country")):
        assert re.search(r"graph: +\d+ entities, \d+ relations, by rules/1", country.said(*what, "-n", country.space))
    assert "graph" not in country.said("knowledge", "status", "pets", "-n", country.space)


def test_a_model_reads_within_its_budget(country: Folder) -> None:
    """What it may not read any more waits, what it cannot make sense of is told; a raised budget lets it go on."""
    model = "{extract: {type: model, provider: reader, repairs: 0, budget: {calls: 3}, calls: 1}}"
    country.write("country.yaml", LINKED.replace("GRAPH", model))
    country.apply()
    looked_through(country, "7 passages wait: the day's budget of KnowledgeBase/country is spent (calls: 3 of 3 used")
    table = country.said("get", "budgets", "-n", country.space)
    assert re.search(r"knowledgebase.country .*210", table)
    assert re.search(r"calls +3 +3 +0", country.said("describe", "kb/country", "-n", country.space))
    country.write("country.yaml", LINKED.replace("GRAPH", model.replace("calls: 3", "calls: 300")))
    country.apply()
    country.said("knowledge", "rebuild", "country", "-n", country.space)
    told = looked_through(country, "8 passages could not be understood")
    assert "wait" not in told
    assert "the passage does not speak of atlantis" in told
    conditions = country.said("describe", "kb/country", "-n", country.space)
    assert "GraphIncomplete" in conditions
    found = country.said("knowledge", "search", "country", "tide gauges", "-n", country.space, "-o", "json")
    (led,) = [one for one in json.loads(found)["items"] if one["source"] == "land/people.md:3-3"]
    assert led["graph"] is not None


JUDGE = """
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: judge, namespace: SPACE}
spec:
  type: scripted
  replies:
    - {when: "grades of all 2", json: {"1": 0, "2": 3}, times: null, usage: {input: 70, output: 30}}
    - {when: "question: mice", json: {"wordings": ["strangers"]}, times: null}
    - {text: "no grades", times: null}
"""


def test_a_search_shows_what_a_reranker_gave(house: Folder) -> None:
    """Beside the other scores, in the order of the reranker; what it used is on the day's account of the namespace."""
    house.write("judge.yaml", JUDGE)
    house.change("embedder: words", "embedder: words, retrieval: {rerank: {type: model, provider: judge}}", "base.yaml")
    house.apply()
    told = house.said("knowledge", "search", "pets", "who chases mice?", "-n", house.space)
    head, first, second, *_ = told.splitlines()
    assert head.split() == ["RERANK", "SCORE", "KEYWORD", "VECTOR", "SOURCE", "TITLE"]
    assert first.split()[:2] == ["1", "1.000"]
    assert "docs/dogs.md" in first
    assert second.split()[:3] == ["2", "0.000", "1.000"]
    asked = "knowledge", "search", "pets", "mice", "-n", house.space
    found = json.loads(house.said(*asked, "-o", "json"))
    assert [one["rerank"] for one in found["items"]] == [1.0, 0.0]
    assert (found["wordings"], found["notes"]) == ([], [])
    budgets = json.loads(house.said("get", "budgets", "-n", house.space, "-o", "json"))["items"]
    used = {one["spec"]["of"]: one["status"]["measures"]["tokens"]["used"] for one in budgets}
    assert used["Search/pets"] == used[f"namespace {house.space}"] == 200


def test_a_search_says_what_it_did_without(house: Folder) -> None:
    """A judge that fails, and other wordings, are told beside the passages; a search that is to fail does."""
    house.write("judge.yaml", JUDGE.replace('"2": 3', '"2": 4'))
    rerank = "rerank: {type: model, provider: judge}"
    expand = "expand: {type: model, provider: judge, count: 1}"
    house.change("embedder: words", f"embedder: words, retrieval: {{{rerank}, {expand}}}", "base.yaml")
    house.apply()
    ran = house.loomd("knowledge", "search", "pets", "mice", "-n", house.space)
    assert ran.returncode == 0
    assert ran.stdout.split()[:2] == ["SCORE", "KEYWORD"]
    also, note = ran.stderr.splitlines()
    assert also == "also looked for: strangers"
    assert note.startswith("note: the passages stand in the order of the search, because rerank failed: ")
    house.change("provider: judge}", "provider: judge, onFailure: fail}", "base.yaml")
    house.apply()
    ran = house.loomd("knowledge", "search", "pets", "mice", "-n", house.space)
    assert ran.returncode != 0
    assert "the grade of passage 2 is none of 0 to 3" in ran.stderr


def test_a_search_has_no_more_than_the_budget_of_the_day(house: Folder) -> None:
    """What nothing is left for is not asked, and that is said with when it may be again."""
    house.write("judge.yaml", JUDGE)
    house.change("embedder: words", "embedder: words, retrieval: {rerank: {type: model, provider: judge}}", "base.yaml")
    house.change("spec: {agents: [ada]}", "spec: {agents: [ada], budgets: {daily: {calls: 1}}}")
    house.apply()
    search = "knowledge", "search", "pets", "who chases mice?", "-n", house.space
    assert house.loomd(*search).stderr == ""
    told = house.loomd(*search).stderr
    assert f"the day's budget of namespace {house.space} is spent (calls: 1 of 1 used" in told
    assert "it opens again at" in told
