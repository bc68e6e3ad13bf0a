"""References such as `openai/gpt-5.1`: the object that each stands for is made, as if somebody had declared it.

Its kind says what may stand before the slash; a declared object may, too. It has a name like any other
(`object_name`), and stands where it is referred to first. Called by `resolve`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from loomd.manifest.convert import Converted, convert
from loomd.manifest.kind import API_VERSION, Kind
from loomd.manifest.object import Ref
from loomd.manifest.places import Document
from loomd.manifest.problem import Problem
from loomd.manifest.wording import did_you_mean, dotted, quoted


class _Use(NamedTuple):
    """A shorthand where it is written."""

    user: Converted
    pointer: str
    written: str
    to: Ref


def derive(
    documents: Sequence[Converted], kinds: Mapping[str, Kind]
) -> tuple[list[Converted], dict[tuple[Ref, str], Problem | None]]:
    """Return the objects that shorthands stand for, and the shorthands that stand for none, by user and pointer.

    What is wrong with one is None where that is told elsewhere.

    Args:
        documents: all documents; whoever declares an object of the name is taken at its word.
        kinds: the kinds that exist, by name.
    """
    uses = _uses(documents)
    if not uses:
        return [], {}
    declared = {one.ref: one for one in documents if one.ref is not None}
    made: dict[Ref, tuple[str, Converted | Problem | None]] = {}
    wrong: dict[tuple[Ref, str], Problem | None] = {}
    for use in uses:
        if use.to in declared:
            continue
        if use.to not in made:
            made[use.to] = use.written, _make(use, declared, kinds[use.to.kind])
        written, found = made[use.to]
        if written != use.written:
            found = _problem(use, f"{quoted(use.written)} and {quoted(written)} both mean {use.to}", "declare one")
        elif isinstance(found, Problem):  # the same of another user
            found = _problem(use, found.message.partition(": ")[2], found.hint)
        if not isinstance(found, Converted) and use.user.ref is not None:
            wrong[use.user.ref, use.pointer] = found
    return [found for _, found in made.values() if isinstance(found, Converted)], wrong


def _uses(documents: Sequence[Converted]) -> list[_Use]:
    """Return the shorthands in the order of their places, so that what is made of them is always the same."""
    uses = [
        _Use(one, pointer, one.shorthands[pointer], to)
        for one in documents
        if one.shorthands
        for pointer, to in one.refs
        if pointer in one.shorthands
    ]
    return sorted(uses, key=lambda use: use.user.document.where(use.pointer))


def _make(use: _Use, declared: Mapping[Ref, Converted], kind: Kind) -> Converted | Problem | None:
    """Return the object that a shorthand stands for, what is wrong with it, or None where that is told elsewhere."""
    head, _, rest = use.written.partition("/")
    base = declared.get(Ref(use.to.kind, head, use.to.namespace))
    shorthand = kind.shorthand
    if shorthand is None or (base is not None and base.object is None):
        return None
    if not rest:
        return _problem(use, f"{quoted(use.written)} names no {shorthand.field}", f"write {head}/NAME")
    if base is not None and base.object is not None:
        if not _has(base.object.spec, shorthand.field):
            text = f"{base.ref} has no {shorthand.field} of its own, so there is no {quoted(use.written)}"
            return _problem(use, text, f"refer to {quoted(head)}")
        spec: dict[str, Any] = {**base.object.raw, shorthand.field: rest}
    elif head in shorthand.heads:
        spec = {**shorthand.heads[head], shorthand.field: rest}
    else:
        same = {ref.name for ref in declared if (ref.kind, ref.namespace) == (use.to.kind, use.to.namespace)}
        hint = did_you_mean(head, sorted({*shorthand.heads, *same}), "before the slash stands one of")
        return _problem(use, f"no {use.to.kind} {quoted(use.written)}", hint)
    metadata = {"name": use.to.name, "namespace": use.to.namespace}
    value = {"apiVersion": API_VERSION, "kind": kind.name, "metadata": metadata, "spec": spec}
    document = Document(value, use.user.document.where(use.pointer), {}, {})
    owner = base.object if base is not None else use.user.object
    if owner is None:
        return None
    found = convert(document, {kind.name: kind}, owner.root, owner.base)
    if base is None or found.object is None:
        return found
    refs = (*found.refs, (f"/spec/{shorthand.field}", owner.ref))  # it is what it is because of that one
    return replace(found, refs=refs, object=replace(found.object, refs=refs))


def _has(spec: Any, field: str) -> bool:
    """Return whether a spec has a field of a name in the manifest."""
    return any(field in (name, info.alias) for name, info in type(spec).model_fields.items())


def _problem(use: _Use, text: str, hint: str) -> Problem:
    owner, position = str(use.user.ref or ""), use.user.document.where(use.pointer)
    said = f"{owner} {dotted(use.pointer)}: {text}"
    return Problem(
        position,
        "unresolved-reference",
        said,
        use.pointer,
        hint,
        object=owner,
        expected=f"the name of a {use.to.kind}",
        got=quoted(use.written),
    )
