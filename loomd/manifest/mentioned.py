"""Which names that documents speak of nothing has: see `mention`. Called by `resolve`.

An object may bring several things, each under a name of its own; as far as the manifests tell, their names begin alike.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from loomd.manifest.call_pattern import Glob, read_calls
from loomd.manifest.convert import Converted
from loomd.manifest.mention import Mention
from loomd.manifest.near import MAX_COMPARED, one
from loomd.manifest.object import Ref
from loomd.manifest.problem import Problem
from loomd.manifest.wording import did_you_mean, dotted, escape, listed, quoted

MAX_TOLD = 100
"""Most names that nothing has of which is told in one file."""


def find_unknown(documents: Sequence[Converted], pending: bool) -> Iterator[Problem]:
    """Yield a problem for every name that is spoken of and that nothing has.

    Args:
        documents: all documents.
        pending: only warn where an object of that name may come.
    """
    known = {one.ref: one for one in documents if one.ref is not None} if any(one.mentions for one in documents) else {}
    meant = _Meant(known)
    told: Counter[str] = Counter()
    compared = 0
    for document in known.values():
        file = document.document.position.file
        for pointer, value, mention in document.mentions:
            names = meant.names(document, mention)
            if names.meet(read_calls(value).tool):
                continue
            told[file] += 1
            if told[file] <= MAX_TOLD:
                compared += len(names.patterns)
                problem = _problem(document, pointer, value, mention, names.patterns, compared <= MAX_COMPARED)
                yield replace(problem, severity="warning") if pending and not mention.among else problem
            elif told[file] == MAX_TOLD + 1:
                text = f"{file} speaks of more than {MAX_TOLD} names that nothing has: mend these first"
                yield Problem(document.document.where(pointer), "too-many-problems", text, pointer)


class _Names:
    """Names of what objects bring, as patterns: an exact name, or how several begin.

    Very many may be asked for very many, so that they are not looked at one by one.

    Attributes:
        patterns: all of them, in their order.
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        self.patterns = list(patterns)
        self._exact = sorted({one for one in self.patterns if "*" not in one})
        self._begin = sorted({one.partition("*")[0] for one in self.patterns if "*" in one})
        self._begins: dict[int, set[str]] = {}
        """By length."""
        for begin in self._begin:
            self._begins.setdefault(len(begin), set()).add(begin)
        self._text = "\n".join(["", *self._exact, ""])

    def meet(self, glob: Glob) -> bool:
        """Return whether a text may fit both a glob and one of the patterns, as far as their beginnings tell."""
        first = glob.pieces[0]
        if any(first[:length] in begins for length, begins in self._begins.items()):
            return True
        if len(glob.pieces) == 1:
            return next(_beginning(first, self._exact), "") == first
        return any(_beginning(first, self._begin)) or any(map(glob.fits, self._holding(glob)))

    def _holding(self, glob: Glob) -> Iterator[str]:
        """Yield the exact names that hold the longest piece of a glob."""
        first, *middle, last = glob.pieces
        piece = max(*middle, f"{last}\n", key=len) if middle else f"{last}\n"
        if len(first) >= len(piece):
            yield from _beginning(first, self._exact)
            return
        at = self._text.find(piece, 1)
        while at >= 0:
            end = self._text.index("\n", at)
            yield self._text[self._text.rindex("\n", 0, at) + 1 : end]
            at = self._text.find(piece, end + 1)


def _beginning(text: str, names: Sequence[str]) -> Iterator[str]:
    """Yield those of sorted names that begin with a text."""
    for at in range(bisect_left(names, text), len(names)):
        if not names[at].startswith(text):
            return
        yield names[at]


class _Meant:
    """What may be meant by names, by who speaks of them; each such set is put together once."""

    def __init__(self, known: Mapping[Ref, Converted]) -> None:
        self._known = known
        self._names: dict[tuple[Mention, object], _Names] = {}
        self._refs: dict[tuple[str, str], list[Ref]] = {}
        for ref in sorted(known):
            self._refs.setdefault((ref.kind, ref.namespace), []).append(ref)

    def names(self, document: Converted, mention: Mention) -> _Names:
        """Return the names of which a document may speak, those included that objects may bring that are not there."""
        space = document.ref.namespace if document.ref is not None else ""
        key = (mention, document.ref if mention.among else space)
        if key not in self._names:
            if mention.among:
                among = [to for pointer, to in document.refs if pointer.startswith(f"{mention.among}/")]
            else:
                among = self._refs.get((mention.kind, space), [])
            self._names[key] = _Names([*_brought(among, self._known), *mention.own])
        return self._names[key]


def _brought(among: Iterable[Ref], known: Mapping[Ref, Converted]) -> Iterator[str]:
    """Yield the names of what objects bring, as patterns; of one that is not there or not valid, all that may be."""
    for ref in among:
        document = known.get(ref)
        if document is not None and document.object is not None:
            yield document.object.spec.brings(ref.name)
            continue
        spec = document.document.value.get("spec") if document is not None else None
        begin = spec.get("prefix") if isinstance(spec, dict) else None
        yield f"{begin if isinstance(begin, str) else ref.name}*"


def _problem(
    document: Converted, pointer: str, value: str, mention: Mention, names: Sequence[str], compare: bool
) -> Problem:
    """Return that nothing has a name; to `compare` it with all that there are takes time."""
    place, owner, kind = document.document, str(document.ref), mention.kind.lower()
    name = value.partition("(")[0]
    is_key = pointer.endswith(f"/{escape(value)}")
    if mention.among:
        expected = f"a {kind} of this agent"
        held = [one for one in names if one not in mention.own]
        hint = _hint(name, held, "it has:", compare) or "it has none"
    else:
        expected = f"the name of a {kind}"
        hint = _hint(name, names, "there are:", compare) or f"add {one(mention.kind)} of that name"
    return Problem(
        place.where_key(pointer) if is_key else place.where(pointer),
        "unresolved-reference",
        f"{owner} {dotted(pointer)}: expected {expected}, got {quoted(name)}",
        pointer,
        hint,
        object=owner,
        expected=expected,
        got=quoted(name),
    )


def _hint(name: str, names: Sequence[str], otherwise: str, compare: bool) -> str:
    if compare or not names:
        return did_you_mean(name, names, otherwise)
    return f"{otherwise} {listed(names)}"
