"""What a person asks of a task: the same argument and options for `loomd run` and `loomd submit`."""

import base64
import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from loomd.api.client import Json
from loomd.cli.number import NumberRange
from loomd.cli.target import declared_parts
from loomd.errors import Permanent
from loomd.manifest.duration import parse_duration
from loomd.manifest.python_file import read_source

_STDIN = "-"
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


def seconds(context: click.Context, option: click.Parameter, value: str | None) -> float | None:
    """Return the seconds of `30s` or `5m`."""
    del context, option
    try:
        return None if value is None else parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


_OPTIONS = (
    click.argument("goal", required=False),
    click.option("--cluster", default="", help="Cluster that takes the task; needed only when there are several."),
    click.option("--agent", default="", help="Agent that does the task, alone; by default the cluster chooses."),
    click.option("--seed", type=int, help="Seed of every random draw of the task; drawn and kept when not given."),
    click.option("--max-tokens", type=click.IntRange(min=0), help="Most tokens of the task and all its parts."),
    click.option("--max-cost", type=NumberRange(min=0), help="Most US dollars of the task and all its parts."),
    click.option(
        "--max-time",
        metavar="DURATION",
        callback=seconds,
        help="Longest time of the task and all its parts, such as 30s or 5m.",
    ),
    click.option(
        "--durability",
        type=click.Choice(["steps", "task", "none"]),
        help="What is kept: every step, the task and its result, or nothing; by default what its cluster says.",
    ),
    click.option("--session", default="", help="Conversation that it is a turn of: the agent sees the turns before."),
    click.option("--tenant", default="", help="Whose work it is; tenants see nothing of each other's conversations."),
    click.option("--user", default="", help="Which user of the tenant; users are kept apart alike."),
    click.option(
        "--image",
        multiple=True,
        type=_FILE,
        help="Picture that the agents are shown beside the goal: PNG, JPEG, GIF or WebP.",
    ),
    click.option(
        "--attach",
        multiple=True,
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="Text in UTF-8 that the agents are shown beside the goal.",
    ),
    click.option(
        "--retries",
        type=click.IntRange(0, 10),
        default=0,
        show_default=True,
        help="How often it is begun anew.",
    ),
    click.option("--contains", multiple=True, help="Text that the answer must contain; counts in the evaluation."),
    click.option("--matches", help="Regular expression that must fit somewhere in the answer; counts alike."),
    click.option(
        "--schema",
        type=_FILE,
        help="File with a JSON Schema that the whole answer must satisfy as JSON; counts alike.",
    ),
    click.option(
        "--check",
        "checks",
        multiple=True,
        metavar="FILE[:FUNCTION]",
        help="Python function, `check` by default, that must agree with the answer; it runs in a sandbox.",
    ),
)


def task_options(function: Callable[..., int]) -> Callable[..., int]:
    """Add the argument GOAL and the options of a task; the verb gets them as `wish`, the body of a submission.

    A verb with an option `origin` or `manifest` says with it where the task comes from: then no goal is read.
    """

    @functools.wraps(function)
    def ask(
        goal: str | None,
        cluster: str,
        agent: str,
        seed: int | None,
        max_tokens: int | None,
        max_cost: float | None,
        max_time: float | None,
        durability: str | None,
        session: str,
        tenant: str,
        user: str,
        contains: tuple[str, ...],
        matches: str | None,
        schema: Path | None,
        checks: tuple[str, ...],
        image: tuple[Path, ...],
        attach: tuple[Path, ...],
        retries: int,
        **others: Any,
    ) -> int:
        path = others.get("path")
        if goal is None and isinstance(path, Path) and not path.exists() and declared_parts(str(path), "default"):
            others["path"], goal = Path(), str(path)  # the folder where one is
        text = goal if goal not in {None, _STDIN} or others.get("origin") or others.get("manifest") else _read()
        budget = {"tokens": max_tokens, "cost": max_cost, "seconds": max_time}
        wish: Json = {
            "goal": text or "",
            "cluster": cluster,
            "agent": agent,
            "seed": seed,
            "budget": {name: limit for name, limit in budget.items() if limit is not None},
            "expect": _expected(contains, matches, schema, checks),
            "durability": durability,
        }
        wish |= {key: name for key, name in (("session", session), ("tenant", tenant), ("user", user)) if name}
        if retries:
            wish["retries"] = retries
        if attach:
            wish["files"] = [{"name": path.name, "text": _text(path)} for path in attach]
        if image:
            wish["images"] = [base64.b64encode(path.read_bytes()).decode() for path in image]
        return function(wish=wish, **others)

    for option in reversed(_OPTIONS):
        ask = option(ask)
    return ask


def _expected(contains: tuple[str, ...], matches: str | None, schema: Path | None, checks: tuple[str, ...]) -> Json:
    """Return what is expected of the answer."""
    expected: Json = {"contains": list(contains)}
    if matches is not None:
        expected["matches"] = matches
    if schema is not None:
        expected["output_schema"] = _schema(schema)
    if checks:
        expected["checks"] = [_check(one) for one in checks]
    return expected


def _schema(path: Path) -> Json:
    """Return the JSON Schema that a file holds.

    Raises:
        UsageError: it holds none.
    """
    try:
        found = json.loads(path.read_bytes())
    except ValueError as error:
        raise click.UsageError(f"--schema {path}: expected a JSON Schema, got no JSON: {error}") from None
    if not isinstance(found, dict):
        raise click.UsageError(f"--schema {path}: expected a JSON Schema, a mapping")
    return found


def _check(said: str) -> Json:
    """Return a check with what its file holds.

    Raises:
        UsageError: it cannot be read.
    """
    name, _, function = said.partition(":")
    try:
        source = read_source(Path(name)).decode("utf-8", "replace")
    except Permanent as error:
        raise click.UsageError(f"--check {said}: {error}") from None
    return {"source": source, "function": function or "check", "file": name}


def said(wish: Json) -> bool:
    """Return whether anything is wished for that a declared task or a schedule says in its place."""
    return bool(
        wish["seed"] is not None
        or any(wish["expect"].values())
        or any(value for key, value in wish.items() if key not in {"seed", "expect"})
    )


def _text(path: Path) -> str:
    """Return a text.

    Raises:
        BadParameter: it is none.
    """
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError:
        raise click.BadParameter(f"{path}: expected text in UTF-8, got something else") from None


def _read() -> str:
    """Read the goal from standard input, with a prompt on a terminal."""
    return str(click.prompt("What is wanted", err=True)) if sys.stdin.isatty() else sys.stdin.read()
