"""The tools of an agent by the names that its model sees: one from each Tool object, or the many of a tool set.

A set may change while work runs (a server learns a tool, a tool drifts), so that names are looked up whenever they are
asked for. Called by the agent, its loop and its cluster.
"""

import re
from collections.abc import Collection, ItemsView, Iterator, Mapping, Sequence

from loomd.agents.base import Tool, ToolSet
from loomd.errors import Permanent

NAME = re.compile(r"^[a-zA-Z0-9_-]{1,64}$")
"""What every model service takes as the name of a tool."""


class Toolbox(Mapping[str, Tool]):
    """Live tools by name. Of two with one name the first counts: `check` finds them, when the agent opens."""

    def __init__(self, objects: Mapping[str, Tool | ToolSet]) -> None:
        """Take what the agent refers to, by the names of the Tool objects, in the order of the agent's list."""
        self._sets = {name: thing for name, thing in objects.items() if isinstance(thing, ToolSet)}
        self._single = {name: (thing,) for name, thing in objects.items() if not isinstance(thing, ToolSet)}
        self._order = tuple(objects)
        self._seen: tuple[Sequence[Tool], ...] = ()
        self._known: dict[str, Tool] = {}
        self._owners: dict[str, str] = {}

    def __getitem__(self, name: str) -> Tool:
        return self._named()[name]

    def __contains__(self, name: object) -> bool:
        return name in self._named()

    def __iter__(self) -> Iterator[str]:
        return iter(self._named())

    def __len__(self) -> int:
        return len(self._named())

    def __bool__(self) -> bool:
        return bool(self._order) and len(self) > 0

    def items(self) -> ItemsView[str, Tool]:
        """Return names and tools, as they are now."""
        return self._named().items()

    def get(self, name: str, default: Tool | None = None) -> Tool | None:  # type: ignore[override]  # narrower than needed
        """Return the tool of a name."""
        return self._named().get(name, default)

    def owner(self, name: str) -> str:
        """Return the name of the Tool object that brings a tool; the tool's own name when there is no such tool."""
        self._named()
        return self._owners.get(name, name)

    def check(self, reserved: Collection[str] = ()) -> None:
        """Refuse names that a model could not tell apart, or that no model service takes.

        Args:
            reserved: names of loomd's own tools for this agent.

        Raises:
            Permanent: two objects bring tools of one name, or a name cannot be used; the text says what to change.
        """
        owners: dict[str, str] = {}
        for owner, tool in self._all():
            name = tool.schema.name
            if not NAME.match(name):
                text = f'Tool/{owner}: expected 1 to 64 letters, digits, "_" and "-" as the name of a tool'
                raise Permanent(f'{text}, got "{name}": set spec.prefix')
            if name in reserved:
                raise Permanent(
                    f'Tool/{owner}: expected a tool of another name, got "{name}": loomd has one of that name'
                )
            first = owners.setdefault(name, owner)
            if first != owner:
                text = f'expected tools with names of their own, got "{name}" from Tool/{first} and from Tool/{owner}'
                raise Permanent(f"{text}: set spec.prefix of one of them, or leave the tool out with spec.exclude")

    def _named(self) -> dict[str, Tool]:
        """Return the tools by name; put together anew when a set has other tools."""
        if self._known and not self._sets:
            return self._known
        seen = tuple(one.tools for one in self._sets.values())
        if not self._known or any(one is not other for one, other in zip(seen, self._seen, strict=True)):
            self._known, self._owners = {}, {}
            for owner, tool in self._all():
                self._known.setdefault(tool.schema.name, tool)
                self._owners.setdefault(tool.schema.name, owner)
            self._seen = seen
        return self._known

    def _all(self) -> Iterator[tuple[str, Tool]]:
        for owner in self._order:
            for tool in self._single.get(owner) or self._sets[owner].tools:
                yield owner, tool


def sets_of(tools: Mapping[str, Tool]) -> Collection[ToolSet]:
    """Return the sets that some of an agent's tools come from, which may offer others later."""
    return tools._sets.values() if isinstance(tools, Toolbox) else ()  # noqa: SLF001  # a function of this class
