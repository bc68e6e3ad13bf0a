"""Entities, relations, and the keys by which two spellings of one name are the same. Data and pure functions.

Called by extractors, which find them, and by the graph, which keeps them.
"""

import re
import unicodedata
from typing import Literal

import msgspec

Sort = Literal["name", "initial", "identifier", "term", "heading", "document"]
"""What an entity was taken for. `initial` is a name that only stands where every word has a capital letter."""

_PART = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+\d*|[A-Z]+\d*|\d+|[^\W\d_a-zA-Z]+\d*")
MOST_ENTITIES = 32
"""Entities of one passage that are kept, those first that stand there more often."""
_MOST_WORDS = 8
_ARTICLES = frozenset(("a", "an", "the"))


class Entity(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """Something that a passage speaks of.

    Attributes:
        name: as the passage spells it.
        sort: what it was taken for.
        count: how often it is there.
        aliases: what else the passage says it is called.
    """

    name: str
    sort: Sort = "name"
    count: int = 1
    aliases: tuple[str, ...] = ()


class Relation(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """Two entities of one passage, by their places, and what is said of both; nothing when they only stand together."""

    subject: int
    object: int
    said: str = ""


class Link(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """A document that a passage leads to, as it writes its address, and the place of the entity that is its text."""

    target: str
    entity: int = -1


class Extraction(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """What was found in a passage.

    Attributes:
        entities: each once.
        relations: between them.
        links: documents that it leads to.
        fault: why nothing could be found, or empty.
    """

    entities: tuple[Entity, ...] = ()
    relations: tuple[Relation, ...] = ()
    links: tuple[Link, ...] = ()
    fault: str = ""


def words_of(text: str) -> list[str]:
    """Return the words of a name or a question: small letters, no accents, no plural; an identifier's parts are words.

    So `KnowledgeBase`, `knowledge_base` and `Knowledge Bases` are the same two words.
    """
    plain = "".join(one for one in unicodedata.normalize("NFKD", text) if not unicodedata.combining(one))
    return [
        _singular(word.lower())
        for word in _PART.findall(plain.replace("'s", "").replace("\N{RIGHT SINGLE QUOTATION MARK}s", ""))
    ]


def key_of(name: str) -> str:
    """Return what all spellings of a name have in common; empty for what is no name."""
    words = words_of(name)
    while len(words) > 1 and words[0] in _ARTICLES:
        del words[0]
    return " ".join(words) if 0 < len(words) <= _MOST_WORDS and sum(map(len, words)) > 1 else ""


def _singular(word: str) -> str:
    """Return a word without its plural, by the S-stemmer of D. Harman, How effective is suffixing? (JASIS 42, 1991)."""
    if len(word) < 4 or not word.endswith("s"):
        return word
    if word.endswith("ies") and not word.endswith(("eies", "aies")):
        return f"{word[:-3]}y"
    if word.endswith("es") and not word.endswith(("aes", "ees", "oes")):
        return word[:-1]
    return word if word.endswith(("us", "ss", "is")) else word[:-1]
