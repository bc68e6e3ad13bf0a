"""The parts of a split: each a task of its own, that begins as soon as what it needs is done. Called by `execute`.

Siblings run side by side; results flow along the edges. All parts draw on one account, which keeps a share for what
puts them together. A part that failed goes to another agent, on the same share; what both used counts.
"""

import asyncio
from collections.abc import Sequence

import msgspec

from loomd.agents import citation
from loomd.agents.budget import Budget as Account
from loomd.agents.budget import Spent
from loomd.agents.permissions import Permissions
from loomd.agents.remembering import absorb, seed
from loomd.agents.work import Citation, StopReason
from loomd.amoeba.account import account_of, less, used
from loomd.amoeba.crowd import names_of
from loomd.amoeba.scale import child_id
from loomd.amoeba.task import Again, Budget, Finding, Place, Result, Scaled, Task
from loomd.amoeba.world import Run, World
from loomd.events.cluster import PartRetried
from loomd.memory.item import Turn, Whose
from loomd.messages import Usage

_FINAL: frozenset[StopReason] = frozenset(
    (
        *("budget_time", "budget_cost", "budget_tokens", "budget_calls", "cancelled"),
        *("approval_denied", "approval_expired", "uncertain"),
    )
)
"""Ends after which the same work is not begun anew: a limit, a person, or an effect that there may have been."""


class Split:
    """A task with its parts.

    Attributes:
        task: the task, with what is left of its budget.
        winner: who leads it.
        scaled: its parts.
        world: the cluster.
        record: the record of the task.
        failed: what became of the parts that were given to others.
        again: which those are, by the id of the task that failed.
    """

    def __init__(self, task: Task, winner: str, scaled: Scaled, world: World, run: Run) -> None:
        self.task = task
        self.winner = winner
        self.scaled = scaled
        self.world = world
        self.record = run
        self.failed: list[Result] = []
        self.again: dict[str, Again] = {}
        self._lead = world.agent(winner)
        self._steps = run if self._lead.durability in {None, "steps"} else run.loose()
        self._whose = Whose(self._lead.name, task.tenant, task.user, task.session, task.id)
        self._futures: list[asyncio.Future[Result]] = [
            asyncio.get_running_loop().create_future() for _ in scaled.subtasks
        ]

    @property
    def done(self) -> list[Result]:
        """Return the results that there are so far."""
        return [one.result() for one in self._futures if one.done() and not one.cancelled()]

    async def run(self) -> list[Result]:
        """Run the parts; return their results in the order of the plan.

        What the lead may not call, no agent may call in a part of its task.
        """
        task, count = self.task, len(self.scaled.subtasks)
        share = _share(task.budget, count + 1)
        kept = less(task.budget, Spent(Usage(share.tokens or 0), share.cost or 0.0, 0, share.calls or 0))
        whole = account_of(kept, task, self.world, self.record.account)
        whole.known = await self.record.parts()
        async with asyncio.TaskGroup() as group:
            for ordinal in range(count):
                group.create_task(self._part(ordinal, share, whole))
        return [future.result() for future in self._futures]

    async def _part(self, ordinal: int, share: Budget, whole: Account) -> None:
        """Run a part once what it needs is done, and let its result be known."""
        needed = [await asyncio.shield(self._futures[need]) for need in self.scaled.subtasks[ordinal].needs]
        child = await self._child(ordinal, share, needed)
        account = account_of(share, child, self.world, whole)
        result = await self.record.child(child, account)
        spent = used(result)
        while (other := self._another(result, spent, share)) is not None:
            self.failed.append(result)
            result = await self.record.child(other, account)
            spent += used(result)
        account.close(spent)
        if not (finding := finding_of(result)).failed:
            turn = Turn(child.id, child.goal, citation.unmarked(finding.output), began=self.task.created)
            await absorb(self._lead, msgspec.structs.replace(self._whose, task=child.id), turn, self.record.scope)
        self._futures[ordinal].set_result(result)

    async def _child(self, ordinal: int, share: Budget, needed: Sequence[Result]) -> Task:
        """Return the task of a part."""
        task, subtask, count = self.task, self.scaled.subtasks[ordinal], len(self.scaled.subtasks)
        bound = [rule.model_dump(mode="json") for rule in self._lead.rules() if rule != Permissions()]
        known = (*task.findings, *(one for one in map(finding_of, needed) if not one.failed))
        key = f"execute/seed/{ordinal}"
        return Task(
            id=child_id(task, ordinal),
            goal=subtask.goal,
            namespace=task.namespace,
            cluster=task.cluster,
            seed=task.seed + ordinal + 1,
            parent=task.id,
            depth=task.depth + 1,
            findings=tuple(combine(known)),
            budget=share,
            grant=msgspec.structs.replace(task.grant, share=task.grant.share / (count + 1)),
            deadline=task.deadline + self.record.waited(),
            revision=task.revision,
            created=task.created,
            durability=task.durability,
            permissions=(*task.permissions, *bound),
            leads=(*task.leads, self._lead.name),
            engine=task.engine,
            tenant=task.tenant,
            user=task.user,
            images=task.images,
            seeds=tuple(await seed(self._lead, self._whose, subtask.goal, self._steps, key, self.record.scope)),
            place=Place(task.goal, tuple(one.goal for one in self.scaled.subtasks), ordinal),
            descendants=self.scaled.descendants,
        )

    def _another(self, result: Result, spent: Spent, share: Budget) -> Task | None:
        """Return the task that is begun in the place of a part that failed; None when it stays as it is."""
        failed = result.task
        by = result.matched.winner if result.matched is not None else ""
        if failed.attempt > self.scaled.retries or not may_begin_anew(result, spent, share):
            return None
        avoid = (*failed.avoid, by)

        def others() -> bool:
            return not set(names_of(self.world.standings([]))) <= set(avoid)

        if not self.record.draw(f"execute/again/{failed.id}", "again", others, bool):
            return None
        attempt = failed.attempt + 1
        name = f"{failed.id if attempt == 2 else failed.id.rpartition('-')[0]}-{attempt}"
        why = finding_of(result).failed
        self.again[failed.id] = Again(failed.goal, failed.id, by, why, name)
        self.record.scope.emit(PartRetried(failed.id, by, why, name), self.winner, key=f"again/{failed.id}")
        return msgspec.structs.replace(
            failed, id=name, budget=less(share, spent), attempt=attempt, avoid=avoid, seed=failed.seed + attempt
        )


def may_begin_anew(result: Result, spent: Spent, limits: Budget) -> bool:
    """Return whether a task that ended may be begun anew by another agent: it failed, and something is left.

    What called a tool that does more than read is not: it would be done twice. Nor is what broke on the way, of which
    nobody knows what it did.

    Args:
        result: what became of it.
        spent: what it and earlier attempts have used.
        limits: what they may use together.
    """
    if result.phase != "Failed" or result.matched is None or not result.matched.winner:
        return False
    if result.executed is None:
        if result.scaled is not None:
            return False
    elif result.executed.outcome.acted or result.executed.outcome.stop_reason in _FINAL:
        return False
    return (
        (limits.tokens is None or spent.usage.total < limits.tokens)
        and (limits.cost is None or spent.cost <= limits.cost)
        and (limits.calls is None or spent.steps < limits.calls)
    )


def finding_of(result: Result) -> Finding:
    """Return what a part brought, or why it brought nothing."""
    executed = result.executed
    if executed is None or executed.error or result.phase != "Succeeded":
        failed = result.error or (executed.error if executed else "") or result.phase
        return Finding(result.task.goal, "", failed=failed)
    return Finding(result.task.goal, executed.outcome.output, executed.agent, executed.outcome.citations)


def combine(findings: Sequence[Finding]) -> list[Finding]:
    """Return the findings with their citations numbered through, and the marks in their texts rewritten to match.

    Two findings that cite the same passage share its number; a mark that names nothing is dropped, because it would
    name somebody else's passage.
    """
    numbers: dict[tuple[str, str, str], int] = {}
    combined: list[Finding] = []
    for finding in findings:
        moved: dict[int, int] = {}
        citations: list[Citation] = []
        for cited in finding.citations:
            moved[cited.number] = numbers.setdefault((cited.knowledge, cited.source, cited.text), len(numbers) + 1)
            citations.append(msgspec.structs.replace(cited, number=moved[cited.number]))
        output = citation.renumber(finding.output, moved)
        combined.append(msgspec.structs.replace(finding, output=output, citations=tuple(citations)))
    return combined


def _share(budget: Budget, parts: int) -> Budget:
    """Return an equal part of a budget; the deadline is shared by all."""
    return Budget(
        None if budget.tokens is None else max(1, budget.tokens // parts),
        None if budget.cost is None else budget.cost / parts,
        calls=None if budget.calls is None else max(1, budget.calls // parts),
        tool_calls=None if budget.tool_calls is None else budget.tool_calls // parts,
    )
