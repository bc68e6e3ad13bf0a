"""Python: a function in a file below the manifest's root.

The file is trusted like the manifest beside it: it runs inside the process, without a sandbox. It is never imported
by a dotted name and never during validation, which reads its syntax tree only.
"""

import ast
import asyncio
import inspect
import sys
import types
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import pydantic_core
from pydantic import Field

from loomd.errors import Permanent, ToolFailed
from loomd.manifest.inside import inside
from loomd.messages import JsonObject, ToolSchema
from loomd.tools.base import LiveTool, ToolSpec
from loomd.tools.signature import Signature, read_signature
from loomd.topology import Parts


class PythonTool(ToolSpec):
    """Calls a Python function; its signature and docstring say what it takes."""

    type: Literal["python"] = "python"
    file: str
    """Path of the file, from the manifest's root and below it, for example `tools/calc.py`."""
    function: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """Name of a function at the top level of the file; `async def` is awaited, `def` runs in a thread."""
    threads: int = Field(default=4, ge=1, le=64)
    """How many calls of a `def` function may run at once; one that hangs occupies a thread beyond its timeout."""

    def check(self, root: Path) -> Iterator[tuple[str, str]]:
        """Yield a missing file, a syntax error or a missing function, without importing anything."""
        try:
            path = inside(root, self.file)
            names = _functions(path)
        except Permanent as error:
            yield "/file", str(error)
            return
        if self.function not in names:
            known = ", ".join(names) or "none"
            yield "/function", f'"{self.file}" has no function "{self.function}" at its top level (found: {known})'

    def reads(self, root: Path) -> Iterator[Path]:
        """Yield the function's file."""
        yield inside(root, self.file)

    @asynccontextmanager
    async def open(self, parts: Parts) -> AsyncGenerator[LiveTool, None]:
        """Yield the live tool.

        Raises:
            Permanent: the file or the function cannot be used; the text names the field.
        """
        owner = str(parts.declared.ref)
        module = types.ModuleType(f"loomd_tool_{parts.name.replace('-', '_')}_{id(self):x}")
        sys.modules[module.__name__] = module
        pool = ThreadPoolExecutor(self.threads, thread_name_prefix=f"tool-{parts.name}")
        try:
            loop = asyncio.get_running_loop()
            function = await loop.run_in_executor(pool, _load, module, inside(parts.root, self.file), self.function)
            signature = read_signature(function)
            description = self.description or signature.summary
            if not description:
                raise Permanent(f'describe it in spec.description or in the docstring of "{self.function}"')  # noqa: TRY301  # one place adds the owner
            schema = ToolSchema(parts.name, description, signature.parameters)
            live = LiveTool(schema, self, _Runner(function, signature, pool))
        except Permanent as error:
            pool.shutdown(wait=False)
            sys.modules.pop(module.__name__, None)
            raise Permanent(f"{owner} spec.file: {error}") from error
        try:
            yield live
        finally:
            sys.modules.pop(module.__name__, None)
            pool.shutdown(wait=False, cancel_futures=True)


class _Runner:
    """Calls the function and turns what it returns into text."""

    def __init__(self, function: Callable[..., Any], signature: Signature, pool: ThreadPoolExecutor) -> None:
        self._function = function
        self._signature = signature
        self._pool = pool
        self._is_async = inspect.iscoroutinefunction(function)

    async def __call__(self, arguments: JsonObject) -> str:
        values = self._signature.bind(arguments)
        if self._is_async:
            try:
                result = await self._function(**values)
            except SystemExit as error:
                raise ToolFailed(f"the tool called sys.exit({error.code})") from error
        else:
            loop = asyncio.get_running_loop()
            result = await loop.run_in_executor(self._pool, _call, self._function, values)
        return _text(result)


def _call(function: Callable[..., Any], values: dict[str, Any]) -> object:
    """Call the function in a thread; what would end the process or confuse the event loop becomes a failure."""
    try:
        return function(**values)
    except SystemExit as error:
        raise ToolFailed(f"the tool called sys.exit({error.code})") from error
    except StopIteration as error:
        raise ToolFailed("StopIteration") from error


def _text(result: object) -> str:
    """Return a string as it is and anything else as JSON."""
    if isinstance(result, str):
        return result
    try:
        return pydantic_core.to_json(result, inf_nan_mode="constants", fallback=str).decode()
    except (ValueError, pydantic_core.PydanticSerializationError) as error:
        raise ToolFailed(f"the result is no text and cannot be written as JSON: {error}") from error


def _load(module: types.ModuleType, path: Path, name: str) -> Callable[..., Any]:
    """Run a file as a module of its own and return one of its functions. No byte code is cached, so edits count."""
    module.__file__ = str(path)
    try:
        code = compile(path.read_bytes(), str(path), "exec")
        exec(code, module.__dict__)  # noqa: S102  # running the declared file is what this type is for
    except (Exception, SystemExit) as error:
        raise Permanent(f'"{path.name}" cannot be loaded: {type(error).__name__}: {error}') from error
    function = module.__dict__.get(name)
    if not inspect.isroutine(function):
        raise Permanent(f'"{path.name}" has no function "{name}"')
    return function


def _functions(path: Path) -> list[str]:
    """Return the names of the functions at the top level of a file, in order.

    Raises:
        Permanent: it cannot be read or parsed.
    """
    try:
        tree = ast.parse(path.read_bytes(), str(path))
    except SyntaxError as error:
        raise Permanent(f'"{path.name}" line {error.lineno}: {error.msg}') from None
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        raise Permanent(f'"{path.name}" cannot be read: {error}') from None
    return [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
