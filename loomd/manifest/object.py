"""An object is one typed document; a snapshot is all of them at one revision. Both are immutable."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, NamedTuple

from pydantic import Field, JsonValue

from loomd.errors import NotFound
from loomd.manifest.kind import Reload, Spec
from loomd.manifest.problem import Position, Problem
from loomd.manifest.rule import PATTERN_MESSAGE

_NAME_RULE: dict[str, JsonValue] = {PATTERN_MESSAGE: "expected lower-case letters, digits and hyphens, at most 63"}

DnsName = Annotated[
    str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", max_length=63, json_schema_extra=_NAME_RULE)
]
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

    def missing(self) -> NotFound:
        """Return the error that there is no such object, with what to do."""
        text = f"no {self.kind} {self.name!r} in namespace {self.namespace}: `loomd get all` shows what there is"
        return NotFound(text)


_LONGEST = 63
"""Most characters of a name."""


def object_name(reference: str) -> str:
    """Return the name of the object that a reference means; `openai/gpt-5.1` means `openai-gpt-5-1`.

    An object of that name that is declared is what is meant; otherwise it is made, see `shorthand`.
    """
    if "/" not in reference:
        return reference
    plain = re.sub(r"[^a-z0-9]+", "-", reference.lower()).strip("-")
    if len(plain) <= _LONGEST:
        return plain
    digest = hashlib.sha256(reference.encode()).hexdigest()[:8]
    return f"{plain[: _LONGEST - 9].rstrip('-')}-{digest}"


class Metadata(Spec):
    """Who an object is."""

    name: DnsName = Field(examples=["research-agent"])
    """Name of the object, unique for its kind within the namespace."""
    namespace: DnsName = "default"
    """Namespace that holds the object; references stay inside it."""
    labels: Annotated[dict[str, str], Reload("immediate")] = Field(default_factory=dict, examples=[{"team": "docs"}])
    """Short key-value pairs that selectors match."""
    annotations: Annotated[dict[str, str], Reload("immediate")] = Field(
        default_factory=dict, examples=[{"owner": "ada@example.com"}]
    )
    """Free key-value pairs for tools and people; they change no behaviour."""


class NamedFile(NamedTuple):
    """A file that an object reads, kept with the revision.

    Attributes:
        path: as it is named, below the root.
        target: where it lies below the root, with links resolved.
        digest: SHA-256 of its contents.
    """

    path: str
    target: str
    digest: str


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
        refs: (JSON pointer, target) of every reference in the spec, in order, and of all that its selectors select.
        digest: SHA-256 over kind, name and the spec with defaults filled in: equal digests behave alike.
        base: what tells one root from another: the root itself, or the name of a source whose files never change in
            place, so that another root with the same contents is no change.
        selects: JSON pointers of its selectors.
        reads: the files that it reads and that are kept with it, sorted.
        copies: folder with those files as they were kept, when the ones below the root are others by now.
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
    base: str = ""
    selects: frozenset[str] = frozenset()
    reads: tuple[NamedFile, ...] = field(default=(), repr=False)
    copies: Path | None = None

    @property
    def folder(self) -> Path:
        """Return the folder in which the files that it names are read."""
        return self.copies or self.root

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
        pending: objects that cannot come alive because they refer, directly or through others, to something that is
            not there, with the references that lead nowhere.
        warnings: what is not wrong and should be looked at, sorted.
    """

    objects: Mapping[Ref, Object]
    revision: str
    pending: Mapping[Ref, tuple[Problem, ...]] = field(default_factory=dict)
    warnings: tuple[Problem, ...] = ()

    @staticmethod
    def of(
        ordered: Iterable[Object],
        pending: Mapping[Ref, tuple[Problem, ...]] = MappingProxyType({}),
        warnings: Iterable[Problem] = (),
    ) -> "Snapshot":
        """Return the snapshot of objects that are already in dependency order."""
        objects = {item.ref: item for item in ordered}
        digests = sorted(item.digest for item in objects.values())
        revision = hashlib.sha256("\n".join(digests).encode()).hexdigest()[:12]
        return Snapshot(MappingProxyType(objects), revision, pending, tuple(sorted(warnings)))

    def of_kind(self, kind: str) -> list[Object]:
        """Return the objects of one kind, in dependency order."""
        return [item for item in self.objects.values() if item.ref.kind == kind]

    def behaviour(self, ref: Ref) -> str:
        """Return the digest of how an object behaves, or an empty string for kinds whose behaviour is not scored.

        What an object merely says of itself is no part of it: an edit of that keeps the learned scores.
        """
        item = self.objects[ref]
        found = item.spec.behaviour()
        if found is None:
            return ""
        refs = [Ref(kind, object_name(name), ref.namespace) for kind, name in found.used]
        refs += [to for pointer, to in item.refs if pointer in found.selected]
        used = (self.objects.get(one) for one in refs)
        text = json.dumps([found.said, [item.digest if item else "" for item in used]], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


EMPTY = Snapshot.of(())
"""The snapshot before anything was applied."""
