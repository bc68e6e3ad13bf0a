"""An object is one typed document; a snapshot is all of them at one revision. Both are immutable."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, NamedTuple

from pydantic import Field

from loomd.manifest.kind import Spec
from loomd.manifest.problem import Position

DnsName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", max_length=63)]
"""A DNS-1123 label: lower-case letters, digits and hyphens, at most 63 characters."""


class Ref(NamedTuple):
    """Names an object."""

    kind: str
    name: str
    namespace: str = "default"

    def __str__(self) -> str:
        """Return `Kind/name`, with the namespace when it is not `default`."""
        inside = "" if self.namespace == "default" else f"{self.namespace}/"
        return f"{self.kind}/{inside}{self.name}"


class Metadata(Spec):
    """Who an object is."""

    name: DnsName
    """Name of the object, unique for its kind within the namespace."""
    namespace: DnsName = "default"
    """Namespace that holds the object; references stay inside it."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Short key-value pairs that selectors match."""
    annotations: dict[str, str] = Field(default_factory=dict)
    """Free key-value pairs for tools and people; they change no behaviour."""


@dataclass(frozen=True)
class Object:
    """One typed document.

    Attributes:
        ref: kind, namespace and name.
        metadata: labels and annotations.
        spec: the typed spec; its class is the kind's, or the type's.
        raw: the spec as written (decoded JSON values), for display and storage.
        root: folder that relative paths in the spec start from and may not leave.
        position: where the document begins.
        places: JSON pointer -> position of that value in the file.
        refs: (JSON pointer, target) of every reference in the spec, in order.
        digest: SHA-256 over kind, name and the spec with defaults filled in: equal digests behave alike.
    """

    ref: Ref
    metadata: Metadata
    spec: Any
    raw: Mapping[str, Any]
    root: Path
    position: Position
    places: Mapping[str, Position] = field(default_factory=dict, repr=False, compare=False)
    refs: tuple[tuple[str, Ref], ...] = ()
    digest: str = ""

    def where(self, pointer: str) -> Position:
        """Return the position of the nearest known value at or above a JSON pointer."""
        while pointer and pointer not in self.places:
            pointer = pointer.rpartition("/")[0]
        return self.places.get(pointer, self.position)


@dataclass(frozen=True)
class Snapshot:
    """All objects at one revision, in an order in which each follows what it refers to.

    Attributes:
        objects: by ref, in dependency order.
        revision: first 12 hex digits of the SHA-256 over all digests; equal revisions behave alike.
    """

    objects: Mapping[Ref, Object]
    revision: str

    @staticmethod
    def of(ordered: Iterable[Object]) -> "Snapshot":
        """Return the snapshot of objects that are already in dependency order."""
        objects = {item.ref: item for item in ordered}
        digests = sorted(item.digest for item in objects.values())
        revision = hashlib.sha256("\n".join(digests).encode()).hexdigest()[:12]
        return Snapshot(MappingProxyType(objects), revision)

    def of_kind(self, kind: str) -> list[Object]:
        """Return the objects of one kind, in dependency order."""
        return [item for item in self.objects.values() if item.ref.kind == kind]


EMPTY = Snapshot.of(())
"""The snapshot before anything was applied."""
