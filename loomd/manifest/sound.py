"""Finds the specs inside a document that are valid by themselves, though the document is not. Called by `convert`.

What they name (files, patterns) and select can be looked at all the same, so that all that is wrong is told at once.
"""

import types
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from inspect import isabstract
from typing import Annotated, Any, Union, cast, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError

from loomd.manifest.marks import Marked, find_marked
from loomd.manifest.mention import Mention
from loomd.manifest.oneof import OneOf, OrList, find_type, find_types, read_written
from loomd.manifest.selector import SelectorOf
from loomd.manifest.wording import escape


def find_sound(value: Any, annotation: Any, pointer: str) -> Iterator[Marked]:
    """Yield what is marked in the outermost specs that are valid by themselves, themselves included.

    Args:
        value: decoded JSON.
        annotation: the type that it should have.
        pointer: where it is.
    """
    origin, args = get_origin(annotation), get_args(annotation)
    if isinstance(value, dict):
        if (model := _model_of(value, annotation)) is not None:
            yield from _of_model(value, model, annotation, pointer)
            return
        if origin is dict:
            for key, item in value.items():
                place = f"{pointer}/{escape(str(key))}"
                yield from (Marked(place, key, mark) for mark in _mentions(get_args(args[0])))
                yield from find_sound(item, args[1], place)
    if isinstance(value, list) and origin in (list, tuple) and args:
        for at, item in enumerate(value):
            yield from find_sound(item, args[0], f"{pointer}/{at}")
    elif origin is Annotated:
        yield from _of_annotated(value, args, pointer)
    elif origin in (Union, types.UnionType):
        for arm in args:
            yield from find_sound(value, arm, pointer)


def _of_annotated(value: Any, args: tuple[Any, ...], pointer: str) -> Iterator[Marked]:
    """Yield what is marked in a value whose type has marks: `args` are the type and these."""
    if (selects := next((one for one in args[1:] if isinstance(one, SelectorOf)), None)) is not None:
        with suppress(ValidationError):
            yield Marked(pointer, _adapter(args[0]).validate_python(value, by_alias=True, by_name=False), selects)
        return
    if isinstance(value, str) and (mentions := _mentions(args)):
        with suppress(ValidationError):
            text = _adapter(_annotated(*args)).validate_python(value)
            yield from (Marked(pointer, text, mark) for mark in mentions)
        return
    several = next((one for one in args[1:] if isinstance(one, OrList)), None)
    yield from find_sound(value, args[0] if several is None else _either(several), pointer)


def _mentions(args: tuple[Any, ...]) -> list[Mention]:
    return [one for one in args[1:] if isinstance(one, Mention)]


def _of_model(value: dict[str, Any], model: type[BaseModel], annotation: Any, pointer: str) -> Iterator[Marked]:
    """Yield what is marked in a spec, or in the sound ones inside it when it is none."""
    try:
        spec = read_written(_adapter(annotation), value)
    except ValidationError:
        for name, info in model.model_fields.items():
            alias = info.alias or name
            if alias in value:
                inner = _annotated(info.annotation, *info.metadata) if info.metadata else info.annotation
                yield from find_sound(value[alias], inner, f"{pointer}/{alias}")
    else:
        yield from find_marked(spec, pointer)


def _model_of(value: dict[str, Any], annotation: Any) -> type[BaseModel] | None:
    """Return the class that a mapping is meant as; None where that is not known, or it is meant as no spec."""
    if isinstance(annotation, type):
        return annotation if issubclass(annotation, BaseModel) and not isabstract(annotation) else None
    args = get_args(annotation)
    one = next((mark for mark in args[1:] if isinstance(mark, OneOf)), None)
    if get_origin(annotation) is not Annotated or one is None:
        return None
    name = value.get("type", one.default)
    if not name:
        types_ = list(find_types(one.folder, args[0]).values())
        return types_[0] if len(types_) == 1 else None
    return find_type(one.folder, args[0], name) if isinstance(name, str) else None


def _either(several: OrList) -> Any:
    one = _annotated(several.base, several.one)
    return cast("Any", Union)[one, cast("Any", list)[one]]


def _annotated(annotation: Any, *marks: Any) -> Any:
    return cast("Any", Annotated)[(annotation, *marks)]


@cache
def _adapter(annotation: Any) -> TypeAdapter[Any]:
    return TypeAdapter(annotation)
