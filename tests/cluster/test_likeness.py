"""How well a text fits named texts, with an embedder and without."""

from pathlib import Path
from typing import Any

import pytest

from loomd.cluster.likeness import Likeness
from loomd.testing import open_spec

TEXTS = {"maths": "maths. Computes sums and fees", "library": "library. Knows books and opening hours", "none": ""}


async def test_words_are_compared_by_their_stems() -> None:
    """Without an embedder the share of the words that stand in each text counts; endings and case do not."""
    fits = await Likeness(TEXTS, None).of("Computing OPENING hours: how?")
    assert fits == {"maths": 1 / 3, "library": 2 / 3, "none": 0.0}


@pytest.mark.parametrize(
    ("goal", "domain"),
    [
        ("What is the fee?", "fees"),
        ("Which books?", "book"),
        ("Wie hoch ist die Gebühr?", "gebühren"),
    ],
    ids=["singular", "plural", "umlaut"],
)
async def test_short_words_and_letters_that_english_has_not_are_compared(goal: str, domain: str) -> None:
    """One fee is as much about fees as two are, and a word does not end at a letter that English has not."""
    fits = await Likeness({"it": domain, "class": "class gas"}, None).of(goal)
    assert fits["it"] > 0
    assert fits["class"] == 0


async def test_a_short_word_that_names_something_is_compared() -> None:
    """`hr` is found, and `tier-2` told from `tier-1`; short words that name nothing, such as amounts, do not count."""
    texts = {f"domain {name}": name for name in ("hr", "tier-1", "tier-2")}
    fits = await Likeness(texts, None).of("Ask HR, and tier-2, for 20 chairs")
    assert fits == {"domain hr": 1 / 5, "domain tier-1": 1 / 5, "domain tier-2": 2 / 5}  # ask, hr, tier, 2, chairs


async def test_common_words_are_no_likeness() -> None:
    """Who says to answer questions about something is no more like a request about something else."""
    likeness = Likeness({"cooking": "cooking. Answers questions about cooking.", "law": "law. Drafts a lease"}, None)
    assert await likeness.of("Check the clause of my lease about a dog") == {"cooking": 0.0, "law": 1 / 4}
    assert await likeness.of("What about that?") == {"cooking": 0.0, "law": 0.0}


@pytest.mark.parametrize("text", ["", "?!", "a b"], ids=["empty", "signs", "short"])
async def test_a_text_without_words_fits_nothing(text: str) -> None:
    """Nothing to compare is no likeness, and no division by zero."""
    assert set((await Likeness(TEXTS, None).of(text)).values()) == {0.0}


async def test_nothing_named_is_like_nothing() -> None:
    """Without named texts there is no likeness, and the embedder is not asked."""
    assert await Likeness({}, None).of("anything") == {}


class Counting:
    """An embedder around a real one that remembers which texts it was given."""

    def __init__(self, inner: Any) -> None:
        self.asked: list[list[str]] = []
        self._inner = inner
        self.fingerprint: str = inner.fingerprint

    async def embed(self, texts: Any) -> Any:
        """Embed, and remember."""
        self.asked.append(list(texts))
        return await self._inner.embed(texts)


async def test_an_embedder_is_asked_once_for_the_named_texts(tmp_path: Path) -> None:
    """The text that says the same fits best, from 0 to 1, and named texts are embedded only once."""
    async with open_spec("Embedder", {"type": "hash"}, tmp_path) as inner:
        embedder = Counting(inner)
        likeness = Likeness({name: text for name, text in TEXTS.items() if text}, embedder)
        fits = await likeness.of("Knows books and opening hours")
        await likeness.of("sums")
    assert max(fits, key=lambda name: fits[name]) == "library"
    assert all(0.0 <= fit <= 1.0001 for fit in fits.values())
    assert [len(texts) for texts in embedder.asked] == [2, 1, 1]


async def test_the_vector_of_a_goal_is_kept(tmp_path: Path) -> None:
    """The same goal is embedded once, of many the ones used last are kept, and what failed is asked for again."""
    async with open_spec("Embedder", {"type": "hash"}, tmp_path) as inner:
        embedder = Counting(inner)
        likeness = Likeness({"library": "Knows books"}, embedder)
        first = await likeness.of("books")
        assert await likeness.of("books") == first
        assert len(embedder.asked) == 2
        for number in range(300):
            await likeness.of(f"goal {number}")
            await likeness.of("books")
        assert embedder.asked.count(["books"]) == 1
        await likeness.of("goal 0")
        assert embedder.asked.count(["goal 0"]) == 2
