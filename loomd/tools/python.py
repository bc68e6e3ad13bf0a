"""Python: a function in a file below the manifest's root, or in a package that the daemon's settings allow.

Without `sandbox` the code is trusted like the manifest beside it: it runs inside the daemon. With it the daemon never
runs a line of it: each call is a process of its own, and so is the look at what the function takes. Validation reads
the file's syntax tree only, and a package is imported only where `allowPackages` names it.
"""

import ast
import asyncio
import inspect
import sys
import types
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from loomd.errors import Permanent
from loomd.manifest.inside import inside, named
from loomd.manifest.python_file import functions_in, read_source
from loomd.manifest.python_module import load_function
from loomd.manifest.raised import call_in_thread
from loomd.manifest.rule import exactly_one
from loomd.manifest.wording import did_you_mean
from loomd.messages import JsonObject, ToolSchema
from loomd.tools.base import LiveTool, ToolSpec
from loomd.tools.boxed import BoxedSpec, Sandbox, blamed, open_box
from loomd.tools.context import ToolContext
from loomd.tools.function import import_function, result_text
from loomd.tools.package import package_faults
from loomd.tools.python_process import Code, FunctionProcess, interpreter
from loomd.tools.signature import Signature, read_signature, unnamed
from loomd.topology import Parts


class PythonTool(BoxedSpec):
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
    """How many calls may run at once: those of a `def` function in threads, where one that hangs occupies its thread
    beyond its timeout, or with a `sandbox` those of any function, each in its process."""
    sandbox: Sandbox | None = Field(default=None, examples=["bubblewrap"])
    """Where it runs: `bubblewrap` in a sandbox that is made for the one call, `none` in a process for the one call with
    all that the daemon's user may do; by default inside the daemon, which is for code that you trust like its own. What
    `workdir`, `env`, `network`, `read`, `write` and `limits` say is for a process."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.file is None) == (self.package is None):
            raise ValueError("expected exactly one of file, package")
        return self

    def check(self, root: Path) -> Iterator[tuple[str, ...]]:
        """Yield a missing file or package, or a function that no model could call, without importing anything."""
        yield from super().check(root)
        if self.sandbox is None:
            yield from self._without_process()
        if self.package is not None:
            yield from package_faults(self.package, self.function)
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

    def _without_process(self) -> Iterator[tuple[str, str, str]]:
        """Yield what is declared of a process, and would not hold inside the daemon."""
        for name, field in BoxedSpec.model_fields.items():
            own = name not in ToolSpec.model_fields
            if own and getattr(self, name) != field.get_default(call_default_factory=True):
                text = f"expected a sandbox beside {name}, got a function that runs inside the daemon"
                yield f"/{name}", f'{text}: write "sandbox: bubblewrap"', "invalid-value"

    def runs(self) -> Sequence[object]:
        """Return the function, and where it runs."""
        return (self.file, self.package, self.function, self.sandbox)

    def reads(self, root: Path) -> Iterator[Path]:
        """Yield the function's file."""
        if self.file is not None:
            yield named(root, self.file)

    @asynccontextmanager
    async def open(self, parts: Parts) -> AsyncGenerator[LiveTool, None]:
        """Yield the live tool.

        Raises:
            Unauthorized: a secret is missing.
            Permanent: the file or the function cannot be used, or the sandbox cannot be made; the text names the field.
        """
        if self.sandbox is not None:
            yield await self._apart(self.sandbox, parts)
            return
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
        with blamed(parts, self._place):
            load = self._loader(module, parts)
            function = await asyncio.get_running_loop().run_in_executor(pool, load)
            signature = read_signature(function)
            schema = self._schema(parts.name, signature.summary, signature.parameters)
        return LiveTool(schema, self, _Runner(function, signature, pool), parts)

    async def _apart(self, sandbox: Sandbox, parts: Parts) -> LiveTool:
        """Return the live tool of a function that never runs inside the daemon.

        Raises:
            Unauthorized: see `open`.
            Permanent: see `open`.
        """
        program, places = interpreter()
        box = await open_box(self, sandbox, parts, lent=places)
        with blamed(parts, self._place):
            process = FunctionProcess(self._code(parts), program, box, self.threads)
            described = await process.describe(self.timeout)
            schema = self._schema(parts.name, described.summary, described.parameters)
        return LiveTool(schema, self, process, parts)

    @property
    def _place(self) -> str:
        """Return the field that says where the function is."""
        return "file" if self.package is None else "package"

    def _schema(self, name: str, summary: str, parameters: JsonObject) -> ToolSchema:
        """Return what a model is told.

        Raises:
            Permanent: nobody says what the function does.
        """
        description = self.description or summary
        if not description:
            raise Permanent(f'expected spec.description or a docstring in "{self.function}", got neither')
        return ToolSchema(name, description, parameters)

    def _code(self, parts: Parts) -> Code:
        """Return what a process needs to have the function; a file is handed over as it is now.

        Raises:
            Permanent: there is no such file, or the package is not allowed.
        """
        if self.package is not None:
            self._allowed(self.package, parts)
            return Code(self.function, package=self.package)
        path = inside(parts.root, self.file or "")
        return Code(self.function, path=str(path), source=read_source(path))

    def _loader(self, module: types.ModuleType, parts: Parts) -> Callable[[], Callable[..., Any]]:
        """Return what loads the function.

        Raises:
            Permanent: there is no such file, or the package is not allowed.
        """
        if self.package is None:
            return partial(load_function, module, inside(parts.root, self.file or ""), self.function)
        self._allowed(self.package, parts)
        return partial(import_function, self.package, self.function)

    def _allowed(self, package: str, parts: Parts) -> None:
        """Refuse a package that the daemon's settings do not name.

        Raises:
            Permanent: it is one.
        """
        allowed = parts.services.packages
        if not any(package == name or package.startswith(f"{name}.") for name in allowed):
            known = ", ".join(allowed) or "none"
            raise Permanent(
                f'"{package}" is not allowed here, allowed are: {known}: add it to allowPackages of the '
                "daemon's settings, or to LOOMD_ALLOW_PACKAGES"
            )


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
            result = await self._function(**values)
        else:
            loop = asyncio.get_running_loop()
            result = await loop.run_in_executor(self._pool, partial(call_in_thread, self._function, **values))
        return result_text(result)


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
