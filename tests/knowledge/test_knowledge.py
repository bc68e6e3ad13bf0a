"""The live knowledge base: finds, cites, follows its documents, and survives what happens to its files."""

import asyncio
import errno
import os
import re
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from loomd.clock import SystemClock
from loomd.errors import BadReply, LoomdError, NotFound
from loomd.events.bus import Bus
from loomd.events.event import DocumentSkipped, IndexDamaged, IndexProgress
from loomd.knowledge import place
from loomd.knowledge.arriving import BATCH
from loomd.knowledge.base import Chunking, IndexSpec, Retrieval
from loomd.knowledge.ingest import Library
from loomd.knowledge.knowledge import KnowledgeBase
from loomd.knowledge.sources.files import Files, FilesSource
from loomd.knowledge.survey import Recipe
from loomd.knowledge.ways import Ways
from loomd.topology import Health
from loomd.vectors.faiss_index import load

if TYPE_CHECKING:
    from loomd.knowledge.base import Vectors
    from tests.knowledge.conftest import Lab

CATS = "# Animals\n\n## Cats\n\nCats purr and chase mice.\n"
DOGS = "# Animals\n\n## Dogs\n\nDogs bark at strangers.\n"
FISH = "Fish swim in water and say nothing.\n"


@pytest.fixture
def animals(lab: "Lab") -> "Lab":
    """Return a lab with three documents."""
    lab.write("cats.md", CATS)
    lab.write("deep/dogs.md", DOGS)
    lab.write("fish.txt", FISH)
    return lab


def many(lab: "Lab", passages: int = 1100) -> None:
    """Write one document of so many passages."""
    lab.write("many.md", "\n".join(f"## Part {at}\n\nNumber {at} of {passages}.\n" for at in range(passages)))


@pytest.mark.parametrize("mode", ["hybrid", "vector", "keyword"])
async def test_a_passage_says_where_it_stands(animals: "Lab", mode: str) -> None:
    """Each mode finds the passage, with path, lines, headings and a number."""
    async with animals.open(retrieval={"mode": mode}) as base:
        best = (await base.search("who chases mice?"))[0]
    assert (best.number, best.source, best.title, best.knowledge) == (1, "docs/cats.md:5-5", "Animals > Cats", "kb")
    assert best.text == "Cats purr and chase mice."
    assert best.score > 0


async def test_top_k_bounds_the_answer(animals: "Lab") -> None:
    """The manifest's number holds unless the caller gives one."""
    async with animals.open(retrieval={"topK": 2, "mode": "vector"}) as base:
        assert [p.number for p in await base.search("animals")] == [1, 2]
        assert len(await base.search("animals", 1)) == 1
        assert len(await base.search("animals", 50)) == 3


async def test_first_in_both_halves_scores_one(animals: "Lab") -> None:
    """A hybrid score is the share of the best possible, and `minScore` cuts by it."""
    async with animals.open() as base:
        assert (await base.search("dogs bark at strangers"))[0].score == pytest.approx(1.0)
    async with animals.open(retrieval={"minScore": 0.99}) as base:
        assert len(await base.search("dogs bark at strangers")) == 1


async def test_equal_texts_are_offered_once(animals: "Lab") -> None:
    """A copy of a document takes no place among the passages."""
    animals.write("copy.md", CATS)
    async with animals.open() as base:
        found = await base.search("cats purr")
    assert len({p.text for p in found}) == len(found)


@pytest.mark.parametrize("query", ["", "   ", "\n", "?!", "\x00", "zzzz qqqq"])
async def test_a_query_without_words_is_harmless(animals: "Lab", query: str) -> None:
    """Nothing to search for is no error."""
    async with animals.open(retrieval={"mode": "keyword"}) as base:
        assert await base.search(query) == []
    async with animals.open() as base:
        assert len(await base.search(query)) <= 4


async def test_a_query_that_is_no_unicode_text_is_searched(animals: "Lab") -> None:
    """A lone surrogate reaches neither SQLite nor the tokenizer."""
    async with animals.open({"type": "wordllama"}) as base:
        assert (await base.search("cats \ud800 purr"))[0].title == "Animals > Cats"


async def test_only_what_changed_is_embedded(animals: "Lab") -> None:
    """Opening again embeds nothing; a changed document embeds its changed passages only."""
    async with animals.open():
        assert len(animals.embedder.texts) == 3
    async with animals.open():
        assert animals.embedder.texts == []
    animals.write("cats.md", "New first line.\n\n" + CATS + "\n## Lions\n\nLions roar.\n")
    async with animals.open() as base:
        assert animals.embedder.texts == ["cats.md\nNew first line.", "Animals > Lions\nLions roar."]
        assert (await base.search("purr and chase mice"))[0].source == "docs/cats.md:7-7"


async def test_refresh_follows_the_documents(animals: "Lab") -> None:
    """A live base takes up new documents and forgets deleted ones."""
    async with animals.open() as base:
        animals.write("birds.md", "# Birds\n\nBirds sing at dawn.\n")
        (animals.root / "docs/cats.md").unlink()
        assert await base.refresh() == 1
        assert (await base.search("who sings at dawn?"))[0].title == "Birds"
        assert all("cats.md" not in p.source for p in await base.search("cats purr and chase mice", 10))
        assert len(base) == 3


async def test_progress_is_told(lab: "Lab") -> None:
    """Progress counts up to the number of passages."""
    for at in range(BATCH + 10):
        lab.write(f"{at}.md", f"Document {at}.")
    async with lab.open():
        pass
    told = [event.data for event in lab.events if isinstance(event.data, IndexProgress)]
    assert told[0] == IndexProgress("kb", 0, BATCH + 10)
    assert told[-1] == IndexProgress("kb", BATCH + 10, BATCH + 10)
    assert len(told) == 3


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"caf\xe9\n", "not UTF-8 (line 1, byte 3)"),
        (b"%PDF\0\x01", "not text"),
        ("\ufeffhello".encode("utf-16-le"), "UTF-16"),
        (b"x" * 2000, "maxFile is 1024"),
    ],
    ids=["latin-1", "binary", "utf-16", "too-large"],
)
async def test_an_unreadable_document_loses_no_other(animals: "Lab", data: bytes, reason: str) -> None:
    """It is reported with its name and a way out, and everything else is found."""
    animals.write("bad.md", data)
    async with animals.open(sources=[{"path": "docs", "maxFile": "1Ki"}]) as base:
        assert [item.path for item in base.unreadable] == ["docs/bad.md"]
        assert len(base) == 3
        animals.write("cats.md", "Cats sleep.")
        await base.refresh()
    (told,) = [event.data for event in animals.events if isinstance(event.data, DocumentSkipped)]
    assert told.path == "docs/bad.md"
    assert reason in told.reason


async def test_a_document_that_became_unreadable_keeps_its_passages(animals: "Lab") -> None:
    """A half-written file does not take away what was known."""
    async with animals.open() as base:
        animals.write("cats.md", b"\0")
        await base.refresh()
        assert (await base.search("who chases mice?"))[0].source == "docs/cats.md:5-5"


def close(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let a folder be one that nobody may look into."""
    scan = os.scandir

    def refused(path: str) -> Any:
        if Path(path) == folder:
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", refused)


async def test_a_folder_that_became_unreadable_keeps_its_passages(lab: "Lab", monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told, what was indexed of it stays, and everything else is followed; one that is left out is not told."""
    lab.write("a/otters.md", "Otters hold hands.")
    lab.write("b/cats.md", "Cats purr.")
    sources = [{"path": "docs", "exclude": ["b/**"]}]
    async with lab.open(sources=sources) as base:
        with monkeypatch.context() as patch:
            close(patch, lab.root / "docs/a")
            lab.write("dogs.md", "Dogs bark.")
            await base.refresh()
            assert [hit.source for hit in await base.search("otters")][:1] == ["docs/a/otters.md:1-1"]
            assert len(base) == 2
            (told,) = base.unreadable
            assert (told.path, told.reason) == (
                "docs/a",
                "is a folder that cannot be looked into: make it readable, or exclude it",
            )
            close(patch, lab.root / "docs")
            with pytest.raises(LoomdError, match="docs cannot be read"):
                await base.refresh()
            assert len(base) == 2
        with monkeypatch.context() as patch:
            close(patch, lab.root / "docs/b")
            await base.refresh()
            assert base.unreadable == ()
        (lab.root / "docs/a/otters.md").unlink()
        await base.refresh()
        assert len(base) == 1


async def test_no_document_at_all_is_refused(animals: "Lab") -> None:
    """A source without files says so, and what was indexed stays."""
    async with animals.open() as base:
        for file in list((animals.root / "docs").rglob("*.*")):
            file.unlink()
        with pytest.raises(NotFound, match=r"source docs: expected .* that fits \*\*/\*\.md .* got none"):
            await base.refresh()
        assert len(base) == 3
    with pytest.raises(NotFound):
        async with animals.open():
            pass


async def test_another_embedder_embeds_everything_and_the_first_comes_back(animals: "Lab") -> None:
    """A new fingerprint or dimension starts a new index; a rollback finds the old one and embeds nothing."""
    async with animals.open():
        pass
    async with animals.open({"type": "hash", "dimension": 64}) as base:
        assert len(animals.embedder.texts) == 3
        assert (await base.search("who chases mice?"))[0].title == "Animals > Cats"
    async with animals.open():
        assert animals.embedder.texts == []


async def test_another_way_of_cutting_takes_vectors_over(animals: "Lab") -> None:
    """Passages that stay the same are not embedded again when the chunk size changes."""
    async with animals.open():
        pass
    async with animals.open(chunk={"size": 100, "overlap": 0}):
        assert animals.embedder.texts == []
    async with animals.open(chunk={"size": 90, "overlap": 0}):
        pass
    assert len(list(animals.state.glob("*.db"))) == 2  # the one before last is gone


def _cut_in_half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _flip_a_bit(data: bytes) -> bytes:
    return data[:-20] + bytes([data[-20] ^ 1]) + data[-19:]


def _empty(_: bytes) -> bytes:
    return b""


def _replace(_: bytes) -> bytes:
    return b"something else"


@pytest.mark.parametrize("harm", [_cut_in_half, _flip_a_bit, _empty, _replace])
async def test_a_damaged_vector_file_is_made_anew(
    animals: "Lab", harm: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    """The vectors come back from the chunk store without embedding, and the log says why."""
    many(animals)
    async with animals.open():
        pass
    (saved,) = animals.state.glob("*.faiss")
    good = saved.read_bytes()
    saved.write_bytes(harm(good))
    async with animals.open(retrieval={"mode": "vector"}) as base:
        assert animals.embedder.texts == []
        assert (await base.search("cats purr and chase mice"))[0].title == "Animals > Cats"
    assert "SHA-256" in caplog.text
    assert saved.read_bytes() == good


async def test_a_missing_vector_file_is_made_anew(animals: "Lab") -> None:
    """Without the file, the vectors are read from the chunk store."""
    many(animals)
    async with animals.open():
        pass
    (saved,) = animals.state.glob("*.faiss")
    saved.unlink()
    async with animals.open(retrieval={"mode": "vector"}) as base:
        assert animals.embedder.texts == []
        assert (await base.search("cats purr and chase mice"))[0].title == "Animals > Cats"
    assert saved.exists()


async def test_a_vector_file_of_before_is_brought_up_to_date(animals: "Lab") -> None:
    """Of what changed since it was made the chunk store knows: what was added is found, what was removed is not."""
    many(animals)
    async with animals.open():
        pass
    old = {file: file.read_bytes() for file in animals.state.glob("*.faiss")}
    heads = {file: file.read_bytes() for file in animals.state.glob("*.base")}
    many(animals, 2200)
    animals.write("birds.md", "Birds sing at dawn.")
    (animals.root / "docs" / "cats.md").unlink()
    async with animals.open():
        pass
    assert not next(iter(old)).exists()
    for file, data in {**old, **heads}.items():
        file.write_bytes(data)
    async with animals.open(retrieval={"mode": "vector"}) as base:
        assert animals.embedder.texts == []
        assert (await base.search("birds sing at dawn"))[0].source == "docs/birds.md:1-1"
        assert "Cats" not in (await base.search("cats purr and chase mice"))[0].title


async def test_a_damaged_index_of_words_is_made_anew(animals: "Lab", caplog: pytest.LogCaptureFixture) -> None:
    """A bit that flipped anywhere in it is noticed when it opens."""
    async with animals.open():
        pass
    (folder,) = animals.state.glob("*.words")
    harmed = next(folder.glob("*.idx"))
    data = harmed.read_bytes()
    harmed.write_bytes(data[:5] + bytes([data[5] ^ 4]) + data[6:])
    async with animals.open(retrieval={"mode": "keyword"}) as base:
        assert animals.embedder.texts == []
        assert (await base.search("who chases mice?"))[0].title == "Animals > Cats"
    assert "the index of words is not what was written" in caplog.text


async def test_words_that_were_not_committed_are_made_up_for(animals: "Lab") -> None:
    """An index of words from before the last transactions (killed between both) learns what was added and removed."""
    async with animals.open():
        pass
    (folder,) = animals.state.glob("*.words")
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    animals.write("birds.md", "Birds sing at dawn.")
    (animals.root / "docs" / "cats.md").unlink()
    async with animals.open():
        pass
    for file in folder.iterdir():
        file.unlink()
    for name, data in before.items():
        (folder / name).write_bytes(data)
    async with animals.open(retrieval={"mode": "keyword"}) as base:
        assert (await base.search("who sings at dawn?"))[0].source == "docs/birds.md:1-1"
        assert await base.search("who chases mice?") == []


async def test_searches_go_on_while_documents_are_indexed(animals: "Lab") -> None:
    """A search is answered from what was there before, and nobody waits for the end of a refresh."""
    async with animals.open() as base:
        many(animals, 3000)
        refresh = asyncio.ensure_future(base.refresh())
        answered = 0
        while not refresh.done():
            assert (await base.search("cats purr and chase mice"))[0].title == "Animals > Cats"
            answered += not refresh.done()
        assert await refresh == 3000
        assert answered > 5
        assert len(base) > 3000


async def test_questions_at_once_are_answered_together(animals: "Lab") -> None:
    """While some are under way, the others wait for each other and are embedded in one call; each gets its answer."""
    async with animals.open() as base:
        asked = animals.embedder.asked
        questions = ["who chases mice?", "who fetches sticks?"] * 40
        answers = await asyncio.gather(*(base.search(question) for question in questions))
        assert animals.embedder.asked - asked < 10
        alone = {question: await base.search(question) for question in set(questions)}
        assert all(answer == alone[question] for answer, question in zip(answers, questions, strict=True))


async def test_knowledge_bases_with_the_same_content_share_vectors(animals: "Lab") -> None:
    """What one has embedded no other embeds again."""
    async with animals.open():
        assert len(animals.embedder.texts) == 3
    animals.name = "other"
    async with animals.open() as base:
        assert animals.embedder.texts == []
        assert (await base.search("who chases mice?"))[0].title == "Animals > Cats"


async def test_the_same_knowledge_base_opened_twice_is_one_index(animals: "Lab") -> None:
    """A set that serves and the one that follows it see the same passages, and the last one closes the files."""
    async with animals.open() as first:
        async with animals.open() as second:
            animals.write("birds.md", "Birds sing at dawn.")
            await second.refresh()
            assert len(first) == len(second) == 4
            assert (await first.search("birds sing at dawn"))[0].source == "docs/birds.md:1-1"
        assert (await first.search("birds sing at dawn"))[0].source == "docs/birds.md:1-1"


@pytest.mark.parametrize("kind", ["flat", "hnsw", "ivf", "ivfpq"])
async def test_every_type_of_index_finds_the_passage(animals: "Lab", kind: str) -> None:
    """A passage is found by its own words with each, and a changed type builds a new base and embeds nothing."""
    many(animals)
    async with animals.open():
        pass
    async with animals.open(index={"type": kind}, retrieval={"mode": "vector"}) as base:
        assert animals.embedder.texts == []
        assert (await base.search("cats purr and chase mice"))[0].title == "Animals > Cats"
    (head,) = animals.state.glob("*.base")
    loaded = load(head.with_suffix(""), 256)
    assert loaded is not None
    assert loaded.head.shape == kind


async def test_an_index_that_finds_too_little_says_so(animals: "Lab") -> None:
    """What `ivfpq` misses of `index.recall` is told as Degraded; with a target that it reaches, nothing is."""
    many(animals)
    async with animals.open(index={"type": "ivfpq", "recall": 1.0}) as base:
        found = base.standing().recall
        assert 0.5 < found < 1.0
        (told,) = (one for one in base.health() if one.condition == "Degraded")
        assert (told.status, told.reason) == ("True", "RecallBelowTarget")
        assert f"ivfpq finds {found:.1%} of the nearest passages at any depth" in told.message
    async with animals.open(index={"type": "ivfpq", "recall": 0.5}) as base:
        await base.rebuild()
        (told,) = (one for one in base.health() if one.condition == "Degraded")
        assert (told.status, told.reason) == ("False", "DocumentsRead")


@pytest.mark.parametrize("harm", [b"not a database, but long enough to be looked at" * 100, b"SQLite format 3\0" * 300])
async def test_a_damaged_store_is_indexed_anew(animals: "Lab", harm: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """Everything that the store held is in the documents."""
    async with animals.open():
        pass
    (store,) = animals.state.glob("*.db")
    store.write_bytes(harm)
    async with animals.open() as base:
        assert len(animals.embedder.texts) == 3
        assert (await base.search("who chases mice?"))[0].title == "Animals > Cats"
    assert "indexing the documents anew" in caplog.text
    (told,) = (event.data for event in animals.events if isinstance(event.data, IndexDamaged))
    assert (told.knowledge, told.vectors) == ("kb", 0)
    assert "database" in told.reason


def killed(*_: object) -> None:
    """Stand for the end of the process."""
    raise RuntimeError("killed")


async def test_a_bad_page_costs_what_is_on_it(lab: "Lab", monkeypatch: pytest.MonkeyPatch) -> None:
    """Vectors on other pages are not made again, though the process ends meanwhile; what is none is taken for none."""
    for at in range(300):
        lab.write(f"{at}.md", f"Number{at} is here.\n")
    async with lab.open():
        pass
    (store,) = lab.state.glob("*.db")
    with closing(sqlite3.connect(store)) as db:
        db.execute("UPDATE vector SET data = zeroblob(length(data) - 2) || x'0050' WHERE id = 7")
        db.commit()
        ((long,),) = db.execute("SELECT text FROM chunk WHERE id = 7")
        ((lost, vector),) = db.execute("SELECT text, data FROM chunk JOIN vector USING (id) WHERE id = 150")
        ((size,),) = db.execute("PRAGMA page_size")
    page = store.read_bytes().index(vector) // size * size
    with store.open("r+b") as file:
        file.seek(page)
        file.write(b"\xff" * size)
    with monkeypatch.context() as patch:
        patch.setattr(place, "settle", killed)
        with pytest.raises(RuntimeError, match="killed"):
            async with lab.open():
                pass
    async with lab.open() as base:
        asked = {text.partition("\n")[2] for text in lab.embedder.texts}
        assert {long, lost} < asked
        assert len(asked) < 20
        assert (await base.search("number212"))[0].text == "Number212 is here."
        assert len(base) == 300
    (told,) = (event.data for event in lab.events if isinstance(event.data, IndexDamaged))
    assert told.vectors == 300 - len(asked)


def harm(store: Path, query: str) -> bytes:
    """Overwrite the page of a store on which a value stands, and return the value."""
    with closing(sqlite3.connect(store)) as db:
        ((value,),) = db.execute(query)
        ((size,),) = db.execute("PRAGMA page_size")
    data: bytes = value if isinstance(value, bytes) else value.encode()
    with store.open("r+b") as file:
        file.seek(store.read_bytes().index(data) // size * size)
        file.write(b"\xff" * size)
    return data


@pytest.fixture
def large(lab: "Lab", monkeypatch: pytest.MonkeyPatch) -> "Lab":
    """Return a lab whose store counts as too large to be looked through when it opens."""
    for at in range(300):
        lab.write(f"{at}.md", f"Number{at} is here.\n")
    monkeypatch.setattr("loomd.knowledge.store._CHECKED", 0)
    return lab


async def test_a_large_store_that_cannot_be_read_when_it_opens(large: "Lab") -> None:
    """What is missing then is reason to look it through at once, and to mend it."""
    async with large.open():
        pass
    (store,) = large.state.glob("*.db")
    harm(store, "SELECT data FROM chunk JOIN vector USING (id) WHERE id = 150")
    async with large.open() as base:
        assert 0 < len(large.embedder.texts) < 20
        assert len(base) == 300
    (event,) = (event.data for event in large.events if isinstance(event.data, IndexDamaged))
    assert event.vectors == 300 - len(large.embedder.texts)


async def test_a_large_store_is_looked_through_while_it_serves(large: "Lab", caplog: pytest.LogCaptureFixture) -> None:
    """It opens at once; what is found is told until it opens again, when it is mended."""

    def degraded(base: KnowledgeBase) -> Health:
        (one,) = [one for one in base.health() if one.condition == "Degraded"]
        return one

    async with large.open():
        pass
    (store,) = large.state.glob("*.db")
    lost = harm(store, "SELECT text FROM chunk WHERE id = 290").decode()
    async with large.open(retrieval={"mode": "keyword"}) as base:
        assert (await base.search("number212"))[0].text == "Number212 is here."
        async with asyncio.timeout(60):
            while degraded(base).reason != "IndexDamaged":  # noqa: ASYNC110  # a thread looks
                await asyncio.sleep(0.01)
        told = degraded(base)
        assert told.status == "True"
        assert re.fullmatch(r"its store .* may be missing \(Page \d+: .*\): restart to have it mended", told.message)
        assert base.standing().damage in caplog.text
        await base.refresh()
        assert degraded(base) == told
        assert large.embedder.texts == []
    async with large.open() as base:
        assert lost in {text.partition("\n")[2] for text in large.embedder.texts}
        assert len(large.embedder.texts) < 150
        assert len(base) == 300
    (event,) = (event.data for event in large.events if isinstance(event.data, IndexDamaged))
    assert event.vectors == 300 - len(large.embedder.texts)
    async with large.open() as base:
        await base.rebuild()
        assert degraded(base).reason == "DocumentsRead"
    assert large.embedder.texts == []


class Broken:
    """An embedder that makes what it is told to make."""

    dimension = 4
    fingerprint = "broken"

    def __init__(self, value: float, width: int) -> None:
        self._value = value
        self._width = width

    async def embed(self, texts: Sequence[str]) -> "Vectors":
        """Return one row of the value per text."""
        return np.full((len(texts), self._width), self._value, np.float32)


@pytest.mark.parametrize(("value", "width"), [(float("nan"), 4), (float("inf"), 4), (1.0, 5)])
async def test_unusable_vectors_are_not_stored(animals: "Lab", tmp_path: Path, value: float, width: int) -> None:
    """NaN, infinity and another dimension are refused before they reach the disk."""
    source = FilesSource(path="docs")
    library = Library([Files(source, animals.root)], SystemClock())
    base = KnowledgeBase(
        "kb", library, Broken(value, width), Ways(Retrieval(), IndexSpec()), Bus(SystemClock()), SystemClock()
    )
    recipe = Recipe([source], Chunking(), "broken", 4)
    with pytest.raises(BadReply, match="KnowledgeBase/kb"):
        async with base.running(tmp_path, recipe):
            pass
    db = sqlite3.connect(tmp_path / f"{recipe.name}.db")
    assert db.execute("SELECT count(*) FROM chunk").fetchone() == (0,)
    db.close()


async def test_a_name_that_is_not_utf_8_loses_no_other(animals: "Lab") -> None:
    """Such a file, and one in such a folder, is left out with a reason that can be written down."""
    for name in (b"\xe9.md", b"d\xe9/a.md"):
        animals.write(os.fsdecode(name), "left out")
    files = list(FilesSource(path="docs").reads(animals.root.resolve()))
    assert files
    assert all(str(file).isascii() for file in files)
    async with animals.open() as base:
        told = {item.path: item.reason for item in base.unreadable}
        assert told == dict.fromkeys(
            ("docs/\\udce9.md", "docs/d\\udce9/a.md"), "has a name that is not UTF-8 text: rename it"
        )
        assert await base.search("cats")


async def test_links_and_paths_may_not_leave_the_root(animals: "Lab", tmp_path: Path) -> None:
    """A link to the outside is reported, a path to the outside is refused."""
    secret = tmp_path / "secret.md"
    secret.write_text("the secret word is xyzzy")
    (animals.root / "docs/link.md").symlink_to(secret)
    (animals.root / "docs/loop.md").symlink_to("loop.md")
    (animals.root / "docs/outside").symlink_to(tmp_path)
    (animals.root / "docs/within").symlink_to(".")
    async with animals.open() as base:
        assert [item.path for item in base.unreadable] == ["docs/link.md", "docs/loop.md", "docs/outside"]
        assert all("xyzzy" not in p.text for p in await base.search("secret word", 10))
    with pytest.raises(NotFound, match="which leads out of it"):
        async with animals.open(sources=[{"path": ".."}]):
            pass
