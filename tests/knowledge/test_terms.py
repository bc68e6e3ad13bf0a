"""What rules find in a passage."""

import time

import pytest

from loomd.knowledge.entity import Extraction, key_of, words_of
from loomd.knowledge.terms import Named, Said, assemble, extract


def names(found: Extraction) -> list[str]:
    """Return the names of the entities."""
    return [one.name for one in found.entities]


def said(found: Extraction) -> set[tuple[str, str, str]]:
    """Return what is said of entities."""
    name = names(found)
    return {(name[one.subject], one.said, name[one.object]) for one in found.relations}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("KnowledgeBase", "knowledge bases"),
        ("knowledge_base", "Knowledge-Base"),
        ("Café Müller", "cafe muller"),
        ("the Policies", "policy"),
        ("HTTPServer", "http server"),
        ("Ada Lovelace's", "Ada Lovelace"),
    ],
)
def test_spellings_of_one_name_have_one_key(one: str, other: str) -> None:
    """Capital letters, plurals, accents, articles and the ways of writing identifiers make no other name."""
    assert key_of(one) == key_of(other) != ""


@pytest.mark.parametrize("name", ["", "?", "a", " - ", "x " * 20])
def test_what_is_no_name_has_no_key(name: str) -> None:
    """Nothing, a single letter, punctuation and whole sentences."""
    assert key_of(name) == ""


def test_words_keep_what_is_no_plural() -> None:
    """Only an ending that is a plural is taken away."""
    assert words_of("status class analysis queries boxes") == ["status", "class", "analysis", "query", "boxe"]


@pytest.mark.parametrize(
    ("text", "name", "sort"),
    [
        ("It was built by Ilse Marrow in 1974.", "Ilse Marrow", "name"),
        ("She went to the University of Oskelby.", "University of Oskelby", "name"),
        ("Set `top_k` to five.", "top_k", "identifier"),
        ("It calls open_store before that.", "open_store", "identifier"),
        ("It was seen in fetchDocuments first.", "fetchDocuments", "identifier"),
        ("Start it with --dry-run first.", "--dry-run", "identifier"),
        ("The message is E1042.", "E1042", "identifier"),
        ("A **write-ahead log** is kept.", "write-ahead log", "term"),
        ("Redis is an in-memory data store.", "in-memory data store", "term"),
        ("这是「图谱检索」的说明。", "图谱检索", "term"),
        ("Он работал в Москве.", "Москве", "name"),
    ],
)
def test_what_is_an_entity(text: str, name: str, sort: str) -> None:
    """Names, identifiers, terms that are set off or defined."""
    found = extract("", text)
    assert (name, sort) in [(one.name, one.sort) for one in found.entities]


@pytest.mark.parametrize(
    "text", ["It is what it is.", "And then there was nothing at all.", "e.g. this, i.e. that", ""]
)
def test_what_is_none(text: str) -> None:
    """Words that every text has are no entities, with a capital letter either."""
    assert names(extract("", text)) == []


def test_a_word_that_begins_a_sentence_is_told_apart() -> None:
    """It may be any word; one that stands elsewhere in the passage, too, is a name."""
    found = extract("", "Caching helps. Lyon is old. We like Lyon.")
    assert [(one.name, one.sort) for one in found.entities] == [("Lyon", "name"), ("Caching", "initial")]


@pytest.mark.parametrize(
    "text",
    ["We use retrieval augmented generation (RAG) here.", "We use RAG (retrieval augmented generation) here."],
)
def test_an_acronym_is_what_it_stands_for(text: str) -> None:
    """Both ways of writing it down, and what is said with the short form is said of the long one."""
    found = extract("", f"{text} Then RAG needs Qdrant.")
    (long,) = [one for one in found.entities if one.aliases]
    assert (long.name, long.aliases) == ("retrieval augmented generation", ("RAG",))
    assert ("retrieval augmented generation", "needs", "Qdrant") in said(found)
    assert "RAG" not in names(found)


def test_brackets_that_define_nothing() -> None:
    """What is in brackets is an acronym only when its letters are those of the words before it."""
    assert not [one for one in extract("", "This costs money (USD) and time (see below).").entities if one.aliases]


def test_a_surname_is_who_was_named_in_full() -> None:
    """Once a passage has the whole name."""
    found = extract("", "It was made by Ilse Marrow. Later Marrow lived in Oskelby.")
    assert ("Ilse Marrow", "lived in", "Oskelby") in said(found)
    assert "Marrow" not in names(found)


def test_headings_and_links_count() -> None:
    """A heading is related to what its section names; a link leads to a document, and its text is an entity."""
    found = extract("Guide > Opening hours", "See [the fees of the Old Library](../fees.md#lost).")
    assert ("Opening hours", "heading") in [(one.name, one.sort) for one in found.entities]
    (link,) = found.links
    assert (link.target, names(found)[link.entity]) == ("../fees.md#lost", "the fees of the Old Library")


def test_an_acronym_in_a_heading_is_what_it_stands_for() -> None:
    """Its section is about that, and a link with it leads from that."""
    found = extract("WAL", "The write-ahead log (WAL) came from Ann Lee; see [WAL](wal.md).")
    assert ("write-ahead log", "", "Ann Lee") in said(found) or ("write-ahead log", "came from", "Ann Lee") in said(
        found
    )
    (link,) = found.links
    assert names(found)[link.entity] == "write-ahead log"


def test_entities_of_one_sentence_are_related() -> None:
    """Those of two sentences are not."""
    found = extract("", "In the north Ann Lee met Bob Kay. In the south there was Cid Moe.")
    assert {(one, other) for one, _, other in said(found)} == {("Ann Lee", "Bob Kay")}


def test_what_somebody_names_must_be_in_the_passage() -> None:
    """Names that are not there are told, and nothing is said of them."""
    named = [Named("write-ahead log", ("WAL",)), Named("Postgres", ()), Named("journal", ("the diary",))]
    found, strange = assemble(
        "Storage",
        "The write-ahead log (WAL) is a journal.",
        named,
        [Said("WAL", "is a", "journal"), Said("x", "y", "z")],
    )
    assert strange == ["Postgres"]
    assert said(found) == {("write-ahead log", "is a", "journal")}
    assert [one.aliases for one in found.entities if one.name == "journal"] == [()]


@pytest.mark.parametrize(
    "text", ["(" * 5000, "A" * 20_000, "[x](" * 3000, "Ab " * 5000, "`" * 9001, "a_" * 9000, "** " * 4000]
)
def test_odd_texts_take_no_time(text: str) -> None:
    """Whatever stands in a document is looked through in a moment."""
    assert len(extract("T", text).entities) <= 32


def test_many_acronyms_take_no_more_than_their_share() -> None:
    """Time grows with the passage, not with its square: this one took minutes when each was looked for by itself."""
    text = " ".join(f"Al{chr(65 + at % 26)}pha{at} Beta{at} ({'A' + chr(65 + at % 26)}B)." for at in range(2000))
    began = time.process_time()
    found = extract("T", text)
    assert time.process_time() - began < 15
    assert found.entities
