"""What verbs share that are about remembered items: whose they are, and which memory's."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])
Filters = dict[str, str]
"""What items must have, by the names of the API."""

_SCOPES = ("agent", "session", "user", "tenant", "shared")
_OPTIONS: tuple[tuple[str, click.ParamType[str] | None, str], ...] = (
    ("scope", click.Choice(_SCOPES), "Only items of this scope."),
    ("level", click.Choice(("working", "long")), "Only working facts, or what is long-term."),
    ("agent", None, "Only what this agent heard."),
    ("tenant", None, "Only what was said for this tenant."),
    ("user", None, "Only what was said for this user."),
    ("session", None, "Only what was said in this session."),
    ("task", None, "Only what was said in this task."),
)
FILTERS = tuple(f"--{name}" for name, _, _ in _OPTIONS)
_WORD = "memory"


def filter_options(function: F) -> F:
    """Add `--scope`, `--agent` and what else narrows items; the verb gets `filters`."""

    def verb(**given: Any) -> Any:
        named = {name: given.pop(name) for name, _, _ in _OPTIONS}
        return function(filters={name: value for name, value in named.items() if value is not None}, **given)

    verb.__doc__, verb.__name__ = function.__doc__, function.__name__
    verb.__click_params__ = getattr(function, "__click_params__", [])  # type: ignore[attr-defined]  # as click keeps them
    wrapped: Any = verb
    for name, kind, text in reversed(_OPTIONS):
        wrapped = click.option(f"--{name}", name, type=kind, help=text)(wrapped)
    result: F = wrapped
    return result


def memory_of(what: Sequence[str]) -> str | None:
    """Return the memory whose items are asked for: empty for all, None when something else is asked for.

    `memory` is what is remembered, as `memory` or `memory/NAME`; `memories` are the objects.

    Raises:
        UsageError: several are asked for at once.
    """
    kind, _, name = what[0].partition("/")
    if kind.lower() != _WORD:
        return None
    names = [one for one in (name, *what[1:]) if one]
    if len(names) > 1:
        raise click.UsageError("expected one memory, or none for what all of them remember")
    return names[0] if names else ""
