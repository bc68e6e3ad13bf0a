"""What an agent takes from its memory before work, and puts there after it. Called by the context and the loop.

Whatever is asked of a memory is a recorded step, so that work that is run again makes the same prompt. What is kept has
keys that are the same in every run, so that nothing is remembered twice.
"""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, cast

import msgspec

from loomd.agents import citation
from loomd.agents.agent import Agent
from loomd.agents.base import ChatModel, Memory, Steps
from loomd.agents.call_context import Errand
from loomd.agents.strategies.tool_use import ToolUse
from loomd.agents.work import Outcome, Work
from loomd.errors import LoomdError
from loomd.events.bus import Scope
from loomd.events.event import Fallback
from loomd.events.room import MemoryCondensed, MemoryRemembered, Told
from loomd.memory.item import Item, Turn, Whose
from loomd.memory.summary import Dropped
from loomd.memory.window import fit_window
from loomd.messages import Message

_SUMMARIZER = "You keep notes. You write short, plain sentences and add nothing of your own."
_CONDENSE = (
    "Put these facts of a conversation into fewer and shorter sentences, one on each line. Keep every decision, name, "
    "number and date. Write nothing else."
)

_LINES, _LINE = 5, 80
"""How many lines of a summary an event names, and the most characters of each."""


def whose_of(agent: Agent, work: Work, scope: Scope) -> Whose:
    """Return who remembers and recalls in a piece of work."""
    tenant, user = work.owner
    return Whose(agent.principal, tenant, user, work.session, scope.task)


@dataclass(frozen=True)
class Condensing:
    """What a summarizer is asked, and the working facts that it is about."""

    errand: Errand
    facts: Sequence[Item]


class Beside(NamedTuple):
    """What else enters a prompt: the system turn, the characters beside goal and memories, and the tokens of all."""

    system: str
    characters: int
    window: int


async def recall(agent: Agent, work: Work, steps: Steps, scope: Scope, beside: Beside) -> list[str]:
    """Return what an agent remembers that fits the goal, best first; what the earlier turns say is left out.

    Args:
        agent: who remembers.
        work: what is wanted.
        steps: where it is recorded.
        scope: the envelope of its events.
        beside: what else enters the prompt, which decides how many of the earlier turns do.
    """
    memory, seeds = agent.memory, list(work.seeds)
    if memory is None:
        return seeds
    whose = whose_of(agent, work, scope)

    async def look() -> list[str]:
        try:
            found = await memory.recall(whose, work.goal)
            seen = _shown(memory, agent, work, beside, found) if found and work.history else ()
            found = await memory.recall(whose, work.goal, seen) if seen else found
        except LoomdError as error:
            scope.emit(Fallback("recall", str(error), "nothing is recalled"), agent.name)
            return []
        if memory.lacks:
            scope.emit(Fallback("recall", memory.lacks, "what is remembered is found by words alone"), agent.name)
        return found

    own = await steps.step(f"{work.key}/recall", "recall", look, list[str])
    return list(dict.fromkeys((*seeds, *own)))


async def seed(agent: Agent, whose: Whose, goal: str, steps: Steps, key: str, scope: Scope) -> list[str]:
    """Return what an agent remembers that fits a part of its work, for whoever does it."""
    memory = agent.memory
    if memory is None or not memory.seeds:
        return []

    async def look() -> list[str]:
        try:
            return await memory.seed(whose, goal)
        except LoomdError as error:
            scope.emit(Fallback("seed", str(error), "the part is told nothing that is remembered"), agent.name)
            return []

    return await steps.step(key, "seed", look, list[str])


async def absorb(agent: Agent, whose: Whose, turn: Turn, scope: Scope) -> None:
    """Keep what a part of an agent's work brought back as more important than what it says itself."""
    memory = agent.memory
    if memory is None or not memory.recalls:
        return
    await _keep(
        agent, whose, msgspec.structs.replace(turn, boost=memory.boost, absorbed=True), scope, f"absorbed/{turn.key}"
    )


async def summarizing(agent: Agent, work: Work, steps: Steps, scope: Scope, depth: int) -> Condensing | None:
    """Return what the memory's summarizer is to be asked before a turn; None when there is nothing, or nobody.

    Args:
        agent: who remembers.
        work: what is wanted.
        steps: where it is recorded which facts are too many.
        scope: the envelope of its events.
        depth: how many delegations stand above the summarizer.
    """
    memory = agent.memory
    if memory is None or memory.summarizer is None or not work.remember or not work.session:
        return None
    whose, by = whose_of(agent, work, scope), memory.summarizer

    async def look() -> list[Item]:
        try:
            return await memory.crowded(whose)
        except LoomdError as error:
            scope.emit(Fallback("condense", str(error), "working facts stay as they are"), agent.name)
            return []

    facts = await steps.step(f"{work.key}/crowded", "crowded", look, list[Item])
    if not facts:
        return None
    if not isinstance(by, Agent):
        alone = replace(agent, tools={}, knowledge=(), skills=(), memory=None, output=None, strategy=ToolUse())
        by = replace(alone, model=cast("ChatModel", by), prompt=_SUMMARIZER, done=False)
    goal = "\n".join([_CONDENSE, *(f"- {one.text}" for one in facts)])
    return Condensing(Errand(by, goal, f"{work.key}/condense", depth, memory.patience), facts)


async def condense(agent: Agent, work: Work, scope: Scope, asked: Condensing, outcome: Outcome, began: float) -> None:
    """Keep what a summarizer said in place of the facts that it says; the others become long-term as they are."""
    memory = agent.memory
    if memory is None:
        return
    text = "" if outcome.failure else outcome.output
    key = f"{scope.task}/{asked.errand.key}"
    turn = Turn(key, "", text, f"step/{asked.errand.key}/model/{max(0, outcome.steps - 1)}", began)
    whose = whose_of(agent, work, scope)
    try:
        done = await memory.condense(whose, turn, asked.facts)
    except LoomdError as error:
        scope.emit(Fallback("condense", str(error), "working facts stay as they are"), agent.name)
        return
    ids = {name for line in done.kept for name in line.facts}
    said = [one for one in asked.facts if one.id in ids]
    places = tuple(dict.fromkeys(place for one in said for place in one.replaces or one.places))
    left_out = _left_out(done.dropped)
    if said:
        names = tuple(one.id for one in said)
        told = _told(memory, whose, turn)
        fact = MemoryCondensed(len(said), len(asked.facts) - len(said), places, told, names, done.kept)
        scope.emit(fact, agent.name, key=f"condensed/{key}")
    if not said or left_out:
        why = outcome.failure or left_out or "it says no fact in fewer words, or one was forgotten"
        scope.emit(Fallback("condense", why, "what no other line says becomes long-term as it is"), agent.name)


def _left_out(dropped: Sequence[Dropped]) -> str:
    """Return which lines of a summary are left out, and why; empty for none."""
    told = [f"{textwrap.shorten(one.text, _LINE)!r}: {one.why}" for one in dropped[:_LINES]]
    told += [f"{more} more lines"] if (more := len(dropped) - _LINES) > 0 else []
    return f"of the summary is left out: {'; '.join(told)}" if dropped else ""


async def remember(agent: Agent, work: Work, scope: Scope, outcome: Outcome, began: float, calls: int) -> None:
    """Keep a whole answer, once, when the agent's memory remembers; that is told when it is on disk.

    Args:
        agent: who answered.
        work: what was wanted.
        scope: the envelope of the event.
        outcome: the answer.
        began: when the work began, in wall-clock seconds.
        calls: how many model calls were made, the last of which answered.
    """
    memory, key = agent.memory, work.remember
    if memory is None or not key or not memory.recalls or outcome.stop_reason != "completed":
        return
    step = f"step/{work.key}/model/{calls - 1}"
    turn = Turn(key, work.goal, citation.unmarked(outcome.output), step, began)
    await _keep(agent, whose_of(agent, work, scope), turn, scope, f"remembered/{work.key}")


async def _keep(agent: Agent, whose: Whose, turn: Turn, scope: Scope, key: str) -> None:
    """Keep a turn, and tell that when it is on disk; `key` is that of the event."""
    memory = agent.memory
    if memory is None:
        return
    try:
        kept = await memory.remember(whose, turn)
    except LoomdError as error:
        scope.emit(Fallback("remember", str(error), "the answer is not remembered"), agent.name)
        return
    if memory.lacks:
        scope.emit(Fallback("remember", memory.lacks, "the answer is kept without vectors for now"), agent.name)
    if kept:
        scope.emit(MemoryRemembered(tuple(kept), _told(memory, whose, turn)), agent.name, key=key)


def _told(memory: Memory, whose: Whose, turn: Turn) -> Told:
    """Return what a memory was told, as the journal has it: what its file loses is kept again from there."""
    return Told(
        memory.name,
        memory.scope,
        turn.key,
        turn.goal,
        turn.answer,
        turn.began,
        turn.step,
        turn.boost,
        turn.absorbed,
        whose.agent,
        whose.tenant,
        whose.user,
        whose.session,
        whose.task,
    )


def _shown(memory: Memory, agent: Agent, work: Work, beside: Beside, found: Sequence[str]) -> list[str]:
    """Return the earlier turns that enter the prompt together with what was found: each question with its answer."""
    filled = "x" * (beside.characters + sum(map(len, found)))
    ends = Message("system", beside.system), Message("user", f"{work.goal}{filled}")
    weights = agent.context.weights({})
    sure = int(beside.window * weights["history"] / sum(weights.values()))
    whole = memory.fit((ends[0], *work.history, ends[1]), 1 + len(work.history))
    kept = fit_window((*whole[1:-1], Message("user", "")), sure, len(whole) - 2)[:-1]
    return [f"{asked.text}\n{said.text}" for asked, said in zip(kept[::2], kept[1::2], strict=False)]
