"""A process that has loomd in memory already and forks daemons from it, so that a start costs no imports.

A forked daemon is `loomd serve` from there on: its own process, state directory and socket, ended by signals alone.
Run as `python -m tests.chaos.nursery`; it reads `start FOLDER` and `wait PID` from its input.
"""

import os
import sys
from pathlib import Path

from loomd.cli.foreground import run
from loomd.manifest.kind import find_kinds


def main() -> None:
    """Answer each line with one."""
    find_kinds()
    _say("here")
    for line in sys.stdin:
        act, _, what = line.strip().partition(" ")
        if act == "start":
            _say(_start(Path(what)))
        else:
            _say(os.waitstatus_to_exitcode(os.waitpid(int(what), 0)[1]))


def _say(line: object) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def flags(home: Path) -> dict[str, object]:
    """Return the settings of the daemon of a folder."""
    return {
        "stateDir": str(home / "state"),
        "modelsDir": str(home / "models"),
        "socket": str(home / "s"),
        "watch": [str(home / "manifests")],
        "quietWindow": "50ms",
    }


def _start(home: Path) -> int:
    """Return the process id of a new daemon."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        log = os.open(home / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        null = os.open(os.devnull, os.O_RDONLY)
        for old, new in ((null, 0), (log, 1), (log, 2)):
            os.dup2(old, new)
        run(None, flags(home))
        code = 0
    finally:
        os._exit(code)


if __name__ == "__main__":
    main()
