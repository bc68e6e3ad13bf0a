"""Finds entities and relations in a passage by rules: names, identifiers, defined terms, headings, links. Pure.

Names are runs of words with capital letters. One that only stands at the beginning of a sentence may be any word; it
is told apart (`initial`), and counts where another passage has it for certain. An acronym is found with what it stands
for by the algorithm of A. Schwartz and M. Hearst, A simple algorithm for identifying abbreviation definitions in
biomedical text (PSB 2003). Scripts without capital letters have identifiers, quoted terms, headings and links alone.
"""

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from loomd.knowledge.entity import MOST_ENTITIES, Entity, Extraction, Link, Relation, Sort, key_of, words_of
from loomd.knowledge.query import STOP_WORDS

_MOST_PAIRS = 12
"""Entities of one sentence that are related to each other."""
_MOST_LINKS = 16
_SAID = 5
"""Words between two entities that are taken for what is said of both."""
_NAME_LENGTH = 80

_UP = "A-Z\u00c0-\u00d6\u00d8-\u00de\u0391-\u03a9\u0410-\u042f"
_CAPITAL = rf"(?<![\w'\u2019])[{_UP}][\w'\u2019&-]*"
_JOINED = r"(?:(?:of|of the|for the|de|del|della|di|du|la|van|van der|von|von der|zu|al|bin)[ \n])?"
_NAME = re.compile(rf"{_CAPITAL}(?:[ \n]{_JOINED}(?:{_CAPITAL}|\d+\b))*(?:[ \n]\d+\b)?")
_SENTENCE = re.compile(r"(?<=[.!?:;])[\"')\]\u2019\u201d]*\s+(?=\S)|\n\s*\n|\n(?=\s*(?:[-*+>#|]|\d+[.)])\s)|\s\|\s")
_TICKED = re.compile(r"(?<!`)`([^`\n]{2,60})`(?!`)")
_IDENTIFIER = re.compile(
    r"(?<![\w./-])(?:--[a-z][\w-]+|[A-Za-z]\w*(?:\.[A-Za-z_]\w*)*\.[a-zA-Z_]\w+(?=\W|$)|[A-Za-z][A-Za-z0-9]*(?:_[A-Za-z0-9]+)+"
    r"|[a-z]+[0-9]*(?:[A-Z][a-z0-9]+)+|(?:[A-Z][a-z0-9]+){2,}|[A-Z]{1,6}-?\d{2,})(?![\w/])"
)
_ABBREVIATED = re.compile(r"(?:e\.g|i\.e|etc|vs|cf|al)$", re.IGNORECASE)
_BOLD = re.compile(r"(?<![*\w])\*\*([^*\n]{2,60})\*\*|(?<![_\w])__([^_\n]{2,60})__(?!\w)")
_QUOTED = re.compile(
    r"[\u201c\u00ab\u300c\u300a\u300e]([^\u201d\u00bb\u300d\u300b\u300f\n]{2,40})[\u201d\u00bb\u300d\u300b\u300f]"
)
_SHORT = re.compile(rf"\(([{_UP}a-z0-9][\w&/-]{{1,9}})\)")
_LONG = re.compile(r"\(([^()\n]{4,80})\)")
_LINK = re.compile(r"(?<!!)\[([^\]\n]{1,120})\]\(\s*<?([^()\[\s>]{1,300})>?[^)\n]{0,80}\)")
_IS = re.compile(
    r"\b(?:(?:is|are|was|were)\s+(?:one of )?(?:a|an|the)|means|denotes)\s+(?:(?:a|an|the)\s+)?"
    r"(?:(?:kind|type|sort) of )?([^.,;:()\n]{3,60})"
)
_CUT = re.compile(
    r"(?<![\w-])(?:that|which|who|whose|where|when|of|in|on|at|by|for|from|with|to|and|or|as|is|are)(?![\w-])"
)
_OPENERS = frozenset(
    """
    add all although another because both call check despite during each every finally first given however
    instead last later like many meanwhile moreover much neither next note nothing one only open perhaps run
    second see select set several since sometimes still then therefore third though thus today two unless unlike
    use using whatever while whoever within without yet
    """.split()  # noqa: SIM905  # a list of words reads best as one
)
"""Words that begin sentences, beside those that tell nothing anywhere."""
_MARKUP = re.compile(r"[*_`#>]+")
_SPACE = re.compile(r"\s+")


@dataclass
class _Mention:
    name: str
    sort: Sort
    count: int = 0
    aliases: dict[str, None] = field(default_factory=dict[str, None])


class _Found:
    """The entities of a passage so far, by their keys."""

    def __init__(self) -> None:
        self.mentions: dict[str, _Mention] = {}
        self.called: dict[str, str] = {}

    def add(self, name: str, sort: Sort, count: int = 1) -> str:
        """Note a mention, and return the key of what is mentioned; empty when that is no name."""
        name = _SPACE.sub(" ", name).strip(" .,;:'\"\u2019*_`")
        name = name if name.startswith("--") else name.strip("- ")
        key = key_of(name) if len(name) <= _NAME_LENGTH else ""
        if not key or (key in STOP_WORDS and sort != "identifier") or key.isdigit():
            return ""
        key = self.called.get(key, key)
        one = self.mentions.setdefault(key, _Mention(name, sort))
        one.count += count
        if one.sort == "initial":
            one.name, one.sort = name, sort
        return key

    def alias(self, key: str, other: str) -> None:
        """Note that something is called something else here, too."""
        called = key_of(other)
        if not key or not called or called == key:
            return
        self.mentions[key].aliases[other] = None
        self.called[called] = key
        if called in self.mentions:
            self.mentions[key].count += self.mentions.pop(called).count


def extract(title: str, text: str) -> Extraction:
    """Return what a passage speaks of, and how that is related.

    Args:
        title: path of the headings above it, joined by ` > `.
        text: the passage.
    """
    found = _Found()
    headings = [key for part in title.split(" > ") if (key := found.add(_MARKUP.sub(" ", part), "heading"))]
    links = [(one[2], found.add(_MARKUP.sub(" ", one[1]), "term")) for one in _LINK.finditer(text)]
    for short, long in _abbreviations(text):
        found.alias(found.add(long, "term", 0), short)
    plain = _LINK.sub(r"\1", text)
    _surnames(plain, found)
    pairs: dict[tuple[str, str], str] = {}
    longs = _any_of([one.name for one in found.mentions.values() if one.aliases], re.IGNORECASE)
    shorts = _any_of([one for one in found.called if " " not in one])
    for sentence in _SENTENCE.split(plain):
        if sentence and not sentence.isspace():
            _relate(sentence, _Sentence(sentence, found).mentions(longs, shorts), found, pairs)
    for heading in [found.called.get(key, key) for key in headings[-1:]]:  # a section is about what it names most
        for key in sorted(found.mentions, key=lambda one: -found.mentions[one].count)[:_MOST_PAIRS]:
            if key not in headings:
                pairs.setdefault((heading, key), "")
    return _whole(found, pairs, links)


def structure(title: str, text: str) -> Extraction:
    """Return what needs no understanding of a passage: its headings, and what it links to."""
    found = _Found()
    for part in title.split(" > "):
        found.add(_MARKUP.sub(" ", part), "heading")
    links = [(one[2], found.add(_MARKUP.sub(" ", one[1]), "term")) for one in _LINK.finditer(text)]
    return _whole(found, {}, links)


class Named(NamedTuple):
    """An entity that somebody named, and what else it is called."""

    name: str
    aliases: Sequence[str] = ()


class Said(NamedTuple):
    """What somebody said of two entities."""

    subject: str
    predicate: str
    object: str


def assemble(title: str, text: str, named: Sequence[Named], said: Sequence[Said]) -> tuple[Extraction, list[str]]:
    """Return what somebody found in a passage, with its headings and links, and the names that it does not hold.

    Args:
        title: path of the headings above it.
        text: the passage.
        named: entities; one whose words are not all in the passage is left out.
        said: what is said of two of them; anything else is left out.
    """
    there = words_of(f"{title}\n{text}")
    words, joined = set(there), f" {' '.join(there)} "
    found, strange = _Found(), list[str]()
    for part in title.split(" > "):
        found.add(_MARKUP.sub(" ", part), "heading")
    links = [(one[2], found.add(_MARKUP.sub(" ", one[1]), "term")) for one in _LINK.finditer(text)]
    for one in named:
        key = key_of(one.name)
        if not key or not words.issuperset(key.split()):
            strange.append(one.name)
            continue
        key = found.add(one.name, "name", max(1, joined.count(f" {key} ")))
        for alias in one.aliases:
            if words.issuperset(words_of(alias)):
                found.alias(key, alias)
    pairs: dict[tuple[str, str], str] = {}
    for each in said:
        ends = [found.called.get(key_of(name), key_of(name)) for name in (each.subject, each.object)]
        if all(key in found.mentions for key in ends):
            pairs.setdefault((ends[0], ends[1]), _SPACE.sub(" ", each.predicate).strip()[:_NAME_LENGTH])
    return _whole(found, pairs, links), strange


def _whole(found: _Found, pairs: dict[tuple[str, str], str], links: list[tuple[str, str]]) -> Extraction:
    kept = sorted(found.mentions.items(), key=lambda pair: -pair[1].count)[:MOST_ENTITIES]
    places = {key: place for place, (key, _) in enumerate(kept)}
    entities = tuple(Entity(one.name, one.sort, max(1, one.count), tuple(one.aliases)) for _, one in kept)
    relations = tuple(
        Relation(places[one], places[other], said)
        for (one, other), said in pairs.items()
        if one in places and other in places and one != other
    )
    leads = {target: Link(target, places.get(found.called.get(key, key), -1)) for target, key in links}
    return Extraction(entities, relations, tuple(leads.values())[:_MOST_LINKS])


def _any_of(names: Sequence[str], flags: re.RegexFlag = re.NOFLAG) -> re.Pattern[str] | None:
    """Return what finds any of some names as whole words, the longest that fits; None for no names."""
    longest = sorted(names, key=lambda name: (-len(name), name))
    return re.compile(rf"\b(?:{'|'.join(map(re.escape, longest))})\b", flags) if names else None


class _Sentence:
    """One sentence, and what is mentioned in it: of two that overlap only the first that is found."""

    def __init__(self, text: str, found: _Found) -> None:
        self.text = text
        self.start = len(text) - len(text.lstrip(" \t\n-*+>#|\"'(\u201c"))
        self._found = found
        self._taken: list[tuple[int, int]] = []
        self._keys: list[tuple[int, int, str]] = []

    def mentions(self, whole: re.Pattern[str] | None, short: re.Pattern[str] | None) -> list[tuple[int, int, str]]:
        """Return where something is mentioned, and its key, in order.

        Args:
            whole: finds what acronyms stand for.
            short: finds acronyms in small letters, and surnames.
        """
        self._search(whole, "term")
        for pattern, sort in _MARKED:
            for one in pattern.finditer(self.text):
                name = one[one.lastindex or 0]
                if len(name.split()) <= _SAID and not (sort == "identifier" and _ABBREVIATED.search(name)):
                    self._take(*one.span(), name, sort)
        for begin, end, name, initial in _names(self.text, self.start):
            self._take(begin, end, name, "initial" if initial else "name")
        self._search(short, "name")
        if key := _defined(self.text, self.start, self._found):
            self._keys.append((len(self.text), len(self.text), key))
        return sorted(self._keys)

    def _search(self, pattern: re.Pattern[str] | None, sort: Sort) -> None:
        for one in pattern.finditer(self.text) if pattern is not None else ():
            self._take(*one.span(), one[0], sort)

    def _take(self, begin: int, end: int, name: str, sort: Sort) -> None:
        if all(end <= one or other <= begin for one, other in self._taken) and (key := self._found.add(name, sort)):
            self._taken.append((begin, end))
            self._keys.append((begin, end, key))


_MARKED: tuple[tuple[re.Pattern[str], Sort], ...] = (
    (_TICKED, "identifier"),
    (_IDENTIFIER, "identifier"),
    (_BOLD, "term"),
    (_QUOTED, "term"),
)


def _names(sentence: str, start: int) -> Iterator[tuple[int, int, str, bool]]:
    """Yield names with their place, and whether the sentence alone may be why they have a capital letter."""
    for one in _NAME.finditer(sentence):
        begin, words = one.start(), one[0].split()
        while words and (words[0].lower() in STOP_WORDS or (begin == start and words[0].lower() in _OPENERS)):
            begin += len(words[0]) + 1
            del words[0]
        if not words or (len(words) == 1 and len(words[0]) < 2):
            continue
        plain = words[0][1:].islower()
        yield begin, one.end(), " ".join(words), begin == start and len(words) == 1 and plain


def _surnames(text: str, found: _Found) -> None:
    """Let the last word of a name of several stand for it, where the passage has it alone, too."""
    begins = _OPENERS | STOP_WORDS
    names = {
        " ".join(itertools.dropwhile(lambda word: word.lower() in begins, one[0].split()))
        for one in _NAME.finditer(text)
    }
    lasts: dict[str, list[str]] = {}
    for words in map(str.split, names):
        if 1 < len(words) <= 3 and words[-1] in names and words[-1].isalpha():
            lasts.setdefault(words[-1], []).append(" ".join(words))
    for last, wholes in lasts.items():
        if len(wholes) == 1 and (key := found.add(wholes[0], "name", 0)):
            found.called[key_of(last)] = key


def _defined(sentence: str, start: int, found: _Found) -> str:
    """Return the key of the kind of thing that the beginning of a sentence is said to be, or an empty text."""
    one = _IS.search(sentence)
    if one is None or one.start() - start > _NAME_LENGTH:
        return ""
    words = _CUT.split(_MARKUP.sub(" ", one[1]))[0].split()[-3:]
    while words and words[0].lower() in STOP_WORDS:
        del words[0]
    return found.add(" ".join(words), "term") if len(words) > 1 and all(word[0].isalpha() for word in words) else ""


def _relate(
    sentence: str, mentions: list[tuple[int, int, str]], found: _Found, pairs: dict[tuple[str, str], str]
) -> None:
    """Note which entities of a sentence stand together, and what is said between two that follow each other."""
    keys = list(dict.fromkeys(found.called.get(key, key) for _, _, key in mentions))[:_MOST_PAIRS]
    for at, one in enumerate(keys):
        for other in keys[at + 1 :]:
            if (other, one) not in pairs:
                pairs.setdefault((one, other), "")
    for (_, end, before), (begin, _, after) in itertools.pairwise(mentions):
        said = _SPACE.sub(" ", _MARKUP.sub("", sentence[end:begin])).strip(" .,;:()")
        pair = found.called.get(before, before), found.called.get(after, after)
        if said and len(said.split()) <= _SAID and not pairs.get(pair, "x"):
            pairs[pair] = said


def _abbreviations(text: str) -> Iterator[tuple[str, str]]:
    """Yield acronyms with what they stand for: `Long Form (LF)` and `LF (Long Form)`."""
    for one in _SHORT.finditer(text):
        if any(letter.isupper() for letter in one[1]) and (long := _long_form(one[1], text[: one.start()])):
            yield one[1], long
    for one in _LONG.finditer(text):
        before = text[: one.start()].split()[-1:]
        if before and re.fullmatch(rf"[{_UP}][{_UP}0-9&-]{{1,9}}", before[0]):
            long = _long_form(before[0], one[1])
            if long and len(long) + 4 > len(one[1]):
                yield before[0], long


def _long_form(short: str, before: str) -> str:
    """Return the words at the end of a text that an acronym stands for, or an empty text."""
    words = before.split()[-min(len(short) + 5, len(short) * 2) :]
    long = " ".join(words)
    at, last = len(short) - 1, len(long) - 1
    while at >= 0:
        letter = short[at].lower()
        if letter.isalnum():
            while last >= 0 and (long[last].lower() != letter or (at == 0 and last > 0 and (long[last - 1].isalnum()))):
                last -= 1
            if last < 0:
                return ""
            last -= 1
        at -= 1
    form = long[max(0, long.rfind(" ", 0, last + 1) + 1) :].strip(" \"'(*_`")
    if len(form) <= len(short) or len(words_of(form)) < 2 or len(form.split()) > min(len(short) + 5, len(short) * 2):
        return ""
    return form
