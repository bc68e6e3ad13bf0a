"""Runs a task and prints what happens as it happens: `python examples/06-events/watch.py`."""

import asyncio
from contextlib import aclosing
from pathlib import Path

import loomd
from loomd.events.event import ModelDelta, PhaseCompleted, ToolCompleted, ToolStarted


async def main() -> None:
    """Watch one task."""
    async with (
        loomd.open(Path(__file__).parent) as system,
        aclosing(system.stream("Where does Faust stand?")) as events,
    ):
        async for event in events:
            match event.data:
                case PhaseCompleted(phase=phase, why=why):
                    print(f"{phase}: {why}")
                case ToolStarted(tool=tool, arguments=arguments):
                    print(f"  calls {tool} with {arguments}")
                case ToolCompleted(result=result):
                    print(f"  hears {result!r}")
                case ModelDelta(text=text):
                    print(f"  says {text!r}")
                case _:
                    print(f"({event.type})")


if __name__ == "__main__":
    asyncio.run(main())
