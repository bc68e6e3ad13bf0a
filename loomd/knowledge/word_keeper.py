"""Keeps an index of words equal to the store: what changes is handed on, and what a failure lost is made up for.

Not thread-safe: whoever changes the store calls it, holding the same lock.
"""

import logging
import shutil
import time
from pathlib import Path

from loomd.errors import Damaged, Temporary
from loomd.knowledge.store import Change, ChunkStore
from loomd.knowledge.words import WordIndex

_log = logging.getLogger("loomd.knowledge")

_UNCOMMITTED = 20_000
"""Chunks that may wait for a commit while documents are read."""
_UNFOUND = 5.0
"""Seconds that they may wait at most, from one change to a later one."""


class WordKeeper:
    """Opens the index of words of a store, and keeps it up to it.

    Attributes:
        words: the index, which any number search.
    """

    def __init__(self, store: ChunkStore, folder: Path) -> None:
        """Open the index and bring it up to the store; one that is damaged is made anew.

        Raises:
            Temporary: as `commit`.
        """
        self._store = store
        self._folder = folder
        self._uncommitted, self._waits_since = 0, 0.0
        self._anew = False
        """Whether nothing of the index is to stay."""
        try:
            self.words = WordIndex(folder)
        except Damaged as error:
            _log.warning("%s; made anew from the chunk store", error)
            shutil.rmtree(folder)
            self.words = WordIndex(folder)
        self._torn = self.words.mark != store.mark
        """Whether the index may have lost something that it was given."""
        try:
            self.commit()
            self.words.settle()
        except BaseException:
            self.words.drop()
            raise

    def note(self, change: Change) -> None:
        """Hand on a change; when that fails, the next commit makes up for it.

        What is removed, and what waited for long, is committed at once.

        Raises:
            Temporary: as `commit`.
        """
        now = time.monotonic()
        self._waits_since = self._waits_since if self._uncommitted else now
        self._uncommitted += len(change.removed) + len(change.added)
        self._hand_on(change)
        if change.removed or self._uncommitted > _UNCOMMITTED or now - self._waits_since >= _UNFOUND:
            self.commit()

    def _hand_on(self, change: Change) -> None:
        if self._torn:
            return
        self._torn = True  # until it went well
        try:
            self.words.remove(change.removed)
            self.words.add(change.added)
        except ValueError as error:
            _log.warning("%s: the index of words cannot be written: %s", self._folder, error)
        else:
            self._torn = False

    def commit(self) -> None:
        """Let words be found that were handed on; what a failed attempt may have lost is made up for.

        Raises:
            Temporary: they cannot be written now.
        """
        if not (self._uncommitted or self._torn):
            return
        try:
            if self._torn:
                self.words.drop()
                self._catch_up()
            else:
                self._torn = True  # until it went well
                self.words.commit(self._store.mark)
        except ValueError as error:  # what Tantivy raises of a full disk, and of everything else
            raise Temporary(f"the index of words cannot be written: {error}") from error
        self._torn, self._anew, self._uncommitted = False, False, 0

    def fill(self) -> None:
        """Make the index anew from the store; when that fails, what there was stays, and the next commit tries again.

        Raises:
            Temporary: as `commit`.
        """
        self._torn = self._anew = True
        self.commit()

    def close(self) -> None:
        """Commit what waits, and end what was begun.

        Raises:
            Temporary: as `commit`.
        """
        self.commit()
        self.words.settle()

    def _catch_up(self) -> None:
        """Bring the index up to the store; one that knows more than the store, or another, is made anew."""
        now, known = self._store.mark, self.words.mark
        if self._anew or known is None or known.store != now.store or known.change > now.change:
            self.words.clear()
            self.words.add(self._store.added())
        else:
            self.words.remove(self._store.removed(known))
            self.words.add(self._store.added(known.last))
        self.words.commit(now)
