"""What becomes of what a specialist had learned that did badly and goes: the agent that it was made from takes it over.

That is the survivor that is the most like it: the same model and tools, with another prompt. So it counts as much as
after an edit. One that went because it had nothing to do keeps what it had learned, and comes back with it. Called by
`cluster`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from loomd.agents.agent import Agent
from loomd.amoeba.decision import Decision, Merge, ScoreMove, Shaping
from loomd.amoeba.learning import Learning
from loomd.amoeba.world import Score, Standing
from loomd.cluster.capability import Book


class Merging(Protocol):
    """A cluster, as far as merging goes."""

    book: Book

    @property
    def agents(self) -> Mapping[str, Agent]:
        """Return the members by name."""
        ...

    @property
    def learning(self) -> Learning:
        """Return what becomes of what it learns."""
        ...

    def standing(self, agent: str, domains: Sequence[str]) -> Standing:
        """Return one agent's standing in the given domains."""
        ...


def merges_of(cluster: Merging, going: Sequence[Shaping], moves: Sequence[Decision]) -> Iterator[Merge]:
    """Yield what the makers of specialists take over.

    Nothing as long as it is not sure that these go, because that is only observed or proposed.

    Args:
        cluster: where they are members.
        going: those that go because they did badly.
        moves: how scores move for the task that ends with it.
    """
    modes = cluster.learning.mode_of
    if not going or modes("forge") != "auto":
        return
    now = {
        (one.agent, one.domain): Score(one.after, one.variance, one.count)
        for one in moves
        if isinstance(one, ScoreMove) and modes("score") == "auto"
    }
    makers = {(one.agent, one.spec): one.blueprint.creator for one in going}
    for name, spec, domain in list(cluster.book.table()):
        creator = cluster.agents.get(makers.get((name, spec), name))
        if creator is None or creator.name == name or creator.keeps(domain):
            continue
        key = (creator.name, domain)
        before = now.get(key) or cluster.standing(creator.name, [domain]).scores[domain]
        if (after := cluster.book.merged((name, spec, domain), before)) is not None:
            now[key] = after
            reason = f"{name}, made of it, is no member any more, and what it had learned counts as after an edit"
            numbers = (before.mean, after.mean, after.variance, after.count)
            yield Merge(creator.name, creator.digest, name, domain, *numbers, reason)
