"""EXECUTE: the winner does it alone, or its subtasks are done as tasks of their own and their results put together.

Siblings run side by side as soon as what they need is there; results flow along the edges. A failed child does not
lose the others: what there is is put together, and what is missing is named.
"""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Literal

import msgspec

from loomd.agents import citation
from loomd.agents.budget import NOTHING, Spent
from loomd.agents.loop import Loop
from loomd.agents.permissions import Permissions
from loomd.agents.remembering import absorb, seed
from loomd.agents.work import Citation, Outcome, StopReason, Work
from loomd.amoeba.account import account_of, less, settle, used
from loomd.amoeba.scale import child_id
from loomd.amoeba.task import Budget, Executed, Finding, Result, Scaled, Task
from loomd.amoeba.world import Run, World
from loomd.memory.item import Turn, Whose
from loomd.messages import Message, Usage

Merge = Literal["model", "join"]


async def execute(
    task: Task, winner: str, scaled: Scaled, world: World, run: Run, merge: Merge, before: Spent
) -> Executed:
    """Return the answer and what it took.

    Args:
        task: the task, with what is left of its budget.
        winner: who does it.
        scaled: its parts.
        world: the cluster.
        run: the record of the task.
        merge: how results are put together.
        before: what the phases before used; it is counted in.
    """
    if not scaled.subtasks:
        executed = await _alone(task, winner, world, run, task.findings, "execute")
        outcome = msgspec.structs.replace(_more(executed.outcome, before, ()), waited=run.waited())
        return msgspec.structs.replace(executed, outcome=outcome)
    started = world.agent(winner).clock.monotonic()
    futures: list[asyncio.Future[Result]] = [asyncio.get_running_loop().create_future() for _ in scaled.subtasks]
    try:
        executed, results = await _together(task, winner, scaled, world, run, merge, futures)
    except asyncio.CancelledError:
        run.leave(_so_far(before, [one.result() for one in futures if one.done() and not one.cancelled()]))
        raise
    outcome = msgspec.structs.replace(_more(executed.outcome, before, results), waited=run.waited())
    seconds = world.agent(winner).clock.monotonic() - started
    return msgspec.structs.replace(
        executed,
        outcome=msgspec.structs.replace(outcome, seconds=seconds),
        own=executed.outcome.usage.total / max(1, outcome.usage.total),
        children=tuple(result.task.id for result in results),
        missing=tuple(finding.goal for finding in map(_finding, results) if finding.failed),
    )


async def _together(
    task: Task,
    winner: str,
    scaled: Scaled,
    world: World,
    run: Run,
    merge: Merge,
    futures: Sequence[asyncio.Future[Result]],
) -> tuple[Executed, list[Result]]:
    """Return what came of the parts, put together, and their results; each is in its future as soon as it is there."""
    results = await _children(task, scaled, world, run, winner, futures)
    findings = [_finding(result) for result in results]
    done = [finding for finding in findings if not finding.failed]
    if not done:
        error = "; ".join(f"{finding.goal}: {finding.failed}" for finding in findings)
        return Executed(Outcome("", "error"), winner, error=f"no part brought a result: {error}"), results
    if merge == "join":
        executed = Executed(_join(combine(done)), winner)
    else:
        left = msgspec.structs.replace(task, budget=_after(task.budget, results))
        executed = await _alone(left, winner, world, run, combine((*task.findings, *done)), "execute/merge")
    reason = _limit(results)
    if reason is not None and executed.outcome.stop_reason == "completed":
        executed = msgspec.structs.replace(
            executed, outcome=msgspec.structs.replace(executed.outcome, stop_reason=reason)
        )
    return executed, results


def _limit(results: Sequence[Result]) -> StopReason | None:
    """Return which limit of the whole task ended one of its parts, if one did."""
    ended = [result.executed.outcome.stop_reason for result in results if result.executed is not None]
    limits: tuple[StopReason, ...] = ("budget_time", "budget_cost", "budget_tokens", "budget_calls")
    return next((reason for reason in limits if reason in ended), None)


def _so_far(before: Spent, results: Sequence[Result]) -> Outcome:
    """Return what there is of a task that is cancelled before its parts are put together."""
    done = [finding for finding in map(_finding, results) if not finding.failed]
    joined = msgspec.structs.replace(_join(combine(done)), stop_reason="cancelled")
    return _more(joined, before, results)


def explain(executed: Executed) -> str:
    """Return the phase's output in one line."""
    outcome = executed.outcome
    if executed.error:
        return executed.error
    parts = [f"{outcome.end} after {outcome.steps} model call{'s' if outcome.steps != 1 else ''}"]
    if outcome.tools:
        parts.append(f"tools {', '.join(outcome.tools)}")
    if outcome.offered or outcome.citations:
        parts.append(f"{len(outcome.citations)} of {outcome.offered} passages cited")
    if executed.children:
        parts.append(f"{len(executed.children) - len(executed.missing)} of {len(executed.children)} parts done")
    if unpriced := outcome.usage.unpriced:
        parts.append(f"no price known of {unpriced} tokens")
    parts.append(f"{outcome.usage.total} tokens, {outcome.seconds:.1f} s")
    return "; ".join(parts)


async def _alone(task: Task, winner: str, world: World, run: Run, findings: Sequence[Finding], key: str) -> Executed:
    """Let the winner do it; without a usable answer the outcome says why there is none."""
    agent = world.agent(winner)
    steps = run if agent.durability in {None, "steps"} else run.loose()
    history: list[Message] = []
    if task.session:
        look = partial(world.history, task, winner)
        history = await steps.step(f"{key}/history", "history", look, list[Message])
    work = Work(
        task.goal,
        key,
        findings,
        task.budget.tokens,
        task.budget.cost,
        task.budget.calls,
        task.budget.tool_calls,
        task.deadline,
        remember=task.id,
        history=history,
        owner=(task.tenant, task.user),
        session=task.session,
        seeds=task.seeds,
        permissions=[Permissions.model_validate(one) for one in task.permissions],
        cut=partial(world.cut, task.grant),
        images=task.images,
    )
    outcome = await Loop(agent, work, steps, run.scope, account=run.account).run()
    if task.session and not outcome.failure:
        await world.converse(task, winner, citation.unmarked(outcome.output))
    return Executed(outcome, winner, error=outcome.failure)


async def _children(
    task: Task, scaled: Scaled, world: World, run: Run, winner: str, done: Sequence[asyncio.Future[Result]]
) -> list[Result]:
    """Run the subtasks, each as soon as what it needs is done; return their results in the order of the plan.

    What the lead may not call, no agent may call in a part of its task. All parts draw on one account, which keeps a
    share for what puts them together.
    """
    lead, count = world.agent(winner), len(scaled.subtasks)
    share = _share(task.budget, count + 1)
    kept = less(task.budget, Spent(Usage(share.tokens or 0), share.cost or 0.0, 0, share.calls or 0))
    whole = account_of(kept, task, world, run.account)
    whole.known = await run.parts()
    grant = msgspec.structs.replace(task.grant, share=task.grant.share / (count + 1))
    bound = [rule.model_dump(mode="json") for rule in lead.rules() if rule != Permissions()]

    whose = Whose(lead.name, task.tenant, task.user, task.session, task.id)
    steps = run if lead.durability in {None, "steps"} else run.loose()

    async def one(ordinal: int) -> None:
        subtask = scaled.subtasks[ordinal]
        needed = [await asyncio.shield(done[need]) for need in subtask.needs]
        child = Task(
            id=child_id(task, ordinal),
            goal=subtask.goal,
            namespace=task.namespace,
            cluster=task.cluster,
            seed=task.seed + ordinal + 1,
            parent=task.id,
            depth=task.depth + 1,
            findings=tuple(combine((*task.findings, *(f for f in map(_finding, needed) if not f.failed)))),
            budget=share,
            grant=grant,
            deadline=task.deadline + run.waited(),
            revision=task.revision,
            created=task.created,
            durability=task.durability,
            permissions=(*task.permissions, *bound),
            leads=(*task.leads, lead.name),
            engine=task.engine,
            tenant=task.tenant,
            user=task.user,
            images=task.images,
            seeds=tuple(await seed(lead, whose, subtask.goal, steps, f"execute/seed/{ordinal}")),
        )
        account = account_of(share, child, world, whole)
        result = await run.child(child, account)
        settle(account, result)
        if not (finding := _finding(result)).failed:
            turn = Turn(child.id, child.goal, citation.unmarked(finding.output), began=task.created)
            await absorb(lead, msgspec.structs.replace(whose, task=child.id), turn, run.scope)
        done[ordinal].set_result(result)

    async with asyncio.TaskGroup() as group:
        for ordinal in range(count):
            group.create_task(one(ordinal))
    return [future.result() for future in done]


def _finding(result: Result) -> Finding:
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


def _join(findings: Sequence[Finding]) -> Outcome:
    """Put results under each other as they are."""
    text = "\n\n".join(f"{finding.goal}\n{finding.output}" for finding in findings)
    cited = tuple({c.number: c for finding in findings for c in finding.citations}.values())
    return Outcome(text, "completed", citations=cited, grounding=citation.grounding(text, cited))


def _more(outcome: Outcome, before: Spent, results: Sequence[Result]) -> Outcome:
    """Return the outcome with what the phases before and the children used added to it."""
    parts = [result.executed.outcome for result in results if result.executed]
    spent = sum(map(used, results), Spent(outcome.usage, outcome.cost) + before)
    return msgspec.structs.replace(
        outcome,
        usage=spent.usage,
        cost=spent.cost,
        steps=outcome.steps + sum(part.steps for part in parts),
        tool_errors=outcome.tool_errors + sum(part.tool_errors for part in parts),
        tools=tuple(name for part in parts for name in part.tools) + outcome.tools,
        offered=outcome.offered + sum(part.offered for part in parts),
    )


def _share(budget: Budget, parts: int) -> Budget:
    """Return an equal part of a budget; the deadline is shared by all."""
    return Budget(
        None if budget.tokens is None else max(1, budget.tokens // parts),
        None if budget.cost is None else budget.cost / parts,
        calls=None if budget.calls is None else max(1, budget.calls // parts),
        tool_calls=None if budget.tool_calls is None else budget.tool_calls // parts,
    )


def _after(budget: Budget, results: Sequence[Result]) -> Budget:
    """Return what the children left of a budget."""
    return less(budget, sum(map(used, results), NOTHING))
