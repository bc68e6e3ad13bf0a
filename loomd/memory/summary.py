"""Which lines of a summary stand for which facts: rules on the texts alone, no model. Pure.

A summarizer is not believed. A line may leave words out and put facts together; it may not exchange, deny, mix up or
invent anything. What the rules cannot tell apart is left out, too: then the facts stay as they are, which costs space
and loses nothing. The common words are English; numbers and names count in any language.
"""

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

from loomd.events.room import Condensed
from loomd.memory.facts import key_of, sentences
from loomd.memory.item import Draft, Item

_WORD = re.compile(r"\w+")
_DENIED = re.compile(r"n['\u2019]t\b", re.IGNORECASE)
_ENDING = re.compile(r"(?<=\w{3})(?:ing|ed|es|s|e|d|ly)$")
_COMMON = """
    a am an and are as at be been being but by ca did do does for from get gets got had has have having he her here him
    his how i is it its me mine my of or our s she so than that the their them then there these they this those to too
    us was we were what when where which who whom whose why will wo would you your
"""
_PLAIN = frozenset(_COMMON.split())
"""Words that may be left out or added: they say nothing of the world."""
_DENIALS = frozenset(("cannot", "neither", "never", "no", "nobody", "none", "nor", "not", "nothing", "without"))
_NUMBERS = """
    two three four five six seven eight nine ten eleven twelve dozen hundred thousand million billion half
"""
_COUNTS = frozenset(_NUMBERS.split())
"""Numbers that are written as words."""
_NEW = 4
"""One word in so many may be new, in a line that says all that is in its facts."""


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
    """A word that says something, without its ending."""

    stem: str
    kind: Literal["number", "name", "word"]


class _Read(NamedTuple):
    """What of a text is compared: its words in their order, and whether it denies something."""

    tokens: tuple[_Token, ...]
    denies: bool

    @property
    def stems(self) -> frozenset[str]:
        """Return its words."""
        return frozenset(one.stem for one in self.tokens)

    @property
    def marks(self) -> frozenset[str]:
        """Return its numbers and names."""
        return frozenset(one.stem for one in self.tokens if one.kind != "word")


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
    denies = False
    for word in _WORD.findall(_DENIED.sub(" not", text)):
        lower = word.lower()
        if lower in _DENIALS:
            denies = True
        elif any(sign.isdigit() for sign in word) or lower in _COUNTS:
            tokens.append(_Token(lower, "number"))
        elif lower not in _PLAIN:
            tokens.append(_Token(_ENDING.sub("", lower), "name" if word[0].isupper() else "word"))
    return _Read(tuple(tokens), denies)


def _is_held(fact: _Read, line: _Read) -> bool:
    """Return whether a line says a fact, as far as its words go."""
    return fact.marks <= line.stems and 2 * len(fact.stems & line.stems) > len(fact.stems)


def _fault(text: str, line: _Read, own: Sequence[tuple[Item, _Read]]) -> str:
    """Return what is wrong with a line; empty when it stands for its facts."""
    if not own:
        return "it says none of the facts"
    facts = [words for _, words in own]
    known = frozenset[str]().union(*(one.stems for one in facts))
    new = [one for one in line.tokens if one.stem not in known]
    checks = (
        (any(one.kind != "word" for one in new), "it has a number or a name that its facts do not have"),
        (any(one.denies != line.denies for one in facts), "it denies what they say, or the other way round"),
        (bool(new) and not known <= line.stems, "it says something else where they have other words"),
        (_NEW * len(new) > len(line.tokens), "too much of it is not in them"),
        (_is_mixed(line, facts), "it mixes what several of them say"),
        (any(_is_turned(line, one) for one in facts), "its names or numbers stand in another order"),
        (len(text) > sum(len(one.text) for one, _ in own), "it is longer than they are"),
    )
    return next((why for is_wrong, why in checks if is_wrong), "")


def _is_mixed(line: _Read, facts: Sequence[_Read]) -> bool:
    """Return whether words that only one of several facts has do not stand together."""
    owners: list[int] = []
    for token in line.tokens:
        having = [at for at, one in enumerate(facts) if token.stem in one.stems]
        if len(having) == 1 and owners[-1:] != having:
            owners += having
    return len(owners) != len(set(owners))


def _is_turned(line: _Read, fact: _Read) -> bool:
    """Return whether the numbers of a fact, or its names, are in another order in a line."""
    for kind in ("number", "name"):
        mine = list(dict.fromkeys(one.stem for one in fact.tokens if one.kind == kind))
        there = list(dict.fromkeys(one.stem for one in line.tokens if one.stem in mine))
        if there != mine:
            return True
    return False
