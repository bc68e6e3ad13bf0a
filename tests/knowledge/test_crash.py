"""kill -9 at any time leaves a store that is whole, and what was indexed is not indexed again."""

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.knowledge.conftest import Lab

FILES = 700

CHILD = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests.knowledge.conftest import Lab

async def main():
    lab = Lab(Path(sys.argv[2]))
    def tell(event):
        print(event.type, getattr(event.data, "done", ""), flush=True)
    lab.events = type("Told", (), {"append": staticmethod(tell)})()
    async with lab.open():
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
