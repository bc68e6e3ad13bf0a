"""A document to a typed object: envelope, JSON Schema, strict types, templates. Never looks at another document.

The schema goes first because it is the published contract; the types follow because they know more. Called by `load`.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from loomd.manifest.kind import API_VERSION, Kind, RefTo
from loomd.manifest.marks import Marked, find_marked, find_marked_text
from loomd.manifest.object import Metadata, Object, Ref
from loomd.manifest.places import Document, escape
from loomd.manifest.problem import Problem
from loomd.manifest.refusal import MAX_REFUSALS, Refusal, explain
from loomd.manifest.schema import JsonSchema, schema_of
from loomd.manifest.template import Template, check_template
from loomd.manifest.wording import did_you_mean, dotted, got, is_secret, listed

_AT_KEY = frozenset(("unknown-field", "missing-field"))


@dataclass(frozen=True)
class Converted:
    """What became of a document.

    Attributes:
        ref: the name that it claims, also when it is not valid, or None when it has none.
        document: where it came from.
        object: the typed object, or None when it is not valid.
        refs: (JSON pointer, target) of its references, also when it is not valid.
        problems: what is wrong with it.
    """

    ref: Ref | None
    document: Document
    object: Object | None = None
    refs: tuple[tuple[str, Ref], ...] = ()
    problems: tuple[Problem, ...] = ()


def convert(document: Document, kinds: Mapping[str, Kind], root: Path) -> Converted:
    """Return the typed object of a document, or everything that is wrong with it.

    Args:
        document: what was read.
        kinds: the kinds that exist, by name.
        root: folder that relative paths in the spec start from.
    """
    value = document.value
    claimed = _claimed(value)
    refusals = list(_check_envelope(value, kinds))
    if refusals:
        return Converted(claimed, document, problems=_problems(document, claimed, refusals))
    kind = kinds[value["kind"]]
    schema = _compiled(kind.name, id(kind.spec), kind)[0]
    if not accepts(kind, value):
        refusals = list(explain(schema, value))
    metadata, spec, more = _typed(kind, value)
    refusals = _merge(refusals, more)
    if refusals or metadata is None:
        refs, wrong = _follow(find_marked_text(value, schema, schema), claimed, document)
        return Converted(claimed, document, None, refs, _problems(document, claimed, _merge(refusals, wrong)))
    ref = Ref(kind.name, metadata.name, metadata.namespace)
    refs, wrong = _follow(find_marked(spec, "/spec"), ref, document)
    if wrong:
        return Converted(ref, document, None, refs, _problems(document, ref, wrong))
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
    )
    return Converted(ref, document, found, refs)


def accepts(kind: Kind, value: Any) -> bool:
    """Return whether the JSON Schema of a kind accepts a decoded document."""
    return bool(_compiled(kind.name, id(kind.spec), kind)[1].is_valid(value))


def types_accept(kind: Kind, value: Any) -> bool:
    """Return whether the types of a kind accept the metadata and the spec of a decoded document."""
    return not _typed(kind, value)[2]


def _claimed(value: Any) -> Ref | None:
    """Return the name that a document claims, as far as it can be told."""
    if not isinstance(value, dict):
        return None
    metadata = value.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(value.get("kind"), str):
        return None
    name, namespace = metadata.get("name"), metadata.get("namespace", "default")
    return Ref(value["kind"], name, namespace) if isinstance(name, str) and isinstance(namespace, str) else None


def _check_envelope(value: Any, kinds: Mapping[str, Kind]) -> Iterator[Refusal]:
    """Yield what keeps the kind's schema from being chosen."""
    if not isinstance(value, dict):
        yield Refusal(
            "", "wrong-type", f"expected a mapping with apiVersion, kind, metadata, spec, got {got(value, '')}"
        )
        return
    version, kind = value.get("apiVersion"), value.get("kind")
    if version != API_VERSION:
        code = "unknown-api-version" if "apiVersion" in value else "missing-field"
        text = (
            f"expected {API_VERSION}, got {got(version, '')}" if "apiVersion" in value else "required field is missing"
        )
        yield Refusal("/apiVersion", code, text, f"write apiVersion: {API_VERSION}")
    if "kind" not in value:
        yield Refusal("/kind", "missing-field", "required field is missing", f"one of {listed(kinds)}")
    elif not isinstance(kind, str):
        yield Refusal("/kind", "wrong-type", f"expected text, got {got(kind, '')}", f"one of {listed(kinds)}")
    elif kind not in kinds:
        yield Refusal("/kind", "unknown-kind", f"no such kind: {got(kind, '')}", did_you_mean(kind, kinds, "one of"))


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
        metadata = _METADATA.validate_python(value.get("metadata"), by_alias=True, by_name=False)
    except ValidationError as error:
        refusals.extend(_refusals(error, value.get("metadata"), "/metadata"))
    try:
        spec = kind.adapter.validate_python(value.get("spec"), by_alias=True, by_name=False)
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
        yield Refusal(pointer, code, message)


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


def _pointer(loc: tuple[int | str, ...], value: Any, missing: bool) -> str:
    """Return a pydantic location as a JSON pointer; the names of union members in it are no places."""
    pointer = ""
    for index, part in enumerate(loc):
        known: Any = dict(enumerate(value)) if isinstance(value, list) else value
        if isinstance(known, dict) and part in known:
            value = known[part]
        elif not (missing and index == len(loc) - 1):
            continue
        pointer += f"/{escape(str(part))}"
    return pointer


def _merge(first: list[Refusal], more: list[Refusal]) -> list[Refusal]:
    """Return all refusals, one per place: what the types say of a place that the schema named is the same thing."""
    kept: dict[tuple[str, str], Refusal] = {(one.pointer, one.code): one for one in first}
    named = [one.pointer for one in first]
    for one in more:
        if not any(_touch(one.pointer, pointer) for pointer in named):
            kept.setdefault((one.pointer, one.code), one)
    return list(kept.values())


def _touch(one: str, other: str) -> bool:
    return one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")


def _follow(
    marks: Iterable[Marked], ref: Ref | None, document: Document
) -> tuple[tuple[tuple[str, Ref], ...], list[Refusal]]:
    """Return the references among marked values, and what is wrong with the templates."""
    namespace = ref.namespace if ref else "default"
    refs: list[tuple[str, Ref]] = []
    refusals: list[Refusal] = []
    for marked in marks:
        if isinstance(marked.marker, RefTo):
            refs.append((marked.pointer, Ref(marked.marker.kind, marked.value, namespace)))
        elif isinstance(marked.marker, Template) and marked.pointer in document.places:
            wrong = check_template(marked.value, marked.marker.variables)
            if wrong:
                refusals.append(Refusal(marked.pointer, "bad-template", wrong))
    return tuple(refs), refusals


def _digest(kind: Kind, ref: Ref, spec: Any) -> str:
    full = kind.adapter.dump_python(spec, mode="json", by_alias=True)
    text = json.dumps([ref.kind, ref.name, ref.namespace, full], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _problems(document: Document, ref: Ref | None, refusals: Iterable[Refusal]) -> tuple[Problem, ...]:
    return tuple(_problem(document, ref, one) for one in refusals)


def _problem(document: Document, ref: Ref | None, refusal: Refusal) -> Problem:
    owner = f"{ref} " if ref else ""
    field = dotted(refusal.pointer)
    parent = refusal.pointer.rpartition("/")[0]
    if refusal.code not in _AT_KEY:
        position = document.where(refusal.pointer)
    elif refusal.code == "missing-field":
        position = document.where_key(parent)
    else:
        position = document.where_key(refusal.pointer)
    message = f"{owner}{field}: {refusal.message}" if owner or field else refusal.message
    return Problem(position, refusal.code, message, refusal.pointer, refusal.hint)
