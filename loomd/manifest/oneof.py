"""A type is a variant inside a spec (`type: http`), and the folder is the registry.

`Annotated[ToolSpec, OneOf("loomd.tools")]` is the base class for the type checker and, at run time, a union of all
subclasses found in that folder, told apart by their `Literal` field `type`; an abstract one only holds what several
have in common. Adding a type is adding a file, or installing a package that names one (see `foreign`).
`OneOf(folder, default="files")` is that type when none is written.

Of a folder only the types that manifests name are imported and built: each is looked for in the module that is called
like it, and only one that is not there is looked for in all of them.

Manifests use the names of manifests alone (`maxDepth`): what reads them calls `read_written`. Python programs may also
use those of the fields (`max_depth`), on every level.
"""

import importlib
import importlib.util
import pkgutil
from functools import cache, lru_cache
from inspect import isabstract
from types import ModuleType
from typing import Annotated, Any, Union, cast, get_args

import msgspec
from pydantic import BaseModel, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, TypeAdapter, ValidationInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema, to_json

from loomd.manifest.foreign import foreign_modules, is_core, refuse

_WRITTEN = {"names": "of manifests"}
"""What tells the types inside a value that it is read as a manifest writes it."""


def read_written(adapter: TypeAdapter[Any], value: object) -> Any:
    """Return a value as a manifest writes it: with the names of manifests alone.

    Raises:
        ValidationError: it is not valid.
    """
    return adapter.validate_python(value, by_alias=True, by_name=False, context=_WRITTEN)


class OneOf(msgspec.Struct, frozen=True):
    """Marks a field whose value is one of the types in a folder."""

    folder: str
    default: str = ""
    """Type of a value that does not say its own; by default it must."""

    def __get_pydantic_core_schema__(self, source: type[BaseModel], handler: GetCoreSchemaHandler) -> CoreSchema:
        """Leave it to the type that a value names, when there is one."""
        del handler
        if not is_core():
            find_types(self.folder, source)  # what a package brings and cannot be used is told of, named or not

        def read(value: object, info: ValidationInfo) -> object:
            value = self._typed(value)
            name = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
            chosen = find_type(self.folder, source, name) if isinstance(name, str) else None
            reader = _any(self.folder, source) if chosen is None else _alone(chosen)
            by_name = False if info.context is _WRITTEN else None
            if info.mode == "json":
                return reader.validate_json(to_json(value), by_alias=True, by_name=by_name, context=info.context)
            return reader.validate_python(value, by_alias=True, by_name=by_name, context=info.context)

        read.__name__ = source.__name__  # what is wrong with a value is told of under this name
        return core_schema.with_info_plain_validator_function(read, metadata={_BASE: source})

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Return a schema that holds all types, and says which is meant when none is written."""
        plain = cast("core_schema.PlainValidatorFunctionSchema", schema)
        base: type[BaseModel] = plain.get("metadata", {})[_BASE]
        variants = list(find_types(self.folder, base).values())
        if len(variants) == 1:
            only: JsonSchemaValue = handler(_alone(variants[0]).core_schema)["oneOf"][0]
            return only
        found = handler(_any(self.folder, base).core_schema)
        if self.default:
            del found["required"]
            found["properties"]["type"]["default"] = self.default
            meant = found["discriminator"]["mapping"][self.default]
            found["oneOf"] = [one if one["$ref"] == meant else {**one, "required": ["type"]} for one in found["oneOf"]]
        return found

    def _typed(self, value: object) -> object:
        if self.default and isinstance(value, dict) and "type" not in value:
            return {"type": self.default, **value}
        return value


class OrList(msgspec.Struct, frozen=True):
    """Marks a field whose value is one of the types in a folder, or a list of such values.

    Attributes:
        base: the abstract class of the family.
        one: which types.
        most: the longest list.
    """

    base: type[BaseModel]
    one: OneOf
    most: int

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Build a union that a list and anything else are told apart by, so that only what is meant is explained."""
        one = handler.generate_schema(Annotated[self.base, self.one])
        several = core_schema.list_schema(one, min_length=1, max_length=self.most)
        return core_schema.tagged_union_schema({"one": one, "several": several}, discriminator=_number)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Return both forms."""
        choices = cast("core_schema.TaggedUnionSchema", schema)["choices"]
        one, item = (self.one.__get_pydantic_json_schema__(choices["one"], handler) for _ in range(2))
        return {"anyOf": [one, {"type": "array", "items": item, "minItems": 1, "maxItems": self.most}]}


def _number(value: object) -> str:
    return "several" if isinstance(value, list) else "one"


_BASE = "base"
"""Where the core schema of a field keeps the abstract class of its family."""


class _Named(msgspec.Struct, frozen=True):
    """Marks a type as the only one of a union, so that what is wrong with it is told as of one of many."""

    name: str

    def __get_pydantic_core_schema__(self, source: type[BaseModel], handler: GetCoreSchemaHandler) -> CoreSchema:
        """Build a union of one."""
        return core_schema.tagged_union_schema({self.name: handler(source)}, discriminator="type")


@cache
def _alone(chosen: type[BaseModel]) -> TypeAdapter[Any]:
    """Return what reads values that name a type."""
    named: Any = cast("Any", Annotated)[chosen, _Named(_type_of(chosen))]
    return TypeAdapter(named)


@cache
def _any(folder: str, base: type[BaseModel]) -> TypeAdapter[Any]:
    """Return what reads values of any type in a folder."""
    variants = tuple(find_types(folder, base).values())
    if len(variants) == 1:
        return TypeAdapter(variants[0])
    union: Any = Union[variants]  # noqa: UP007  # built from a tuple at run time
    told_apart: Any = Annotated[union, Field(discriminator="type")]
    return TypeAdapter(told_apart)


@lru_cache(1024)
def find_type(folder: str, base: type[BaseModel], name: str) -> type[BaseModel] | None:
    """Return the type of a name, or None when there is none; other modules are imported only where it is not.

    Args:
        folder: dotted name of a package.
        base: the abstract class of the family.
        name: value of the field `type`.

    Raises:
        TypeError: see `find_types`.
    """
    own = name.replace("-", "_")
    if is_core() and own.isidentifier() and importlib.util.find_spec(f"{folder}.{own}") is not None:
        found: dict[str, type[BaseModel]] = {}
        _add(found, importlib.import_module(f"{folder}.{own}"), base)
        if name in found:
            return found[name]
    return find_types(folder, base).get(name)


@cache
def find_types(folder: str, base: type[BaseModel]) -> dict[str, type[BaseModel]]:
    """Return the subclasses of `base` defined in the modules of `folder`, by the value of their field `type`.

    Those of installed packages come after them; one that cannot be used is told of by `foreign.unusable`.

    Args:
        folder: dotted name of a package.
        base: the abstract class of the family.

    Raises:
        TypeError: a subclass has no `Literal` field `type`, two share one, or one that has it lacks a method.
    """
    package = importlib.import_module(folder)
    found: dict[str, type[BaseModel]] = {}
    for module in pkgutil.iter_modules(package.__path__, prefix=f"{folder}."):
        if module.ispkg:
            continue
        _add(found, importlib.import_module(module.name), base)
    for where, brought in foreign_modules(folder):
        more = dict(found)
        try:
            _add(more, brought, base)
        except TypeError as error:
            refuse(where, f"cannot be used: {error}")
        else:
            found = more
    return dict(sorted(found.items()))


def _add(found: dict[str, type[BaseModel]], module: ModuleType, base: type[BaseModel]) -> None:
    """Add the types of a module.

    Raises:
        TypeError: one does not say its name, says one that is taken, or lacks a method.
    """
    for value in vars(module).values():
        if _is_variant(value, base, module.__name__):
            name = _type_of(value)
            if isabstract(value):
                missing = ", ".join(sorted(f"`{one}`" for one in value.__abstractmethods__))
                raise TypeError(f"{module.__name__}.{value.__name__}: needs the method {missing}")
            if found.setdefault(name, value) is not value:
                raise TypeError(f"{module.__name__}: type {name!r} is already defined by {found[name].__module__}")


def _is_variant(value: Any, base: type[BaseModel], module: str) -> bool:
    """Return whether a class is a type of the family, and not a base that several of them share."""
    if not isinstance(value, type) or not issubclass(value, base) or value is base:
        return False
    return value.__module__ == module and not (isabstract(value) and "type" not in value.model_fields)


def _type_of(variant: type[BaseModel]) -> str:
    field = variant.model_fields.get("type")
    names = get_args(field.annotation) if field else ()
    if len(names) != 1 or not isinstance(names[0], str):
        raise TypeError(f"{variant.__module__}.{variant.__name__}: needs a field `type: Literal[...]` with one name")
    return names[0]
