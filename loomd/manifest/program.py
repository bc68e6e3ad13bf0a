"""Programs that manifests name, looked for on this machine and never run. Called by the specs that name one."""

import shutil
from collections.abc import Iterator
from pathlib import Path

MISSING = "missing-program"


def program_faults(name: str, pointer: str, path: str | None = None) -> Iterator[tuple[str, str, str]]:
    """Yield, as `Spec.check` does, that a program cannot be run here.

    Args:
        name: a name that is looked up, or an absolute path.
        pointer: where it stands.
        path: folders in which names are looked up; by default those of `PATH`.
    """
    if shutil.which(name, path=path) is not None:
        return
    if Path(name).is_absolute():
        why = "which may not be run: chmod +x it" if Path(name).exists() else "which is not there"
    else:
        where = "on the PATH" if path is None else f"in {path}"
        why = f"which is not {where} of this machine: install it where the daemon runs, or mend the name"
    yield pointer, f'expected a program, got "{name}", {why}', MISSING
