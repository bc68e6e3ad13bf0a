"""A search in more than one step: questions expanded, passages judged, and what is done when somebody fails."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest

from loomd.errors import Diverged, LoomdError, Permanent, RecordFailed, Refused
from loomd.events.event import AnyFact, Fallback
from loomd.knowledge.asking import Asker, Scores, object_in
from loomd.knowledge.base import Retrieval
from loomd.knowledge.chunk import Chunk
from loomd.knowledge.expanders.base import Wording
from loomd.knowledge.expanders.model import wordings_in
from loomd.knowledge.knowledge import KnowledgeBase
from loomd.knowledge.refining import Refining
from loomd.knowledge.rerankers.base import Take
from loomd.knowledge.rerankers.model import grades_in, schema_of
from loomd.knowledge.searching import Row
from loomd.knowledge.standing import Place
from loomd.knowledge.store import Stored
from loomd.manifest.object import Ref
from loomd.messages import Reply, Request
from loomd.testing import open_spec
from tests.clocks import skip

T = TypeVar("T")

DOCUMENTS = {
    "cats.md": "# Cats\n\nCats purr and chase mice.\n",
    "dogs.md": "# Dogs\n\nDogs bark at strangers, and chase cats.\n",
    "fish.md": "# Fish\n\nFish swim, and say nothing about cats.\n",
    "owls.md": "# Owls\n\nOwls hunt at night.\n",
}


class Payer:
    """Says what a model is to say, one answer for each call, and keeps what was asked."""

    def __init__(self, *answers: str | LoomdError) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, Request]] = []
        self.told: list[AnyFact] = []

    async def ask(self, name: str, model: object, request: Request) -> Reply:
        """Return the next answer."""
        assert model == "the judge"
        self.asked.append((name, request))
        answer = self.answers.pop(0)
        if isinstance(answer, LoomdError):
            raise answer
        return Reply(answer) if not answer.startswith("refused: ") else Reply(refused=answer)

    async def call(self, name: str, about: str, do: Callable[[], Awaitable[Scores]], cost: float) -> Scores:
        """Refuse: no service is asked here."""
        raise NotImplementedError

    async def keep(self, name: str, do: Callable[[Asker], Awaitable[T]], result: type[T]) -> T:
        """Do it, and return what is read back of its record."""
        assert name in {"found", "judged"}
        return msgspec.json.decode(msgspec.json.encode(await do(self)), type=result)

    def tell(self, fact: AnyFact) -> None:
        """Keep it."""
        self.told.append(fact)


@asynccontextmanager
async def opened(folder: Path, **retrieval: Any) -> AsyncGenerator[KnowledgeBase, None]:
    """Open a knowledge base over the documents."""
    for name, text in DOCUMENTS.items():
        (folder / "docs").mkdir(exist_ok=True)
        (folder / "docs" / name).write_text(text)
    spec = {"sources": [{"path": "docs"}], "embedder": "e", "retrieval": {"mode": "keyword", **retrieval}}
    async with open_spec("Embedder", {"type": "hash"}, folder / "embedder") as embedder:
        live = {Ref("Embedder", "e"): embedder, Ref("Provider", "judge"): "the judge"}
        async with open_spec("KnowledgeBase", spec, folder, live=live) as base:
            yield base


def names(passages: Sequence[Any]) -> list[str]:
    """Return the documents of passages."""
    return [one.source.partition(".")[0].removeprefix("docs/") for one in passages]


RERANK = {"type": "model", "provider": "judge"}


async def test_the_order_is_the_judges(tmp_path: Path) -> None:
    """What is graded alike keeps its order; grades are shown beside the score; the question is asked about as it is."""
    payer = Payer('{"1": 1, "2": 3, "3": 1}')
    async with opened(tmp_path, rerank=RERANK) as base:
        plain = names(await base.search("cats"))
        found = await base.explain("cats", asker=payer)
    assert len(plain) == 3
    assert names([hit.passage for hit in found.hits]) == [plain[1], plain[0], plain[2]]
    assert [hit.rerank for hit in found.hits] == [1.0, 1 / 3, 1 / 3]
    assert [hit.passage.number for hit in found.hits] == [1, 2, 3]
    assert found.notes == ()
    (name, request) = payer.asked[0]
    assert name == "rerank/0"
    assert request.output_schema is not None
    assert request.output_schema == schema_of(3, str(request.output_schema["title"]))
    text = request.messages[-1].text
    assert text.startswith("Question: cats\n")
    assert [text.index(f"[{number}] ") for number in (1, 2, 3)] == sorted(text.index(f"[{n}] ") for n in (1, 2, 3))


async def test_a_document_that_changes_while_passages_are_judged(tmp_path: Path) -> None:
    """A passage that was found and is gone meanwhile is returned, and nothing is said of what its document is now."""

    class Changing(Payer):
        async def ask(self, name: str, model: object, request: Request) -> Reply:
            (tmp_path / "docs/cats.md").write_text("# Cats\n\nCats sleep.\n")
            await base.refresh()
            return await super().ask(name, model, request)

    async with opened(tmp_path, rerank=RERANK) as base:
        found = await base.explain("cats", asker=Changing('{"1": 1, "2": 1, "3": 1}'))
    documents = {hit.passage.source: hit.document for hit in found.hits}
    assert documents["docs/cats.md:3-3"] is None
    dogs = documents["docs/dogs.md:3-3"]
    assert dogs is not None
    assert (dogs.path, dict(dogs.properties)) == ("docs/dogs.md", {"format": "markdown"})


async def test_only_the_first_are_judged(tmp_path: Path) -> None:
    """In calls of one batch each; the others follow in their order, and one passage alone is not judged."""
    payer = Payer('{"1": 0}', '{"1": 2}')
    async with opened(tmp_path, rerank={**RERANK, "candidates": 2, "batch": 1}) as base:
        plain = names(await base.search("cats"))
        found = await base.explain("cats", asker=payer)
        assert names([hit.passage for hit in found.hits]) == [plain[1], plain[0], plain[2]]
        assert [hit.rerank for hit in found.hits] == [2 / 3, 0.0, None]
        assert [name for name, _ in payer.asked] == ["rerank/0", "rerank/1"]
        (one,) = (await base.look("night", asker=payer)).passages
        assert names([one]) == ["owls"]
        assert (await base.look(" ", asker=payer)).passages == ()


class Slow(Payer):
    """Answers each call of one passage: with grade 3 the third, and with nothing at all those that hang."""

    def __init__(self, *hang: int, late: Callable[[], None] | None = None) -> None:
        super().__init__()
        self.hang = hang
        self.late = late
        self.running = 0
        self.most = 0

    async def ask(self, name: str, model: object, request: Request) -> Reply:
        """Return a grade after all others are asked, too."""
        self.asked.append((name, request))
        assert model == "the judge"
        self.running += 1
        self.most = max(self.most, self.running)
        number = int(name.removeprefix("rerank/"))
        await asyncio.sleep(0.05)
        if number in self.hang:
            await self._hang()
        self.running -= 1
        return Reply(json.dumps({"1": 3 if number == 2 else 1}))

    async def _hang(self) -> None:
        """Hang; once all others have answered, and that is heard, the time for all of them is over."""
        while self.running > len(self.hang):  # noqa: ASYNC110  # nobody tells
            await asyncio.sleep(0.01)
        for _ in range(100):
            await asyncio.sleep(0)
        if self.late is not None:
            late, self.late = self.late, None
            late()
        await asyncio.sleep(3600)


async def test_all_batches_are_judged_at_once(tmp_path: Path) -> None:
    """The time for all of them is that of one."""
    payer = Slow()
    async with opened(tmp_path, rerank={**RERANK, "batch": 1}) as base:
        plain = names(await base.search("cats"))
        found = await base.explain("cats", asker=payer)
    assert names([hit.passage for hit in found.hits]) == [plain[2], plain[0], plain[1]]
    assert payer.most == 3


@pytest.mark.parametrize(
    ("hang", "order", "kept"),
    [((0,), [0, 2, 1], "1 of 3 passages stand"), ((0, 1, 2), [0, 1, 2], "the passages stand")],
)
async def test_grades_that_came_count(
    tmp_path: Path, hang: tuple[int, ...], order: list[int], kept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where others do not come in time; those passages keep their places, which is said."""
    async with opened(tmp_path, rerank={**RERANK, "batch": 1, "timeout": "60s"}) as base:
        plain = names(await base.search("cats"))
        found = await base.explain("cats", asker=Slow(*hang, late=lambda: skip(60, monkeypatch)))
    assert names([hit.passage for hit in found.hits]) == [plain[at] for at in order]
    assert [hit.rerank is None for hit in found.hits].count(True) == len(hang)
    (note,) = found.notes
    assert note.startswith(f"{kept} in the order of the search, because rerank failed: no answer within")


async def test_one_batch_that_fails(tmp_path: Path) -> None:
    """Leaves the others their grades; what the record refuses ends the work before all else."""
    payer = Payer(Permanent("down"), '{"1": 1}', '{"1": 3}')
    async with opened(tmp_path, rerank={**RERANK, "batch": 1}) as base:
        plain = names(await base.search("cats"))
        found = await base.look("cats", asker=payer)
        assert names(found.passages) == [plain[0], plain[2], plain[1]]
        with pytest.raises(RecordFailed):
            await base.look("cats", asker=Payer(Permanent("down"), RecordFailed("full"), '{"1": 3}'))


@pytest.mark.parametrize("given", [[1.0, 2.0], [1.0, 2.0, 3.0, 4.0]])
async def test_scores_of_other_passages_are_not_taken(tmp_path: Path, given: Scores) -> None:
    """The order of the search is kept."""

    class Miscounting:
        async def judge(self, question: str, texts: Sequence[str], asker: object, take: Take) -> None:
            del question, texts, asker
            take(0, given)

    async with opened(tmp_path, rerank=RERANK) as base:
        base._refining._rerank = Miscounting()  # type: ignore[union-attr]  # a type that is not there
        found = await base.look("cats", asker=Payer())
    assert "the reranker was asked about 3 passages" in found.notes[0]


@pytest.mark.parametrize("where", [None, {"path": "docs/*"}])
async def test_where_only_vectors_are_searched_no_place_is_one_by_words(tmp_path: Path, where: Any) -> None:
    """Which the explanation says, filtered or not."""
    async with opened(tmp_path, mode="vector") as base:
        found = await base.explain("cats", where=where)
    assert [hit.keyword for hit in found.hits] == [None] * len(found.hits)
    assert found.hits[0].vector is not None


async def test_judgements_of_other_things_are_told_apart(tmp_path: Path) -> None:
    """By more than their last turn, so that no semantic cache takes one for another; the same ones are alike."""
    payer = Payer(*['{"1": 0, "2": 0, "3": 0}'] * 3)
    async with opened(tmp_path, rerank=RERANK) as base:
        for question in ("cats", "cats!", "cats"):
            await base.look(question, asker=payer)
    first, other, same = (request for _, request in payer.asked)
    assert first == same
    assert first.output_schema != other.output_schema


async def test_fewer_are_returned_than_judged(tmp_path: Path) -> None:
    """What stands behind in the search can be the first."""
    async with opened(tmp_path, topK=1, rerank=RERANK) as base:
        plain = names(await base.search("cats", 3))
        found = await base.look("cats", asker=Payer('{"1": 0, "2": 0, "3": 3}'))
    assert names(found.passages) == plain[2:]


async def test_passages_are_shown_up_to_a_length(tmp_path: Path) -> None:
    """In tokens of four characters."""
    payer = Payer('{"1": 1, "2": 1, "3": 1}')
    async with opened(tmp_path, rerank={**RERANK, "passageTokens": 2}) as base:
        await base.look("cats", asker=payer)
    lines = payer.asked[0][1].messages[-1].text.split("\n\n")
    assert all(len(line.partition("] ")[2]) <= 8 for line in lines if line.startswith("["))


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        (("none", "[]"), "nor a second one: it is not a JSON object"),
        ((Permanent("down"),), "down"),
        (("refused: no", ""), "refused: no"),
    ],
)
async def test_what_fails_is_said(tmp_path: Path, answers: tuple[str | LoomdError, ...], why: str) -> None:
    """The order of the search is kept, with a note and an event; or the search fails, when that is declared."""
    payer = Payer(*answers)
    async with opened(tmp_path, rerank=RERANK) as base:
        plain = names(await base.search("cats"))
        found = await base.look("cats", asker=payer)
    assert names(found.passages) == plain
    (note,) = found.notes
    assert note.startswith("the passages stand in the order of the search, because rerank failed: ")
    assert why in note
    (told,) = payer.told
    assert isinstance(told, Fallback)
    async with opened(tmp_path, rerank={**RERANK, "onFailure": "fail"}) as base:
        with pytest.raises((Permanent, Refused), match=why):
            await base.look("cats", asker=Payer(*answers))


async def test_a_second_answer_is_asked_for_with_what_is_wrong(tmp_path: Path) -> None:
    """The model sees its first one."""
    payer = Payer('{"1": 5, "2": 3, "3": 1}', '```json\n{"1": 0, "2": 3, "3": 1}\n```')
    async with opened(tmp_path, rerank=RERANK) as base:
        found = await base.look("cats", asker=payer)
    assert found.notes == ()
    name, request = payer.asked[1]
    assert name == "rerank/0/again"
    assert [message.role for message in request.messages] == ["system", "user", "assistant", "user"]
    assert "the grade of passage 1 is none of 0 to 3" in request.messages[-1].text


async def test_nobody_pays(tmp_path: Path) -> None:
    """Without who searches no model is asked, which is said; plain searches ask none in any case."""
    async with opened(tmp_path, rerank=RERANK) as base:
        found = await base.look("cats")
        assert "nobody pays for rerank/0" in found.notes[0]
        assert base.refines
    async with opened(tmp_path) as base:
        assert not base.refines
        assert list((await base.look("cats")).passages) == await base.search("cats")


@pytest.mark.parametrize("error", [RecordFailed("full"), Diverged("other")])
async def test_what_the_record_refuses_is_no_failure_of_the_judge(tmp_path: Path, error: LoomdError) -> None:
    """It ends the work, whatever is declared."""
    async with opened(tmp_path, rerank=RERANK) as base:
        with pytest.raises(type(error)):
            await base.look("cats", asker=Payer(error))


EXPAND = {"type": "model", "provider": "judge"}


async def test_other_wordings_find_more(tmp_path: Path) -> None:
    """All are searched, and joined by rank; the question itself counts more."""
    payer = Payer('{"wordings": ["bark", "Mice", "night"]}')
    async with opened(tmp_path, expand=EXPAND) as base:
        found = await base.explain("mice", asker=payer)
    assert names([hit.passage for hit in found.hits]) == ["cats", "dogs", "owls"]
    assert found.wordings == ("bark", "night"), "what says the same is not searched twice"
    assert [hit.keyword is None for hit in found.hits] == [False, True, True], "places are those of the question"
    assert found.hits[0].passage.score == 0.5
    assert "in 3 other ways" in payer.asked[0][1].messages[0].text


async def test_a_made_up_answer_is_searched_and_not_shown(tmp_path: Path) -> None:
    """What it says finds passages; none of it is one."""
    payer = Payer('{"answer": "Owls sleep all day."}')
    async with opened(tmp_path, expand={**EXPAND, "method": "answer"}) as base:
        found = await base.look("hoot", asker=payer)
    assert names(found.passages) == ["owls"]
    assert "sleep" not in found.passages[0].text


async def test_an_expansion_that_fails(tmp_path: Path) -> None:
    """The question is searched as it is, and judged as declared."""
    payer = Payer("no", "no", '{"1": 0, "2": 3, "3": 0}')
    async with opened(tmp_path, expand=EXPAND, rerank=RERANK) as base:
        plain = names(await base.search("cats"))
        found = await base.look("cats", asker=payer)
    assert names(found.passages)[0] == plain[1]
    (note,) = found.notes
    assert note.startswith("the question was searched as it is, because expand failed: ")


async def test_feedback_finds_what_shares_no_word_with_the_question(tmp_path: Path) -> None:
    """The best passage brings its words along, and nobody is asked."""
    how = {"expand": {"type": "prf", "passages": 1, "original": 0.5, "common": 1}}
    async with opened(tmp_path, **how) as base:
        assert names(await base.search("mice")) == ["cats"]
        found = await base.look("mice")
        assert names(found.passages)[0] == "cats"
        assert len(found.passages) == 3, "cats and chase stand in others, too"
        assert (await base.look("zyzzyva")).passages == ()
        assert (found.wordings, found.notes) == ((), ())


@pytest.mark.parametrize("mode", ["keyword", "vector", "hybrid"])
async def test_feedback_that_leaves_all_to_the_question_changes_nothing(tmp_path: Path, mode: str) -> None:
    """With all of the weight on the question, the order is that of the plain search in every mode."""
    async with opened(tmp_path, mode=mode, expand={"type": "prf", "original": 1}) as base:
        plain, found = await base.search("cats chase"), await base.look("cats chase")
    assert names(found.passages) == names(plain)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ('{"1": 1}', "the grade of passage 2 is missing"),
        ('{"1": 1, "2": 1, "3": 1}', 'there is no passage "3"'),
        ('{"1": true, "2": 1}', "the grade of passage 1 is none of 0 to 3"),
        ('{"1": 1.0, "2": 1}', "the grade of passage 1 is none of 0 to 3"),
        ('{"1": "3", "2": 1}', "the grade of passage 1 is none of 0 to 3"),
        ("[" * 100_000, "it is not a JSON object"),
        ("", "it is not a JSON object"),
    ],
)
def test_grades_that_are_none(text: str, wrong: str) -> None:
    """It is said which, for the model to mend it."""
    with pytest.raises(ValueError, match=wrong):
        grades_in(text, 2)


@pytest.mark.parametrize("text", ['{"wordings": []}', '{"wordings": ["a", 1]}', '{"answer": "a"}', '{"wordings": "a"}'])
def test_wordings_that_are_none(text: str) -> None:
    """Something else than a list of texts is not searched."""
    with pytest.raises(ValueError, match="not what was asked for"):
        wordings_in(text, 2)


def test_more_wordings_than_were_asked_for_are_left_out() -> None:
    """So that no answer makes more searches than declared."""
    assert wordings_in('{"wordings": ["a", " b ", "c"]}', 2) == ["a", "b"]
    assert object_in(' {"a": 1}\n') == object_in('```json\n{"a": 1}\n```') == object_in('```{"a": 1}```') == {"a": 1}


@pytest.mark.parametrize(
    "text", ['{"\\ud800": 1}', '{"a": "\\ud83d cats"}', '{"a": "\ud800"}', '{"a":' + "[" * 2000, "[1]"]
)
def test_what_is_no_object(text: str) -> None:
    """Half a character least of all: no event and no record could hold it."""
    with pytest.raises(ValueError, match="not a JSON object"):
        object_in(text)


def test_the_places_of_a_passage_are_those_for_the_question_itself() -> None:
    """What only another wording found has none: neither among words and vectors nor in the graph."""
    first, second = (Stored(at, f"{at}.md", Chunk("t", f"text {at}", 1, 1)) for at in (1, 2))
    place = Place(1, 0.5)
    found = [[Row(first, 0.9, place, place, place)], [Row(second, 0.8, place, place, place)]]
    joined = Refining(Retrieval(), None, None)._joined(found, [Wording("a"), Wording("b")])
    places = {row.stored.id: (row.keyword, row.vector, row.graph) for row in joined}
    assert places == {1: (place, place, place), 2: (None, None, None)}
