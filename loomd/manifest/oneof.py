"""A type is a variant inside a spec (`type: http`), and the folder is the registry.

`Annotated[ToolSpec, OneOf("loomd.tools")]` is the base class for the type checker and, at run time, a union of all
subclasses found in that folder, told apart by their `Literal` field `type`; an abstract one only holds what several
have in common. Adding a type is adding a file, or installing a package that names one (see `foreign`).
`OneOf(folder, default="files")` is that type when none is written.
"""

import importlib
import pkgutil
from dataclasses import dataclass
from functools import cache
from inspect import isabstract
from types import ModuleType
from typing import Annotated, Any, Union, cast, get_args

from pydantic import BaseModel, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from loomd.manifest.foreign import foreign_modules, refuse


@dataclass(frozen=True)
class OneOf:
    """Marks a field whose value is one of the types in a folder."""

    folder: str
    default: str = ""
    """Type of a value that does not say its own; by default it must."""

    def __get_pydantic_core_schema__(self, source: type[BaseModel], handler: GetCoreSchemaHandler) -> CoreSchema:
        """Build the discriminated union of the types found in the folder."""
        variants = tuple(find_types(self.folder, source).values())
        if len(variants) == 1:
            return handler.generate_schema(variants[0])
        union: Any = Union[variants]  # noqa: UP007  # built from a tuple at run time
        found = handler.generate_schema(Annotated[union, Field(discriminator="type")])
        return core_schema.no_info_before_validator_function(self._typed, found) if self.default else found

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Say in the JSON Schema which type is meant when none is written."""
        found = handler(schema)
        if self.default:
            del found["required"]
            found["properties"]["type"]["default"] = self.default
            meant = found["discriminator"]["mapping"][self.default]
            found["oneOf"] = [one if one["$ref"] == meant else {**one, "required": ["type"]} for one in found["oneOf"]]
        return found

    def _typed(self, value: object) -> object:
        return {"type": self.default, **value} if isinstance(value, dict) and "type" not in value else value


@dataclass(frozen=True)
class OrList:
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


@cache
def find_types(folder: str, base: type[BaseModel]) -> dict[str, type[BaseModel]]:
    """Return the subclasses of `base` defined in the modules of `folder`, by the value of their field `type`.

    Those of installed packages come after them; one that cannot be used is told of by `foreign.unusable`.

    Args:
        folder: dotted name of a package.
        base: the abstract class of the family.

    Raises:
        TypeError: a subclass has no `Literal` field `type`, or two share one.
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
        TypeError: one does not say its name, or says one that is taken.
    """
    for value in vars(module).values():
        if _is_variant(value, base, module.__name__):
            name = _type_of(value)
            if found.setdefault(name, value) is not value:
                raise TypeError(f"{module.__name__}: type {name!r} is already defined by {found[name].__module__}")


def _is_variant(value: Any, base: type[BaseModel], module: str) -> bool:
    """Return whether a class is a type of the family, and not a base that several of them share."""
    if not isinstance(value, type) or not issubclass(value, base) or value is base:
        return False
    return value.__module__ == module and not isabstract(value)


def _type_of(variant: type[BaseModel]) -> str:
    field = variant.model_fields.get("type")
    names = get_args(field.annotation) if field else ()
    if len(names) != 1 or not isinstance(names[0], str):
        raise TypeError(f"{variant.__module__}.{variant.__name__}: needs a field `type: Literal[...]` with one name")
    return names[0]
