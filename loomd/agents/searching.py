"""What an agent's knowledge bases find for its goal, before it begins; a recorded step for each. Called by `context`.

A base that asks models while it searches does so on the account of the work: the step keeps what that took, too, so
that it is booked again when the work goes on after an interruption, and not paid again.
"""

from collections.abc import Sequence
from functools import partial
from typing import cast

import msgspec

from loomd.agents.agent import Agent
from loomd.agents.asking import Asking
from loomd.agents.base import KnowledgeBase, Steps
from loomd.agents.budget import Budget, Exhausted, Spent
from loomd.agents.spending import book
from loomd.agents.work import Work
from loomd.events.bus import Scope
from loomd.events.event import AnyFact, KnowledgeSearched
from loomd.knowledge.asking import Nobody, Unpaid
from loomd.knowledge.standing import Found
from loomd.messages import Passage


class Searched(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a base found that asks while it searches, and what that took."""

    found: Found
    spent: Spent = Spent()


_Result = cast("type[list[Passage] | Searched]", list[Passage] | Searched)


async def search_all(
    agent: Agent, work: Work, steps: Steps, scope: Scope, account: Budget | None = None
) -> list[Passage]:
    """Return the passages of all bases, numbered through, after those of earlier results.

    Args:
        agent: who searches.
        work: what for.
        steps: where it is recorded.
        scope: the envelope of its events.
        account: that of the work; without one no base asks anybody.

    Raises:
        Exhausted: a limit has no room for what a base asks, and it is declared to fail then.
        LoomdError: a base failed.
    """
    passages: list[Passage] = []
    first = 1 + max((c.number for f in work.findings for c in f.citations), default=0)
    for base in agent.knowledge:
        key, name = f"{work.key}/knowledge/{base.name}", f"knowledge:{base.name}"
        asking = None if account is None or not base.refines else Asking(agent, steps, scope, key, account)
        found: list[Passage] | Searched | None = None
        try:
            found = await steps.step(key, name, partial(_search, base, work.goal, agent, scope, asking), _Result)
        except Unpaid as error:
            if isinstance(error.__cause__, Exhausted):
                raise error.__cause__ from error
            raise
        finally:
            if asking is not None and account is not None:  # from here on it is on the account itself
                account.below[:] = [one for one in account.below if one is not asking.account]
                if found is None:
                    book(agent, scope, account, work.key, asking.account.total)
        if isinstance(found, Searched):
            if account is not None:
                book(agent, scope, account, work.key, found.spent)
            found = list(found.found.passages)
        passages += _numbered(found, first + len(passages))
    return passages


def _numbered(found: Sequence[Passage], first: int) -> list[Passage]:
    return [msgspec.structs.replace(one, number=number) for number, one in enumerate(found, first)]


async def _search(
    base: KnowledgeBase, goal: str, agent: Agent, scope: Scope, asking: Asking | None
) -> list[Passage] | Searched:
    """Search one base, and tell what it found."""
    found = await base.look(goal, asker=asking or _Heard(agent, scope))
    sources = tuple(one.source for one in found.passages)
    scope.emit(KnowledgeSearched(base.name, goal, sources, found.wordings), agent.name)
    if not base.refines:
        return list(found.passages)
    return Searched(found) if asking is None else Searched(found, asking.account.total)


class _Heard(Nobody):
    """Pays for nothing; what it is told becomes an event of the work."""

    def __init__(self, agent: Agent, scope: Scope) -> None:
        self._agent = agent
        self._scope = scope

    def tell(self, fact: AnyFact) -> None:
        """Make known what happened."""
        self._scope.emit(fact, self._agent.name)
