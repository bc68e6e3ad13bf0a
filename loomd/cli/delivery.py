"""Manifests that a person hands over with `-f`, as the API takes them: all of them in one act, one batch per source.

A source is the absolute path of the file or folder, or `-`. Nothing is judged here but what the bytes are. Called by
`apply`, `plan`, `diff` and `delete`.
"""

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from loomd.errors import NotFound
from loomd.manifest.problem import Position, Problem, Problems
from loomd.manifest.source import STDIN, SourceFile, try_path

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Delivered:
    """The manifests of one source."""

    source: str
    root: Path
    files: tuple[SourceFile, ...]

    def body(self) -> dict[str, Any]:
        """Return it as the API takes it.

        Raises:
            Problems: a file is not UTF-8.
        """
        files = [{"path": file.path, "text": _text(file)} for file in self.files]
        return {"source": self.source, "root": str(self.root), "files": files}


def file_option(*, required: bool) -> Callable[[F], F]:
    """Add `-f/--file`, which may be given several times; the verb gets `paths`."""
    return click.option(
        "-f", "--file", "paths", multiple=True, required=required, help="File, folder, or - for standard input."
    )


def read_delivered(paths: Sequence[str]) -> list[Delivered]:
    """Return what is at some paths; a path that is given twice, or that lies in a folder that is given, counts once.

    Raises:
        NotFound: a path does not exist, or there are no manifests.
        Problems: files cannot be read; all of them.
    """
    delivered: list[Delivered] = []
    problems: list[Problem] = []
    for source in _places(paths):
        stdin = sys.stdin.buffer.read() if source == STDIN else None
        files, wrong = try_path(source, stdin)
        problems += wrong
        if not files and not wrong:
            raise NotFound(f"no manifests (*.yaml, *.yml) below {source}: nothing is done")
        if files:
            delivered.append(Delivered(source, files[0].root.absolute(), tuple(files)))
    if problems:
        raise Problems(problems)
    return delivered


def request(delivered: Iterable[Delivered], **terms: Any) -> dict[str, Any]:
    """Return the body of a request: what is delivered, and on what terms."""
    first, *others = (one.body() for one in delivered)
    return {**first, "others": others, **{name: value for name, value in terms.items() if value is not None}}


def texts(body: Mapping[str, Any]) -> dict[tuple[str, str], str]:
    """Return the text of every file of a request, by source and path."""
    return {
        (batch["source"], file["path"]): file["text"] for batch in (body, *body["others"]) for file in batch["files"]
    }


def source_name(path: str) -> str:
    """Return what a path is called as a source: absolute, without `..`, links as they were written."""
    if path == STDIN:
        return path
    plain = os.path.abspath(path)  # noqa: PTH100  # a Path keeps `..`, or follows links
    real = os.path.realpath(path)
    return plain if os.path.realpath(plain) == real else real  # `..` behind a link leads elsewhere


def _places(paths: Sequence[str]) -> list[str]:
    names = list(dict.fromkeys(source_name(path) for path in paths))
    return [
        name
        for name in names
        if name == STDIN
        or not any(other != name and Path(name).is_relative_to(other) for other in names if other != STDIN)
    ]


def _text(file: SourceFile) -> str:
    try:
        return file.data.decode("utf-8")
    except UnicodeDecodeError as error:
        message = f"byte {error.start} is not UTF-8"
        raise Problems([Problem(Position(file.name), "not-utf8", message, hint="save the file as UTF-8")]) from error
