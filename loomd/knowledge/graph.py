"""The graph of a knowledge base in memory: which entities stand where and together, and what a question activates.

Never changed once it is built: a search ends on what it began with. Made from what is stored of the passages.

A question activates the entities that it names. From these activation spreads to related ones, step by step, by
personalized PageRank that is cut off at a depth (T. Haveliwala, Topic-sensitive PageRank, WWW 2002; for retrieval of
passages: B. Gutierrez et al., HippoRAG, NeurIPS 2024, whose node specificity is the rarity here). A relation is the
stronger the more two entities stand together than by chance: normalized pointwise mutual information (G. Bouma,
GSCL 2009). A passage's score is the activation of what it speaks of.
"""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float32]

INITIAL, HEADING, MOST = 128, 64, 63
"""How an entity is mentioned, as a byte: maybe only a word, in a heading, and how often at most."""
_NEIGHBOURS = 32
"""Relations of one entity that are kept, the strongest."""
_FRONTIER = 128
"""Entities from which activation spreads in one step, the most active."""
_POSTINGS = 20_000
"""Mentions that one search looks at, those of the most active entities first."""
_SAID = 0.5
"""By how much a relation of which something is said is stronger."""


class Mentions(NamedTuple):
    """What is stored of one passage.

    Attributes:
        chunk: its id.
        entities: ids, 4 bytes each, and as many bytes of how they are mentioned.
        pairs: places of two entities, and whether something is said of them, a byte each.
    """

    chunk: int
    entities: bytes
    pairs: bytes


@dataclass(frozen=True)
class _Lists:
    """A list of numbers with weights for each row: those of row `i` begin at `starts[i]` and end at `starts[i + 1]`."""

    starts: "Ints"
    items: "Ints"
    weights: "Floats"

    def of(self, rows: "Ints") -> "tuple[Ints, Ints]":
        """Return the places of all that some rows hold, and for each the place of its row among them."""
        import numpy as np  # noqa: PLC0415  # loaded with the vectors

        begins, counts = self.starts[rows], self.starts[rows + 1] - self.starts[rows]
        owner = np.repeat(np.arange(len(rows)), counts)
        offsets = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
        return begins[owner] + offsets, owner


def _joined(known: "Ints", same: Mapping[int, int]) -> "Ints":
    """Return for each entity the place of the one that stands for all that are the same, in whatever direction."""
    import numpy as np  # noqa: PLC0415  # loaded with the vectors

    place = {ident: at for at, ident in enumerate(known.tolist()) if same}
    parent = dict[int, int]()

    def top(at: int) -> int:
        while (above := parent.get(at, at)) != at:
            parent[at] = at = parent.get(above, above)
        return at

    for one, other in same.items():
        if one in place and other in place and (under := top(place[one])) != (over := top(place[other])):
            parent[under] = over
    joined = np.arange(len(known))
    for at in list(parent):
        joined[at] = top(at)
    return joined


class Graph:
    """Entities, relations and the passages in which they stand.

    Attributes:
        entities: how many there are.
        relations: how many pairs of them are related.
    """

    def __init__(self, rows: Iterable[Mentions], same: Mapping[int, int]) -> None:
        """Build it.

        Args:
            rows: what is stored of each passage.
            same: ids of entities that are another one under another name, with the id of that.
        """
        import numpy as np  # noqa: PLC0415  # loaded with the vectors

        chunks, sizes, pairs, counts = list[int](), list[int](), list[bytes](), list[int]()
        ids, infos = list[bytes](), list[bytes]()
        for row in rows:
            size = len(row.entities) // 5
            chunks.append(row.chunk)
            sizes.append(size)
            ids.append(row.entities[: 4 * size])
            infos.append(row.entities[4 * size :])
            pairs.append(row.pairs)
            counts.append(len(row.pairs) // 3)
        self._chunks = np.array(chunks, np.int64)
        stored = np.frombuffer(b"".join(ids), "<u4").astype(np.int64)
        known, entity = np.unique(stored, return_inverse=True)
        canon = _joined(known, same)
        entity = canon[entity]
        self._known, self._canon = known, canon
        info = np.frombuffer(b"".join(infos), np.uint8)
        lengths = np.array(sizes, np.int64)
        begins = np.cumsum(lengths) - lengths
        within = np.repeat(np.arange(len(chunks)), lengths)
        self._count(entity, info, within, len(known))
        three = np.frombuffer(b"".join(pairs), np.uint8).reshape(-1, 3).astype(np.int64)
        base = np.repeat(begins, np.array(counts, np.int64))
        self._relate(entity[base + three[:, 0]], entity[base + three[:, 1]], three[:, 2] > 0)

    def _count(self, entity: "Ints", info: "NDArray[np.uint8]", within: "Ints", size: int) -> None:
        """Count in how many passages each entity is; what is a name nowhere for certain is none."""
        import numpy as np  # noqa: PLC0415  # as above

        sure = np.bincount(entity, info < INITIAL, size) > 0
        kept = sure[entity]
        entity, info, within = entity[kept], info[kept], within[kept]
        count = (info & MOST).astype(np.float32)
        weight = 1 + np.log(np.maximum(count, 1)) + 0.5 * ((info & HEADING) > 0)
        order = np.argsort(entity, kind="stable")
        starts = np.searchsorted(entity[order], np.arange(size + 1))
        spread = np.bincount(within, minlength=len(self._chunks))
        weight = (weight / np.sqrt(8 + spread[within])).astype(np.float32)
        self._mentions = _Lists(starts, within[order], weight[order])
        self._passages = np.diff(starts)
        total = max(2, len(self._chunks))
        self._rarity = (np.log(total / np.maximum(self._passages, 1)) / np.log(total)).clip(0, 1).astype(np.float32)
        self.entities = int((self._passages > 0).sum())

    def _relate(self, one: "Ints", other: "Ints", said: "NDArray[np.bool_]") -> None:
        """Keep the strongest relations of each entity."""
        import numpy as np  # noqa: PLC0415  # as above

        size = len(self._known)
        kept = (one != other) & (self._passages[one] > 0) & (self._passages[other] > 0)
        one, other, said = one[kept], other[kept], said[kept]
        pair, place = np.unique(np.minimum(one, other) * size + np.maximum(one, other), return_inverse=True)
        self.relations = len(pair)
        left, right = pair // size, pair % size
        together = np.minimum(
            np.bincount(place, minlength=len(pair)), np.minimum(self._passages[left], self._passages[right])
        )
        total = max(2, len(self._chunks))
        chance = np.log(together * total / (self._passages[left] * self._passages[right]).clip(1))
        weight = chance / np.maximum(-np.log(together / total), 1e-6)
        weight = np.where(together >= total, 0, weight).clip(0, 1) * (1 + np.log(np.maximum(together, 1)))
        weight = weight * (1 + _SAID * (np.bincount(place, said, len(pair)) > 0))
        begin, end = np.concatenate([left, right]), np.concatenate([right, left])
        both = np.concatenate([weight, weight]).astype(np.float32)
        order = np.lexsort((-both, begin))
        begin, end, both = begin[order], end[order], both[order]
        first = np.searchsorted(begin, np.arange(size + 1))
        strongest = (np.arange(len(begin)) - first[begin] < _NEIGHBOURS) & (both > 0)
        begin, end, both = begin[strongest], end[strongest], both[strongest]
        self._related = _Lists(np.searchsorted(begin, np.arange(size + 1)), end, both)

    def places(self, ids: Sequence[int]) -> list[int]:
        """Return the places of entities by their ids, each once; those that count nowhere are left out."""
        import numpy as np  # noqa: PLC0415  # as above

        wanted = np.array(ids, np.int64)
        at = np.searchsorted(self._known, wanted)
        inside = at < len(self._known)
        at, wanted = at[inside], wanted[inside]
        found = self._canon[at[self._known[at] == wanted]]
        return list(dict.fromkeys(found[self._passages[found] > 0].tolist()))

    def rarity(self, place: int) -> float:
        """Return how rare an entity is: from 0, in every passage, to 1, in one."""
        return float(self._rarity[place])

    def spread(self, seeds: Mapping[int, float], depth: int, damping: float) -> "tuple[Ints, Floats]":
        """Return the places of entities that others lead to, and how active they are, in no order.

        Args:
            seeds: how active entities are at first, by their places; these themselves are not among those returned.
            depth: how many relations are followed.
            damping: share of its activation that an entity hands on at each step.
        """
        import numpy as np  # noqa: PLC0415  # as above

        active = np.array(list(seeds), np.int64)
        amount = np.array(list(seeds.values()), np.float32) * self._rarity[active]
        if not amount.sum() > 0:
            return active[:0], amount[:0]
        amount = amount / amount.sum()
        found, total = list["Ints"](), list["Floats"]()
        for _ in range(depth):
            if len(active) > _FRONTIER:
                best = np.argpartition(-amount, _FRONTIER)[:_FRONTIER]
                active, amount = active[best], amount[best]
            at, owner = self._related.of(active)
            if not len(at):
                break
            share = self._related.weights[at] * self._rarity[self._related.items[at]]
            sums = np.bincount(owner, share, len(active)).clip(1e-9)
            given = damping * amount[owner] * share / sums[owner]
            active, place = np.unique(self._related.items[at], return_inverse=True)
            amount = np.bincount(place, given).astype(np.float32)
            found.append(active)
            total.append(amount)
        if not found:
            return active[:0], amount[:0]
        reached, place = np.unique(np.concatenate(found), return_inverse=True)
        activation = np.bincount(place, np.concatenate(total)).astype(np.float32)
        others = ~np.isin(reached, np.array(list(seeds), np.int64))
        return reached[others], activation[others]

    def passages(
        self, entities: "Ints", activation: "Floats", limit: int, allowed: AbstractSet[int] | None = None
    ) -> list[tuple[int, float]]:
        """Return the passages that speak of what is active, with their scores, best first.

        Args:
            entities: places of entities.
            activation: of each.
            limit: how many passages at most.
            allowed: passages that may be found; all by default.
        """
        import numpy as np  # noqa: PLC0415  # as above

        worth = activation * self._rarity[entities]
        order = np.argsort(-worth, kind="stable")
        entities, worth = entities[order], worth[order]
        upto = int(np.searchsorted(np.cumsum(self._passages[entities]), _POSTINGS, "right"))
        entities, worth = entities[: max(1, upto)], worth[: max(1, upto)]
        at, owner = self._mentions.of(entities)
        places, which = np.unique(self._mentions.items[at], return_inverse=True)
        score = np.sqrt(np.bincount(which, worth[owner] * self._mentions.weights[at], len(places)))
        if allowed is not None:
            fits = np.array([ident in allowed for ident in self._chunks[places].tolist()], bool)
            places, score = places[fits], score[fits]
        best = np.argpartition(-score, limit)[:limit] if len(score) > limit else np.arange(len(score))
        best = best[np.argsort(-score[best], kind="stable")]
        ranked = zip(self._chunks[places[best]].tolist(), score[best].tolist(), strict=True)
        return [(ident, amount) for ident, amount in ranked if amount > 0]
