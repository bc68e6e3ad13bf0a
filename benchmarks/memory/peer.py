"""The memory of loom-agent over the same conversation; run by `run.py` in an environment of its own.

    python benchmarks/memory/peer.py

It gets 8,000 tokens for its window and is otherwise as it comes. For each question it is asked in the three ways that
it has: what its second level returns, what its third level returns, and what `extract_for` takes from both. Prints for
each fact whether it is still in the window, and at which place each way has it, as JSON.
"""

import asyncio
import json

from loom.memory import MemoryManager, SlidingWindow
from loom.types import AssistantMessage, UserMessage
from talk import conversation

WINDOW = 8000
MOST = 5


async def main() -> None:
    """Tell it everything, then ask for each fact."""
    turns, planted = conversation()
    memory = MemoryManager(l1=SlidingWindow(token_budget=WINDOW))
    for said, answer in turns:
        await memory.add_message(UserMessage(content=said))
        await memory.add_message(AssistantMessage(content=answer))
    shown = {message.content for message in memory.get_history()}
    rows = []
    for one in planted:
        ways = {
            "level 2": await memory.get_l2_context(one.ask, MOST),
            "level 3": await memory.get_l3_context(one.ask, MOST),
            "extract_for": (await memory.extract_for(one.ask, WINDOW))[:MOST],
        }
        places = {name: _place([entry.content for entry in found], one.fact) for name, found in ways.items()}
        rows.append({"turn": one.turn, "shown": one.fact in shown, "places": places})
    print(json.dumps(rows))


def _place(texts: list[str], fact: str) -> int:
    """Return at which place a fact is, from 1; 0 when it is not there."""
    return next((at for at, text in enumerate(texts, 1) if fact in text), 0)


if __name__ == "__main__":
    asyncio.run(main())
