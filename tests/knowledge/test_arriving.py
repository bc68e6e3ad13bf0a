"""Documents are embedded in as many calls as declared, each text once, and one that is refused costs no other."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from loomd.errors import Permanent
from loomd.events.event import DocumentSkipped
from tests.knowledge.conftest import Counting
from tests.knowledge.vectors_service import VectorService, vector_service

if TYPE_CHECKING:
    from tests.knowledge.conftest import Lab

WORDS = {"mode": "keyword"}


def service_spec(service: VectorService, **more: Any) -> dict[str, Any]:
    """Return an embedder that asks a service."""
    return {"type": "openai", "model": "m", "dimension": 4, "baseUrl": service.url, **more}


async def test_a_refused_text_costs_its_own_document_alone(lab: "Lab") -> None:
    """The document is named with the reason; what else is new, changed or gone is indexed; nothing is paid twice."""
    lab.write("old.md", "Otters swim.")
    with vector_service() as service:
        spec = service_spec(service, batch=8)
        async with lab.open(spec):
            pass
        (lab.root / "docs" / "old.md").unlink()
        for at in range(40):
            lab.write(f"{at}.md", f"Number{at} is here.\n")
        lab.write("17.md", "# One\n\nNumber17 is here.\n\n# Two\n\nThis is forbidden.\n")
        service.word = "forbidden"
        async with lab.open(spec, retrieval=WORDS) as base:
            words = ("number3", "number17", "number39", "otters")
            assert [len(await base.search(word)) for word in words] == [1, 0, 1, 0]
            assert base.standing().documents == 39
            (left_out,) = base.standing().left_out
            assert left_out.path == "docs/17.md"
            assert left_out.reason.startswith("has a passage that the embedder refuses (docs/17.md:7-7): Embedder/e: ")
            (degraded,) = (one for one in base.health() if one.condition == "Degraded")
            assert (degraded.status, degraded.reason) == ("True", "DocumentsSkipped")
            assert "left out: docs/17.md has a passage that the embedder refuses" in degraded.message
            service.texts.clear()
            await base.refresh()
            assert [text for text in service.texts if "Number" in text] == []
            skipped = [one.data for one in lab.events if isinstance(one.data, DocumentSkipped)]
            assert [one.path for one in skipped] == ["docs/17.md"]
            service.word = ""
            await base.refresh()
            assert base.standing().left_out == ()
            assert len(await base.search("forbidden")) == 1
            assert [text for text in service.texts if "Number" in text] == []


async def test_a_service_that_refuses_everything_leaves_out_nothing(lab: "Lab") -> None:
    """It is the service's fault then, and no document's; it is asked about a plain text once, and no more."""
    for at in range(40):
        lab.write(f"{at}.md", f"Number{at} is here.\n")
    with vector_service() as service:
        service.status = 400
        with pytest.raises(Permanent, match="HTTP 400"):
            async with lab.open(service_spec(service, batch=8, calls=1)):
                pass
        assert len(service.texts) <= 17
    assert not [one for one in lab.events if isinstance(one.data, DocumentSkipped)]


@pytest.mark.parametrize(("batch", "calls", "files"), [(512, 2, 1100), (16, 6, 700)])
async def test_calls_are_as_many_and_as_large_as_declared(lab: "Lab", batch: int, calls: int, files: int) -> None:
    """No call waits for those of other documents, and none is smaller than declared but the last."""
    for at in range(files):
        lab.write(f"{at:04}.md", f"Number{at} is here.\n")
    with vector_service() as service:
        service.pause = 0.0005
        async with lab.open(service_spec(service, batch=batch, calls=calls)) as base:
            assert len(base) == files
        assert sorted(service.sizes, reverse=True) == [batch] * (files // batch) + [files % batch]
        assert service.under_way == calls


async def test_a_call_that_takes_long_holds_up_no_other(lab: "Lab", monkeypatch: pytest.MonkeyPatch) -> None:
    """The others go on beyond it, up to what may wait to be written."""
    held, embed = asyncio.Event(), Counting.embed
    texts: list[str] = []

    async def holding(counting: Any, asked: Any) -> Any:
        texts.extend(asked)
        if any("Number0 " in text for text in asked):
            await held.wait()
        return await embed(counting, asked)

    monkeypatch.setattr(Counting, "embed", holding)
    for at in range(700):
        lab.write(f"{at:04}.md", f"Number{at} is here.\n")
    with vector_service() as service:
        opening = lab.open(service_spec(service, batch=8, calls=2))
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            entered = group.create_task(opening.__aenter__())
            while len(texts) < 288:  # noqa: ASYNC110  # more than are written together
                await asyncio.sleep(0.01)
            held.set()
            base = await entered
            assert len(base) == 700
            await opening.__aexit__(None, None, None)


async def test_two_that_refresh_at_once_embed_each_text_once(lab: "Lab") -> None:
    """What is under way for one knowledge base is waited for by another, and asked for when that one fails."""
    lab.write("old.md", "Otters swim.")
    with vector_service() as service:
        spec = service_spec(service, batch=4, calls=2)
        async with lab.open(spec) as first:
            lab.name = "other"
            async with lab.open(spec) as second:
                for at in range(100):
                    lab.write(f"{at}.md", f"Number{at} is here.\n")
                service.texts.clear()
                service.pause = 0.001
                await asyncio.gather(first.refresh(), second.refresh())
                assert len(first) == len(second) == 101
                assert len(service.texts) == len(set(service.texts)) == 100
                for at in range(40):
                    lab.write(f"{at}.md", f"Another{at} is here.\n")
                service.texts.clear()
                leaving, staying = (asyncio.ensure_future(one.refresh()) for one in (first, second))
                while len(service.texts) < 8:  # noqa: ASYNC110  # of a thread
                    await asyncio.sleep(0.001)
                leaving.cancel()
                await asyncio.wait([leaving])
                await staying
                assert (await second.search("another39"))[0].text == "Another39 is here."
                assert (
                    len([text for text in service.texts if "is here" in text]) <= 40 + 16
                )  # of calls that were given up


async def test_rebuilt_vectors_are_made_beside_those_that_serve(lab: "Lab") -> None:
    """Until all are there none of them is found; a failure is told and tried again, and a restart goes on."""
    for at in range(40):
        lab.write(f"{at:02}.md", f"Number{at} is here.\n")
    with vector_service() as service:
        spec = service_spec(service, batch=4, calls=1)
        async with lab.open(spec):
            pass
        (old,) = lab.state.glob("*.db")
        service.vector = ["1", "0", "0", "0"]
        service.texts.clear()
        service.most = 20
        async with lab.open(spec) as base:
            with pytest.raises(Permanent, match="HTTP 400"):
                await base.rebuild(embed=True)
            (degraded,) = (one for one in base.health() if one.condition == "Degraded")
            assert (degraded.status, degraded.reason) == ("True", "EmbedFailed")
            assert "HTTP 400" in degraded.message
            assert "; it is tried again in 5 s" in degraded.message
            assert await asyncio.to_thread(vectors_in, old) == {(0.5, 0.5, 0.5, 0.5)}
            service.most = 1 << 20
            assert (await base.search("number7"))[0].text == "Number7 is here."
        service.texts.clear()
        async with lab.open(spec) as base:
            assert len(service.texts) <= 20
            (new,) = (path for path in lab.state.glob("*.db") if path != old)
            assert await asyncio.to_thread(vectors_in, new) == {(1.0, 0.0, 0.0, 0.0)}
            (degraded,) = (one for one in base.health() if one.condition == "Degraded")
            assert degraded.status == "False"
            assert (await base.search("number7"))[0].text == "Number7 is here."
            service.texts.clear()
            asked = asyncio.ensure_future(base.rebuild(embed=True))
            while not asked.done():
                assert len(base) == 40
                assert (await base.search("number7"))[0].text == "Number7 is here."
            assert await asked == 40
        service.texts.clear()
        async with lab.open(spec) as base:
            assert len(base) == 40
        assert service.texts == []


def vectors_in(path: Path) -> set[tuple[float, ...]]:
    """Return the different vectors of a store."""
    with closing(sqlite3.connect(path)) as db:
        return {tuple(np.frombuffer(data, "<f2").tolist()) for (data,) in db.execute("SELECT data FROM vector")}
