"""Emits events on the bus of the seed, loom-agent; run by `run.py` in an environment of its own.

    python benchmarks/events/peer.py EVENTS ROUNDS SUBSCRIBERS...

Prints the least CPU nanoseconds per event of all rounds, by the number of subscribers, as a JSON object.
"""

import asyncio
import json
import sys
import time

from loom.events.bus import EventBus
from loom.types import TextDeltaEvent


async def measure(events: int, subscribers: int) -> float:
    """Return CPU nanoseconds per event."""
    bus, heard = EventBus(), [0]

    async def hear(event: object) -> None:
        del event
        heard[0] += 1

    for _ in range(subscribers):
        bus.on_all(hear)
    event = TextDeltaEvent(text="x")
    before = time.process_time()
    for _ in range(events):
        await bus.emit(event)
    took = time.process_time() - before
    assert heard[0] == events * subscribers
    return took / events * 1e9


async def main() -> None:
    events, rounds, numbers = int(sys.argv[1]), int(sys.argv[2]), [int(one) for one in sys.argv[3:]]
    found = {number: min([await measure(events, number) for _ in range(rounds)]) for number in numbers}
    print(json.dumps(found))


if __name__ == "__main__":
    asyncio.run(main())
