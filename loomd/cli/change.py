"""A plan for people: what is created, changed field by field, replaced and deleted, and what that means.

Text comes from manifests, so that nothing in it may steer a terminal. Called by `plan`, `diff`, `apply` and `rollout`.
"""

import difflib
import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import click

from loomd.api.client import Json
from loomd.api.text import to_yaml
from loomd.cli.colour import BOLD, CYAN, GREEN, GREY, RED, YELLOW, Paint, painter
from loomd.cli.problems import render
from loomd.manifest.problem import Problem
from loomd.manifest.source import printable

_HIDDEN = "(hidden) -> (hidden), another value"
"""Stands for two values whose difference is not shown."""
_SIGNS = {"created": ("+", GREEN), "changed": ("~", YELLOW), "replaced": ("-/+", YELLOW), "deleted": ("-", RED)}
_WHEN = {"immediate": "at once", "new-tasks": "new tasks", "restart": "after a restart"}
_FIRST = ("@@ -0", "@@ -1 ", "@@ -1,")
"""Heads of a difference that begins with the first line."""
_LONGEST = 60
_SHOWN = 4
_ALIKE = 10


def describe(plan: Json) -> None:
    """Print what changes and what it means; nothing when nothing changes."""
    paint = painter()
    said = {(one["object"], one["message"]) for one in plan["consequences"]}
    for change in effective(plan):
        means = [clause for clause in change["means"] if (change["object"], clause) not in said]
        for text in _change(change | {"means": means}, paint):
            click.echo(text)
    _consequences(plan["consequences"], paint)
    warn(plan)


def warn(plan: Json) -> None:
    """Print the warnings of a plan on standard error."""
    if plan["warnings"]:
        problems = [Problem.from_json(one) for one in plan["warnings"]]
        click.echo(f"\n{render(problems, stream=sys.stderr)}", err=True)


def effective(plan: Json) -> list[Json]:
    """Return the changes that change something."""
    return [change for change in plan["changes"] if change["action"] != "unchanged"]


def summary(plan: Json) -> str:
    """Return how many objects are to be created, changed, replaced and deleted."""
    actions = [change["action"] for change in plan["changes"]]
    parts = [f"{actions.count(action)} to be {action}" for action in _SIGNS if action in actions]
    unchanged = actions.count("unchanged")
    return f"{', '.join(parts) or 'no changes'}{f'; {unchanged} unchanged' if unchanged else ''}"


def line(change: Json, suffix: str = "") -> str:
    """Return a change on one line: `Agent/ada changed: spec.prompt`."""
    paint = painter()
    names = [_named(field) for field in change["fields"]] or change["means"]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    detail = f": {', '.join(names[:_SHOWN])}{more}" if names else ""
    colour = _SIGNS.get(change["action"], ("", GREY))[1]
    return f"{change['object']} {paint(change['action'], colour)}{printable(detail)}{suffix}"


def unified(change: Json) -> Iterator[str]:
    """Yield the difference between both sides of a change as lines of a unified diff."""
    paint = painter()
    before, after = (_yaml(change[side]) for side in ("before", "after"))
    name = change["object"]
    lines = list(difflib.unified_diff(before, after, f"serving/{name}", f"wanted/{name}", lineterm=""))
    colours = {"-": RED, "+": GREEN, "@": CYAN}
    for number, text in enumerate(lines):
        yield paint(text, BOLD if number < 2 else colours.get(text[:1], ""))
    if not lines:
        yield paint(f"# {name}: {'; '.join(_reasons(change))}", CYAN)


def _consequences(consequences: Sequence[Json], paint: Paint) -> None:
    """Print what a plan means, and of what many things have in common only a few."""
    if consequences:
        click.echo(f"\n{paint('What it means', BOLD)}")
    kinds: dict[str, list[Json]] = {}
    for one in consequences:
        kinds.setdefault(one["type"], []).append(one)
    for alike in kinds.values():
        for one in alike[:_ALIKE]:
            who = f"{one['object']} " if one["object"] else "tasks: "
            click.echo(f"  {paint(who, CYAN)}{printable(one['message'])}")
        if len(alike) > _ALIKE:
            click.echo(f"  and {len(alike) - _ALIKE} more like this; -o json tells all")


def _change(change: Json, paint: Paint) -> Iterator[str]:
    sign, colour = _SIGNS[change["action"]]
    yield f"{paint(f'{sign:>3}', colour)} {paint(change['object'], BOLD)} {change['action']}"
    width = max((len(_named(field)) for field in change["fields"]), default=0)
    for field in change["fields"]:
        when = paint(f"  ({_WHEN[field['reload']]})", GREY)
        before, after, name = field["before"], field["after"], _named(field)
        if before == after:
            yield f"      {name:<{width}}  {_HIDDEN}{when}"
        elif _is_text(before) or _is_text(after):
            yield f"      {name}{when}"
            yield from (f"        {text}" for text in _lines(before, after, paint))
        else:
            yield f"      {name:<{width}}  {_pair(before, after, paint)}{when}"
    for clause in change["means"]:
        yield f"      {paint(clause, CYAN)}"


def _named(field: Json) -> str:
    """Return what a field is called; `root` is none of the manifest, but where its relative paths start."""
    return "its folder" if field["path"] == "root" else str(field["path"])


def _reasons(change: Json) -> list[str]:
    return change["means"] or [f"{_named(field)} differs" for field in change["fields"]]


def _pair(before: Any, after: Any, paint: Paint) -> str:
    old, new = _value(before), _value(after)
    if len(old) + len(new) > 2 * _LONGEST:
        return f"{paint(_short(old), RED)} -> {paint(_short(new), GREEN)}"
    return f"{paint(old, RED)} -> {paint(new, GREEN)}"


def _value(value: Any) -> str:
    return "(not set)" if value is None else printable(json.dumps(value, ensure_ascii=False))


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _is_text(value: Any) -> bool:
    """Return whether a value is shown line by line."""
    if isinstance(value, str):
        return "\n" in value
    return isinstance(value, list) and len(json.dumps(value)) > _LONGEST


def _lines(before: Any, after: Any, paint: Paint) -> Iterator[str]:
    """Yield the difference between two values line by line, with a little of what stays around it."""
    old, new = (_split(value) for value in (before, after))
    for text in list(difflib.unified_diff(old, new, n=2, lineterm=""))[2:]:
        if text.startswith("@@"):
            yield from () if text.startswith(_FIRST) else [paint("...", GREY)]
        else:
            yield paint(printable(f"{text[0]} {text[1:]}"), {"-": RED, "+": GREEN}.get(text[0], ""))


def _split(value: Any) -> Sequence[str]:
    if value is None:
        return []
    return (value if isinstance(value, str) else to_yaml(value)).splitlines()


def _yaml(value: Json | None) -> list[str]:
    return [] if value is None else [printable(text) for text in to_yaml(value).splitlines()]
