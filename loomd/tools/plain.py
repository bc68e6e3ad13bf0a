"""Arguments and results of Python functions that are plain JSON, taken and written without Pydantic.

To import Pydantic takes a process longer than all else that it does for one call. What is given here is what Pydantic
gives; None leaves a call to it, and so does every refusal, whose words are its own. Called in the process of a call.
"""

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from types import CodeType, FunctionType, GenericAlias, NoneType, UnionType

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
    if type(function) is not FunctionType or vars(function):
        return None  # it is wrapped, or says of itself what it takes
    code = function.__code__
    if code.co_posonlyargcount or code.co_flags & _STARRED:
        return None
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    asks_context = getattr(sys.modules.get("loomd.tools.context"), "ToolContext", _Unsure)
    values: dict[str, object] = {}
    try:
        for name, hint in zip(names, _hints(function, names), strict=True):
            if hint is asks_context and name not in arguments:
                values[name] = context()
            elif name in arguments:
                values[name] = _fit(hint, arguments[name])
    except _Unsure:
        return None
    complete = values.keys() >= _required(function, code) and values.keys() >= arguments.keys()
    return values if complete else None


def plain_json(value: object) -> str | None:
    """Return a value as JSON text, or None where it is more than plain JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")) if _is_plain(value, 0) else None


def _required(function: FunctionType, code: CodeType) -> set[str]:
    """Return the names of the parameters without a default."""
    named = code.co_varnames[: code.co_argcount]
    only = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    first = len(named) - len(function.__defaults__ or ())
    return {*named[:first], *(name for name in only if name not in (function.__kwdefaults__ or {}))}


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
