"""A kind is a document (`kind: Agent`): its name, its plural, and the type of its spec.

The folder is the registry: every `loomd/<family>/kind.py` holds one constant `KIND`. This module finds them; it
imports no family by name, so what should be (manifests) never depends on what runs. The spec of a kind is imported
when a manifest of that kind is there.

A spec that names files or folders overrides `Spec.check`: it is called when manifests are validated, for the spec of
an object and for every spec nested in it, and what it yields becomes a problem at the position of the value.
"""

import importlib
import importlib.util
import pkgutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal, Self, cast

import msgspec
from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, TypeAdapter
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema, core_schema

from loomd.manifest.oneof import OneOf
from loomd.manifest.version import OldVersion

API_VERSION = "loomd.dev/v1"

ReloadClass = Literal["immediate", "new-tasks", "restart"]
"""When a changed field takes effect: at once and on running tasks too, on tasks that start later, or at a restart."""


class Spec(BaseModel):
    """Base of everything that is written in a manifest: frozen, strict, camelCase, unknown fields refused.

    The docstring under each field is the text that a YAML editor shows.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        defer_build=True,
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        protected_namespaces=(),
    )

    _begun: ClassVar[set[type[BaseModel]]] = set()

    @classmethod
    def __get_pydantic_core_schema__(cls, source: type[BaseModel], handler: GetCoreSchemaHandler) -> CoreSchema:
        """Build a spec before what it is part of, which then takes it as it is: it is built once."""
        if not cls.__pydantic_complete__ and cls not in cls._begun:
            cls._begun.add(cls)
            try:
                cls.model_rebuild()
            finally:
                cls._begun.discard(cls)
        return handler(source)

    keeps_files: ClassVar[bool] = True
    """Whether the contents of the files that it reads are kept with a revision; documents that are indexed are not."""

    def check(self, root: Path) -> Iterator[tuple[str, ...]]:
        """Yield what is wrong with the files and folders that this spec names; by default nothing.

        Called by validation after the types are right, so it must be quick and free of SDKs; it never changes a file.
        For a spec that reads nothing, and of which nothing is wrong, it is called once.

        Args:
            root: folder that relative paths start from and may not leave.

        Yields:
            a JSON pointer relative to this spec in the names of the manifest (`/file`, `/sources/0/path`), one
            sentence `expected A, got B: next act`, and the problem's code when it is not `bad-file`; what hangs on the
            machine has one of `WARNINGS` and keeps nothing from being applied.
        """
        del root
        yield from ()

    def reads(self, root: Path) -> Iterator[Path]:
        """Yield the files whose contents are part of what this spec does; by default none.

        A change of one of them is a change of the object: it gets a new digest and is opened anew. What they hold is
        kept with every revision, so that it runs with its own files, see `keeps_files`.

        Args:
            root: folder that relative paths start from; what is yielded is below it, as it is named.
        """
        del root
        yield from ()

    def means(self, old: Self) -> Iterator[str]:
        """Yield what a change from another spec of the same type means beyond the fields that differ.

        For a plan that people read: one clause each, for example `its index is built anew`. Pure and quick.

        Args:
            old: the spec that serves now.
        """
        del old
        yield from ()

    def brings(self, name: str) -> str:
        """Return by which names others speak of what the object brings, as a pattern; by default by its own.

        Args:
            name: of the object.
        """
        return name

    def behaviour(self) -> "Behaviour | None":
        """Return what of this spec decides how the object behaves, for kinds whose behaviour is scored; else None."""
        return None


class Behaviour(msgspec.Struct, frozen=True):
    """What decides how an object behaves; learned scores belong to its digest.

    Attributes:
        said: the fields of the spec that count, as JSON values.
        used: kind and name of the objects whose own digests count.
        selected: JSON pointers of selectors; the digests of what they select count, too.
    """

    said: Mapping[str, object]
    used: Sequence[tuple[str, str]]
    selected: Sequence[str] = ()


class Reload(msgspec.Struct, frozen=True):
    """Marks a field whose change takes effect at another time than `new-tasks`, the default of every field."""

    when: ReloadClass

    def __get_pydantic_json_schema__(self, core_schema: Any, handler: Any) -> dict[str, Any]:
        """Set `x-loomd-reload` in the field's JSON Schema."""
        return {**handler(core_schema), "x-loomd-reload": self.when}


class RefTo(msgspec.Struct, frozen=True):
    """Marks a string field as the name of an object of another kind in the same namespace.

    A manifest may also write `{kind: Provider, name: openai}`; the value of the field is the name either way.
    """

    kind: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Take the name out of a mapping of kind and name."""
        return core_schema.no_info_before_validator_function(self._name, handler(source))

    def __get_pydantic_json_schema__(self, core_schema: Any, handler: Any) -> dict[str, Any]:
        """Add `x-loomd-ref` and the second form to the field's JSON Schema."""
        fields = {
            "kind": {"description": "Kind of the object that is meant.", "type": "string", "const": self.kind},
            "name": {"description": "Its name.", "type": "string", "minLength": 1, "examples": [self.kind.lower()]},
        }
        both = {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}
        return {"x-loomd-ref": self.kind, "anyOf": [handler(core_schema), both]}

    def _name(self, value: object) -> object:
        """Return the name in `{kind, name}`, and anything else as it is: the type of the field judges it."""
        if not isinstance(value, dict):
            return value
        if value.keys() != {"kind", "name"} or value["kind"] != self.kind or not value["name"]:
            raise ValueError(f"expected a name, or a mapping with kind {self.kind} and a name")
        return value["name"]


class Shorthand(msgspec.Struct, frozen=True):
    """How a reference `head/rest` to a kind stands for an object that nobody declares.

    The head is the name of a declared object, which is meant with another value of `field`, or one of `heads`.

    Attributes:
        field: what the rest is, in the names of the manifest.
        heads: the spec of the object without that field, by head.
    """

    field: str
    heads: Mapping[str, Mapping[str, object]]


@dataclass(frozen=True, eq=False)
class Kind:
    """One kind of document.

    Attributes:
        name: PascalCase, as written in `kind:`.
        plural: lower-case, as used in URLs and by `loomd get`.
        spec_at: where its `Spec` class is, as `module:Class`, or a function that returns it.
        summary: one sentence for `loomd explain`.
        types: folder of its types, as a dotted name, for a kind with types; the class is their base then.
        implicit: makes the spec of an object named `default` for a namespace that declares none of this kind, from
            the names of its objects by kind; returns None when there is nothing to make one from.
        versions: older forms of this kind that are still read.
        shorthand: what a reference with a slash stands for; without it, for nothing.
        sent: whether people send its objects by hand, so that one that nothing names is of use.
    """

    name: str
    plural: str
    spec_at: str | Callable[[], Any]
    summary: str
    types: str = ""
    implicit: Callable[[Mapping[str, Sequence[str]]], dict[str, object] | None] | None = None
    versions: tuple[OldVersion, ...] = ()
    shorthand: Shorthand | None = None
    sent: bool = False

    @property
    def spec(self) -> Any:
        """Return the type of this kind's spec, imported on first use."""
        return _spec(self)

    @property
    def adapter(self) -> TypeAdapter[Any]:
        """Return the validator of this kind's spec, built on first use."""
        return _adapter(self)


@cache
def _spec(kind: Kind) -> Any:
    if not isinstance(kind.spec_at, str):
        return kind.spec_at()
    module, _, name = kind.spec_at.partition(":")
    base = getattr(importlib.import_module(module), name)
    return cast("Any", Annotated)[base, OneOf(kind.types)] if kind.types else base


@cache
def _adapter(kind: Kind) -> TypeAdapter[Any]:
    return TypeAdapter(kind.spec)


@cache
def find_kinds(package: str = "loomd") -> Mapping[str, Kind]:
    """Return every kind found in `<package>/<family>/kind.py`, by name.

    The result is ordered by name. Families are found by their folder; importing them loads no SDK.
    """
    root = importlib.import_module(package)
    found: dict[str, Kind] = {}
    for family in pkgutil.iter_modules(root.__path__):
        if not family.ispkg or importlib.util.find_spec(f"{package}.{family.name}.kind") is None:
            continue
        kind = getattr(importlib.import_module(f"{package}.{family.name}.kind"), "KIND", None)
        if isinstance(kind, Kind):
            found[kind.name] = kind
    return MappingProxyType(dict(sorted(found.items())))
