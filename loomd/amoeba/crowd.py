"""The standings of many agents at one moment, in columns: what is asked of all of them is worked out at once.

It is a sequence of standings like any other, each of which is made when it is looked at. What is worked out of columns
is, bit for bit, what the same arithmetic says of one standing after another.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, final, overload

import msgspec

from loomd.amoeba.world import Score, Standing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Whole = NDArray[np.int64]
    Flags = NDArray[np.bool_]

Numbers: TypeAlias = "list[float] | Floats"
"""One number for each of some agents: a list, or of a crowd an array."""


@dataclass(frozen=True, slots=True)
class Column:
    """What is believed of many agents in a domain, or over all: the fields of `Score`, one array for each."""

    mean: "Floats"
    variance: "Floats"
    count: "Whole"
    updated: "Floats"

    def at(self, places: "Whole | list[int]") -> "Column":
        """Return the same of some of them."""
        return Column(self.mean[places], self.variance[places], self.count[places], self.updated[places])

    def copy(self) -> "Column":
        """Return the same in arrays of its own."""
        return Column(self.mean.copy(), self.variance.copy(), self.count.copy(), self.updated.copy())

    def put(self, at: int, score: Score) -> None:
        """Change what is believed of the agent at a place."""
        self.mean[at], self.variance[at] = score.mean, score.variance
        self.count[at], self.updated[at] = score.count, score.updated

    def scores(self, places: list[int]) -> Iterable[Score]:
        """Return what is believed of the agents at some places."""
        some = self.at(places)
        return map(Score, some.mean.tolist(), some.variance.tolist(), some.count.tolist(), some.updated.tolist())


class Costs(NamedTuple):
    """Of many agents the fields of `Standing.price` and of `Standing.uses`; not a number where uses are not known."""

    input: "Floats"
    output: "Floats"
    read: "Floats"
    written: "Floats"


@final
@dataclass(frozen=True, eq=False)
class Crowd(Sequence[Standing]):
    """The standings of many agents; nothing of it is changed once it is made.

    Functions tell it from a list by its very type: of a class that fits a protocol `isinstance` takes as long as a bid.

    Attributes:
        names: of the agents.
        scores: what is believed of them, by domain of the task.
        overall: the same over all domains.
        running: pieces of work in hand.
        suspects: whether an agent may be dying, without budget, or without a service; of others it is known not to be.
        costs: what their tokens cost; None when no model has a price.
        tool: returns who has a tool, and who of them may call it, of all agents of the cluster.
        make: makes standings of those at some places of a crowd.
        places: where the agents stand among all of the cluster.
    """

    names: Sequence[str]
    scores: "Mapping[str, Column]"
    overall: Column
    running: "Whole"
    suspects: "Flags"
    costs: Costs | None
    tool: "Callable[[str], tuple[Flags, Flags]]"
    make: "Callable[[Crowd, list[int]], list[Standing]]"
    places: "Whole"

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, at: int) -> Standing: ...

    @overload
    def __getitem__(self, at: slice) -> list[Standing]: ...

    def __getitem__(self, at: int | slice) -> Standing | list[Standing]:
        found = range(len(self))[at]
        return self.make(self, [found])[0] if isinstance(found, int) else self.make(self, list(found))

    def __iter__(self) -> Iterator[Standing]:
        return iter(self.make(self, list(range(len(self)))))

    @property
    def is_priced(self) -> bool:
        """Return whether somebody's tokens cost something."""
        return self.costs is not None and bool(self.costs.input.any() or self.costs.output.any())

    @property
    def suspected(self) -> list[Standing]:
        """Return the standings of the suspects."""
        return self.make(self, self.suspects.nonzero()[0].tolist()) if self.suspects.any() else []

    def may_call(self, tool: str) -> "tuple[Flags, Flags]":
        """Return who has a tool, and who of them may call it."""
        has, may = self.tool(tool)
        return has[self.places], may[self.places]

    def having(self, needed: Collection[str]) -> "Floats":
        """Return the share of some tools that each has and may call."""
        import numpy as np  # noqa: PLC0415  # loaded with the first crowd

        shares: Floats = np.sum([self.may_call(tool)[1] for tool in needed], axis=0) / len(needed)
        return shares

    def some(self, places: Sequence[int]) -> "Crowd":
        """Return the crowd of those at some places."""
        import numpy as np  # noqa: PLC0415  # loaded with the first crowd

        at = np.array(places, np.int64)
        return replace(
            self,
            names=[self.names[place] for place in places],
            scores={domain: column.at(at) for domain, column in self.scores.items()},
            overall=self.overall.at(at),
            running=self.running[at],
            suspects=self.suspects[at],
            costs=None if self.costs is None else Costs(*[one[at] for one in self.costs]),
            places=self.places[at],
        )


def alike(agents: Sequence[Standing], value: float) -> Numbers:
    """Return the same number for each of some agents."""
    if type(agents) is Crowd:
        import numpy as np  # noqa: PLC0415  # loaded with the first crowd

        return np.full(len(agents), value)
    return [value] * len(agents)


def names_of(agents: Sequence[Standing]) -> Sequence[str]:
    """Return the names of some agents."""
    return agents.names if type(agents) is Crowd else [agent.agent for agent in agents]


def those_at(agents: Sequence[Standing], places: list[int]) -> list[Standing]:
    """Return the standings at some places."""
    return agents.make(agents, places) if type(agents) is Crowd else [agents[at] for at in places]


def running_of(agents: Sequence[Standing]) -> "list[float] | Whole":
    """Return how much work some agents have in hand."""
    return agents.running if type(agents) is Crowd else [agent.running for agent in agents]


def overall_of(agents: Sequence[Standing]) -> Numbers:
    """Return what is believed of some agents over all domains."""
    return agents.overall.mean if type(agents) is Crowd else [agent.overall.mean for agent in agents]


def means_of(agents: Sequence[Standing], domain: str) -> Numbers:
    """Return what is believed of some agents in a domain of the task."""
    return agents.scores[domain].mean if type(agents) is Crowd else [one.scores[domain].mean for one in agents]


def without(agents: Sequence[Standing], out: Collection[str]) -> Sequence[Standing]:
    """Return those of some agents that are not among others, by name."""
    if not out:
        return agents
    if type(agents) is Crowd:
        return agents.some([at for at, name in enumerate(agents.names) if name not in out])
    return [agent for agent in agents if agent.agent not in out]


def beside(agents: Sequence[Standing], leads: Sequence[str]) -> Sequence[Standing]:
    """Return the standings of some agents without a piece of work in hand for each time that they are named."""
    less = Counter(leads)
    if type(agents) is Crowd:
        running = agents.running.copy()
        for at, name in enumerate(agents.names):
            if name in less:
                running[at] = max(0, running[at] - less[name])
        return replace(agents, running=running)
    return [
        msgspec.structs.replace(agent, running=max(0, agent.running - less[agent.agent]))
        if agent.agent in less
        else agent
        for agent in agents
    ]


def each(formula: Callable[..., float], *columns: "Numbers | Whole") -> Numbers:
    """Return what a formula says of each agent: of lists a list, of the columns of a crowd another column.

    It adds, subtracts, multiplies and divides, and nothing else: so it says the same of numbers and of columns.
    """
    if isinstance(columns[0], list):
        return list(map(formula, *columns))
    whole: Callable[..., Any] = formula
    found: Floats = whole(*columns)
    return found
