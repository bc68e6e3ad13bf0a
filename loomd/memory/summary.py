"""Which lines of a summary stand for which facts: rules on the texts alone, no model. Pure.

A summarizer is not believed. A line may leave words out and put facts together; it may not exchange, deny, mix up or
invent anything. What the rules cannot tell apart is left out, too: then the facts stay as they are, which costs space
and loses nothing. The common words are English; numbers and names count in any language.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple, TypeVar

from loomd.events.room import Condensed
from loomd.memory.facts import key_of, sentences
from loomd.memory.item import Draft, Item

T = TypeVar("T")

_WORD = re.compile(r"(?P<word>(?:(?<!\S)[-+\u2212])?(?:\d+[.,:])*\w+%?|[<>\u2264\u2265~])|(?P<stop>[^\w\s'\u2019-])")
_DENIED = re.compile(r"n['\u2019]t\b", re.IGNORECASE)
_ENDING = re.compile(r"(?<=\w{3})(?:ing|ed|es|s|e|d|ly)$")
_COMMON = """
    a am an and are be been being but ca did do does get gets got had has have having here how is it its s so that
    the then there these this those too was were what where which who whom whose why will wo
"""
_PLAIN = frozenset(_COMMON.split())
"""Words that may be left out or added: they say nothing of the world."""
_DENIALS = frozenset(("cannot", "neither", "never", "no", "nobody", "none", "nor", "not", "nothing", "without"))
_NOT = "not"
_BINDING = """
    about after all almost any approximately around before above below between both can could each either every exactly
    except fewer if just least less max maximum may maybe might min minimum more most nearly only or over perhaps
    possibly probably roughly should since some till under unless until up when whenever while within would
    avoid cancel cancell fail forget forgot plan plann refus reject stop stopp tri try want
    by < > ~
"""
_BINDS = frozenset((*_BINDING.split(), "\u2264", "\u2265"))
"""Words, without their endings, that say how far, when or whether what comes after them is so."""
_ROLES = frozenset(("as", "at", "for", "from", "of", "than", "to"))
"""Words that say what the next word is to the rest. They may be left out where a sign such as a colon stands."""
_BEING = frozenset(("am", "are", "be", "been", "being", "get", "gets", "got", "is", "was", "were"))
_PASSIVE = re.compile(r"(?:ed|en|own|aid|ght|lent|made|sent|sold|told)$")
"""Words before and ends of what is done to somebody, not by him."""
_PERSONS = {
    word: words[0]
    for words in (
        ("i", "me", "my", "mine", "myself"),
        ("we", "us", "our", "ours"),
        ("you", "your", "yours"),
        ("he", "him", "his"),
        ("she", "her", "hers"),
        ("they", "them", "their", "theirs"),
    )
    for word in words
}
"""Words for persons: they may be left out, and not be added or exchanged."""
_NUMBERS = """
    two three four five six seven eight nine ten eleven twelve dozen hundred thousand million billion half
"""
_COUNTS = frozenset(_NUMBERS.split())
"""Numbers that are written as words."""
_NAMES = frozenset(("May", "Will"))
"""Names that are common words, too, unless a sentence begins with them."""
_NEW = 4
"""One word in so many may be new, in a line that says all that is in its facts."""


Kind = Literal["number", "name", "word", "person"]


class Line(NamedTuple):
    """A line of a summary that is kept, and the facts that it stands for."""

    text: str
    facts: tuple[Item, ...]

    @property
    def draft(self) -> Draft:
        """Return what it is kept as: as important as the most important of its facts, with the places of all."""
        places = tuple(dict.fromkeys(place for one in self.facts for place in one.replaces or one.places))
        importance = max(one.importance for one in self.facts)
        return Draft(key_of(self.text), self.text, "summary", importance, places)


class Dropped(NamedTuple):
    """A line of a summary that is left out, and why."""

    text: str
    why: str


class Summary(NamedTuple):
    """What of a summary is kept, and what is not."""

    lines: tuple[Line, ...] = ()
    dropped: tuple[Dropped, ...] = ()


class Condensation(NamedTuple):
    """What became of a summary: which lines are kept for which facts, and which are left out."""

    kept: tuple[Condensed, ...] = ()
    dropped: tuple[Dropped, ...] = ()


class _Token(NamedTuple):
    """A word that says something.

    Attributes:
        stem: the word without its ending.
        kind: what it is.
        bound: the words before it that deny or limit it.
        role: the word before it that says what it is to the rest, if there is one.
        is_free: whether it begins the text, or a sign stands before it.
    """

    stem: str
    kind: Kind
    bound: tuple[str, ...]
    role: str
    is_free: bool

    def says(self, fact: "_Token") -> bool:
        """Return whether it says what a word of a fact does."""
        return (self.stem, self.bound) == (fact.stem, fact.bound) and (
            self.role == fact.role or (self.is_free and not self.role)
        )


class _Read(NamedTuple):
    """What of a text is compared: its words in their order."""

    tokens: tuple[_Token, ...]

    @property
    def stems(self) -> frozenset[str]:
        """Return its words, but for those for persons."""
        return frozenset(one.stem for one in self.tokens if one.kind != "person")

    @property
    def marks(self) -> frozenset[str]:
        """Return its numbers and names."""
        return frozenset(one.stem for one in self.tokens if one.kind in {"number", "name"})

    @property
    def bound(self) -> frozenset[tuple[str, tuple[str, ...]]]:
        """Return what is denied or limited, and by what."""
        return frozenset((one.stem, one.bound) for one in self.tokens if one.bound)

    @property
    def denials(self) -> frozenset[tuple[str, int]]:
        """Return what is denied, and how many times."""
        return frozenset((stem, bound.count(_NOT)) for stem, bound in self.bound if _NOT in bound)


def judged(facts: Sequence[Item], answer: str) -> Summary:
    """Return the lines of an answer that stand for some of the facts, and those that do not.

    A line stands for the facts whose numbers and names are all in it, and more than half of their other words. A fact
    that is said word for word stays as it is: nothing is won by another item.
    """
    said = {key_of(text): text for text in sentences(answer)}
    verbatim = {key for one in facts if (key := key_of(one.text)) in said}
    read = [(one, _read(one.text)) for one in facts if key_of(one.text) not in verbatim]
    lines: list[Line] = []
    dropped: list[Dropped] = []
    for text in (text for key, text in said.items() if key not in verbatim):
        line = _read(text)
        own = [(one, words) for one, words in read if _is_held(words, line)]
        if why := _fault(text, line, own):
            dropped.append(Dropped(text, why))
        else:
            lines.append(Line(text, tuple(one for one, _ in own)))
    return Summary(tuple(lines), tuple(dropped))


def _read(text: str) -> _Read:
    tokens: list[_Token] = []
    bound, role, is_free, is_being = list[str](), "", True, False
    for found in _WORD.finditer(_DENIED.sub(" not", text)):
        word, lower = found[0], found[0].lower()
        stem, is_name = _ENDING.sub("", lower), _is_name(word, is_first=found.start() == 0)
        if found["stop"]:
            is_free = True
        elif lower in _DENIALS:
            bound.append(_NOT)
        elif not is_name and not _BINDS.isdisjoint((lower, stem)):
            bound.append(stem)
        elif not is_name and lower in _ROLES:
            role = lower
        elif not is_name and lower in _PLAIN:
            is_being = is_being or lower in _BEING
        else:
            bound += ["be"] * bool(is_being and _PASSIVE.search(lower))
            kind = _kind(word, is_name=is_name)
            stem = lower if kind == "number" else _PERSONS[lower] if kind == "person" else stem
            tokens.append(_Token(stem, kind, tuple(bound), role, is_free))
            bound, role, is_free, is_being = [], "", False, False
    return _Read((*tokens, *([_Token("", "person", tuple(bound), "", True)] if bound else ())))


def _is_name(word: str, *, is_first: bool) -> bool:
    """Return whether a word that may be a common one is a name, such as US, May within a sentence, or a letter."""
    if word in _NAMES:
        return not is_first
    return word.isupper() and word != "I" and not (is_first and len(word) == 1)


def _kind(word: str, *, is_name: bool) -> Kind:
    lower = word.lower()
    if lower in _PERSONS and not is_name:
        return "person"
    if any(sign.isdigit() for sign in word) or lower in _COUNTS:
        return "number"
    return "name" if word[0].isupper() else "word"


def _is_held(fact: _Read, line: _Read) -> bool:
    """Return whether a line says a fact, as far as its words go."""
    return fact.marks <= line.stems and 2 * len(fact.stems & line.stems) > len(fact.stems)


def _fault(text: str, line: _Read, own: Sequence[tuple[Item, _Read]]) -> str:
    """Return what is wrong with a line; empty when it stands for its facts."""
    if not own:
        return "it says none of the facts"
    facts = [words for _, words in own]
    known = frozenset[str]().union(*(one.stems for one in facts))
    new = [one for one in line.tokens if one.kind != "person" and one.stem not in known]
    checks = (
        (any(one.kind != "word" for one in new), "it has a number or a name that its facts do not have"),
        (line.denials != _all(one.denials for one in facts), "it denies what they say, or the other way round"),
        (line.bound != _all(one.bound for one in facts), "it limits what they say in another way"),
        (bool(new) and not known <= line.stems, "it says something else where they have other words"),
        (_NEW * len(new) > len(line.stems), "too much of it is not in them"),
        (_is_mixed(line, facts), "it mixes what several of them say"),
        (_is_turned(line, facts), "it says in another order who does what"),
        (len(text) > sum(len(one.text) for one, _ in own), "it is longer than they are"),
    )
    return next((why for is_wrong, why in checks if is_wrong), "")


def _all(parts: Iterable[frozenset[T]]) -> frozenset[T]:
    return frozenset[T]().union(*parts)


def _owners(line: _Read, facts: Sequence[_Read]) -> list[int]:
    """Return which of the facts have words of a line that no other has, as often as it comes back to them."""
    owners: list[int] = []
    for token in line.tokens:
        having = [at for at, one in enumerate(facts) if token.stem in one.stems]
        if len(having) == 1 and owners[-1:] != having:
            owners += having
    return owners


def _is_mixed(line: _Read, facts: Sequence[_Read]) -> bool:
    """Return whether words that only one of several facts has do not stand together."""
    owners = _owners(line, facts)
    return len(owners) != len(set(owners))


def _is_turned(line: _Read, facts: Sequence[_Read]) -> bool:
    """Return whether what a line has of its facts is in another order there, or something else to the rest.

    The facts of which it has words that no other has stand one after another in it. It says all others in those words,
    too, so that each must have them in that order.
    """
    owners = _owners(line, facts)
    others = [[one] for at, one in enumerate(facts) if at not in owners]
    return not all(_follows(line, part) for part in ([facts[at] for at in owners], *others) if part)


def _follows(line: _Read, facts: Sequence[_Read]) -> bool:
    """Return whether a line has those of its words that are in facts in their order."""
    stems = _all(one.stems for one in facts)
    said = iter([token for one in facts for token in one.tokens])
    mine = (one for one in line.tokens if one.kind == "person" or one.stem in stems)
    return all(any(token.says(fact) for fact in said) for token in mine)
