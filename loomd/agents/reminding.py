"""What a model is shown of its own turns that have left the window: their facts, with the goal.

Made from the conversation alone, so that work that is run again makes the same prompt; nothing of it is stored. Called
by the loop before each model call.
"""

from collections.abc import Sequence

import msgspec

from loomd.agents.agent import Agent
from loomd.agents.context import Context, fit
from loomd.memory.facts import reminder
from loomd.messages import Message

_HEADING = "From turns that are not shown any more:"
_PART = 4
"""Facts take up at most this part of the room that turns have."""
_CHARACTERS_PER_TOKEN = 4


def shown(
    context: Context, agent: Agent, messages: Sequence[Message], goal: int, beside: int, turns: int
) -> tuple[Message, ...]:
    """Return the turns that fit, as `fit` does, with facts of those since the goal that do not.

    Args:
        context: with which the conversation began.
        agent: whose it is; facts are shown when its memory remembers and has room for them.
        messages: the conversation, oldest first.
        goal: place of the turn that says what is wanted.
        beside: characters of the request beside the turns.
        turns: characters of the turns.
    """
    kept = fit(context, agent, messages, goal, beside, turns)
    most = 0 if agent.memory is None else min(agent.memory.reminder, context.window // _PART)
    if len(kept) == len(messages) or not most:
        return kept
    asked, room = messages[goal], most * _CHARACTERS_PER_TOKEN
    padded = list(messages)
    padded[goal] = msgspec.structs.replace(asked, text=asked.text + " " * room)
    whole = fit(context, agent, padded, goal, beside, turns + room)
    there = {id(one) for one in whole}
    gone = [one.text for one in messages[goal + 1 :] if id(one) not in there]
    facts = reminder(gone, asked.text, room - len(_HEADING) - _CHARACTERS_PER_TOKEN)
    if not facts:
        return kept
    listed = "\n".join([_HEADING, *(f"- {fact}" for fact in facts)])
    told = msgspec.structs.replace(asked, text=f"{asked.text}\n\n{listed}")
    return tuple(told if one is padded[goal] else one for one in whole)
