"""A kind is a document (`kind: Agent`): its name, its plural, and the type of its spec.

The folder is the registry: every `loomd/<family>/kind.py` holds one constant `KIND`. This module finds them; it
imports no family by name, so what should be (manifests) never depends on what runs.

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
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter
from pydantic.alias_generators import to_camel

API_VERSION = "loomd.dev/v1"


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

    def check(self, root: Path) -> Iterator[tuple[str, ...]]:
        """Yield what is wrong with the files and folders that this spec names; by default nothing.

        Called by validation after the types are right, so it must be quick and free of SDKs; it never changes a file.

        Args:
            root: folder that relative paths start from and may not leave.

        Yields:
            a JSON pointer relative to this spec in the names of the manifest (`/file`, `/sources/0/path`), one
            sentence that says what was expected and what was found, and the problem's code when it is not `bad-file`.
        """
        del root
        yield from ()

    def reads(self, root: Path) -> Iterator[Path]:
        """Yield the files whose contents are part of what this spec does; by default none.

        A change of one of them is a change of the object: it gets a new digest and is opened anew.

        Args:
            root: folder that relative paths start from.
        """
        del root
        yield from ()


@dataclass(frozen=True)
class RefTo:
    """Marks a string field as the name of an object of another kind in the same namespace."""

    kind: str

    def __get_pydantic_json_schema__(self, core_schema: Any, handler: Any) -> dict[str, Any]:
        """Add `x-loomd-ref` to the field's JSON Schema."""
        return {**handler(core_schema), "x-loomd-ref": self.kind}


@dataclass(frozen=True)
class Kind:
    """One kind of document.

    Attributes:
        name: PascalCase, as written in `kind:`.
        plural: lower-case, as used in URLs and by `loomd get`.
        spec: a `Spec` class, or `Annotated[Base, OneOf(folder)]` for a kind with types.
        summary: one sentence for `loomd explain`.
        implicit: makes the spec of an object named `default` for a namespace that declares none of this kind, from
            the names of its objects by kind; returns None when there is nothing to make one from.
    """

    name: str
    plural: str
    spec: Any
    summary: str
    implicit: Callable[[Mapping[str, Sequence[str]]], dict[str, object] | None] | None = None

    @property
    def adapter(self) -> TypeAdapter[Any]:
        """Return the validator of this kind's spec, built on first use."""
        return _adapter(self)


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
