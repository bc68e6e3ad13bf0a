"""What a call of a Python function costs where it may run, and of a command in the same sandbox; wall time.

python benchmarks/tools/run.py
"""

import asyncio
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

from loomd.testing import open_spec
from loomd.tools.base import LiveTool

CALLS = 100
SOURCE = '''
def add(a: int, b: int = 2) -> int:
    """Add two numbers."""
    return a + b

async def add_later(a: int, b: int = 2) -> int:
    """Add two numbers."""
    return a + b
'''
FIELD = '''
from typing import Annotated
from pydantic import Field

def add(a: Annotated[int, Field(ge=0)], b: int = 2) -> int:
    """Add two numbers."""
    return a + b
'''
PYTHON: dict[str, object] = {"type": "python", "file": "sum.py", "function": "add"}
CASES: dict[str, dict[str, object]] = {
    "def, inside the daemon": PYTHON,
    "def, sandbox: none": {**PYTHON, "sandbox": "none"},
    "def, sandbox: bubblewrap": {**PYTHON, "sandbox": "bubblewrap"},
    "def of Pydantic, sandbox: bubblewrap": {**PYTHON, "file": "field.py", "sandbox": "bubblewrap"},
    "async def, sandbox: bubblewrap": {**PYTHON, "function": "add_later", "sandbox": "bubblewrap"},
    "command `true`, sandbox: bubblewrap": {"type": "shell", "command": ["true"]},
}


def main() -> None:
    """Measure in a folder that everybody may look into."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "sum.py").write_text(SOURCE)
        (folder / "field.py").write_text(FIELD)
        asyncio.run(measure(folder))


async def measure(folder: Path) -> None:
    """Print the median and the least time of a call, for each case."""
    for case, spec in CASES.items():
        async with open_spec("Tool", spec, folder=folder) as live:
            took = [await _time(live, {"a": 1} if spec["type"] == "python" else {}) for _ in range(CALLS)]
        print(f"{case:36} {median(took):8.2f} ms  least {min(took):8.2f} ms")


async def _time(live: LiveTool, arguments: dict[str, object]) -> float:
    began = perf_counter()
    await live.call(arguments)
    return 1000 * (perf_counter() - began)


if __name__ == "__main__":
    main()
