"""A knowledge base with a graph: what it finds, and that each text is looked through once, whatever happens."""

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from loomd.accounts.budget import Budget
from loomd.clock import SystemClock
from loomd.errors import BadReply, Permanent, Temporary
from loomd.events.bus import Bus
from loomd.events.event import IndexProgress
from loomd.events.passage import PassageFailed
from loomd.knowledge import linking
from loomd.knowledge.extractors.model import Reading
from loomd.knowledge.extractors.rules import Patterns
from loomd.knowledge.graph import Graph
from loomd.knowledge.graph_index import GraphIndex
from loomd.knowledge.graph_spec import GraphSpec
from loomd.knowledge.graph_store import lend
from loomd.knowledge.standing import GraphStanding
from loomd.manifest.object import Ref
from loomd.messages import Reply, Request
from tests.knowledge.readers import USAGE, Reader, always, capitals

if TYPE_CHECKING:
    from loomd.knowledge.knowledge import KnowledgeBase
    from tests.knowledge.conftest import Lab

BRIDGE = "Who founded Veltrano Systems, and where was that person born?"
MODEL = {"type": "model", "provider": "p", "budget": {"calls": 1000}}


@pytest.fixture
def country(lab: "Lab") -> "Lab":
    """Return a lab with two documents that only together answer a question, among many others."""
    lab.write(
        "veltrano.md", "# Veltrano Systems\n\nVeltrano Systems makes tide gauges. It was set up by Ilse Marrow.\n"
    )
    lab.write("marrow.md", "# Ilse Marrow\n\nIlse Marrow grew up in Oskelby, where the family had a shop.\n")
    for at in range(40):
        lab.write(f"{at}.md", f"# Notes {at}\n\nA founder was born, and a person founded systems number {at}.\n")
    return lab


def alone(lab: "Lab", reader: Reader, count: int = 6) -> "Lab":
    """Return a lab with some documents of one passage each, and a model that reads them."""
    for at in range(count):
        lab.write(f"{at}.md", f"# Part {at}\n\nHere AAA{'BCDEFGHIJK'[at]} meets ZZZ in number {at}.\n")
    lab.live[Ref("Provider", "p")] = reader
    return lab


def graph_of(base: "KnowledgeBase") -> GraphStanding:
    """Return how the graph of a knowledge base stands."""
    graph = base.standing().graph
    assert graph is not None
    return graph


def model(**fields: Any) -> dict[str, Any]:
    """Return a graph that a model finds."""
    return {"extract": {**MODEL, **fields}}


async def until(holds: Callable[[], bool]) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110  # it is somebody else's state
            await asyncio.sleep(0.01)


def rows(lab: "Lab", query: str) -> list[tuple[Any, ...]]:
    """Return what the newest store holds."""
    path = max(lab.state.glob("*.db"), key=lambda one: one.stat().st_mtime_ns)
    with closing(sqlite3.connect(path)) as db:
        return db.execute(query).fetchall()


async def test_a_question_leads_to_what_it_does_not_name(country: "Lab") -> None:
    """The second document has no word of the question; the graph has it first, and without one it is far behind."""
    async with country.open() as base:
        sources = [one.source for one in await base.search(BRIDGE, 4)]
        assert not any("marrow" in one for one in sources)
    async with country.open(graph={"weight": 3}) as base:
        assert {"docs/veltrano.md:3-3", "docs/marrow.md:3-3"} <= {one.source for one in await base.search(BRIDGE, 4)}
        hits = (await base.explain(BRIDGE, 4)).hits
        (led,) = [one for one in hits if "marrow" in one.passage.source]
        assert led.graph is not None
        assert led.keyword is None


@pytest.mark.parametrize("mode", ["keyword", "vector", "hybrid"])
@pytest.mark.parametrize("fusion", ["scores", "ranks"])
async def test_every_mode_is_joined_with_the_graph(country: "Lab", mode: str, fusion: str) -> None:
    """Whatever finds passages beside it."""
    async with country.open(graph={"weight": 5}, retrieval={"mode": mode, "fusion": fusion}) as base:
        found = await base.search(BRIDGE, 3)
    assert any("marrow" in one.source for one in found)
    assert all(0 <= one.score <= 1 for one in found)


async def test_a_question_that_names_nothing_is_answered_as_without_a_graph(country: "Lab") -> None:
    """Scores too: what finds nothing has no say."""
    question = "and of what was it?"
    async with country.open() as base:
        plain = [(one.source, one.score) for one in await base.search(question, 5)]
    async with country.open(graph={"weight": 10}) as base:
        assert [(one.source, one.score) for one in await base.search(question, 5)] == plain


async def test_words_of_a_name_lead_to_it(country: "Lab") -> None:
    """A question with a part of a name, unless `common` is 0."""
    async with country.open(graph={"weight": 5}) as base:
        assert any(one.graph for one in (await base.explain("what does veltrano make?", 4)).hits)
    async with country.open(graph={"weight": 5, "common": 0}) as base:
        assert not any(one.graph for one in (await base.explain("what does veltrano make?", 4)).hits)


async def test_an_acronym_leads_where_its_meaning_leads(lab: "Lab") -> None:
    """It is defined in one document and used in others."""
    lab.write("a.md", "# A\n\nThe write-ahead log (WAL) came from Ann Lee.\n")
    lab.write("b.md", "# B\n\nHer name was Ann Lee, a gardener.\n")
    for at in range(20):
        lab.write(f"{at}.md", f"# Other {at}\n\nNothing to see here, {at}.\n")
    async with lab.open(graph={}) as base:
        hits = (await base.explain("WAL", 10)).hits
    assert any(one.graph and one.passage.source.startswith("docs/b.md") for one in hits)


async def test_links_lead_to_documents(lab: "Lab") -> None:
    """A passage that links to another document leads to the beginning of that."""
    lab.write("guide/start.md", "# Start\n\nFor Quxinator see [the details](../more/qux.md#top).\n")
    lab.write("more/qux.md", "# Facts\n\nit hums at night.\n")
    for at in range(20):
        lab.write(f"{at}.md", f"# Other {at}\n\nNothing to see here, {at}.\n")
    async with lab.open(graph={}) as base:
        hits = (await base.explain("Quxinator details", 10)).hits
    assert any(one.graph and one.passage.source.startswith("docs/more/qux.md") for one in hits)


async def test_a_filter_holds_for_the_graph(country: "Lab") -> None:
    """Nothing is found where the search does not look."""
    async with country.open(graph={"weight": 5}) as base:
        found = await base.search(BRIDGE, 10, {"path": ["docs/veltrano.md", "docs/1*.md"]})
        assert found
        assert not any("marrow" in one.source for one in found)
        (only,) = await base.search(BRIDGE, 10, {"path": "docs/marrow.md"})
        assert only.source == "docs/marrow.md:3-3"


async def test_the_graph_follows_the_documents(country: "Lab") -> None:
    """What is added is found after the refresh, what is removed is gone with it, the names too."""
    async with country.open(graph={"weight": 2}) as base:
        before = graph_of(base)
        assert before.entities > 40
        country.write("more.md", "# Oskelby\n\nOskelby lies on the Lennfir.\n")
        await base.refresh()
        await base.settled()
        assert graph_of(base).entities > before.entities
        assert any(one.graph and "more" in one.passage.source for one in (await base.explain(BRIDGE, 100)).hits)
        (country.root / "docs" / "more.md").unlink()
        (country.root / "docs" / "marrow.md").unlink()
        await base.refresh()
        await base.settled()
        assert not any("marrow" in one.source for one in await base.search(BRIDGE, 5))
    assert not rows(country, "SELECT name FROM entity WHERE key LIKE '%oskelby%' OR key LIKE '%lennfir%'")
    assert not rows(country, "SELECT word FROM word WHERE entity NOT IN (SELECT id FROM entity)")
    assert not [one for one in rows(country, "SELECT data FROM extraction") if b"Oskelby" in one[0]]
    counted = rows(country, "SELECT count(*), sum(passages) FROM entity")
    assert counted == [
        (graph_of(base).entities + 0, rows(country, "SELECT sum(length(entities)) / 5 FROM mention")[0][0])
    ]


async def test_only_what_changed_is_looked_through(lab: "Lab") -> None:
    """Not what was added before, what was renamed, or what stands in two documents."""
    reader = Reader()
    alone(lab, reader)
    lab.write("long.md", "# One\n\nAAAX.\n\n# Two\n\nAAAY.\n")
    async with lab.open(graph=model()) as base:
        assert len(reader.asked) == 8
        lab.write("long.md", "# One\n\nAAAX.\n\n# Two\n\nAAAZ.\n")
        (lab.root / "docs" / "0.md").rename(lab.root / "docs" / "moved.md")
        lab.write("copy.md", "# Part 1\n\nHere AAAC meets ZZZ in number 1.\n")
        await base.refresh()
        await base.settled()
        assert reader.asked[8:] == ["AAAZ."]
        await base.refresh()
        await base.settled()
        await base.rebuild()
        await base.settled()
    async with lab.open(graph=model()):
        assert len(reader.asked) == 9
    lab.name = "other"
    async with lab.open(graph=model()) as base:
        assert (len(reader.asked), graph_of(base).pending) == (9, 0)


async def test_a_graph_is_made_of_what_is_indexed(lab: "Lab") -> None:
    """Turned on later nothing is embedded again; another model looks through everything, the first one is known."""
    one, two = Reader(), Reader(name="reader/two")
    alone(lab, one)
    async with lab.open():
        assert len(lab.embedder.texts) == 6
    async with lab.open(graph=model()):
        assert (len(lab.embedder.texts), len(one.asked)) == (0, 6)
    lab.live[Ref("Provider", "p")] = two
    async with lab.open(graph=model()):
        assert len(two.asked) == 6
    lab.live[Ref("Provider", "p")] = one
    async with lab.open(graph=model()):
        assert len(one.asked) == 6
    async with lab.open(graph=model(instructions="List drugs.")) as base:
        assert len(one.asked) == 12
        assert "List drugs." in one.requests[-1].messages[0].text
        assert graph_of(base).extractor.startswith("model/reader/one/")


async def test_what_a_model_finds_is_searched(lab: "Lab") -> None:
    """Its relations lead from passage to passage; what it names besides the passage is left out."""

    def answer(passage: str, request: Request) -> str:
        said = json.loads(capitals(passage, request))
        said["entities"].append({"name": "Atlantis", "type": "place", "aliases": []})
        return f"```json\n{json.dumps(said)}\n```"

    alone(lab, Reader(answer))
    lab.write("x.md", "# X\n\nthere QQQ knows KKK.\n")
    lab.write("y.md", "# Y\n\nand KKK sleeps.\n")
    async with lab.open(graph=model()) as base:
        assert graph_of(base).failed == 0
        hits = (await base.explain("QQQ", 10)).hits
    assert any(one.graph and one.passage.source.startswith("docs/y.md") for one in hits)
    assert not rows(lab, "SELECT * FROM entity WHERE key = 'atlantis'")


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ("no json", "JSON is malformed"),
        ('{"x": ' + "[" * 2000, "nested too deeply"),
        ('{"entities": [{"name": "\\ud800 and more"}]}', "JSON is malformed"),
        ('{"entities": [{"name": "\ud800"}]}', "what is no Unicode"),
        ('{"entities": [{"nam": 1}]}', "missing required field `name`"),
        ('{"entities": [{"name": "Atlantis"}]}', "the passage does not speak of Atlantis"),
        (Reply("{", stop="length"), "it was cut off"),
        (BadReply("broken stream"), "broken stream"),
    ],
    ids=["no-json", "nested", "surrogate", "raw-surrogate", "no-schema", "not-there", "cut-off", "broken"],
)
async def test_nonsense_is_repaired_or_noted(lab: "Lab", bad: Any, told: str) -> None:
    """The model is told what is wrong; a passage without a usable answer is failed, told, and not asked about again."""
    repaired = Reader(lambda passage, request: capitals(passage, request) if len(request.messages) > 2 else bad)
    alone(lab, repaired, 1)
    if not isinstance(bad, Exception):
        async with lab.open(graph=model()) as base:
            assert (len(repaired.asked), graph_of(base).failed) == (2, 0)
        assert told in repaired.requests[1].messages[-1].text
    never = Reader(always(bad), "reader/never")
    lab.live[Ref("Provider", "p")] = never
    async with lab.open(graph=model(repairs=1)) as base:
        graph = graph_of(base)
        assert (len(never.asked), graph.failed, graph.pending) == (2, 1, 0)
        (fault,) = graph.faults
        assert (fault.path, told in fault.reason) == ("docs/0.md:3-3", True)
        degraded = base.health()[1]
        assert (degraded.status, degraded.reason) == ("True", "GraphIncomplete")
        await base.refresh()
        await base.settled()
        assert len(never.asked) == 2
        await base.rebuild(embed=True)
        await base.settled()
        assert len(never.asked) == 4
    (event, again) = [one.data for one in lab.events if isinstance(one.data, PassageFailed)]
    assert (event.source, told in event.reason, again) == ("docs/0.md:3-3", True, event)


async def test_a_budget_is_kept(lab: "Lab") -> None:
    """What is too much waits, is told, and is looked through when there is room; nothing is paid twice."""
    reader = Reader()
    alone(lab, reader)
    async with lab.open(graph=model(budget={"calls": 4}, calls=2)) as base:
        graph = graph_of(base)
        assert (len(reader.asked), graph.pending) == (4, 2)
        assert "day's budget of KnowledgeBase/kb is spent (calls: 4 of 4" in graph.waits
        assert "2 wait: the day's budget" in base.health()[1].message
        assert len(await base.search("number 5")) == 4
    async with lab.open(graph=model(budget={"calls": 100})) as base:
        assert (sorted(reader.asked), graph_of(base).pending) == (sorted(set(reader.asked)), 0)
        assert base.health()[1].status == "False"


async def test_what_waits_is_not_forgotten(lab: "Lab") -> None:
    """What was found before is kept and found while other passages wait, also when all documents are written anew."""
    reader = Reader()
    alone(lab, reader)
    async with lab.open(graph=model()) as base:
        assert len(reader.asked) == 6
        lab.write("00.md", "# New\n\nHere NEWONE meets NEWTWO.\n")
    async with lab.open(graph=model(budget={"calls": 6}, calls=1)) as base:
        assert (len(reader.asked), graph_of(base).pending) == (7, 0)
        lab.write("000.md", "# Newer\n\nHere NEWER meets NEWEST.\n")
        (lab.root / "docs" / "5.md").unlink()
        await base.rebuild(embed=True)
        await base.settled()
        assert (len(reader.asked), graph_of(base).pending) == (8, 0)
    used = Reader(always(Permanent("no key")), reader.name)
    lab.live[Ref("Provider", "p")] = used
    async with lab.open(graph=model(calls=1)) as base:
        lab.write("0000.md", "# Newest\n\nHere LATER meets LATEST.\n")
        await base.rebuild(embed=True)
        await base.settled()
        assert graph_of(base).pending == 1
    assert len(rows(lab, "SELECT * FROM extraction")) == 7


@pytest.mark.parametrize("budget", [{"cost": 2.5 * 0.01}, {"tokens": 700}], ids=["cost", "tokens"])
async def test_every_measure_is_kept(lab: "Lab", budget: dict[str, float]) -> None:
    """Money is counted as the provider says, tokens as it reports."""
    reader = Reader()
    alone(lab, reader)
    async with lab.open(graph=model(budget=budget, calls=1, maxTokens=20)) as base:
        assert 0 < len(reader.asked) < 6
        assert graph_of(base).pending == 6 - len(reader.asked)


async def test_the_namespace_pays(lab: "Lab") -> None:
    """Its budget holds for a knowledge base, too, and what is used is counted there."""
    reader = Reader()
    alone(lab, reader)
    async with lab.open() as _:
        services = lab.services
        with services.accounts.bounded("default", "", lambda: Budget(calls=2)):
            async with lab.open(graph=model(calls=1)) as base:
                assert (len(reader.asked), graph_of(base).pending) == (2, 4)
                assert "namespace default" in graph_of(base).waits
                used = services.accounts.standing(("default", "KnowledgeBase/kb"))[1]
                assert [round(used[one], 6) for one in ("calls", "tokens", "cost")] == [2, 240, 0.02]


async def test_calls_that_fail_are_counted(lab: "Lab") -> None:
    """So that a budget ends them; what was sent is paid, what was not answered at all is a call alone."""
    broken = Reader(always(BadReply("broken stream")))
    alone(lab, broken)
    async with lab.open(graph=model(budget={"calls": 2}, calls=1, repairs=0)) as base:
        assert (len(broken.asked), graph_of(base).failed, graph_of(base).pending) == (2, 2, 4)
        used = lab.services.accounts.standing(("default", "KnowledgeBase/kb"))[1]
        assert used["calls"] == 2
        assert used["tokens"] > 100
    away = Reader(always(Temporary("away", 60)), "reader/away")
    lab.live[Ref("Provider", "p")] = away
    async with lab.open(graph=model(budget={"calls": 2}, calls=1)) as base:
        assert (len(away.asked), graph_of(base).waits) == (1, "away")
        used = lab.services.accounts.standing(("default", "KnowledgeBase/kb"))[1]
        assert (used["calls"], used["tokens"]) == (1, 0)


@pytest.mark.parametrize("repairs", [0, 2])
async def test_the_rest_of_a_budget_cuts_no_answer_off(lab: "Lab", repairs: int) -> None:
    """A passage is not failed because half an answer was all that was left to pay."""

    def answer(passage: str, request: Request) -> str | Reply:
        return capitals(passage, request) if request.max_tokens == 600 else Reply("{", stop="length", usage=USAGE)

    reader = Reader(answer)
    alone(lab, reader)
    async with lab.open(graph=model(budget={"tokens": 1300}, calls=1, maxTokens=600, repairs=repairs)) as base:
        graph = graph_of(base)
        assert 0 < len(reader.asked) < 6
        assert (graph.failed, graph.pending) == (0, 6 - len(reader.asked))
        assert "maxTokens is 600" in graph.waits


async def test_nobody_waits_for_a_model(lab: "Lab") -> None:
    """A knowledge base opens, is searched, refreshed and rebuilt while a model reads its passages."""
    reader = Reader()
    reader.goes_on.clear()
    alone(lab, reader)
    async with asyncio.timeout(60), lab.open(wait=False, graph=model(calls=1)) as base:
        await until(lambda: len(reader.asked) == 1)
        assert (base.health()[0].status, len(await base.search("number 5"))) == ("True", 4)
        assert (base.health()[1].status, base.health()[1].reason) == ("Unknown", "GraphIncomplete")
        lab.write("new.md", "# New\n\na xylophone\n")
        (lab.root / "docs" / "0.md").unlink()
        await base.refresh()
        assert len(await base.search("xylophone", 1)) == 1
        assert graph_of(base).pending == 6
        await base.rebuild(embed=True)
        reader.goes_on.set()
        await base.settled()
        assert (graph_of(base).pending, graph_of(base).failed, base.health()[1].status) == (0, 0, "False")
    assert len(reader.asked) == len(set(reader.asked)) == 7
    assert rows(lab, "SELECT count(*) FROM mention") == rows(lab, "SELECT count(*) FROM chunk") == [(6,)]


async def test_nobody_waits_for_the_graph_to_be_built(lab: "Lab", monkeypatch: pytest.MonkeyPatch) -> None:
    """Documents are written and searched meanwhile; the longer it takes, the more changes are built in at once."""
    alone(lab, Reader())
    built, may = list[float](), threading.Event()

    def build(*stored: Any) -> Any:
        built.append(time.monotonic())
        assert may.wait(30)
        return Graph(*stored)

    async with lab.open(graph={}) as base:
        monkeypatch.setattr("loomd.knowledge.graph_index.Graph", build)
        lab.write("first.md", "# First\n\nHere QQQ knows KKK.\n")
        await base.refresh()
        await until(lambda: bool(built))
        lab.write("second.md", "# Second\n\na xylophone\n")
        async with asyncio.timeout(60):
            await base.refresh()
        assert len(await base.search("xylophone", 1)) == 1
        await asyncio.sleep(0.1)
        may.set()
        for at in range(4):
            lab.write(f"more{at}.md", f"# More\n\nHere QQQ knows KKK{at}.\n")
            await base.refresh()
            await asyncio.sleep(0.05)
        await base.settled()
        assert 2 <= len(built) <= 3  # of five changes
        assert graph_of(base).pending == 0
        assert built[1] - built[0] > 0.5
        assert any("more3" in one.passage.source for one in (await base.explain("KKK3 QQQ", 20)).hits)


async def test_nothing_is_done_while_a_budget_is_spent(lab: "Lab", monkeypatch: pytest.MonkeyPatch) -> None:
    """It is only asked whether there is room again; what others know is looked for once, for all passages."""
    monkeypatch.setattr(linking, "LOOK_AGAIN", 0.01)
    asked, looked, lent = list[Any](), list[Any](), list[int]()
    ready, unlinked = Reading.ready, GraphIndex.unlinked

    async def asking(self: Reading) -> None:
        asked.append(self)
        await ready(self)

    def looking(self: GraphIndex, after: int, limit: int) -> Any:
        looked.append(self)
        return unlinked(self, after, limit)

    def lending(path: Path, digests: Any) -> Any:
        lent.append(len(digests))
        return lend(path, digests)

    monkeypatch.setattr(Reading, "ready", asking)
    monkeypatch.setattr(GraphIndex, "unlinked", looking)
    monkeypatch.setattr("loomd.knowledge.graph_index.lend", lending)
    reader = Reader()
    alone(lab, reader, 10)
    lab.name = "other"
    async with lab.open(graph=model(budget={"calls": 3}, calls=1)) as base:
        assert (len(reader.asked), graph_of(base).pending, lent) == (3, 7, [])
        lab.name = "kb"
        async with lab.open(graph=model(budget={"calls": 2}, calls=1)) as second:
            assert (len(reader.asked), graph_of(second).pending, lent) == (5, 5, [10])
            asked.clear()
            before = len(looked)
            await until(lambda: len(asked) > 10)
            assert (len(looked), lent) == (before, [10])


async def test_a_mistake_of_ours_ends_no_graph(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told with where it came from, and tried again."""
    monkeypatch.setattr(linking, "LOOK_AGAIN", 0.01)
    live = linking.Linking("kb", GraphSpec(), Patterns(), Bus(SystemClock()))
    tried = 0

    async def link() -> None:
        nonlocal tried
        tried += 1
        if tried < 3:
            raise RuntimeError("a bug")

    async with live.continuing(link):
        live.wake(changed=True)
        await until(lambda: tried == 3)
    assert 'raise RuntimeError("a bug")' in caplog.text


async def test_what_failed_for_now_goes_on_by_itself(lab: "Lab") -> None:
    """A service that is away is asked again; what it had answered is kept."""
    away = [True]

    def answer(passage: str, request: Request) -> str | Exception:
        return Temporary("away", 0.01) if away[0] and "number 3" in passage else capitals(passage, request)

    reader = Reader(answer)
    alone(lab, reader)
    async with lab.open(graph=model(calls=1)) as base:
        assert (graph_of(base).pending, graph_of(base).waits) == (3, "away")
        away[0] = False
        await until(lambda: not graph_of(base).pending)
        assert graph_of(base).waits == ""
    answered = [one for one in reader.asked if "number 3" not in one]
    assert len(answered) == len(set(answered)) == 5


async def test_what_must_be_changed_waits(lab: "Lab") -> None:
    """A provider that refuses is told; documents are found by words and vectors meanwhile."""
    reader = Reader(always(Permanent("no key")))
    alone(lab, reader)
    async with lab.open(graph=model(calls=1)) as base:
        assert (len(reader.asked), graph_of(base).pending, graph_of(base).waits) == (1, 6, "no key")
        assert len(await base.search("number 5")) == 4


async def test_progress_is_told(lab: "Lab") -> None:
    """Passages that are looked through, after those that are indexed."""
    alone(lab, Reader())
    async with lab.open(graph=model()):
        pass
    told = [one.data for one in lab.events if isinstance(one.data, IndexProgress)]
    assert [(one.done, one.total) for one in told if one.stage == "graph"] == [(0, 6), (6, 6)]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"extract": {"type": "model", "provider": "p"}}, "budget"),
        ({"extract": {"type": "model", "provider": "p", "budget": {}}}, "expected a budget"),
        ({"extract": {"type": "model", "provider": "p", "budget": {"time": "2h"}}}, "expected a budget"),
        ({"extract": {"type": "guess"}}, "guess"),
        ({"depth": 0}, "depth"),
        ({"weight": 0}, "weight"),
        ({"damping": 2}, "damping"),
    ],
)
def test_what_no_graph_can_be(lab: "Lab", fields: dict[str, Any], said: str) -> None:
    """Without a budget no model is asked; numbers have bounds."""
    with pytest.raises(ValidationError, match=said):
        lab.spec(graph=fields)


CHILD = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from loomd.manifest.object import Ref
from tests.knowledge.conftest import Lab
from tests.knowledge.readers import Reader, always, capitals

def answer(passage, request):
    print("asked", passage, flush=True)
    return capitals(passage, request)

async def main():
    lab = Lab(Path(sys.argv[2]))
    lab.live[Ref("Provider", "p")] = Reader(answer)
    graph = {"extract": {"type": "model", "provider": "p", "budget": {"calls": 1000}, "calls": 1}}
    async with lab.open(graph=graph):
        print("open", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.parametrize("lines", [1, 3, 9, 21], ids=["first", "some", "next-batch", "all"])
async def test_killed_while_a_model_reads(lab: "Lab", tmp_path: Path, lines: int) -> None:
    """After a kill at any stage all that was answered before is kept; only what was under way is asked again."""
    reader = Reader()
    lab.live[Ref("Provider", "p")] = reader
    for at in range(20):
        name = chr(65 + at)
        lab.write(f"{at}.md", f"# Part {at}\n\nHere AAA{name} meets ZZZ{name} in number {at}.\n")
    command = [sys.executable, "-c", CHILD, str(Path(__file__).parents[2]), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": ""}) as child:  # noqa: ASYNC220, S603  # ours; the test has nothing else to do
        assert child.stdout is not None
        for _ in range(lines):
            child.stdout.readline()
        child.send_signal(signal.SIGKILL)
        told = 20 if lines == 21 else lines + child.stdout.read().count(b"asked")
    assert rows(lab, "PRAGMA integrity_check") == [("ok",)]
    async with lab.open(graph=model(calls=1)) as base:
        assert graph_of(base).pending == 0
        assert 20 <= told + len(reader.asked) <= 21
        assert any(one.graph for one in (await base.explain("AAAF", 20)).hits)
