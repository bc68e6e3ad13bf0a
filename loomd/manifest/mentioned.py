"""Which names that documents speak of nothing has: see `mention`. Called by `resolve`.

An object may bring several things, each under a name of its own; as far as the manifests tell, their names begin alike.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from loomd.manifest.call_pattern import read_calls
from loomd.manifest.convert import Converted
from loomd.manifest.mention import Mention
from loomd.manifest.near import one
from loomd.manifest.object import Ref
from loomd.manifest.problem import Problem
from loomd.manifest.wording import did_you_mean, dotted, escape, quoted

MAX_TOLD = 100
"""Most names that nothing has of which is told in one file."""


def find_unknown(documents: Sequence[Converted], pending: bool) -> Iterator[Problem]:
    """Yield a problem for every name that is spoken of and that nothing has.

    Args:
        documents: all documents.
        pending: only warn where an object of that name may come.
    """
    known = {one.ref: one for one in documents if one.ref is not None} if any(one.mentions for one in documents) else {}
    told: Counter[str] = Counter()
    for document in known.values():
        for pointer, value, mention in document.mentions:
            names = [*_brought(_among(document, mention, known), known), *mention.own]
            glob = read_calls(value).tool
            if any(glob.meets(read_calls(name).tool) for name in names):
                continue
            problem = _problem(document, pointer, value, mention, names)
            file = problem.position.file
            told[file] += 1
            if told[file] <= MAX_TOLD:
                yield replace(problem, severity="warning") if pending and not mention.among else problem
            elif told[file] == MAX_TOLD + 1:
                text = f"{file} speaks of more than {MAX_TOLD} names that nothing has: mend these first"
                yield Problem(problem.position, "too-many-problems", text, pointer)


def _among(document: Converted, mention: Mention, known: Iterable[Ref]) -> list[Ref]:
    """Return the objects of which one may be meant, those included that are not there."""
    if mention.among:
        return [to for pointer, to in document.refs if pointer.startswith(f"{mention.among}/")]
    space = document.ref.namespace if document.ref is not None else ""
    return sorted(ref for ref in known if (ref.kind, ref.namespace) == (mention.kind, space))


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


def _problem(document: Converted, pointer: str, value: str, mention: Mention, names: Sequence[str]) -> Problem:
    place, owner, kind = document.document, str(document.ref), mention.kind.lower()
    name = value.partition("(")[0]
    is_key = pointer.endswith(f"/{escape(value)}")
    if mention.among:
        expected = f"a {kind} of this agent"
        held = [one for one in names if one not in mention.own]
        hint = did_you_mean(name, held, "it has:") or "it has none"
    else:
        expected = f"the name of a {kind}"
        hint = did_you_mean(name, names, "there are:") or f"add {one(mention.kind)} of that name"
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
