"""What of the disk is open in this process, each once: a set that serves and one that may follow it share it.

Knows nothing of what it is but its path. Blocks: called in the threads of knowledge bases.
"""

import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Generic, Protocol, TypeVar


class Closing(Protocol):
    """What can be closed."""

    def close(self) -> None:
        """Release what it holds."""
        ...


T = TypeVar("T", bound=Closing)


class _Entry(Generic[T]):
    """What is open, or about to be, and how many use it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.value: T | None = None
        self.users = 0


class Opened(Generic[T]):
    """What is open, by its path."""

    def __init__(self) -> None:
        self._entries: dict[Path, _Entry[T]] = {}
        self._lock = threading.Lock()

    def users(self, path: Path) -> int:
        """Return how many use it."""
        entry = self._entries.get(path)
        return 0 if entry is None else entry.users

    def acquire(self, path: Path, make: Callable[[], T]) -> T:
        """Return what is at a path, made when nobody has it open; whoever gets it releases it."""
        with self._lock:
            entry = self._entries.setdefault(path, _Entry())
            entry.users += 1
        try:
            with entry.lock:
                if entry.value is None:
                    entry.value = make()
                return entry.value
        except BaseException:
            self.release(path)
            raise

    def release(self, path: Path) -> None:
        """Close what is at a path when nobody else uses it."""
        entry = self._entries[path]
        with entry.lock:
            with self._lock:
                entry.users -= 1
                value = entry.value if entry.users == 0 else None
            if value is not None:
                entry.value = None
                value.close()
            with self._lock:
                if entry.users == 0:
                    self._entries.pop(path, None)

    def remove(self, paths: Iterable[Path], remove: Callable[[Path], object]) -> None:
        """Remove what is at some paths, but for what is open."""
        with self._lock:
            for path in paths:
                if path not in self._entries:
                    remove(path)
