"""Arguments and results of Python functions that are plain JSON, taken, written and described without Pydantic.

To import Pydantic takes a process longer than all else that it does for one call. What is given here is what Pydantic
gives; None leaves it to that, and so does every refusal, whose words are its own. Called in the process of a call, and
of the first look at a function.
"""

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from types import FunctionType, GenericAlias, NoneType, UnionType

TYPE_CHECKING = False  # `typing` is what a call should not have to import
if TYPE_CHECKING:
    from typing import Any

_DEPTH = 32
"""Levels of a result that are looked at here."""
_EXACT = 1 << 53
"""Up to here each whole number is a float, too."""
_LARGEST = 1 << 63
_LEAST, _MOST = 1e-4, 1e16
"""From the one to below the other everybody writes a float alike, without an exponent."""
_STARRED = 0x0C
"""Flags of a function that takes `*args` or `**kwargs`."""
_SCALARS = (str, int, float, bool, NoneType, None)
_TYPES: "dict[type | None, dict[str, object]]" = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    NoneType: {"type": "null"},
    None: {"type": "null"},
    list: {"items": {}, "type": "array"},
    dict: {"additionalProperties": True, "type": "object"},
}
"""JSON Schemas of what has no parts."""


class _Unsure(Exception):
    """It takes Pydantic to say what becomes of a value."""


def plain_arguments(
    function: Callable[..., object], arguments: Mapping[str, object], context: Callable[[], object]
) -> dict[str, object] | None:
    """Return what a function is called with by name, or None where arguments or annotations are more than plain JSON.

    Args:
        function: what is called.
        arguments: what it is called with, as JSON has it.
        context: gives the value of a parameter that asks for a `ToolContext`.
    """
    if type(function) is not FunctionType or (names := _names(function)) is None:
        return None
    asks_context = _context_type()
    values: dict[str, object] = {}
    try:
        for name, hint in zip(names, _hints(function, names), strict=True):
            if hint is asks_context and name not in arguments:
                values[name] = context()
            elif name in arguments:
                values[name] = _fit(hint, arguments[name])
    except _Unsure:
        return None
    complete = values.keys() >= _required(function) and values.keys() >= arguments.keys()
    return values if complete else None


def plain_json(value: object) -> str | None:
    """Return a value as JSON text, or None where it is more than plain JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")) if _is_plain(value, 0) else None


def plain_parameters(function: Callable[..., object], texts: Mapping[str, str]) -> dict[str, object] | None:
    """Return the JSON Schema of what a function is called with, or None where annotations are more than plain JSON.

    Args:
        function: what is described.
        texts: what is said of a parameter, by its name.
    """
    if type(function) is not FunctionType or (names := _names(function)) is None or any(map(_is_taken, names)):
        return None
    asks_context = _context_type()
    defaults = _defaults(function)
    properties: dict[str, object] = {}
    try:
        *hints, gives = _hints(function, (*names, "return"))
        if not isinstance(gives, type):
            _schema(gives)  # only to read all of it
        for name, hint in zip(names, hints, strict=True):
            if hint is not asks_context:
                said: dict[str, object] = {"description": texts[name]} if name in texts else {}
                if name in defaults:
                    said["default"] = _sure(defaults[name])
                properties[name] = dict(sorted({**_schema(hint), **said}.items()))
    except _Unsure:
        return None
    required = [name for name in properties if name not in defaults]
    some = {"required": required} if required else {}
    return {"additionalProperties": False, "properties": properties, **some, "type": "object"}


def _names(function: FunctionType) -> tuple[str, ...] | None:
    """Return the names of the parameters; None where it is wrapped, says of itself what it takes, or takes any."""
    code = function.__code__
    if vars(function) or code.co_posonlyargcount or code.co_flags & _STARRED:
        return None
    return code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]


def _defaults(function: FunctionType) -> dict[str, object]:
    """Return the defaults of the parameters that have one, by name."""
    given = function.__defaults__ or ()
    named = function.__code__.co_varnames[: function.__code__.co_argcount]
    return {**dict(zip(named[len(named) - len(given) :], given, strict=True)), **(function.__kwdefaults__ or {})}


def _required(function: FunctionType) -> set[str]:
    """Return the names of the parameters without a default."""
    return {*(_names(function) or ())} - _defaults(function).keys()


def _is_taken(name: str) -> bool:
    """Return whether no field of a Pydantic model may have a name."""
    return name.startswith("_") or name == "model_config"


def _context_type() -> object:
    """Return the type of the context of a call; nobody's annotation where the function's file has not imported it."""
    return getattr(sys.modules.get("loomd.tools.context"), "ToolContext", _Unsure)


def _hints(function: FunctionType, names: Iterable[str]) -> list[object]:
    """Return the annotations of parameters; `object` where there is none, for both take whatever comes.

    Raises:
        _Unsure: one cannot be read.
    """
    try:
        written = [function.__annotations__.get(name, object) for name in names]
        space = function.__globals__
        return [eval(hint, space) if isinstance(hint, str) else hint for hint in written]  # noqa: S307  # its own text
    except Exception as error:
        raise _Unsure from error


def _fit(hint: "Any", value: object) -> object:
    """Return a value as a parameter takes it.

    Raises:
        _Unsure: it takes Pydantic to say so.
    """
    if hint is object or hint is _typing("Any") or (value is None and hint is None):
        return value
    if type(value) is hint and (hint is not str or _is_text(value)):
        return value
    if hint is float and type(value) is int and -_EXACT <= value <= _EXACT:
        return float(value)
    origin: object = getattr(hint, "__origin__", None)
    inner: list[Any] = [*getattr(hint, "__args__", ())]
    if type(hint) is UnionType or origin is _typing("Union"):
        return _member(inner, value)
    if origin is _typing("Literal") and any(type(one) is type(value) and one == value for one in inner):
        return value
    if type(hint) is GenericAlias and isinstance(value, list) and (origin, len(inner)) == (list, 1):
        return [_fit(inner[0], one) for one in value]
    if type(hint) is GenericAlias and isinstance(value, dict) and (origin, len(inner)) == (dict, 2):
        return {_fit(inner[0], key): _fit(inner[1], one) for key, one in value.items()}
    raise _Unsure


def _member(hints: list[object], value: object) -> object:
    """Return a value as a union takes it: one type or None, or scalars, of which the value's own type is first.

    Raises:
        _Unsure: it takes Pydantic to say so.
    """
    some = [hint for hint in hints if hint is not NoneType and hint is not None]
    if value is None and len(some) < len(hints):
        return None
    if len(some) == 1:
        return _fit(some[0], value)
    if all(hint in _SCALARS for hint in some) and type(value) in some:
        return _fit(type(value), value)
    raise _Unsure


def _schema(hint: "Any") -> dict[str, object]:
    """Return the JSON Schema of a type, in the order of its keys.

    Raises:
        _Unsure: it takes Pydantic to say so.
    """
    if hint is object or hint is _typing("Any"):
        return {}
    if isinstance(hint, type | None) and hint in _TYPES:
        return dict(_TYPES[hint])
    origin: object = getattr(hint, "__origin__", None)
    inner: list[Any] = [*getattr(hint, "__args__", ())]
    if type(hint) is UnionType or origin is _typing("Union"):
        return {"anyOf": _alternatives(inner)}
    if origin is _typing("Literal") and all(type(one) is str for one in inner):
        only = _sure(inner)
        return {"const": inner[0], "type": "string"} if len(inner) == 1 else {"enum": only, "type": "string"}
    if type(hint) is GenericAlias and (origin, len(inner)) == (list, 1):
        return {"items": _schema(inner[0]), "type": "array"}
    if type(hint) is GenericAlias and (origin, len(inner)) == (dict, 2) and inner[0] is str:
        return {"additionalProperties": _schema(inner[1]) or True, "type": "object"}
    raise _Unsure


def _alternatives(hints: list[object]) -> list[object]:
    """Return the JSON Schemas of the members of a union, that of None last.

    Raises:
        _Unsure: it takes Pydantic to say so; some of them are alike.
    """
    found = [_schema(hint) for hint in sorted(hints, key=lambda hint: hint is NoneType)]
    if any(one in found[:place] for place, one in enumerate(found)):
        raise _Unsure
    return [*found]


def _sure(value: object) -> object:
    """Return a value that is plain JSON.

    Raises:
        _Unsure: it is not.
    """
    if not _is_plain(value, 0):
        raise _Unsure
    return value


def _typing(name: str) -> object:
    """Return what `typing` has of a name; nobody's annotation where the function's file has not imported that."""
    return getattr(sys.modules.get("typing"), name, _Unsure)


def _is_text(value: object) -> bool:
    """Return whether a value is text that can be encoded: models do write lone surrogates."""
    if type(value) is not str:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_plain(value: object, depth: int) -> bool:
    """Return whether a value is JSON that everybody writes alike."""
    if type(value) is float:
        return value == 0 or _LEAST <= abs(value) < _MOST
    if type(value) is int:
        return -_LARGEST <= value < _LARGEST
    if isinstance(value, list) and type(value) is list and depth < _DEPTH:
        return all(_is_plain(one, depth + 1) for one in value)
    if isinstance(value, dict) and type(value) is dict and depth < _DEPTH:
        return all(_is_text(key) and _is_plain(one, depth + 1) for key, one in value.items())
    return value is None or type(value) is bool or _is_text(value)
