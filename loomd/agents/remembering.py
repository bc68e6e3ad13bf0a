"""What an agent takes from its memory before work, and puts there after it. Called by the context and the loop.

Whatever is asked of a memory is a recorded step, so that work that is run again makes the same prompt. What is kept has
keys that are the same in every run, so that nothing is remembered twice.
"""

from loomd.agents import citation
from loomd.agents.agent import Agent
from loomd.agents.base import Steps
from loomd.agents.work import Outcome, Work
from loomd.errors import LoomdError
from loomd.events.bus import Scope
from loomd.events.event import Fallback
from loomd.events.room import MemoryRemembered
from loomd.memory.item import Turn, Whose


def whose_of(agent: Agent, work: Work, scope: Scope) -> Whose:
    """Return who remembers and recalls in a piece of work."""
    tenant, user = work.owner
    return Whose(agent.name, tenant, user, work.session, scope.task)


async def recall(agent: Agent, work: Work, steps: Steps, scope: Scope) -> list[str]:
    """Return what an agent remembers that fits the goal, best first; what the earlier turns say is left out."""
    memory = agent.memory
    if memory is None:
        return []
    whose = whose_of(agent, work, scope)
    return await steps.step(f"{work.key}/recall", "recall", lambda: memory.recall(whose, work.goal), list[str])


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
    try:
        kept = await memory.remember(whose_of(agent, work, scope), turn)
    except LoomdError as error:
        scope.emit(Fallback("remember", str(error), "the answer is not remembered"), agent.name)
        return
    if kept:
        scope.emit(MemoryRemembered(tuple(kept)), agent.name, key=f"remembered/{work.key}")
