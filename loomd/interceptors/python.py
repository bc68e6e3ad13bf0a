"""Python: a function in a file below the manifest's root, which gets each call as a mapping.

It returns None to let the call pass, or the fields that are to be replaced, and raises `loomd.errors.Refused` with the
reason when the call is not to pass. The file is trusted like the manifest beside it: it runs inside the process.
"""

import asyncio
import inspect
import sys
import types
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from loomd.errors import Permanent
from loomd.interceptors.hook import Hook, HookSpec
from loomd.manifest.inside import inside, named
from loomd.manifest.python_file import functions_in
from loomd.manifest.python_module import load_function
from loomd.manifest.raised import call_in_thread
from loomd.manifest.wording import did_you_mean
from loomd.messages import JsonObject
from loomd.topology import Parts


class PythonInterceptor(HookSpec):
    """Asks a Python function."""

    type: Literal["python"] = "python"
    file: str = Field(examples=["tools/calc.py"])
    """Path of the file, from the manifest's root and below it, for example `hooks/check.py`."""
    function: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", examples=["add"])
    """Name of a function at the top level of the file that takes one mapping; `async def` is awaited, `def` runs in a
    thread."""
    threads: int = Field(default=4, ge=1, le=64)
    """How many calls of a `def` function may run at once; one that hangs occupies a thread beyond its timeout."""

    def check(self, root: Path) -> Iterator[tuple[str, str]]:
        """Yield a missing file, a syntax error or a missing function, without importing anything."""
        try:
            functions = functions_in(inside(root, self.file))
        except Permanent as error:
            yield "/file", str(error)
            return
        if self.function not in functions:
            hint = did_you_mean(self.function, functions, "it has") or "it has none"
            yield "/function", f'expected a function at the top level of "{self.file}", got "{self.function}": {hint}'

    def reads(self, root: Path) -> Iterator[Path]:
        """Yield the function's file."""
        yield named(root, self.file)

    @asynccontextmanager
    async def open(self, parts: Parts) -> AsyncGenerator["FunctionHook", None]:
        """Yield the live interceptor.

        Raises:
            Permanent: the file or the function cannot be used; the text names the field.
        """
        module = types.ModuleType(f"loomd_interceptor_{parts.name.replace('-', '_')}_{id(self):x}")
        sys.modules[module.__name__] = module
        pool = ThreadPoolExecutor(self.threads, thread_name_prefix=f"interceptor-{parts.name}")
        try:
            loop = asyncio.get_running_loop()
            path = inside(parts.root, self.file)
            try:
                function = await loop.run_in_executor(pool, load_function, module, path, self.function)
            except Permanent as error:
                raise Permanent(f"{parts.declared.ref} spec.file: {error}") from error
            yield FunctionHook(self, parts, function, pool)
        finally:
            sys.modules.pop(module.__name__, None)
            pool.shutdown(wait=False, cancel_futures=True)


class FunctionHook(Hook):
    """Calls the function."""

    def __init__(
        self, spec: PythonInterceptor, parts: Parts, function: Callable[[JsonObject], Any], pool: ThreadPoolExecutor
    ) -> None:
        super().__init__(spec, parts)
        self._function = function
        self._pool = pool
        self._is_async = inspect.iscoroutinefunction(function)

    async def consult(self, document: JsonObject) -> object:
        """Return what the function returns.

        Raises:
            Refused: it raised that.
        """
        if self._is_async:
            return await self._function(document)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, call_in_thread, self._function, document)
