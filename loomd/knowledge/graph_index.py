"""The graph of a knowledge base at work: its tables, what is made of them in memory, and what a question finds by it.

One thread changes it; any number search, each over what was there when it began.
"""

import hashlib
import logging
import sqlite3
import time
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

from loomd.knowledge.chunk import Chunk
from loomd.knowledge.entity import Extraction, words_of
from loomd.knowledge.graph import Graph
from loomd.knowledge.graph_spec import GraphSpec
from loomd.knowledge.graph_store import GraphStore, Unlinked, lend
from loomd.knowledge.query import STOP_WORDS
from loomd.knowledge.standing import GraphStanding, LeftOut

_WORDS = 48
"""Words of a question that are looked up; a pasted page asks no better than its beginning."""
_LONGEST = 8
"""Words of the longest name."""
_PARTLY = 0.3
"""How certain it is that an entity is meant by one word of its name, shared by all that have the word."""

_PART = 1000
"""Passages that are read at once."""
_RESTS = 9
"""How much longer than it takes to build the graph it is not built again: a tenth of the time at most goes into it."""
_TOLD = 5
"""Passages of which it is told why nothing could be found in them."""

_log = logging.getLogger("loomd.knowledge")


class Reached(NamedTuple):
    """Passages that the graph leads to.

    Attributes:
        ranked: ids with their scores, best first.
        certainty: from 0 to 1, how rare and how plainly named the entity is that is the surest to be meant.
    """

    ranked: list[tuple[int, float]]
    certainty: float


NOTHING = Reached([], 0.0)


class GraphIndex:
    """The graph of one store.

    Args:
        store: its tables.
        fingerprint: what entities are found by.
        writing: held by whoever writes.

    Attributes:
        changes: how often passages were added or removed.
    """

    def __init__(self, store: GraphStore, fingerprint: str, writing: AbstractContextManager[object]) -> None:
        self._store = store
        self._fingerprint = fingerprint
        self._writing = writing
        self._changed = self._removed = True
        self.changes = 0
        self._rested = 0.0
        self._graph = Graph((), {})
        self.save()

    def standing(self) -> GraphStanding:
        """Return how it stands, but for what its knowledge base alone knows."""
        with self._writing:
            pending, failed = self._store.counts()
            faults = self._store.faults(_TOLD) if failed else []
        told = tuple(LeftOut(path, fault) for path, fault in faults)
        return GraphStanding(
            self._fingerprint, self._graph.entities, self._graph.relations, pending, failed, faults=told
        )

    def digest(self, chunk: Chunk) -> bytes:
        """Return 16 bytes that differ for different texts, and for different ways of looking through them."""
        parts = (part.encode("utf-8", "replace") for part in (self._fingerprint, chunk.title, chunk.text))
        return hashlib.sha256(b"".join(b"%d:%s" % (len(part), part) for part in parts)).digest()[:16]

    def pending(self) -> int:
        """Return how many passages are not looked through."""
        with self._writing:
            return self._store.counts().pending

    def unlinked(self, after: int, limit: int) -> list[Unlinked]:
        """Return passages that are not looked through, by id, those above `after`."""
        with self._writing:
            return self._store.unlinked(after, limit)

    def known(self, digests: Sequence[bytes]) -> dict[bytes, Extraction]:
        """Return what was found in texts before."""
        with self._writing:
            return self._store.extractions(digests)

    def borrow(self, others: Sequence[Path]) -> None:
        """Take over from other stores what was found there in texts that are not looked through here."""
        wanted, after = dict[bytes, None](), 0
        while others and (rows := self.unlinked(after, _PART)):
            after = rows[-1].id
            digests = [self.digest(one.chunk) for one in rows]
            found = self.known(digests)
            wanted.update((digest, None) for digest in digests if digest not in found)
        for path in others:
            if not wanted:
                break
            try:
                taken = lend(path, wanted)
            except sqlite3.Error as error:
                _log.debug("%s: no graph taken over from it: %s", path, error)
                continue
            self.keep(taken)
            for digest in taken:
                del wanted[digest]

    def keep(self, found: Mapping[bytes, Extraction]) -> None:
        """Keep what was found in texts."""
        with self._writing:
            self._store.keep(found)

    def link(self, rows: Sequence[tuple[Unlinked, bytes, Extraction]]) -> None:
        """Store what passages speak of; it is found after `save`."""
        with self._writing:
            self._changed = True
            self._store.link(rows)

    def note(self, *, removed: bool) -> None:
        """Take note that passages were added, or removed."""
        self.changes += 1
        if removed:
            self._changed = self._removed = True

    def save(self) -> None:
        """Let all be found that was stored, and nothing else; who writes meanwhile does not wait for it."""
        with self._writing:
            if not self._changed:
                return
            self._changed = False
        began = time.monotonic()
        try:
            with self._store.snapshot() as (rows, same):
                self._graph = Graph(rows, same)
        except BaseException:
            self._changed = True
            raise
        ended = time.monotonic()
        self._rested = ended + _RESTS * (ended - began)

    def rest(self, least: float = 0.0) -> float:
        """Return in how many seconds it should be built again, `least` seconds after the last time at the earliest.

        The longer it takes, the longer it rests, so that changes one by one do not keep it busy.
        """
        return max(0.0, self._rested + least - time.monotonic()) if self._changed else 0.0

    def sweep(self, changes: int) -> None:
        """Forget what was found in texts that no passage has any more.

        Args:
            changes: what `changes` was before what is known was linked; after others nothing is forgotten yet.
        """
        with self._writing:
            if self._removed and changes == self.changes:
                self._store.sweep()
                self._removed = False

    def search(self, question: str, how: GraphSpec, limit: int, allowed: AbstractSet[int] | None = None) -> Reached:
        """Return the passages that a question leads to by what it names.

        The entities that it names do not count, only those that they lead to: words and vectors find the others better.

        Args:
            question: in plain words.
            how: how far to go.
            limit: how many passages at most.
            allowed: passages that may be found; all by default.
        """
        graph = self._graph
        seeds = self._seeds(question, graph, how.common)
        if not seeds:
            return NOTHING
        certainty = max(amount * graph.rarity(place) for place, amount in seeds.items())
        entities, activation = graph.spread(seeds, how.depth, how.damping)
        ranked = graph.passages(entities, activation, limit, allowed)
        return Reached(ranked, certainty) if ranked else NOTHING

    def _seeds(self, question: str, graph: Graph, common: int) -> dict[int, float]:
        """Return the places of entities that a question names, each with how certain that is."""
        words = words_of(question)[:_WORDS]
        spans = [
            (first, last, " ".join(words[first:last]))
            for length in range(min(_LONGEST, len(words)), 0, -1)
            for first in range(len(words) - length + 1)
            for last in (first + length,)
        ]
        asked = [key for first, last, key in spans if last - first > 1 or key not in STOP_WORDS]
        named = self._store.named(list(dict.fromkeys(asked)))
        seeds: dict[int, float] = {}
        taken: set[int] = set()
        for first, last, key in spans:  # the longest first
            if key not in named or not taken.isdisjoint(range(first, last)):
                continue
            if places := graph.places(named[key]):
                taken.update(range(first, last))
                for place in places:
                    seeds[place] = max(seeds.get(place, 0.0), 1 / len(places))
        if seeds or not common:
            return seeds
        telling = [word for word in dict.fromkeys(words) if word not in STOP_WORDS and len(word) > 1]
        for ids in self._store.having(telling, common).values():
            places = graph.places(ids)
            for place in places:
                seeds[place] = max(seeds.get(place, 0.0), _PARTLY / len(places))
        return seeds
