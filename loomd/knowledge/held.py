"""An index that a knowledge base has open, until the last one who is at work with it lets go of it."""

import asyncio
import sqlite3
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from loomd.knowledge.base import IndexSpec
from loomd.knowledge.index import OPENED, Index
from loomd.knowledge.place import suspect
from loomd.knowledge.survey import Recipe


def index_of(folder: Path, recipe: Recipe, how: IndexSpec) -> Index:
    """Open an index; when its store was too large to be looked through and turns out to be damaged, mend it. Blocks."""
    try:
        return Index(folder, recipe, how)
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as error:
        suspect(recipe.store(folder), str(error))
        return Index(folder, recipe, how)


class Users:
    """Those who are at work with something.

    Attributes:
        count: how many there are.
    """

    def __init__(self) -> None:
        self.count = 0
        self._none = asyncio.Event()
        self._none.set()
        self._then: Callable[[], object] | None = None

    @contextmanager
    def one(self) -> Generator[None]:
        """Be one of them for as long as the context lasts."""
        self.count += 1
        self._none.clear()
        try:
            yield
        finally:
            self.count -= 1
            if not self.count:
                self._none.set()
                if self._then is not None:
                    self._then()

    async def gone(self) -> None:
        """Wait until there are none."""
        await self._none.wait()

    def then(self, call: Callable[[], object]) -> None:
        """Have something called once there are none; nobody may come any more."""
        self._then = call
        if not self.count:
            call()


class Held:
    """An open index.

    Attributes:
        index: the index.
        path: of its store.
    """

    def __init__(self, path: Path, make: Callable[[], Index]) -> None:
        self.path = path
        self.index = OPENED.acquire(path, make)
        self._users = Users()

    @property
    def is_shared(self) -> bool:
        """Return whether another knowledge base has it open, too."""
        return OPENED.users(self.path) > 1

    def close(self) -> None:
        """Release it. Blocks."""
        OPENED.release(self.path)

    @contextmanager
    def used(self) -> Generator[Index]:
        """Keep it open for as long as the context lasts."""
        with self._users.one():
            yield self.index

    def retire(self, release: Callable[[], object]) -> None:
        """Have it released once nobody is at work with it."""
        self._users.then(release)
