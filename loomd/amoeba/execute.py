"""EXECUTE: the winner does it alone, or its subtasks are done as tasks of their own and their results put together.

How the parts run is in `split`. A failed part does not lose the others: what there is is put together, and what is
missing is named.
"""

import asyncio
from collections.abc import Sequence
from functools import partial
from textwrap import shorten
from typing import Literal

import msgspec

from loomd.agents import citation
from loomd.agents.agent import Agent
from loomd.agents.budget import NOTHING, Spent
from loomd.agents.loop import Loop
from loomd.agents.permissions import Permissions
from loomd.agents.work import Outcome, StopReason, Work
from loomd.amoeba.account import less, used
from loomd.amoeba.split import Split, combine, finding_of
from loomd.amoeba.task import Budget, Executed, Finding, Place, Result, Scaled, Task
from loomd.amoeba.world import Run, World
from loomd.events.event import Fallback
from loomd.messages import Message

Merge = Literal["model", "join"]
_LINE = 160
"""Most characters of what a line says of a part that is missing."""


_FINAL: frozenset[StopReason] = frozenset(
    {"refused", "output_invalid", "approval_denied", "approval_expired", "uncertain", "cancelled"}
)
"""Ends at which what there is is not shown otherwise."""


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
        outcome, waited = _more(executed.outcome, before, ()), run.waited()
        if waited:
            outcome = msgspec.structs.replace(outcome, waited=waited)
        return executed if outcome is executed.outcome else msgspec.structs.replace(executed, outcome=outcome)
    began = run.now("execute/began")
    split = Split(task, winner, scaled, world, run)
    try:
        executed, results = await _together(split, merge)
    except asyncio.CancelledError:
        run.leave(_so_far(before, [*split.done, *split.failed]))
        raise
    outcome = msgspec.structs.replace(_more(executed.outcome, before, [*results, *split.failed]), waited=run.waited())
    seconds = max(0.0, world.agent(winner).clock.now() - began)
    return msgspec.structs.replace(
        executed,
        outcome=msgspec.structs.replace(outcome, seconds=seconds),
        own=executed.outcome.usage.total / max(1, outcome.usage.total),
        children=tuple(result.task.id for result in results),
        missing=tuple(finding.goal for finding in map(finding_of, results) if finding.failed),
        again=tuple(split.again[one] for one in sorted(split.again)),
    )


async def _together(split: Split, merge: Merge) -> tuple[Executed, list[Result]]:
    """Return what came of the parts, put together, and their results."""
    task, winner = split.task, split.winner
    results = await split.run()
    findings = [finding_of(result) for result in results]
    if all(finding.failed for finding in findings):
        error = "; ".join(f"{finding.goal}: {finding.failed}" for finding in findings)
        foreign = all(one.executed is not None and one.executed.outcome.mute for one in results)
        return Executed(
            Outcome("", "error", foreign=foreign), winner, error=f"no part brought a result: {error}"
        ), results
    if merge == "join":
        executed = Executed(_join(combine(findings)), winner)
    else:
        left = msgspec.structs.replace(task, budget=_after(task.budget, [*results, *split.failed]))
        told = [msgspec.structs.replace(one, output=brought(one)) for one in findings]
        found = combine((*task.findings, *told))
        executed = await _alone(left, winner, split.world, split.record, found, "execute/merge")
        if executed.error and _may_be_joined(executed.outcome, split.world.agent(winner)):
            why = f"the results could not be put together: {executed.error}"
            split.record.scope.emit(Fallback("execute", why, "they are put under each other"), winner, "merge")
            executed = Executed(_rescued(executed.outcome, _join(combine(findings))), winner)
    ended = _limit(results)
    if ended is not None and executed.outcome.stop_reason == "completed":
        outcome = msgspec.structs.replace(
            executed.outcome, stop_reason=ended.stop_reason, note=ended.note, foreign=ended.foreign
        )
        executed = msgspec.structs.replace(executed, outcome=outcome)
    return executed, results


def _may_be_joined(merged: Outcome, agent: Agent) -> bool:
    """Return whether results that a model was to put together may be shown as they are when it did not.

    Not where somebody said no, or the answer must fit a schema.
    """
    refused = merged.stop_reason == "error" and merged.foreign
    return merged.stop_reason not in _FINAL and not refused and agent.output is None


def _rescued(merged: Outcome, joined: Outcome) -> Outcome:
    """Return the results of parts under each other, as what became of putting them together; how that ended is told."""
    return msgspec.structs.replace(
        merged,
        output=joined.output,
        citations=joined.citations,
        grounding=joined.grounding,
        note=merged.note or merged.error,
    )


def _limit(results: Sequence[Result]) -> Outcome | None:
    """Return the end of a part that a limit of the whole task ended, if one did."""
    ended = {one.executed.outcome.stop_reason: one.executed.outcome for one in results if one.executed is not None}
    limits: tuple[StopReason, ...] = ("budget_time", "budget_cost", "budget_tokens", "budget_calls")
    return next((ended[reason] for reason in limits if reason in ended), None)


def _so_far(before: Spent, results: Sequence[Result]) -> Outcome:
    """Return what there is of a task that is cancelled before its parts are put together."""
    done = [finding for finding in map(finding_of, results) if not finding.failed]
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
    if executed.again:
        parts.append(f"{len(executed.again)} given to another agent")
    if executed.children:
        parts.append(f"{len(executed.children) - len(executed.missing)} of {len(executed.children)} parts done")
    parts += [f'missing: "{shorten(goal, _LINE)}"' for goal in executed.missing]
    if unpriced := outcome.usage.unpriced:
        parts.append(f"no price known of {unpriced} tokens")
    parts.append(f"{outcome.usage.total} tokens, {outcome.seconds:.1f} s")
    return "; ".join(parts)


def within(place: Place | None) -> str:
    """Return in words where a part stands in the plan that it belongs to; an empty text for a task that is whole.

    No line speaks of itself ("the whole request, for orientation only"): small models repeat one as their answer.
    """
    if place is None:
        return ""
    others = "\n".join(f"{at}. {goal}" for at, goal in enumerate(place.plan, start=1) if at != place.at + 1)
    return (
        f"A larger request is done in {len(place.plan)} parts: {place.goal}\nOthers do the other parts:\n{others}\n"
        f"Do only part {place.at + 1}, which is your own part:"
    )


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
        within=within(task.place),
    )
    outcome = await Loop(agent, work, steps, run.scope, account=run.account).run()
    if task.session and not outcome.failure:
        await world.converse(task, winner, citation.unmarked(outcome.output))
    return Executed(outcome, winner, error=outcome.failure)


def _join(findings: Sequence[Finding]) -> Outcome:
    """Put results under each other as they are; in place of one that is missing a line in brackets says why."""
    text = "\n\n".join(f"{finding.goal}\n{brought(finding)}" for finding in findings)
    cited = tuple({c.number: c for finding in findings for c in finding.citations}.values())
    said = "\n\n".join(f"{finding.goal}\n{finding.output}" for finding in findings if not finding.failed)
    return Outcome(text, "completed", citations=cited, grounding=citation.grounding(said, cited))


def brought(finding: Finding) -> str:
    """Return what a part brought, or a line that says why it brought nothing."""
    return f"[This part is missing: {shorten(finding.failed, _LINE)}]" if finding.failed else finding.output


def _more(outcome: Outcome, before: Spent, results: Sequence[Result]) -> Outcome:
    """Return the outcome with what the phases before and the children used added to it."""
    if not results and before is NOTHING:
        return outcome
    parts = [result.executed.outcome for result in results if result.executed]
    spent = sum(map(used, results), Spent(outcome.usage, outcome.cost) + before)
    return msgspec.structs.replace(
        outcome,
        usage=spent.usage,
        cost=spent.cost,
        steps=outcome.steps + sum(part.steps for part in parts),
        tool_errors=outcome.tool_errors + sum(part.tool_errors for part in parts),
        tools=tuple(name for part in parts for name in part.tools) + outcome.tools,
        acted=outcome.acted or any(part.acted for part in parts),
        offered=outcome.offered + sum(part.offered for part in parts),
    )


def _after(budget: Budget, results: Sequence[Result]) -> Budget:
    """Return what the children left of a budget."""
    return less(budget, sum(map(used, results), NOTHING))
