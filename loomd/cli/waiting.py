"""Waits until things are as they should be: for a condition, a phase, a value, their coming or their going.

The daemon tells what becomes of them; nothing is asked twice. Called by `wait` and by every verb with `--wait`.
"""

import re
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import click

from loomd.api.client import Client, Json
from loomd.cli.columns import condition
from loomd.cli.output import name_of
from loomd.cli.target import TASKS, F, Place
from loomd.errors import NotFound
from loomd.manifest.duration import parse_duration

MET, LATE, FAILED = 0, 1, 4
"""Exit codes: it came to that; the time was over; it cannot come to that any more."""

ENDS = ("Succeeded", "Failed", "Cancelled")
"""Phases after which nothing more becomes of a task."""
_JSONPATH = re.compile(r"jsonpath=(\{.*\}|[^=]+)(?:=(.*))?", re.DOTALL)


class Verdict(NamedTuple):
    """What a look at one thing tells: whether it is as it should be, or never will be, and what it is instead."""

    met: bool
    lost: bool = False
    why: str = ""


Judge = Callable[[Json | None], Verdict]
"""Looks at a thing, or at None when it is not there."""


@dataclass(frozen=True)
class Goal:
    """What is waited for, in the words of the command line, and what judges it."""

    text: str
    judge: Judge


def goal_of(text: str) -> Goal:
    """Return the goal that `--for` names.

    Raises:
        UsageError: it names none.
    """
    name, _, rest = text.partition("=")
    if text in {"delete", "create"}:
        return Goal(text, _deleted if text == "delete" else _created)
    if name == "condition" and rest:
        kind, _, status = rest.partition("=")
        return Goal(text, lambda item: _condition(item, kind, status or "True"))
    if name == "phase" and rest:
        known = next(
            (
                phase
                for phase in (*ENDS, "Running", "Queued", "WaitingApproval", "Pending")
                if phase.lower() == rest.lower()
            ),
            None,
        )
        if known is not None:
            return Goal(text, lambda item: _phase(item, known))
    found = _JSONPATH.fullmatch(text)
    if found is not None:
        return Goal(text, _value(found[1], found[2]))
    raise click.UsageError(
        f"--for {text}: expected condition=NAME[=STATUS], delete, create, phase=Succeeded|Failed|Cancelled|Running|"
        "Queued|WaitingApproval|Pending, or jsonpath='{.status.x}'[=VALUE]"
    )


def once_it_serves(goal: Goal, why: str) -> Goal:
    """Return a goal that also waits for things that are not there yet.

    Args:
        goal: what they are waited for once they are.
        why: why they are not there.
    """
    return Goal(goal.text, lambda item: Verdict(False, why=why) if item is None else goal.judge(item))


def timeout_option(default: str) -> Callable[[F], F]:
    """Add `--timeout`; the verb gets `timeout`, seconds or None for as long as it takes."""
    return click.option(
        "--timeout",
        metavar="DURATION",
        default=default,
        show_default=True,
        callback=_seconds,
        help="Longest time to wait, such as 30s or 5m; 0 looks once, -1 waits for as long as it takes.",
    )


def wait_for(
    client: Client, place: Place, namespace: str, names: Iterable[str], goal: Goal, until: float | None
) -> int:
    """Wait until all of some things are as they should be, say so of each, and return the exit code.

    Args:
        client: the daemon that tells.
        place: their kind.
        namespace: where they are.
        names: their names.
        goal: what is waited for.
        until: monotonic seconds at which to give up; None never does.
    """
    left = dict.fromkeys(names, "nothing is known of it yet")
    for name, verdict in _verdicts(client, place, namespace, left, goal, until):
        if verdict.lost:
            click.echo(f"error: {place.spelled(name, namespace)} will not come to {goal.text}: {verdict.why}", err=True)
            return FAILED
        if verdict.met:
            click.echo(f"{place.spelled(name, namespace)} {_said(goal)}")
    for name, why in left.items():
        click.echo(f"error: timed out waiting for {goal.text} on {place.spelled(name, namespace)}: {why}", err=True)
    return LATE if left else MET


def deadline(timeout: float | None) -> float | None:
    """Return the monotonic seconds at which a wait of some seconds ends."""
    return None if timeout is None else time.monotonic() + timeout


def _verdicts(
    client: Client, place: Place, namespace: str, left: dict[str, str], goal: Goal, until: float | None
) -> Iterable[tuple[str, Verdict]]:
    """Yield what is found, until nothing is left or the time is over; `left` keeps what each lacks."""
    told = False
    if until is None or until > time.monotonic():
        only = {"name": next(iter(left))} if len(left) == 1 and place.spaced else {}
        seen = _ended(client, namespace, left) if place == TASKS and not only else {}
        with suppress(TimeoutError):
            for event in client.watch(*place.parts(namespace), until=until, **only):
                told = told or event["type"] == "BOOKMARK"
                if event["type"] == "DELETED":
                    seen.pop(event["object"]["metadata"]["name"], None)
                elif event["type"] != "BOOKMARK":
                    seen[event["object"]["metadata"]["name"]] = event["object"]
                if told:
                    yield from _looked(seen, left, goal)
                if not left:
                    return
    if not told:  # whoever has no time to be told looks once
        items, _ = client.items(place.parts(namespace))
        yield from _looked({item["metadata"]["name"]: item for item in items}, left, goal)


def _ended(client: Client, namespace: str, names: Iterable[str]) -> dict[str, Json]:
    """Return those of some tasks that have ended: a watch of many does not begin with all that ended long ago."""
    found: dict[str, Json] = {}
    for name in names:
        with suppress(NotFound):
            item = client.get(*TASKS.parts(namespace), name)
            if item["status"]["phase"] in ENDS:
                found[name] = item
    return found


def _looked(seen: Mapping[str, Json], left: dict[str, str], goal: Goal) -> Iterable[tuple[str, Verdict]]:
    for name in list(left):
        verdict = goal.judge(seen.get(name))
        left[name] = verdict.why
        if verdict.met:
            del left[name]
        if verdict.met or verdict.lost:
            yield name, verdict


def _said(goal: Goal) -> str:
    return {"delete": "deleted", "create": "created"}.get(goal.text, "condition met")


def _deleted(item: Json | None) -> Verdict:
    return Verdict(item is None, why="it is there")


def _created(item: Json | None) -> Verdict:
    return Verdict(item is not None, why="it is not there")


def _condition(item: Json | None, kind: str, status: str) -> Verdict:
    if item is None:
        return Verdict(False, lost=True, why="it is not there any more")
    found = condition(item, kind)
    if not found:
        return Verdict(False, why=f"it has no condition {kind}")
    if found["status"].lower() == status.lower() and _is_observed(item, found):
        return Verdict(True)
    why = f"{kind} is {found['status']}: {found['reason']}: {found['message']}"
    stalled = condition(item, "Stalled")
    if kind == "Ready" and status.lower() == "true" and stalled.get("status") == "True":
        return Verdict(False, lost=True, why=f"it is stalled: {stalled['reason']}: {stalled['message']}")
    return Verdict(False, why=why)


def _is_observed(item: Json, found: Json) -> bool:
    """Return whether a condition is about the newest generation."""
    return bool(found["observedGeneration"] >= item["metadata"].get("generation", 0))


def _phase(item: Json | None, wanted: str) -> Verdict:
    if item is None:
        return Verdict(False, lost=True, why="there is no such task")
    phase, error = item["status"].get("phase", ""), item["status"].get("error", "")
    if phase == wanted:
        return Verdict(True)
    why = f"it is {phase}{f': {error}' if error else ''}"
    return Verdict(False, lost=phase in ENDS, why=why)


def _value(expression: str, wanted: str | None) -> Judge:
    from loomd.cli.jsonpath import Template  # noqa: PLC0415  # brings a library that no other goal needs

    template = Template(expression)

    def judge(item: Json | None) -> Verdict:
        if item is None:
            return Verdict(False, lost=True, why="it is not there any more")
        found = template.render(item)
        met = found != "" if wanted is None else found == wanted
        return Verdict(met, lost=not met and _has_ended(item), why=f"it is {found!r}")

    return judge


def _has_ended(item: Json) -> bool:
    """Return whether nothing more becomes of a thing: a task that has ended."""
    return name_of(item).startswith(f"{TASKS.kind}/") and item["status"].get("phase") in ENDS


def _seconds(context: click.Context, option: click.Parameter, value: Any) -> float | None:
    """Return the seconds of `30s` or of a plain number; a negative one is None."""
    del context, option
    text = str(value)
    try:
        seconds = float(text) if text.lstrip("-").replace(".", "", 1).isdigit() else parse_duration(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    return seconds if seconds >= 0 else None
