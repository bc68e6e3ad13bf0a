"""kill -9 at any time leaves a store that is whole, and what was indexed is not indexed again."""

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from loomd.errors import Permanent
from loomd.knowledge.arriving import BATCH, Arriving, Calls, Hands, Vectored
from loomd.knowledge.chunk import Chunk
from loomd.knowledge.survey import Pending
from tests.knowledge.vectors_service import vector_service

if TYPE_CHECKING:
    from loomd.knowledge.base import Vectors
    from tests.knowledge.conftest import Lab

FILES = 700

CHILD = """
import asyncio, json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests.knowledge.conftest import Lab

async def main():
    lab = Lab(Path(sys.argv[2]))
    def tell(event):
        print(event.type, getattr(event.data, "done", ""), flush=True)
    lab.events = type("Told", (), {"append": staticmethod(tell)})()
    async with lab.open(json.loads(sys.argv[3]) if sys.argv[3:] else None):
        print("open", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.parametrize("lines", [1, 2, 4, 7, 8], ids=["at-once", "one-batch", "half", "before-saving", "saved"])
async def test_killed_while_indexing(lab: "Lab", tmp_path: Path, lines: int) -> None:
    """After a kill at each stage, every file is there whole or not at all, and the rest is indexed on opening."""
    for at in range(FILES):
        lab.write(f"{at}.md", f"# Document {at}\n\nFirst of {at}.\n\n## More\n\nSecond of {at}.\n")
    command = [sys.executable, "-c", CHILD, str(Path(__file__).parents[2]), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": ""}) as child:  # noqa: ASYNC220, S603  # ours; the test has nothing else to do
        assert child.stdout is not None
        for _ in range(lines):
            child.stdout.readline()
        child.send_signal(signal.SIGKILL)
    (path,) = lab.state.glob("*.db")
    with closing(sqlite3.connect(path)) as db, db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        per_file = db.execute("SELECT count(*) FROM chunk GROUP BY file").fetchall()
    db.close()
    assert set(per_file) <= {(2,)}
    async with lab.open() as base:
        assert len(lab.embedder.texts) == 2 * (FILES - len(per_file))
        assert len(base) == 2 * FILES
        assert (await base.search("second of 431"))[0].source == "docs/431.md:7-7"


async def test_killed_while_a_slow_service_is_asked(lab: "Lab", tmp_path: Path) -> None:
    """What it was paid for is kept at once: only the texts that were on their way are asked about again."""
    for at in range(FILES):
        lab.write(f"{at}.md", f"Text {at}.\n")
    with vector_service() as service:
        spec = {"type": "openai", "model": "m", "dimension": 4, "baseUrl": service.url, "batch": 4, "calls": 1}
        service.pause = 0.02
        command = [sys.executable, "-c", CHILD, str(Path(__file__).parents[2]), str(tmp_path), json.dumps(spec)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": ""})  # noqa: ASYNC220, S603  # ours; the test has nothing else to do
        with child:
            assert child.stdout is not None
            for line in child.stdout:
                kind, _, done = line.decode().strip().partition(" ")
                if kind == "index.progress" and int(done) >= 24:  # those of less than a second
                    break
            child.send_signal(signal.SIGKILL)
        asked = len(service.texts)
        assert asked < BATCH
        service.pause = 0.0
        async with lab.open(spec) as base:
            assert len(base) == FILES
        assert len(set(service.texts)) == FILES
        assert len(service.texts) - FILES <= 16  # a call under way, and what was answered while one was written
    (path,) = lab.state.glob("*.db")
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT count(*) FROM early").fetchone() == (0,)


@pytest.mark.parametrize(("every", "rounds"), [(0.0, [4, 8, 12]), (3600.0, [])], ids=["service", "here"])
async def test_each_answer_of_a_service_is_kept_at_once(every: float, rounds: list[int]) -> None:
    """What is made on this machine is kept with its documents, when these are whole within a second."""
    kept, written = list[int](), list[Pending]()
    alone = asyncio.Semaphore()

    async def embed(asked: Sequence[str]) -> "Vectors":
        async with alone:
            for _ in range(8):  # as a call that takes a while
                await asyncio.sleep(0)
            return np.full((len(asked), 2), 0.5, np.float32)

    async def keep(new: Vectored, came: int) -> None:
        assert len(new) == 4
        kept.append(came)

    async def write(documents: Sequence[Pending], vectors: Vectored, passages: int) -> None:
        assert [len(vectors), len(documents), passages] == [12, 1, 12]
        written.extend(documents)

    async def known(_: Sequence[bytes]) -> Vectored:
        return {}

    chunks = [(bytes([at]), Chunk("", f"Text {at}.", 1, 1)) for at in range(12)]
    arriving = Arriving(embed, Calls(4, 3, every), Hands(keep, write, known))
    await arriving.embed([Pending("a.md", "", chunks)])
    assert arriving.made == 12
    assert len(written) == 1
    assert kept == rounds


async def test_what_came_before_a_failure_is_kept(lab: "Lab") -> None:
    """A service that refuses a text is not asked again about those before it."""
    for at in range(40):
        lab.write(f"{at}.md", f"Text {at}.\n")
    with vector_service() as service:
        spec = {"type": "openai", "model": "m", "dimension": 4, "baseUrl": service.url, "batch": 4, "calls": 1}
        service.pause, service.most = 0.005, 20
        with pytest.raises(Permanent, match="HTTP 400"):
            async with lab.open(spec):
                pass
        service.most, paid = FILES, len(service.texts)
        async with lab.open(spec) as base:
            assert len(base) == 40
        assert 24 <= paid <= 32  # what was on its way is asked about, too
        assert len(service.texts) == paid + 20
