"""Folders and tools for tests of sandboxes: what runs in one has the rights of nobody when the tests are root."""

import asyncio
import os
import re
import shutil
import tempfile
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from loomd.testing import open_spec
from loomd.tools.base import LiveTool

Shell = Callable[..., AbstractAsyncContextManager[LiveTool]]
Function = Callable[..., AbstractAsyncContextManager[LiveTool]]
BOXES = ["bubblewrap", "none"]


_MODULES = ("asyncio", "json", "os", "socket", "subprocess", "sys", "threading", "time")
_NAMES = {
    "pathlib": ("Path",),
    "typing": ("Annotated", "Any", "Literal"),
    "dataclasses": ("dataclass",),
    "pydantic": ("BaseModel", "Field"),
    "loomd.errors": ("RateLimited", "Temporary", "ToolFailed", "Uncertain"),
    "loomd.tools.context": ("ToolContext",),
}
_CLASSES = {
    "Point": """
@dataclass
class Point:
    x: int
    y: int = 0
""",
    "Order": '''
class Order(BaseModel):
    """An order."""
    book: str = Field(min_length=2, description="Title.")
    copies: int = 1
''',
}


def beneath_head(code: str) -> str:
    """Return the text of a file with a function: only what it names is imported, because each process pays for it."""
    code = "".join(text for name, text in _CLASSES.items() if _names(name, code)) + code
    head = ["from __future__ import annotations", *(f"import {name}" for name in _MODULES if f"{name}." in code)]
    for module, names in _NAMES.items():
        head += [f"from {module} import {name}" for name in names if _names(name, code)]
    return "\n".join([*head, code])


def _names(name: str, code: str) -> bool:
    return re.search(rf"\b{name}\b", code) is not None


@contextmanager
def open_folder() -> Generator[Path]:
    """Yield a folder that everybody may look into, with a folder `w` in it that everybody may change."""
    with tempfile.TemporaryDirectory(prefix="loomd-test-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "w").mkdir()
        (folder / "w").chmod(0o777)
        yield folder


def opener(folder: Path) -> Shell:
    """Return what opens a `shell` tool on a folder."""

    @asynccontextmanager
    async def opened(*command: str, sandbox: str = "bubblewrap", **more: object) -> AsyncGenerator[LiveTool, None]:
        if sandbox == "bubblewrap" and shutil.which("bwrap") is None:
            pytest.skip("bubblewrap is not installed: apt install bubblewrap")
        spec = {"type": "shell", "command": list(command), "sandbox": sandbox, **more}
        async with open_spec("Tool", spec, folder=folder) as live:
            yield live

    return opened


def function_opener(folder: Path) -> Function:
    """Return what opens a `python` tool on a folder, given the text of a function `it`, and its `sandbox` or None."""

    @asynccontextmanager
    async def opened(code: str, box: str | None = "bubblewrap", **more: Any) -> AsyncGenerator[LiveTool, None]:
        if box == "bubblewrap" and shutil.which("bwrap") is None:
            pytest.skip("bubblewrap is not installed: apt install bubblewrap")
        (folder / "tool.py").write_text(beneath_head(code))
        spec = {"type": "python", "file": "tool.py", "function": "it", "description": "Does it.", **more}
        if box is not None:
            spec["sandbox"] = box
        async with open_spec("Tool", spec, folder=folder) as live:
            yield live

    return opened


def takes(*names: str) -> dict[str, object]:
    """Return parameters without types."""
    return {"type": "object", "properties": {name: {} for name in names}, "additionalProperties": False}


class Sign:
    """A sign of life: a pipe that a command holds open with everything that it starts."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "w" / "alive"
        os.mkfifo(self.path)
        self.path.chmod(0o666)
        self._number = os.open(self.path, os.O_RDWR)  # a reader that a writer need not wait for, and sees no end yet
        self._reader = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)

    async def begun(self) -> None:
        """Return when a command has written into it."""
        assert await self._read() == b"up"
        os.close(self._number)

    async def gone(self) -> None:
        """Return when nobody holds it open any more; a test that waits in vain has found a survivor."""
        assert await self._read() == b""
        os.close(self._reader)

    async def _read(self) -> bytes:
        loop, there = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._reader, there.set)
        try:
            async with asyncio.timeout(60):
                await there.wait()
        finally:
            loop.remove_reader(self._reader)
        return os.read(self._reader, 2)
