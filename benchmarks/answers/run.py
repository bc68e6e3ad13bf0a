"""How many of the quickstart's own questions the embedded model answers right, and cites from the expected file.

    python benchmarks/answers/run.py

Right means that the answer holds every expected word; it is read by a machine, so read the printed answers too. The
questions were not chosen for being answered right; one was replaced because its file was not found.
"""

import asyncio
import json
import tempfile
from pathlib import Path

from loomd.daemon import Settings, open_system
from loomd.engine.intake import new_task
from loomd.manifest.delivery import Delivery
from loomd.manifest.source import read_folder
from loomd.models.place import models_dir

EXAMPLE = Path(__file__).parents[2] / "examples" / "01-quickstart"


async def main() -> None:
    """Ask every question once and print what came."""
    questions = [json.loads(line) for line in (EXAMPLE / "questions.jsonl").read_text().splitlines()]
    right = cited = 0
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder)
        async with open_system(Settings(state, models_dir(), state / "socket")) as system:
            await system.reconciler.apply(Delivery("example", tuple(read_folder(EXAMPLE))))
            for item in questions:
                task = await system.engine.submit(new_task(item["question"], system.clock, seed=1))
                result = await system.engine.result(task)
                outcome = result.executed.outcome
                holds = all(word.lower() in outcome.output.lower() for word in item["expect"])
                names = any(item["source"] in citation.source for citation in outcome.citations)
                right, cited = right + holds, cited + names
                print(f"{'right' if holds else 'WRONG'} {'cited' if names else '-----'} {item['question']}")
                print(f"            {' '.join(outcome.output.split())[:200]}", flush=True)
    print(f"{right} of {len(questions)} right, {cited} of {len(questions)} cited from the expected file")


asyncio.run(main())
