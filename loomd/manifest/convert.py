"""A document to a typed object: envelope, JSON Schema, strict types, templates. Never looks at another document.

The schema goes first because it is the published contract; the types follow because they know more. Called by `load`.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
from pydantic import TypeAdapter, ValidationError

from loomd.manifest.claim import claimed
from loomd.manifest.envelope import check_envelope, deprecated, in_old_words, in_todays_form
from loomd.manifest.kind import API_VERSION, Kind, RefTo, Spec
from loomd.manifest.marks import Marked, find_marked, find_marked_text
from loomd.manifest.mention import Mention
from loomd.manifest.object import Metadata, Object, Ref, object_name
from loomd.manifest.oneof import read_written
from loomd.manifest.places import Document
from loomd.manifest.problem import Problem
from loomd.manifest.refusal import MAX_REFUSALS, NOTHING_SET, Refusal, explain, instead
from loomd.manifest.schema import JsonSchema, schema_of
from loomd.manifest.selector import SelectorOf
from loomd.manifest.sound import find_sound
from loomd.manifest.template import Template, check_template
from loomd.manifest.version import Moved
from loomd.manifest.wording import dotted, escape, got, is_secret, one_line, read_sentence


@dataclass(frozen=True)
class Converted:
    """What became of a document.

    Attributes:
        ref: the name that it claims, also when it is not valid, or None when it has none.
        document: where it came from.
        object: the typed object, or None when it is not valid.
        refs: (JSON pointer, target) of its references, also when it is not valid.
        shorthands: those of them that may mean an object that nobody declares, by pointer, as they are written.
        problems: what is wrong with it.
        warnings: what is not wrong and should be looked at.
        specs: its specs that name files; of a document that is not valid those that are valid by themselves.
        draft: what stands for the object when those are looked at and it is not valid.
        selectors: those in it.
        mentions: (JSON pointer, text, mark) of the names that it speaks of without referring to them.
    """

    ref: Ref | None
    document: Document
    object: Object | None = None
    refs: tuple[tuple[str, Ref], ...] = ()
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    specs: tuple[Marked, ...] = ()
    selectors: tuple[Marked, ...] = ()
    shorthands: Mapping[str, str] = field(default_factory=dict[str, str])
    draft: Object | None = None
    mentions: tuple[tuple[str, str, Mention], ...] = ()


def convert(document: Document, kinds: Mapping[str, Kind], root: Path, base: str = "") -> Converted:
    """Return the typed object of a document, or everything that is wrong with it.

    Args:
        document: what was read.
        kinds: the kinds that exist, by name.
        root: folder that relative paths in the spec start from.
        base: what tells this root from another, see `Object.base`; by default the root itself.
    """
    claims = claimed(document.value)
    refusals, kind, version = check_envelope(document.value, kinds)
    if kind is None:
        return Converted(claims, document, problems=problems_of(document, claims, refusals))
    warnings: tuple[Problem, ...] = ()
    if version is not None:
        past, refusals = in_todays_form(document, version)
        warnings = (deprecated(document, claims, version, past.moved),)
        document = past.document
    value: Any = document.value
    value = {**value, "apiVersion": API_VERSION} if refusals else value  # a wrong one hides nothing below it
    schema = _compiled(kind.name, id(kind.spec), kind)[0]
    if not accepts(kind, value):
        refusals += in_old_words(explain(schema, value), version)
    metadata, spec, more = _typed(kind, value)
    refusals = _sure(_merge(refusals, more))
    if refusals or metadata is None:
        refs, short, wrong = _follow(find_marked_text(value, schema, schema), claims, document, kinds)
        problems = problems_of(document, claims, _merge(refusals, wrong))
        invalid = Converted(claims, document, None, refs, problems, warnings, shorthands=short)
        return _drafted(invalid, kind, root, refusals)
    ref = Ref(kind.name, metadata.name, metadata.namespace)
    marks = list(find_marked(spec, "/spec"))
    selectors = tuple(one for one in marks if isinstance(one.marker, SelectorOf))
    refs, short, wrong = _follow(marks, ref, document, kinds)
    found = Object(
        ref=ref,
        metadata=metadata,
        spec=spec,
        raw=value["spec"],
        root=root,
        position=document.position,
        places=document.places,
        refs=refs,
        digest=_digest(kind, ref, spec),
        base=base or str(root),
        selects=frozenset(one.pointer for one in selectors),
    )
    specs = tuple(one for one in marks if _names_files(one))
    mentions = _mentions(marks)
    if wrong:
        problems = problems_of(document, ref, wrong)
        return Converted(ref, document, None, refs, problems, warnings, specs, selectors, short, found, mentions)
    return Converted(ref, document, found, refs, (), warnings, specs, selectors, short, mentions=mentions)


def _drafted(converted: Converted, kind: Kind, root: Path, refusals: Sequence[Refusal]) -> Converted:
    """Return what became of a document that is not valid, with what in it is: specs that name files, and selectors."""
    document = converted.document
    ref = converted.ref
    if ref is None:
        return converted
    value = document.value.get("spec")
    inside = [one for one in refusals if one.pointer.startswith("/spec/")]
    if inside and all(one.code == "unknown-field" for one in inside):  # what else it says is as good as without them
        sound = list(find_sound(_as_meant(value, inside), kind.spec, "/spec"))
    else:
        found = find_sound(value, kind.spec, "/spec")
        sound = [one for one in found if not any(_touch(refused.pointer, one.pointer) for refused in refusals)]
    specs = tuple(one for one in sound if _names_files(one))
    selectors = tuple(one for one in sound if isinstance(one.marker, SelectorOf))
    converted = replace(converted, mentions=_mentions(sound))
    if not (specs or selectors):
        return converted
    draft = Object(ref, Metadata.model_construct(name=ref.name), None, {}, root, document.position, document.places)
    return replace(converted, specs=specs, selectors=selectors, draft=draft)


def _as_meant(value: Any, unknown: Iterable[Refusal]) -> Any:
    """Return the spec of a document with its unknown fields as what they may be meant as, or else without them."""
    meant = deepcopy(value)
    for one in unknown:
        *way, name = (part.replace("~1", "/").replace("~0", "~") for part in one.pointer.split("/")[2:])
        place = meant
        with suppress(LookupError):  # a field of an old version is told by its old place
            for part in way:
                place = place[int(part) if isinstance(place, list) else part]
            held = place.pop(name)
            if one.meant and one.meant not in place:
                place[one.meant] = held
    return meant


def _mentions(marks: Iterable[Marked]) -> tuple[tuple[str, str, Mention], ...]:
    return tuple((one.pointer, one.value, one.marker) for one in marks if isinstance(one.marker, Mention))


def _names_files(marked: Marked) -> bool:
    spec = type(marked.value)
    return marked.marker is None and (spec.check is not Spec.check or spec.reads is not Spec.reads)


def accepts(kind: Kind, value: Any) -> bool:
    """Return whether the JSON Schema of a kind accepts a decoded document."""
    return bool(_compiled(kind.name, id(kind.spec), kind)[1].is_valid(value))


def types_accept(kind: Kind, value: Any) -> bool:
    """Return whether the types of a kind accept the metadata and the spec of a decoded document."""
    return not _typed(kind, value)[2]


@cache
def _compiled(name: str, identity: int, kind: Kind) -> tuple[JsonSchema, Any]:
    import jsonschema_rs  # noqa: PLC0415  # a compiled library that only the check of a document needs

    del name, identity
    schema = schema_of(kind)
    return schema, jsonschema_rs.Draft202012Validator(schema)


_METADATA: TypeAdapter[Metadata] = TypeAdapter(Metadata)


def _typed(kind: Kind, value: Any) -> tuple[Metadata | None, Any, list[Refusal]]:
    """Return the typed halves of a document and what the types refuse."""
    metadata = spec = None
    refusals: list[Refusal] = []
    try:
        metadata = read_written(_METADATA, value.get("metadata"))
    except ValidationError as error:
        refusals.extend(_refusals(error, value.get("metadata"), "/metadata"))
    try:
        spec = read_written(kind.adapter, value.get("spec"))
    except ValidationError as error:
        refusals.extend(_refusals(error, value.get("spec"), "/spec"))
    return metadata, spec, refusals


def _refusals(error: ValidationError, value: Any, base: str) -> Iterator[Refusal]:
    for detail in islice(error.errors(include_url=False), MAX_REFUSALS):
        code = _CODES.get(detail["type"], "invalid-value")
        pointer = base + _pointer(detail["loc"], value, code == "missing-field")
        message = detail["msg"]
        if detail["type"] == "value_error":
            message = str(detail.get("ctx", {}).get("error", message))
        message = message[:1].lower() + message[1:]
        if is_secret(pointer) and _quotes(message, detail["input"]):
            message = "the value is not accepted"
        expected = _EXPECTED.get(detail["type"], "")
        found = "nothing" if code == "missing-field" else got(detail["input"], pointer)
        if expected:
            yield instead(pointer, code, expected, found)
        else:
            plain = not isinstance(detail["input"], dict | list)
            yield Refusal(pointer, code, *read_sentence(message, found if plain else ""))


def _quotes(message: str, value: Any) -> bool:
    """Return whether a message holds any text of a value."""
    if isinstance(value, dict):
        return any(_quotes(message, one) for one in value.values())
    if isinstance(value, list):
        return any(_quotes(message, one) for one in value)
    return value is not None and value != "" and str(value) in message


_CODES = {
    "missing": "missing-field",
    "extra_forbidden": "unknown-field",
    "union_tag_invalid": "unknown-type",
    "union_tag_not_found": "missing-field",
    "greater_than": "out-of-range",
    "greater_than_equal": "out-of-range",
    "less_than": "out-of-range",
    "less_than_equal": "out-of-range",
    "too_short": "out-of-range",
    "too_long": "out-of-range",
    "string_too_short": "out-of-range",
    "string_too_long": "out-of-range",
    **{f"{name}_type": "wrong-type" for name in ("string", "int", "float", "bool", "list", "dict", "model", "none")},
}

_EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
}


def _pointer(loc: tuple[int | str, ...], value: Any, missing: bool) -> str:
    """Return a pydantic location as a JSON pointer; the names of union members in it are no places."""
    pointer = ""
    tagged = False
    for index, part in enumerate(loc):
        if not tagged and index < len(loc) - 1 and isinstance(value, dict) and part == value.get("type"):
            tagged = True  # also where a field of the member is called like it
            continue
        known: Any = range(len(value)) if isinstance(value, list) else value if isinstance(value, dict) else ()
        if part in known:
            inside: Any = value
            value = inside[part]
            tagged = False
        elif not (missing and index == len(loc) - 1):
            continue
        pointer += f"/{escape(str(part))}"
    return pointer


def _merge(first: list[Refusal], more: list[Refusal]) -> list[Refusal]:
    """Return all refusals, one per place: what the types say of a place that the schema named is the same thing."""
    kept = {(one.pointer, one.code, one.place): one for one in first}
    named = [one.pointer for one in first]
    for one in more:
        if not any(_touch(one.pointer, pointer) for pointer in named):
            kept.setdefault((one.pointer, one.code, one.place), one)
    return list(kept.values())


def _sure(refusals: Sequence[Refusal]) -> list[Refusal]:
    """Return refusals without those of what stands beside a type that there is not: nobody knows what belongs there."""
    typeless = {one.pointer.removesuffix("type") for one in refusals if one.code == "unknown-type"}
    return [one for one in refusals if one.code == "unknown-type" or not one.pointer.startswith(tuple(typeless))]


def _touch(one: str, other: str) -> bool:
    return one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")


def _follow(
    marks: Iterable[Marked], ref: Ref | None, document: Document, kinds: Mapping[str, Kind]
) -> tuple[tuple[tuple[str, Ref], ...], dict[str, str], list[Refusal]]:
    """Return the references among marked values, those that are shorthands, and what is wrong with the templates."""
    namespace = ref.namespace if ref else "default"
    refs: list[tuple[str, Ref]] = []
    short: dict[str, str] = {}
    refusals: list[Refusal] = []
    for marked in marks:
        if isinstance(marked.marker, RefTo):
            kind, name = marked.marker.kind, marked.value
            if "/" in name and kind in kinds and kinds[kind].shorthand is not None:
                short[marked.pointer], name = name, object_name(name)
            refs.append((marked.pointer, Ref(kind, name, namespace)))
        elif isinstance(marked.marker, Template) and marked.pointer in document.places:
            for one in check_template(marked.value, marked.marker.variables):
                place = (one.line, one.column) if one.line else None
                said = (one.message, one.hint, one.expected, one.got)
                refusals.append(Refusal(marked.pointer, "bad-template", *said, place))
    return tuple(refs), short, refusals


def _digest(kind: Kind, ref: Ref, spec: Any) -> str:
    full = kind.adapter.dump_python(spec, mode="json", by_alias=True)
    text = msgspec.json.encode([ref.kind, ref.name, ref.namespace, full], order="deterministic")
    return hashlib.sha256(text).hexdigest()


def problems_of(document: Document, ref: Ref | None, refusals: Iterable[Refusal]) -> tuple[Problem, ...]:
    """Return refusals of a document as problems with their places in its file.

    Args:
        document: what was read.
        ref: the name that it claims.
        refusals: what is wrong with it, by the pointers of today.
    """
    return tuple(_problem(document, ref, one) for one in refusals)


def _problem(document: Document, ref: Ref | None, refusal: Refusal) -> Problem:
    name = str(ref or "")
    owner = f"{name} " if name else ""
    written = document.places.written(refusal.pointer) if isinstance(document.places, Moved) else refusal.pointer
    field = one_line(dotted(written))
    parent = refusal.pointer.rpartition("/")[0]
    if refusal.code == "missing-field":
        position = document.where_key(parent)
    elif refusal.code == "unknown-field" or refusal.got == NOTHING_SET:
        position = document.where_key(refusal.pointer)
    elif refusal.place is not None:
        position = document.where_inside(refusal.pointer, *refusal.place)
    else:
        position = document.where(refusal.pointer)
    message = f"{owner}{field}: {refusal.message}" if owner or field else refusal.message
    return Problem(
        position,
        refusal.code,
        message,
        written,
        refusal.hint,
        object=name,
        expected=refusal.expected,
        got=refusal.got,
    )
