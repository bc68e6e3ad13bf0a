"""What selectors select: from labels to references, one for each object that fits. Pure. Called by `resolve`."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from loomd.manifest.marks import Marked
from loomd.manifest.near import one
from loomd.manifest.object import Object, Ref
from loomd.manifest.problem import Problem
from loomd.manifest.selector import Selector, SelectorOf
from loomd.manifest.wording import did_you_mean, dotted

Objects = Mapping[Ref, Object]


def choose(
    selectors: Mapping[Ref, Sequence[Marked]],
    objects: Objects,
    lost: Mapping[Ref, object],
    invalid: Mapping[Ref, Mapping[str, str] | None],
) -> tuple[dict[Ref, Object], dict[Ref, list[Problem]]]:
    """Return all objects, with what they select among their references, and the selectors that select nothing.

    The digest of an object that selects covers what it selects: it changes when a label elsewhere does.

    Args:
        selectors: by the object that they stand in.
        objects: by name.
        lost: objects that cannot come alive; they are never selected.
        invalid: labels of documents that are not valid, None when they cannot be told: one that would be selected
            if it were keeps a selector from being told as empty.
    """
    found = dict(objects)
    empty: dict[Ref, list[Problem]] = {}
    by_kind: dict[tuple[str, str], list[Object]] = {}
    for ref in sorted(objects) if selectors else ():
        by_kind.setdefault((ref.kind, ref.namespace), []).append(objects[ref])
    for owner, marks in selectors.items():
        item = objects[owner]
        for marked in marks:
            kind, selector = _read(marked)
            known = [other for other in by_kind.get((kind, owner.namespace), ()) if other.ref != owner]
            fitting = [other.ref for other in known if selector.fits(other.metadata.labels)]
            names = [ref for ref in fitting if ref not in lost]
            item = _selecting(item, marked.pointer, names)
            if not names and not _awaited(kind, selector, owner, invalid):
                hint = _hint(kind, selector, known, objects, owner)
                empty.setdefault(owner, []).append(_nothing(item, marked, hint, waiting=len(fitting)))
        found[owner] = item
    return found, empty


def _awaited(kind: str, selector: Selector, owner: Ref, invalid: Mapping[Ref, Mapping[str, str] | None]) -> bool:
    """Return whether something is selected as soon as it is mended."""
    alike = (labels for ref, labels in invalid.items() if (ref.kind, ref.namespace) == (kind, owner.namespace))
    return any(labels is None or selector.fits(labels) for labels in alike)


def _read(marked: Marked) -> tuple[str, Selector]:
    if not isinstance(marked.marker, SelectorOf) or not isinstance(marked.value, Selector):
        raise TypeError(f"{marked.pointer} is no selector: {marked.marker!r}")
    return marked.marker.kind, marked.value


def _selecting(item: Object, pointer: str, names: Sequence[Ref]) -> Object:
    text = "\n".join([item.digest, pointer, *(str(ref) for ref in names)])
    digest = hashlib.sha256(text.encode()).hexdigest()
    return replace(item, refs=(*item.refs, *((pointer, ref) for ref in names)), digest=digest)


def _nothing(item: Object, marked: Marked, hint: str, *, waiting: int) -> Problem:
    kind, selector = _read(marked)
    wanted = f" with {selector}" if str(selector) else ""
    message = f"{item.ref} {dotted(marked.pointer)}: no {kind}{wanted}"
    if waiting:
        message += f" that can come alive ({waiting} with a reference to something that is not there)"
        hint = "add what they refer to"
    expected = f"labels that {one(kind)} has"
    return Problem(
        item.where(marked.pointer),
        "empty-selection",
        message,
        marked.pointer,
        hint,
        object=str(item.ref),
        expected=expected,
        got=str(selector),
    )


def _hint(kind: str, selector: Selector, known: Sequence[Object], objects: Objects, owner: Ref) -> str:
    """Return the next act for a selector that selects nothing."""
    away = sorted({ref.namespace for ref, item in objects.items() if _fits_away(ref, item, kind, selector, owner)})
    if away:
        return f"there are some in namespace {', '.join(away)}; selectors stay inside their namespace"
    if not known:
        return f"add {one(kind)}"
    labels = sorted({label for item in known for label in _labels(item)})
    if not labels:
        return f"no {kind} here has labels: add them below metadata"
    named = sorted({label.partition("=")[0] for label in labels})
    wanted = [f"{key}={value}" for key, value in selector.match_labels.items()]
    for asked in selector.match_expressions:
        if asked.operator in {"In", "Exists"} and asked.key not in named:
            return did_you_mean(asked.key, named, "labels there are:")
        if asked.operator == "In":
            wanted.append(f"{asked.key}={asked.values[0]}")
    missing = next((text for text in wanted if text not in labels), "")
    return did_you_mean(missing, labels, "labels there are:")


def _fits_away(ref: Ref, item: Object, kind: str, selector: Selector, owner: Ref) -> bool:
    return ref.kind == kind and ref.namespace != owner.namespace and selector.fits(item.metadata.labels)


def _labels(item: Object) -> Iterator[str]:
    return (f"{key}={value}" for key, value in item.metadata.labels.items())
