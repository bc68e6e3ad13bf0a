"""Documents made from a schema: one for each field of each type, and every way in which one value in it can be wrong.

Used by the tests that compare schemas with types; nothing here knows a kind.
"""

from collections.abc import Iterator
from copy import copy, deepcopy
from typing import Any

from loomd.manifest.convert import accepts
from loomd.manifest.kind import API_VERSION, Kind

ODD: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 1.0, 2.5, -0.0, 2**63 - 1, 1e300, "", "x", "X y", "a\n", "é", "0", "0s", "0.0ms", "5",
    "30", "30s", "30S", " 30s", "30s\n", "1h30m", "1.5h", "00s", "9999999999s", "64Ki", "64ki", "0Ki", "1.5Ki", "2Mi\n",
    "http://h", "http://", "ftp://h", "https://u:p@h/x", "HTTP://h:1/{x}", "http://{x}/", "http:///p", "//h", "a-b",
    "-a", [], [None], ["x"], ["x", "x"], [[]], [0], {}, {"x": 1}, {"x": None}, {"name": "x"}, {"type": "x"},
    {"valueFrom": {"env": "X"}}, {"valueFrom": {"env": None}}, {"env": "A", "file": None}, {"env": "A", "file": "b"},
)  # fmt: skip
"""Values of every type, and those at the edge of what some field accepts."""


def documents(kind: Kind, schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a document with nothing but what is needed for each type, then each optional field added in turn."""
    first: dict[str, Any] = {}
    for variant in variants(schema):
        fields = variant["properties"]
        needed = {name: fields[name]["examples"][0] for name in variant.get("required", ())}
        if "type" in fields:
            needed = {"type": fields["type"]["const"], **needed}
        first = needed if accepts(kind, _document(kind, needed)) else _with_one_more(kind, needed, fields)
        yield _document(kind, first)
        for name, field in fields.items():
            for example in field["examples"]:
                found = _document(kind, {**first, name: example})
                if accepts(kind, found):  # some fields exclude each other
                    yield found
    for name, field in schema["$defs"]["Metadata"]["properties"].items():
        found = _document(kind, first)
        found["metadata"][name] = field["examples"][0]
        yield found


def _with_one_more(kind: Kind, spec: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
    """Return a spec with the first field that makes it valid: some kinds need one of several."""
    found = ({**spec, name: field["examples"][0]} for name, field in fields.items())
    return next(one for one in found if accepts(kind, _document(kind, one)))


def variants(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the types of a kind's spec, or its only one."""
    spec = schema["properties"]["spec"]
    references = [one["$ref"] for one in spec.get("oneOf", ())] or [spec["$ref"]]
    return [schema["$defs"][one.rpartition("/")[2]] for one in references]


def _document(kind: Kind, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": kind.name, "metadata": {"name": "x"}, "spec": deepcopy(spec)}


def mutations(document: dict[str, Any], bounds: list[Any]) -> Iterator[dict[str, Any]]:
    """Yield a document with each value dropped, replaced by each odd one, and with an unknown field added.

    One that has more metadata than its name changes there, any other in its spec: neither half knows of the other.

    Args:
        document: a document that is valid.
        bounds: more values to put in the place of each in the spec.
    """
    if len(document["metadata"]) > 1:
        for name in document["metadata"]:
            for value in ODD:
                yield replaced(document, ("metadata", name), value)
        return
    for path in paths(document["spec"], ("spec",)):
        yield replaced(document, path, drop=True)
        for value in [*ODD, *bounds]:
            yield replaced(document, path, value)
        if isinstance(_at(document, path), dict):
            yield replaced(document, (*path, "unknownField"), 1)


def bounds_of(schema: Any) -> list[Any]:
    """Return the values at and beside every limit that a schema sets, and every choice."""
    found: list[Any] = []
    pending = [schema]
    while pending:
        one = pending.pop()
        if isinstance(one, list):
            pending.extend(one)
        elif isinstance(one, dict):
            found += [one[key] for key in ("const",) if key in one] + list(one.get("enum", ()))
            for key in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"):
                if isinstance(one.get(key), int | float):
                    found += [one[key] - 1, one[key], one[key] + 1, one[key] + 0.5]
            pending += [inner for key, inner in one.items() if key not in ("default", "examples")]
    return list({(type(one).__name__, str(one)): one for one in found}.values())


def paths(value: Any, path: tuple[str | int, ...]) -> Iterator[tuple[str | int, ...]]:
    """Yield the path of a value and of every value in it."""
    yield path
    inner: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from paths(one, (*path, key))


def _at(value: Any, path: tuple[str | int, ...]) -> Any:
    for part in path:
        value = value[part]
    return value


def replaced(
    document: dict[str, Any],
    path: tuple[str | int, ...],
    value: Any = None,
    drop: bool = False,
    where: type | None = None,
) -> Any:
    """Return a document in which the value at a path is another, or is dropped.

    Args:
        document: stays as it is; what lies beside the path is in both.
        path: what changes.
        value: what it becomes.
        drop: drop it.
        where: change nothing unless the holder is of this type.
    """
    made: Any = copy(document)
    holder = made
    for part in path[:-1]:
        holder[part] = copy(holder[part])
        holder = holder[part]
    if where is not None and not isinstance(holder, where):
        return made
    if drop:
        del holder[path[-1]]
    else:
        holder[path[-1]] = deepcopy(value) if isinstance(value, dict | list) else value
    return made
