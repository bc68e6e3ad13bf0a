"""Exports from a state directory, and replays: what the verbs `export` and `replay` do without a daemon."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from loomd.cassette import Cassette, read
from loomd.errors import LoomdError, NotFound
from loomd.events.event import StepCompleted
from loomd.manifest.load import load
from loomd.manifest.object import Snapshot
from loomd.manifest.source import read_path
from loomd.replay.difference import Difference
from loomd.replay.export import export
from loomd.replay.player import Played, replay
from loomd.store.directory import DATABASE
from loomd.store.sqlite import open_store

_SILENT = frozenset(("clock", "random", "size"))
"""Names of steps that reach nothing, which are not counted."""
DIFFERS = 3
"""Exit code when a task does something else than was recorded."""


def from_state(state: Path, task: str) -> Cassette:
    """Return the cassette of a task in a state directory.

    Raises:
        NotFound: there is no such directory or task.
        Conflict: a daemon holds the directory, or the task has not ended.
    """
    if not (state / DATABASE).is_file():
        raise NotFound(f"{state} is no state directory: it holds no {DATABASE}")

    async def take() -> Cassette:
        async with open_store(state) as store:
            return await export(store, task)

    return asyncio.run(take())


def replay_all(paths: Sequence[Path], against: Path | None, output: str) -> int:
    """Run cassettes again, say of each how it went, and return the exit code.

    Args:
        paths: the files.
        against: folder or file of the manifests to run on; by default those in each cassette.
        output: `text` or `json`.
    """
    snapshot = None if against is None else _load(against)
    cassettes = [(path, read(path)) for path in paths]
    reports = asyncio.run(_replay_all(cassettes, snapshot))
    if output == "json":
        from loomd.cli.problems import dump  # noqa: PLC0415  # only here

        click.echo(dump({"replays": [one.to_json() for one in reports]}))
    else:
        for one in reports:
            one.show()
    return max(one.code for one in reports)


def _load(path: Path) -> Snapshot:
    """Return the objects of a folder or file.

    Raises:
        NotFound: there are no manifests.
        Problems: they are not valid.
    """
    files = read_path(path)
    if not files:
        raise NotFound(f"no manifests (*.yaml, *.yml) below {path}")
    return load(files)


class Report:
    """How one replay went."""

    def __init__(self, path: Path, cassette: Cassette, came: Played | LoomdError) -> None:
        self._path = path
        self._task = cassette.task
        facts = [step.fact for taped in cassette.tasks for step in taped.steps]
        self._steps = sum(isinstance(fact, StepCompleted) and fact.name not in _SILENT for fact in facts)
        self._error = str(came) if isinstance(came, LoomdError) else ""
        self._difference: Difference | None = None if isinstance(came, LoomdError) else came.difference

    @property
    def code(self) -> int:
        """Return the exit code that it asks for."""
        if self._error:
            return 1
        return DIFFERS if self._difference else 0

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        outcome = "failed" if self._error else "differs" if self._difference else "same"
        body: dict[str, Any] = {"file": str(self._path), "task": self._task, "outcome": outcome, "steps": self._steps}
        if self._error:
            body["error"] = self._error
        if self._difference:
            body["difference"] = self._difference.to_json()
        return body

    def show(self) -> None:
        """Print it for people."""
        found = self._difference
        if self._error:
            click.echo(f"{self._path}: cannot be replayed: {self._error}", err=True)
        elif found is None:
            click.echo(f"{self._path}: same ({self._steps} step{'s' if self._steps != 1 else ''})")
        else:
            click.echo(f"{self._path}: differs at {found.step} of task {found.task}: {found.what}")
            for line in found.lines:
                click.echo(f"    {line}")


async def _replay_all(cassettes: Sequence[tuple[Path, Cassette]], snapshot: Snapshot | None) -> list[Report]:
    reports: list[Report] = []
    for path, cassette in cassettes:
        came: Played | LoomdError
        try:
            came = await replay(cassette, snapshot)
        except LoomdError as error:
            came = error
        reports.append(Report(path, cassette, came))
    return reports
