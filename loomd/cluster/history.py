"""Past tasks of a cluster, to compare new ones with by meaning; without an embedder none is kept.

The store keeps them, and is the truth. What belongs to one owner, a tenant and a user, is read when a task of theirs
comes for the first time, and follows the tasks that end after that; nobody hears of the tasks of others. After an edit
of the cluster it is read anew. Vectors that another embedder made are not compared: the task is left out. Called by
`cluster`.
"""

import asyncio
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING

from loomd.amoeba.learning import Learning
from loomd.amoeba.task import Task
from loomd.amoeba.world import Lived, Neighbour
from loomd.cluster.likeness import Embedder
from loomd.cluster.roster import Roster
from loomd.manifest.object import Ref
from loomd.manifest.wording import without_secrets
from loomd.store.base import Store
from loomd.store.records import Experience
from loomd.vectors.faiss_index import Mark
from loomd.vectors.index import VectorIndex

if TYPE_CHECKING:
    from loomd.cluster.likeness import Vector
    from loomd.vectors.faiss_index import Ids, Vectors

Owner = tuple[str, str]
"""A tenant and one of its users, each empty for none."""

_HELD = 2
"""So many times more tasks than a cluster keeps are in memory at most, those of all owners together."""
_GOAL = 2_000
"""Characters of a goal that are kept."""
_PART = 2_000
"""Vectors that an index is given at a time."""


class TaskHistory:
    """The past tasks of one cluster."""

    def __init__(self, ref: Ref, store: Store, rules: Learning, roster: Roster) -> None:
        """Nothing is read before it is asked about.

        Args:
            ref: the cluster.
            store: where they are kept.
            rules: how many, and which are alike.
            roster: the members; goals pass their redaction, and are embedded by what the cluster compares with.
        """
        self._ref = ref
        self._store = store
        self._rules = rules
        self._roster = roster
        self._embedder = roster.embedder if rules.history.keep and rules.reading_of("history") != "off" else None
        self._homes: dict[Owner, _Home] = {}
        """What was read, of those who were asked about last at the end."""

    async def neighbours(self, task: Task) -> list[Neighbour]:
        """Return the past tasks of the same owner that are most like a task, the most alike first.

        Raises:
            LoomdError: they could not be read, or the embedder failed.
        """
        if self._embedder is None or (vector := await self._roster.vector(task.goal)) is None:
            return []
        home, spec = await self._home((task.tenant, task.user), self._embedder), self._rules.history
        least = spec.min_likeness
        return [
            self._neighbour(one, likeness, (likeness - least) / (1 - least) if least < 1 else 1.0)
            for one, likeness in home.near(vector, spec.neighbours)
            if likeness >= least
        ]

    def _neighbour(self, one: Experience, likeness: float, weight: float) -> Neighbour:
        observed = self._rules.calibrate.observed(one.tokens, one.seconds)
        return Neighbour(
            one.task, one.goal, likeness, one.complexity, observed, one.domains, tokens=one.tokens, weight=weight
        )

    async def experience(self, lived: Lived) -> Experience | None:
        """Return a task as it is kept; None when none is.

        Its goal is cut, and passes what the members redact.

        Raises:
            LoomdError: the embedder failed.
        """
        if self._embedder is None:
            return None
        task, outcome = lived.task, lived.executed.outcome
        goal = self._roster.redacted(without_secrets(task.goal))
        if (vector := await self._roster.vector(goal)) is None:
            return None
        return Experience(
            task=task.id,
            namespace=self._ref.namespace,
            cluster=self._ref.name,
            tenant=task.tenant,
            user=task.user,
            goal=goal[:_GOAL],
            embedder=self._embedder.fingerprint,
            vector=vector.astype("float16").tobytes(),
            domains=lived.sensed.domains,
            complexity=lived.sensed.uncorrected,
            tokens=outcome.usage.total,
            seconds=max(0.0, outcome.seconds - outcome.waited),
            steps=outcome.steps,
            children=len(lived.executed.children),
            reward=lived.evaluated.reward,
            created=task.created,
        )

    def take(self, one: Experience) -> None:
        """Take over a task that the store keeps from now on."""
        home = self._homes.get((one.tenant, one.user))
        if home is not None:
            home.take(one)

    def drop(self) -> None:
        """Keep nothing in memory: what was removed from the store is not there either."""
        self._homes.clear()

    async def tidy(self) -> None:
        """Remove from the store what is more than the cluster keeps, and from memory what the store does not hold."""
        await self._store.learning.trim(self._ref.namespace, self._ref.name, self._rules.history.keep)
        if known := [(home, home.tasks()) for home in self._homes.values()]:
            stored = await self._store.learning.experienced(self._ref.namespace, self._ref.name)
            for home, tasks in known:  # what has come since is not due
                home.leave(tasks - stored)

    async def _home(self, owner: Owner, embedder: Embedder) -> "_Home":
        """Return the past tasks of an owner; who comes while they are read waits for the same reading."""
        home = self._homes.pop(owner, None)
        if home is None:
            home = _Home(self._rules.history.keep)
            home.reading = asyncio.ensure_future(self._read(home, owner, embedder))
        self._homes[owner] = home
        if not home.reading.done():
            await asyncio.wait([home.reading])
        if (error := home.reading.exception()) is not None:
            if self._homes.get(owner) is home:
                del self._homes[owner]
            raise error
        return home

    async def _read(self, home: "_Home", owner: Owner, embedder: Embedder) -> None:
        keep, ref = self._rules.history.keep, self._ref
        newest_first = await self._store.learning.experience(ref.namespace, ref.name, embedder.fingerprint, keep, owner)
        home.fill(reversed(newest_first))
        held = sum(len(one) for one in self._homes.values())
        for name in [name for name, one in self._homes.items() if one is not home]:
            if held <= _HELD * keep:
                return
            held -= len(self._homes.pop(name))


class _Home:
    """The past tasks of one owner, in memory, each with a number that counts up."""

    reading: "asyncio.Future[None]"

    def __init__(self, keep: int) -> None:
        """Hold at most so many tasks."""
        self._keep = keep
        self._numbers = itertools.count()
        self._tasks: dict[int, Experience] = {}
        """By number, so the oldest first."""
        self._ids: set[str] = set()
        self._index: VectorIndex | None = None
        self._late: list[Experience] | None = []
        """What came before the store was read; None once it was."""
        self._building: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        """Return the number of tasks."""
        return len(self._tasks)

    def near(self, vector: "Vector", most: int) -> list[tuple[Experience, float]]:
        """Return the tasks that are nearest to a unit vector, with their cosines, the nearest first."""
        if self._index is None:
            return []
        found = self._index.search(vector[None], most)[0]
        return [(self._tasks[one.id], min(1.0, one.score)) for one in found]

    def fill(self, stored: Iterable[Experience]) -> None:
        """Take over what is stored, the oldest first, and what came while it was read."""
        late, self._late = self._late or [], None
        for one in [*stored, *late]:
            self._put(one)
        if self._tasks:
            self._index = VectorIndex(len(next(iter(self._tasks.values())).vector) // 2, None)
            _add(self._index, self._tasks)
            self._tend()

    def tasks(self) -> set[str]:
        """Return the ids of the tasks that are here."""
        return set(self._ids)

    def leave(self, tasks: AbstractSet[str]) -> None:
        """Keep some tasks no longer."""
        if tasks:
            for number in [number for number, one in self._tasks.items() if one.task in tasks]:
                self._leave(number)

    def take(self, one: Experience) -> None:
        """Take over a task that has ended."""
        if self._late is not None:
            self._late.append(one)
        elif (number := self._put(one)) is not None:
            if self._index is None:
                self._index = VectorIndex(len(one.vector) // 2, None)
            self._index.add([number], _vectors([one]))
            self._tend()

    def _tend(self) -> None:
        """Let the index get a base, beside what goes on, once many vectors stand beside one; nobody waits for it."""
        if self._building is not None and not self._building.done():
            return
        if self._index is not None and self._index.is_due("flat"):
            self._building = asyncio.ensure_future(self._build())

    def _put(self, one: Experience) -> int | None:
        """Return the number of a task, None when it is there already; the oldest of too many leaves."""
        if one.task in self._ids:
            return None
        number = next(self._numbers)
        self._tasks[number] = one
        self._ids.add(one.task)
        if len(self._tasks) > self._keep:
            self._leave(next(iter(self._tasks)))
        return number

    def _leave(self, number: int) -> None:
        gone = self._tasks.pop(number)
        self._ids.remove(gone.task)
        if self._index is not None:
            self._index.remove([number])

    async def _build(self) -> None:
        """Put all vectors in an index, on another thread; what comes and goes meanwhile follows."""
        tasks = dict(self._tasks)
        index = VectorIndex(len(next(iter(tasks.values())).vector) // 2, None)
        await asyncio.to_thread(_build, index, tasks)
        last = max(tasks)
        _add(index, {number: one for number, one in self._tasks.items() if number > last})
        index.remove(number for number in tasks if number not in self._tasks)
        self._index = index


def _build(index: VectorIndex, tasks: Mapping[int, Experience]) -> None:
    """Let an index have a base of the vectors of tasks; this loads FAISS."""

    def rows() -> "Iterator[tuple[Ids, Vectors]]":
        import numpy as np  # noqa: PLC0415  # only a cluster with an embedder needs it

        pairs = iter(tasks.items())
        while some := list(itertools.islice(pairs, _PART)):
            yield np.array([number for number, _ in some], np.int64), _vectors([one for _, one in some])

    index.build(rows, len(tasks), Mark("", 0, max(tasks)), "flat", 1.0)


def _add(index: VectorIndex, tasks: Mapping[int, Experience]) -> None:
    if tasks:
        index.add(list(tasks), _vectors(list(tasks.values())))


def _vectors(tasks: Sequence[Experience]) -> "Vectors":
    """Return the vectors of tasks, `(tasks, dimension) float32`."""
    import numpy as np  # noqa: PLC0415  # only a cluster with an embedder needs it

    flat = np.frombuffer(b"".join(one.vector for one in tasks), np.float16)
    return flat.reshape(len(tasks), -1).astype(np.float32)
