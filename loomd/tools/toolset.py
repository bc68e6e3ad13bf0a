"""Tool sets: one Tool object that brings many tools, each with a schema and rules of its own.

A type of set is one module here with one class that inherits `ToolSetSpec`. Which tools are chosen, what they are
called and which rules hold for each is the same for every set and stands here. Called by the types of sets.
"""

import hashlib
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Protocol, Self, runtime_checkable

import msgspec
from pydantic import Field, JsonValue

from loomd.manifest.kind import Reload, Spec
from loomd.manifest.quantity import Bytes, Duration
from loomd.manifest.rule import PATTERN_MESSAGE
from loomd.manifest.wording import did_you_mean, escape
from loomd.messages import JsonObject, ToolSchema
from loomd.tools.base import Approval, Effects, OnUncertain, ToolSpec
from loomd.topology import Parts

LONGEST = 64
"""Longest name of a tool that every model service takes."""
_OTHER = re.compile(r"[^a-zA-Z0-9_-]")
_PREFIX: dict[str, JsonValue] = {PATTERN_MESSAGE: 'expected at most 40 letters, digits, "_" and "-"'}
_MARK = 8


class Override(Spec):
    """What is declared of one tool of a set, in the place of what the set declares of all."""

    description: str | None = Field(default=None, examples=["Reads one file of the handbook."])
    """What the tool does and when to use it, for the model; by default what the set's source says."""
    effects: Effects | None = None
    """What a call does to the world."""
    idempotent: bool | None = None
    """Whether the same call may be made twice without harm."""
    on_uncertain: OnUncertain | None = None
    """What is done when a call that may not be made twice was begun before a crash."""
    approval: Annotated[Approval | None, Reload("immediate")] = None
    """Whether a person must agree to a call."""
    timeout: Duration | None = Field(default=None, gt=0, examples=["2m"])
    """Longest time for one call."""
    max_output: Bytes | None = Field(default=None, ge=1, examples=["16Ki"])
    """Longest result that is handed to the model."""


class ToolSetSpec(ToolSpec):
    """Many tools at once. Each type adds its field `type`, and says where the tools come from."""

    description: str = Field(default="", examples=["The files of the office."])
    """What the tools are for, for people; each tool says itself what it does."""
    prefix: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{0,40}$", json_schema_extra=_PREFIX)] | None = Field(
        default=None, examples=["wiki_"]
    )
    """What stands before the name of each tool, so that tools of two sets are told apart; by default the object's name
    and `_`, with an empty text nothing."""
    include: Annotated[list[str], Reload("immediate")] = Field(default=[], examples=[["read_file", "list_directory"]])
    """The tools that are offered, by their own names; none means all that `exclude` does not name."""
    exclude: Annotated[list[str], Reload("immediate")] = Field(default=[], examples=[["delete_file"]])
    """Tools that are not offered, by their own names."""
    overrides: dict[str, Override] = Field(
        default_factory=dict, examples=[{"read_file": {"effects": "read", "timeout": "10s"}}]
    )
    """What is declared of single tools, by their own names; what is not said there holds as the set declares it."""

    def brings(self, name: str) -> str:
        """Return how the names of its tools begin."""
        return f"{name_of(name, self.prefix, '')}*"

    def one(self, tool: str) -> Self:
        """Return what is declared of one tool, as if it were declared alone."""
        override = self.overrides.get(tool)
        if override is None:
            return self
        said = {name: value for name, value in override if value is not None and name != "description"}
        return self.model_copy(update=said)

    def chosen(self, *names: str) -> bool:
        """Return whether a tool is offered; a set may know it by several names, such as its tags."""
        wanted = not self.include or any(name in self.include for name in names)
        return wanted and not any(name in self.exclude for name in names)

    def described(self, tool: str, description: str) -> str:
        """Return what a model is told of a tool: what the manifest says, or else its source."""
        override = self.overrides.get(tool)
        return description if override is None or override.description is None else override.description

    def unknown(self, names: Collection[str], groups: Collection[str] = ()) -> Iterator[tuple[str, str, str]]:
        """Yield, as `check` does, the names in the manifest that no tool has.

        Args:
            names: own names of all tools.
            groups: other words by which tools may be chosen.
        """
        known = [*names, *groups]
        for field, words in (("include", self.include), ("exclude", self.exclude)):
            for at, word in enumerate(words):
                if word not in known:
                    yield f"/{field}/{at}", _unknown(word, known), "invalid-value"
        for word in self.overrides:
            if word not in names:
                yield f"/overrides/{escape(word)}", _unknown(word, names), "invalid-value"

    def declared_in(self, root: Path, owner: str) -> Sequence["Declared"]:
        """Return the tools that are offered, as far as the manifest says it without opening anything.

        Args:
            root: folder that relative paths start from.
            owner: name of the object.

        Raises:
            Permanent: what the manifest names cannot be used.
        """
        del root, owner
        return ()


class Declared(NamedTuple):
    """One tool of a set: its own name, what a model is told of it, and what is declared of it alone."""

    tool: str
    schema: ToolSchema
    spec: ToolSpec


class Listed(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """How one tool of a set stands, for people.

    Attributes:
        name: what models call it.
        tool: its own name.
        state: `Offered`; `Excluded` by the manifest; `Drifted`, changed since a person saw it; `Gone` from its source;
            `Unusable` for models.
        effects: what a call does to the world.
        approval: whether a person must agree to a call.
        pin: hash of what is said of it now, where that may change.
        message: why it is not offered.
        before: of one that changed, what a person saw, as far as that is known.
        after: what its source says now.
    """

    name: str
    tool: str
    state: Literal["Offered", "Excluded", "Drifted", "Gone", "Unusable"]
    effects: Effects
    approval: Literal["never", "always"]
    pin: str = ""
    message: str = ""
    before: JsonObject | None = None
    after: JsonObject | None = None


@runtime_checkable
class Listing(Protocol):
    """A live set that tells people how its tools stand; having the method is enough."""

    def listed(self) -> Sequence[Listed]:
        """Return every tool, in order of their own names."""
        ...


def name_of(owner: str, prefix: str | None, tool: str) -> str:
    """Return what models call a tool of a set: letters, digits, `_` and `-`, at most 64.

    Args:
        owner: name of the object.
        prefix: what the manifest says; None for the default.
        tool: the tool's own name.
    """
    whole = (f"{owner}_" if prefix is None else prefix) + tool
    name = _OTHER.sub("_", whole)
    if len(name) <= LONGEST:
        return name
    mark = hashlib.sha256(whole.encode()).hexdigest()[:_MARK]
    return f"{name[: LONGEST - _MARK - 1]}_{mark}"


def barred(parts: Parts, tool: str, *groups: str) -> str:
    """Return why a tool of a set may not be called any more, for the model; empty as long as the manifest offers it.

    Args:
        parts: what opened the set.
        tool: its own name.
        groups: other words by which it may be chosen.
    """
    item = parts.latest()
    if item is None or not isinstance(item.spec, ToolSetSpec) or item.spec.chosen(tool, *groups):
        return ""
    revision = parts.services.serving.snapshot.revision
    return f'the tool "{tool}" was withdrawn at revision {revision}: go on without it'


def _unknown(word: str, known: Collection[str]) -> str:
    hint = did_you_mean(word, known, "there are")
    return f'expected the name of a tool, got "{word}"{f": {hint}" if hint else ": there are none"}'
