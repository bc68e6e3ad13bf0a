"""What enters the prompt: the agent's own words, skills that fit, what is remembered, what was found, the goal.

Pure but for the look-ups, which are recorded steps. Untrusted text (passages, findings, memories) stands in the user
turn under a heading that says what it is; it never becomes part of the system prompt.
"""

from collections.abc import Sequence
from functools import partial

import msgspec

from loomd.agents.agent import Agent
from loomd.agents.base import KnowledgeBase, Steps
from loomd.agents.skills import SkillUse
from loomd.agents.work import Citation, Finding, Work, cite
from loomd.events.bus import Scope
from loomd.events.event import KnowledgeSearched
from loomd.manifest.template import render
from loomd.messages import Message, Passage


class Context(msgspec.Struct, frozen=True):
    """The first messages of a conversation, and the passages that an answer may cite, by number."""

    messages: tuple[Message, ...]
    citable: dict[int, Citation]
    offered: int


async def assemble(agent: Agent, work: Work, steps: Steps, scope: Scope, skills: SkillUse) -> Context:
    """Return the system turn, the earlier turns of the conversation, and the user turn for a piece of work."""
    passages = await _search(agent.knowledge, work, steps, scope, agent.name)
    remembered = await _recall(agent, work, steps)
    citable = {c.number: c for finding in work.findings for c in finding.citations}
    citable |= {p.number: cite(p) for p in passages}
    system = render(agent.prompt, agent=agent.name, goal=work.goal, namespace=agent.namespace)
    system = "\n\n".join([system, *await skills.take_up(work.goal)])
    user = brief(work.goal, work.findings, remembered)
    asked = Message("user", user, passages=tuple(passages), images=work.images)
    messages = (Message("system", system), *work.history, asked)
    return Context(messages, citable, len(passages))


def brief(goal: str, findings: Sequence[Finding] = (), remembered: Sequence[str] = ()) -> str:
    """Return a goal with what is known about it already."""
    parts: list[str] = []
    if remembered:
        parts.append("From memory:\n" + "\n".join(f"- {text}" for text in remembered))
    if findings:
        found = "\n\n".join(f'Result of "{f.goal}":\n{f.output}' for f in findings)
        parts.append(f"Results so far:\n{found}")
    return "\n\n".join([*parts, goal])


async def _search(bases: Sequence[KnowledgeBase], work: Work, steps: Steps, scope: Scope, agent: str) -> list[Passage]:
    """Search every knowledge base and number the passages through, after those of earlier results."""
    passages: list[Passage] = []
    first = 1 + max((c.number for f in work.findings for c in f.citations), default=0)

    async def search(base: KnowledgeBase) -> list[Passage]:
        found = await base.search(work.goal)
        scope.emit(KnowledgeSearched(base.name, work.goal, tuple(p.source for p in found)), agent)
        return found

    for base in bases:
        key, name = f"{work.key}/knowledge/{base.name}", f"knowledge:{base.name}"
        found = await steps.step(key, name, partial(search, base), list[Passage])
        passages += [
            msgspec.structs.replace(passage, number=first + len(passages) + offset)
            for offset, passage in enumerate(found)
        ]
    return passages


async def _recall(agent: Agent, work: Work, steps: Steps) -> list[str]:
    memory = agent.memory
    if memory is None:
        return []
    scope = scope_of(agent, work)
    return await steps.step(f"{work.key}/recall", "recall", lambda: memory.recall(scope, work.goal), list[str])


def scope_of(agent: Agent, work: Work) -> str:
    """Return what keeps memories apart: those of other agents, and of others whom the agent works for."""
    return "/".join((agent.name, *work.owner))
