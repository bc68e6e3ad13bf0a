"""Lets a person change a text in the editor of their choice. Knows nothing of manifests. Called by `edit`."""

import os
import shlex
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from loomd.errors import NotFound, Permanent

VARIABLES = ("LOOMD_EDITOR", "VISUAL", "EDITOR")
"""Where the editor is looked for, the first one first."""

_DEFAULT = "vi"
MARK = "#> "
"""Begins the lines that are for the person and no part of the text."""


def edit(text: str, notes: str, file: Path, environment: Mapping[str, str]) -> str:
    """Return what a person makes of a text.

    Args:
        text: the text.
        notes: what they should know; it stands above the text and is taken away again.
        file: where it is edited; it is left there.
        environment: says which editor.

    Raises:
        NotFound: there is no such editor.
        Permanent: the editor failed.
    """
    head = "".join(f"{MARK}{line}".rstrip() + "\n" for line in notes.splitlines())
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as stream:  # noqa: PTH123  # a descriptor has no path
        stream.write(head + text)
    command = _command(environment)
    before = signal.signal(signal.SIGINT, lambda _number, _frame: None)  # Ctrl-C is for the editor
    try:
        code = subprocess.run([*command, str(file)], check=False).returncode  # noqa: S603  # the person's own editor
    except OSError as error:
        names = ", ".join(f"${name}" for name in VARIABLES)
        raise NotFound(f"the editor {command[0]} cannot be started: {error.strerror}: set one of {names}") from error
    finally:
        signal.signal(signal.SIGINT, before)
    if code:
        raise Permanent(f"the editor {command[0]} ended with code {code}: nothing was changed")
    return read(file)


def read(file: Path) -> str:
    """Return the text of a file without the notes.

    Raises:
        Permanent: it is not UTF-8, or the editor took it away.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    except (UnicodeDecodeError, FileNotFoundError) as error:
        raise Permanent(f"{file}: what the editor left cannot be read: {error}") from error
    return "".join(line for line in lines if not line.startswith(MARK.rstrip()))


def _command(environment: Mapping[str, str]) -> list[str]:
    """Return the command of the editor, which may have arguments."""
    said = next((environment[name] for name in VARIABLES if environment.get(name, "").strip()), _DEFAULT)
    try:
        return shlex.split(said)
    except ValueError as error:
        raise Permanent(f"the editor {said!r} cannot be understood: {error}") from error
