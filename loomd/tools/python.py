"""Python: a function in a file below the manifest's root, or in a package that the daemon's settings allow.

The code is trusted like the manifest beside it: it runs inside the process, without a sandbox. It is never run during
validation, which reads the file's syntax tree only, and a package is imported only where `allowPackages` names it.
"""

import ast
import asyncio
import importlib
import inspect
import sys
import types
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self

import pydantic_core
from pydantic import ConfigDict, Field, model_validator

from loomd.errors import Permanent, ToolFailed
from loomd.manifest.inside import inside, named
from loomd.manifest.python_file import functions_in, load_function
from loomd.manifest.rule import exactly_one
from loomd.manifest.wording import did_you_mean
from loomd.messages import JsonObject, ToolSchema
from loomd.tools.base import LiveTool, ToolSpec
from loomd.tools.context import ToolContext
from loomd.tools.signature import Signature, read_signature, unnamed
from loomd.topology import Parts


class PythonTool(ToolSpec):
    """Calls a Python function; its signature and docstring say what it takes."""

    model_config = ConfigDict(json_schema_extra=exactly_one("file", "package"))

    type: Literal["python"] = "python"
    file: str | None = Field(default=None, examples=["tools/calc.py"])
    """Path of the file, from the manifest's root and below it, for example `tools/calc.py`."""
    package: str | None = Field(
        default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$", examples=["acme_tools.billing"]
    )
    """Module of an installed package, instead of a file; the daemon's setting `allowPackages` must name it, or the
    package that it is in."""
    function: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", examples=["add"])
    """Name of a function at the top level of the file or module; `async def` is awaited, `def` runs in a thread."""
    threads: int = Field(default=4, ge=1, le=64)
    """How many calls of a `def` function may run at once; one that hangs occupies a thread beyond its timeout."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.file is None) == (self.package is None):
            raise ValueError("expected exactly one of file, package")
        return self

    def check(self, root: Path) -> Iterator[tuple[str, ...]]:
        """Yield a missing file, a syntax error, or a function that no model could call, without importing anything."""
        yield from super().check(root)
        if self.file is None:
            return
        try:
            functions = functions_in(inside(root, self.file))
        except Permanent as error:
            yield "/file", str(error)
            return
        function = functions.get(self.function)
        if function is None:
            hint = did_you_mean(self.function, functions, "it has") or "it has none"
            yield "/function", f'expected a function at the top level of "{self.file}", got "{self.function}": {hint}'
        elif not function.decorator_list:  # a decorator may change what the function takes and says of itself
            yield from (("/function", text) for text in _unfit(function, described=bool(self.description)))

    def reads(self, root: Path) -> Iterator[Path]:
        """Yield the function's file."""
        if self.file is not None:
            yield named(root, self.file)

    @asynccontextmanager
    async def open(self, parts: Parts) -> AsyncGenerator[LiveTool, None]:
        """Yield the live tool.

        Raises:
            Permanent: the file or the function cannot be used; the text names the field.
        """
        module = types.ModuleType(f"loomd_tool_{parts.name.replace('-', '_')}_{id(self):x}")
        sys.modules[module.__name__] = module
        pool = ThreadPoolExecutor(self.threads, thread_name_prefix=f"tool-{parts.name}")
        try:
            yield await self._live(module, pool, parts)
        finally:
            sys.modules.pop(module.__name__, None)
            pool.shutdown(wait=False, cancel_futures=True)

    async def _live(self, module: types.ModuleType, pool: ThreadPoolExecutor, parts: Parts) -> LiveTool:
        """Return the live tool once its file has been run.

        Raises:
            Permanent: see `open`.
        """
        field = "file" if self.package is None else "package"
        try:
            load = self._loader(module, parts)
            function = await asyncio.get_running_loop().run_in_executor(pool, load)
            signature = read_signature(function)
            description = self.description or signature.summary
            if not description:
                raise Permanent(f'expected spec.description or a docstring in "{self.function}", got neither')  # noqa: TRY301  # one place adds the owner
        except Permanent as error:
            raise Permanent(f"{parts.declared.ref} spec.{field}: {error}") from error
        schema = ToolSchema(parts.name, description, signature.parameters)
        return LiveTool(schema, self, _Runner(function, signature, pool), parts)

    def _loader(self, module: types.ModuleType, parts: Parts) -> Callable[[], Callable[..., Any]]:
        """Return what loads the function.

        Raises:
            Permanent: there is no such file, or the package is not allowed.
        """
        if self.package is None:
            return partial(load_function, module, inside(parts.root, self.file or ""), self.function)
        allowed = parts.services.packages
        if not any(self.package == name or self.package.startswith(f"{name}.") for name in allowed):
            known = ", ".join(allowed) or "none"
            raise Permanent(
                f'"{self.package}" is not allowed here, allowed are: {known}: add it to allowPackages of the '
                "daemon's settings, or to LOOMD_ALLOW_PACKAGES"
            )
        return partial(_import, self.package, self.function)


class _Runner:
    """Calls the function and turns what it returns into text."""

    def __init__(self, function: Callable[..., Any], signature: Signature, pool: ThreadPoolExecutor) -> None:
        self._function = function
        self._signature = signature
        self._pool = pool
        self._is_async = inspect.iscoroutinefunction(function)

    async def __call__(self, arguments: JsonObject, context: ToolContext | None = None) -> str:
        values = self._signature.bind(arguments)
        if self._signature.context:
            values[self._signature.context] = context
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


def _import(package: str, name: str) -> Callable[..., Any]:
    """Return a function of a module that is installed."""
    try:
        module = importlib.import_module(package)
    except (Exception, SystemExit) as error:
        raise Permanent(f'"{package}" cannot be imported: {type(error).__name__}: {error}') from error
    function = getattr(module, name, None)
    if not inspect.isroutine(function):
        raise Permanent(f'"{package}" has no function "{name}"')
    return function


def _unfit(function: ast.FunctionDef | ast.AsyncFunctionDef, *, described: bool) -> Iterator[str]:
    """Yield why a model could not call a function, as far as its text tells; the rest shows when it opens."""
    takes, name = function.args, function.name
    starred = [one.arg for one in (takes.vararg, takes.kwarg) if one is not None]
    for parameter in [*(one.arg for one in takes.posonlyargs), *starred]:
        yield unnamed(parameter)
    for one in (*takes.args, *takes.kwonlyargs):
        if one.arg == "context" and one.annotation is None:
            yield f'expected "context" of "{name}" to have a type, got none: a call is told of itself by `ToolContext`'
    if not described and not ast.get_docstring(function):
        yield f'expected spec.description or a docstring in "{name}", got neither: say there what it does and when'
