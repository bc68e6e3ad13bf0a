"""Folders in which sources keep copies of what is elsewhere, below the folder of a knowledge base.

Equal sources share one, also those of a set that serves and of the one that follows it; one that nobody has open any
more is removed when the next one opens.
"""

import asyncio
import hashlib
import shutil
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from weakref import WeakValueDictionary

from loomd.topology import Parts

_open: Counter[Path] = Counter()
_locks: WeakValueDictionary[Path, asyncio.Lock] = WeakValueDictionary()


class Copies:
    """A folder of copies.

    Attributes:
        folder: where it is; whoever writes there makes it.
        lock: held by whoever changes it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lock = _locks.setdefault(folder, asyncio.Lock())


@contextmanager
def copies(parts: Parts, kind: str, *identity: str) -> Generator[Copies, None, None]:
    """Lend the folder of a source for as long as the context lasts.

    Args:
        parts: those of the knowledge base.
        kind: type of the source.
        identity: what makes it another source.
    """
    name = hashlib.sha256("\n".join(identity).encode()).hexdigest()[:16]
    folder = parts.state_dir / kind / name
    _open[folder] += 1
    try:
        _sweep(folder.parent)
        yield Copies(folder)
    finally:
        _open[folder] -= 1


def _sweep(above: Path) -> None:
    """Remove the folders that nobody has open."""
    if above.is_dir():
        for one in above.iterdir():
            if not _open[one]:
                shutil.rmtree(one, ignore_errors=True)
