"""Finds the Tests of manifests, runs them side by side and reports. Called by `test`."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from html import escape
from pathlib import Path
from typing import Any

import click

from loomd.cli.problems import dump
from loomd.errors import NotFound
from loomd.manifest.load import load
from loomd.manifest.object import Object, Ref, Snapshot
from loomd.manifest.source import read_path
from loomd.models.place import models_dir
from loomd.trials.trial import Verdict, run_test


@dataclass(frozen=True)
class Suite:
    """The tests of one path.

    Attributes:
        path: the path.
        snapshot: all that is declared there.
        tests: those that are meant.
    """

    path: Path
    snapshot: Snapshot
    tests: Sequence[Object]


def test_all(paths: Sequence[Path], pattern: str, output: str, junit: Path | None, jobs: int) -> int:
    """Run tests, say how each went, and return the exit code.

    Args:
        paths: files and folders of manifests.
        pattern: what the names of the tests contain.
        output: `text`, `json` or `junit`.
        junit: file for a report.
        jobs: how many run at once.

    Raises:
        NotFound: there are no such tests.
        Problems: manifests are not valid.
    """
    suites = [_find(path, pattern) for path in dict.fromkeys(paths)]
    if not any(suite.tests for suite in suites):
        which = f"with {pattern!r} in their name " if pattern else ""
        raise NotFound(f"no objects of kind Test {which}below {', '.join(map(str, paths))}")
    reports = asyncio.run(_run_all(suites, jobs))
    if junit is not None:
        junit.write_text(_junit(reports), encoding="utf-8")
    if output == "json":
        click.echo(dump({"tests": [_json(suite, one) for suite, verdicts in reports for one in verdicts]}))
    elif output == "junit":
        click.echo(_junit(reports), nl=False)
    else:
        _show([one for _, verdicts in reports for one in verdicts])
    return 0 if all(one.passed for _, verdicts in reports for one in verdicts) else 1


def _find(path: Path, pattern: str) -> Suite:
    files = read_path(path)
    if not files:
        raise NotFound(f"no manifests (*.yaml, *.yml) below {path}")
    snapshot = load(files)
    wanted = f"*{pattern}*"
    tests = [item for item in snapshot.of_kind("Test") if fnmatchcase(item.ref.name, wanted)]
    return Suite(path, snapshot, sorted(tests, key=lambda item: item.position))


async def _run_all(suites: Sequence[Suite], jobs: int) -> list[tuple[Suite, list[Verdict]]]:
    room, models = asyncio.Semaphore(jobs), models_dir()

    async def run(suite: Suite, test: Object) -> Verdict:
        async with room:
            return await run_test(suite.snapshot, test, models)

    async with asyncio.TaskGroup() as group:
        running = [(suite, [group.create_task(run(suite, test)) for test in suite.tests]) for suite in suites]
    return [(suite, [task.result() for task in tasks]) for suite, tasks in running]


def _show(verdicts: Sequence[Verdict]) -> None:
    """Print for people: a line for each test, and what went wrong below it."""
    for one in verdicts:
        said = "ok  " if one.passed else "FAIL"
        click.echo(f"{said} {_name(one.test.ref)} ({one.seconds:.2f} s)")
        for line in _told(one):
            click.echo(f"     {line}")
    failed = sum(not one.passed for one in verdicts)
    tests = f"{len(verdicts)} test{'s' if len(verdicts) != 1 else ''}"
    click.echo(f"\n{tests}: {f'{failed} failed' if failed else 'all passed'}", err=True)


def _told(verdict: Verdict) -> Iterator[str]:
    """Yield what went wrong, and where the test stands."""
    if verdict.passed:
        return
    yield str(verdict.test.position)
    if verdict.error:
        yield f"error: {verdict.error}"
    if (found := verdict.difference) is not None:
        yield f"differs from the recording at {found.step} of task {found.task}: {found.what}"
        yield from (f"    {line}" for line in found.lines)
    for miss in verdict.misses:
        yield f"{miss.field}:"
        yield f"    expected {miss.expected}"
        yield f"    got      {miss.got}"


def _json(suite: Suite, verdict: Verdict) -> dict[str, Any]:
    body: dict[str, Any] = {
        "path": str(suite.path),
        "test": verdict.test.ref.name,
        "namespace": verdict.test.ref.namespace,
        "position": str(verdict.test.position),
        "passed": verdict.passed,
        "seconds": round(verdict.seconds, 3),
    }
    if verdict.error:
        body["error"] = verdict.error
    if verdict.difference is not None:
        body["difference"] = verdict.difference.to_json()
    if verdict.misses:
        body["misses"] = [{"field": one.field, "expected": one.expected, "got": one.got} for one in verdict.misses]
    return body


def _junit(reports: Sequence[tuple[Suite, Sequence[Verdict]]]) -> str:
    """Return a report as JUnit writes them: a suite for each path."""
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', "<testsuites>"]
    for suite, verdicts in reports:
        errors = sum(bool(one.error) for one in verdicts)
        failures = sum(not one.passed for one in verdicts) - errors
        counts = f'tests="{len(verdicts)}" failures="{failures}" errors="{errors}"'
        time = sum(one.seconds for one in verdicts)
        lines.append(f'  <testsuite name="{_xml(str(suite.path))}" {counts} time="{time:.3f}">')
        for one in verdicts:
            place = f'file="{_xml(one.test.position.file)}" line="{one.test.position.line}"'
            head = f'classname="{_xml(one.test.ref.namespace)}" name="{_xml(one.test.ref.name)}" {place}'
            if one.passed:
                lines.append(f'    <testcase {head} time="{one.seconds:.3f}"/>')
                continue
            tag = "error" if one.error else "failure"
            told = list(_told(one))[1:]
            lines.append(f'    <testcase {head} time="{one.seconds:.3f}">')
            lines.append(f'      <{tag} message="{_xml(told[0])}">{_xml(chr(10).join(told))}</{tag}>')
            lines.append("    </testcase>")
        lines.append("  </testsuite>")
    return "\n".join([*lines, "</testsuites>", ""])


def _xml(text: str) -> str:
    """Return a text as XML holds it; what XML cannot hold is replaced."""
    kept = "".join(
        char if char in "\n\t" or (char >= " " and char not in "\ufffe\uffff") else "\ufffd" for char in text
    )
    return escape(kept)


def _name(ref: Ref) -> str:
    return ref.name if ref.namespace == "default" else f"{ref.namespace}/{ref.name}"
