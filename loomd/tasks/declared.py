"""A declared task while it serves: it makes the tasks that run. Called by the API, by `loomd run` and by schedules."""

import base64
from collections.abc import Sequence
from pathlib import Path

import msgspec

from loomd.amoeba.task import Finding, Task
from loomd.errors import Permanent
from loomd.manifest.inside import inside
from loomd.messages import Image
from loomd.tasks.attached import files_of, images_of


class Declared:
    """A declared task that is open, with the contents of what it names."""

    def __init__(self, pattern: Task) -> None:
        """Take what all its runs have in common."""
        self._pattern = pattern

    def task(self, name: str, seed: int) -> Task:
        """Return a task that runs.

        Args:
            name: its id.
            seed: start of every random draw.
        """
        return msgspec.structs.replace(self._pattern, id=name, seed=seed)


def pictures(root: Path, paths: Sequence[str]) -> tuple[Image, ...]:
    """Return the pictures that a manifest names.

    Raises:
        Permanent: a path leads out of the root or names nothing, a picture is none, or they are too large.
        OSError: one cannot be read.
    """
    return images_of(tuple(base64.b64encode(inside(root, path).read_bytes()).decode() for path in paths))


def texts(root: Path, paths: Sequence[str]) -> tuple[Finding, ...]:
    """Return the text files that a manifest names.

    Raises:
        Permanent: a path leads out of the root or names nothing, a text is none, or they are too large.
        OSError: one cannot be read.
    """
    return files_of([(path, _text(inside(root, path), at)) for at, path in enumerate(paths)])


def _text(path: Path, at: int) -> str:
    """Return a text.

    Raises:
        Permanent: it is none.
        OSError: it cannot be read.
    """
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError:
        raise Permanent(f"files[{at}]: expected text in UTF-8, got something else") from None
