"""A knowledge base opens at once, serves what is kept, and says what is still being fetched."""

import asyncio
import re
import shutil
from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING, Any

import pytest

from loomd.errors import LoomdError, Unreachable
from loomd.events.event import AnyFact, Fallback
from loomd.knowledge.asking import Nobody
from loomd.knowledge.standing import Found
from tests.knowledge.sites import Site, page, source
from tests.knowledge.vectors_service import vector_service

if TYPE_CHECKING:
    from tests.knowledge.conftest import Lab

WORDS = {"mode": "keyword"}


@pytest.fixture
def away(site: Site) -> Site:
    """Return a site that has a page, and does not answer as long as nobody opens its gate."""
    site.pages["/a"] = page("Cats purr.")
    site.gate.clear()
    return site


def ready(base: Any) -> tuple[str, str]:
    """Return status and reason of `IndexReady`."""
    (found,) = [one for one in base.health() if one.condition == "IndexReady"]
    return found.status, found.reason


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110  # what others do is looked at
            await asyncio.sleep(0.01)


async def test_it_opens_before_the_first_answer(lab: "Lab", away: Site) -> None:
    """Files beside are found at once; then the rest is, and the condition says which is the case."""
    lab.write("dogs.md", "Dogs bark.")
    spec: dict[str, Any] = {"sources": [source(away, "/a"), {"path": "docs"}], "retrieval": WORDS}
    async with lab.open(wait=False, **spec) as base:
        assert ready(base) == ("False", "Fetching")
        (told,) = [one for one in base.health() if one.condition == "IndexReady"]
        assert told.message == "the documents of a source are being fetched; 1 passage can be searched"
        assert (told.is_ill, told.is_dead) == (True, False)
        assert [one.status for one in base.health() if one.condition == "Degraded"] == ["Unknown"]
        assert [len(await base.search(word)) for word in ("bark", "purr")] == [1, 0]
        settled = asyncio.ensure_future(base.settled())
        await until(lambda: away.asked != [])
        assert not settled.done()
        away.gate.set()
        await settled
        assert ready(base) == ("True", "Indexed")
        assert [one.status for one in base.health() if one.condition == "Degraded"] == ["False"]
        assert [len(await base.search(word)) for word in ("bark", "purr")] == [1, 1]


async def test_what_is_kept_serves_meanwhile(lab: "Lab", away: Site) -> None:
    """After a restart it is ready at once, and takes over what changed when it comes."""
    lab.root.mkdir()
    away.gate.set()
    async with lab.open(sources=[source(away, "/a")]):
        pass
    away.gate.clear()
    away.pages["/a"] = page("Cats hiss.")
    async with lab.open(wait=False, sources=[source(away, "/a")], retrieval=WORDS) as base:
        assert [len(await base.search(word)) for word in ("purr", "hiss")] == [1, 0]
        await until(lambda: ready(base) == ("True", "Indexed"))
        assert [len(await base.search(word)) for word in ("purr", "hiss")] == [1, 0]
        away.gate.set()
        await base.settled()
        assert [len(await base.search(word)) for word in ("purr", "hiss")] == [0, 1]


async def test_what_was_indexed_stays_until_it_is_fetched_again(lab: "Lab", away: Site) -> None:
    """Copies that are gone take nothing out of the index; what a folder does not have any more goes at once."""
    lab.write("dogs.md", "Dogs bark.")
    lab.write("owls.md", "Owls fly.")
    spec: dict[str, Any] = {"sources": [source(away, "/a"), {"path": "docs"}], "retrieval": WORDS}
    away.gate.set()
    async with lab.open(**spec):
        pass
    away.gate.clear()
    shutil.rmtree(lab.state / "http")
    (lab.root / "docs" / "owls.md").unlink()
    async with lab.open(wait=False, **spec) as base:
        await until(lambda: ready(base) == ("False", "Fetching"))
        assert [len(await base.search(word)) for word in ("purr", "bark", "fly")] == [1, 1, 0]  # gone for certain
        assert lab.embedder.texts == []
        away.gate.set()
        await base.settled()
        assert [len(await base.search(word)) for word in ("purr", "bark", "fly")] == [1, 1, 0]
        assert lab.embedder.texts == []


async def test_how_old_each_source_is(lab: "Lab", away: Site) -> None:
    """When it was read well and when it changed, over restarts and ways of cutting; the whole is as its oldest."""
    lab.write("dogs.md", "Dogs bark.")
    spec: dict[str, Any] = {"sources": [source(away, "/a"), {"path": "docs"}]}
    async with lab.open(wait=False, **spec) as base:
        pages, docs = base.standing().sources
        assert (pages.name, pages.documents, pages.read, pages.changed) == (f"{away.url}/a", 0, 0.0, 0.0)
        assert (docs.name, docs.documents, docs.read) == ("docs", 1, docs.changed)
        assert base.standing().refreshed == 0.0 < docs.read
        away.gate.set()
        await base.settled()
        pages, again = base.standing().sources
        assert pages.documents == 1
        assert docs.changed == again.changed < again.read
        assert docs.read < pages.read <= pages.changed
        assert base.standing().refreshed == pages.read
    away.pages["/a"] = 500
    lab.write("dogs.md", "Dogs howl.")
    async with lab.open(**spec) as base:
        assert base.standing().sources[0] == pages
        (degraded,) = [one for one in base.health() if one.condition == "Degraded"]
        assert degraded.reason == "SourceUnreachable"
        assert degraded.message.startswith(f"what was read before is found, and may be old: {away.url}/a ")
        assert base.standing().left_out == ()
        docs = base.standing().sources[1]
        assert again.read < docs.read
        assert again.changed < docs.changed
        assert base.standing().refreshed == pages.read
    async with lab.open(chunk={"type": "fixed"}, **spec) as base:
        assert base.standing().sources[0] == pages
        assert base.standing().sources[1].changed == docs.changed


async def test_what_is_not_indexed_is_not_read(lab: "Lab") -> None:
    """Documents that could not be embedded leave their source as old as it was."""
    lab.write("dogs.md", "Dogs bark.")
    async with lab.open() as base:
        (docs,) = base.standing().sources
        lab.write("dogs.md", "Dogs howl.")
        with vector_service() as service:
            service.status = 400
            failing: dict[str, Any] = {"type": "openai", "model": "m", "dimension": 4, "baseUrl": service.url}
            with pytest.raises(LoomdError, match="HTTP 400"):
                async with lab.open(failing):
                    pass
        assert base.standing().sources == (docs,)
        await base.refresh()
        assert docs.changed < base.standing().sources[0].changed


async def test_what_fails_is_said_and_tried_again_soon(lab: "Lab", away: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits is told at once; later answers make it ready, and nobody is told of the first failure any more."""
    monkeypatch.setattr("loomd.knowledge.ingest.SOON", 0.05)
    lab.root.mkdir()
    away.gate.set()
    away.pages["/a"] = 500
    async with lab.open(wait=False, sources=[source(away, "/a")], retrieval=WORDS) as base:
        with pytest.raises(LoomdError, match="answers HTTP 500"):
            await base.settled()
        assert ready(base) == ("False", "FetchFailed")
        await base.refresh()
        assert ready(base) == ("False", "FetchFailed")
        await until(lambda: len(away.asked) >= 3)
        away.pages["/a"] = page("Cats purr.")
        await until(lambda: ready(base) == ("True", "Indexed"))
        await base.settled()
        assert len(await base.search("purr")) == 1


async def test_an_embedder_that_fails_then_is_tried_again(
    lab: "Lab", away: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages that were fetched and could not be embedded are not forgotten, and nobody is asked for them again."""
    monkeypatch.setattr("loomd.knowledge.upkeep.SOON", 0.05)
    lab.root.mkdir()
    async with lab.open(wait=False, sources=[source(away, "/a")], retrieval=WORDS) as base:
        embed = lab.embedder.embed

        async def fail(texts: Any) -> Any:
            del texts
            raise LoomdError("no room")

        lab.embedder.embed = fail  # type: ignore[method-assign]  # as a service that fails
        away.gate.set()
        with pytest.raises(LoomdError, match="no room"):
            await base.settled()
        assert ready(base) == ("False", "EmbedFailed")
        (told,) = [one for one in base.health() if one.condition == "Degraded"]
        assert (told.status, told.reason) == ("True", "EmbedFailed")
        assert re.fullmatch(r"no room; it is tried again in [\d.]+ s", told.message)
        asked = list(away.asked)
        lab.embedder.embed = embed  # type: ignore[method-assign]  # it works again
        await until(lambda: ready(base) == ("True", "Indexed"))
        assert away.asked == asked
        assert [one.status for one in base.health() if one.condition == "Degraded"] == ["False"]
        assert len(await base.search("purr")) == 1


async def test_one_that_replaces_another_is_whole_before_it_does(lab: "Lab", away: Site) -> None:
    """Nothing is lost by waiting: what serves goes on serving; what cannot be had is refused."""
    lab.root.mkdir()

    async def opened() -> AsyncGenerator[Any, None]:
        async with lab.open(wait=False, replaces=True, sources=[source(away, "/a")], retrieval=WORDS) as base:
            yield base

    opening = asyncio.ensure_future(anext(bases := opened()))
    await until(lambda: away.asked != [])
    assert not opening.done()
    away.gate.set()
    base = await opening
    assert ready(base) == ("True", "Indexed")
    assert len(await base.search("purr")) == 1
    await bases.aclose()
    away.pages["/b"] = 500
    with pytest.raises(LoomdError, match="answers HTTP 500"):
        async with lab.open(wait=False, replaces=True, sources=[source(away, "/b")]):
            pass


async def test_closing_does_not_wait_for_an_answer(lab: "Lab", away: Site) -> None:
    """What is being fetched is given up, and whoever waits for it is let go."""
    lab.root.mkdir()
    async with lab.open(wait=False, sources=[source(away, "/a")]) as base:
        waiting = asyncio.ensure_future(base.settled())
        await until(lambda: away.asked != [])
    async with asyncio.timeout(60):
        await asyncio.wait([waiting])


class Told(Nobody):
    """Who searches, and what that one is told."""

    def __init__(self) -> None:
        self.facts: list[AnyFact] = []

    def tell(self, fact: AnyFact) -> None:
        """Keep it."""
        self.facts.append(fact)


@pytest.mark.parametrize("more", [{}, {"expand": {"type": "prf"}}])
async def test_an_embedder_that_is_down_at_a_question(lab: "Lab", more: dict[str, Any]) -> None:
    """A hybrid search goes on by words and says so; one that is declared to fail fails, and so does one by meaning."""
    lab.write("a.md", "# Cats\n\nCats purr.\n")
    lab.write("b.md", "# Dogs\n\nDogs bark.\n")

    async def fail(texts: Any) -> Any:
        raise Unreachable(f"no vectors of {len(texts)} texts: the service is down")

    async def down(**how: Any) -> tuple[Found, Told]:
        async with lab.open(retrieval={**more, **how}) as base:
            lab.embedder.embed = fail  # type: ignore[method-assign]  # as a service that fails
            told = Told()
            found = await base.look("who purrs?", asker=told)
            explained = await base.explain("who purrs?")
            assert [hit.passage for hit in explained.hits] == list(found.passages)
            assert explained.notes == found.notes
            assert await base.search("who purrs?") == list(found.passages)
            return found, told

    found, told = await down(minScore=0.5)
    assert [(one.source, one.score) for one in found.passages] == [("docs/a.md:3-3", 1.0)]
    (note,) = found.notes
    failed = "no vectors of 1 texts: the service is down"
    assert note == f"passages were found by words alone, because the embedder failed: {failed}"
    (fact,) = told.facts
    assert fact == Fallback("embed", failed, "passages were found by words alone")
    unweighed, _ = await down(minScore=0.5, keywordWeight=0)
    assert unweighed.passages == found.passages
    assert (await down(mode="keyword"))[0].notes == ()
    for how in ({"onFailure": "fail"}, {"mode": "vector"}):
        with pytest.raises(Unreachable, match="the service is down"):
            await down(**how)
