"""Steps of other engines on SQLite with WAL and `synchronous=FULL`; run by `run.py` in an environment of its own.

    python benchmarks/journal/peer.py langgraph|dbos FOLDER CONCURRENCY STEPS

Prints seconds of wall time and of CPU as a JSON list. A step returns 300 characters, as those of the journal do.
"""

import asyncio
import json
import sys
import time
from typing import TypedDict

VALUE = "x" * 300


async def langgraph(folder: str, concurrency: int, steps: int) -> tuple[float, float]:
    """One node that runs again and again; every run of it is a checkpoint that is on disk before the next."""
    import aiosqlite  # noqa: PLC0415  # one of several environments
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver  # noqa: PLC0415  # one of several environments
    from langgraph.graph import END, START, StateGraph  # noqa: PLC0415  # one of several environments

    each = steps // concurrency

    class State(TypedDict):
        done: int
        value: str

    async def step(state: State) -> State:
        return {"done": state["done"] + 1, "value": VALUE}

    graph = StateGraph(State)
    graph.add_node("step", step)
    graph.add_edge(START, "step")
    graph.add_conditional_edges("step", lambda state: END if state["done"] >= each else "step")
    async with aiosqlite.connect(f"{folder}/langgraph.db") as connection:
        saver = AsyncSqliteSaver(connection)
        await saver.setup()
        await connection.execute("PRAGMA journal_mode = WAL")
        await connection.execute("PRAGMA synchronous = FULL")
        compiled = graph.compile(checkpointer=saver)

        async def task(number: int) -> None:
            how = {"configurable": {"thread_id": f"t{number}"}, "recursion_limit": each + 10}
            got = await compiled.ainvoke({"done": 0, "value": ""}, how, durability="sync")
            assert got["done"] == each

        wall, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(task(number) for number in range(concurrency)))
        return time.perf_counter() - wall, time.process_time() - cpu


async def dbos(folder: str, concurrency: int, steps: int) -> tuple[float, float]:
    """One workflow per task that calls a step again and again."""
    from dbos import DBOS  # noqa: PLC0415  # one of several environments
    from sqlalchemy import Engine, event  # noqa: PLC0415  # one of several environments

    @event.listens_for(Engine, "connect")
    def durable(connection: object, _: object) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")

    each = steps // concurrency
    DBOS(
        config={
            "name": "bench",
            "system_database_url": f"sqlite:///{folder}/dbos.db",
            "run_admin_server": False,
            "log_level": "ERROR",
        }
    )

    @DBOS.step()
    async def step(number: int) -> str:
        return f"{number} {VALUE}"

    @DBOS.workflow()
    async def task() -> int:
        for number in range(each):
            await step(number)
        return each

    DBOS.launch()
    wall, cpu = time.perf_counter(), time.process_time()
    done = await asyncio.gather(*(task() for _ in range(concurrency)))
    took = time.perf_counter() - wall, time.process_time() - cpu
    assert done == [each] * concurrency
    DBOS.destroy()
    return took


def main() -> None:
    name, folder, concurrency, steps = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    run = {"langgraph": langgraph, "dbos": dbos}[name]
    print(json.dumps(asyncio.run(run(folder, concurrency, steps))))


if __name__ == "__main__":
    main()
