"""Python files that manifests name: their functions read as a syntax tree, and the file run when something opens.

Such a file is trusted like the manifest beside it. It is never imported by a dotted name, and never run by validation.
Called by the specs that name a function.
"""

import ast
import inspect
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

from loomd.errors import Permanent
from loomd.manifest.raised import words_of

MAX_FILE = 128 << 10
"""Largest file in bytes: to parse one takes up to 700 times as much memory, and some seconds for each MiB."""


def functions_in(path: Path) -> dict[str, ast.FunctionDef | ast.AsyncFunctionDef]:
    """Return the functions at the top level of a file by name, in order.

    Raises:
        Permanent: it cannot be read or parsed.
    """
    return functions_of(read_source(path), path)


def functions_of(source: bytes, path: Path) -> dict[str, ast.FunctionDef | ast.AsyncFunctionDef]:
    """Return the functions at the top level of a file by name, in order.

    Args:
        source: what it holds.
        path: what it is called in messages.

    Raises:
        Permanent: it cannot be parsed.
    """
    try:
        tree = ast.parse(source, str(path))
    except SyntaxError as error:
        line = f" line {error.lineno}" if error.lineno else ""
        raise Permanent(f'"{path.name}"{line}: {error.msg}') from None
    except (ValueError, RecursionError, MemoryError):
        raise Permanent(f'"{path.name}" is too deeply nested to be read') from None
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def read_source(path: Path) -> bytes:
    """Return what a file holds, without looking at it as code.

    Raises:
        Permanent: it cannot be read, is too large, or holds null bytes.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
    except OSError as error:
        raise Permanent(f'"{path.name}" cannot be read: {error.strerror}') from None
    if len(data) > MAX_FILE:
        raise Permanent(f"expected a file of at most {MAX_FILE >> 10} KiB, got a larger one: split it")
    if b"\0" in data:  # Python before 3.11.4 says that in another way
        raise Permanent(f'"{path.name}" holds null bytes: write it as text')
    return data


def load_function(module: types.ModuleType, path: Path, name: str, source: bytes | None = None) -> Callable[..., Any]:
    """Run a file as a module of its own and return one of its functions. No byte code is cached, so edits count.

    Args:
        module: is filled.
        path: the file.
        name: name of the function.
        source: what the file holds, when it was read before; by default it is read now.

    Raises:
        Permanent: it fails, or has no such function.
    """
    module.__file__ = str(path)
    try:
        code = compile(path.read_bytes() if source is None else source, str(path), "exec")
        exec(code, module.__dict__)  # noqa: S102  # running the declared file is what this is for
    except BaseException as error:  # whatever it is: it is the file's, and ends nothing but this
        raise Permanent(f'"{path.name}" cannot be loaded: {words_of(error)}') from error
    function = module.__dict__.get(name)
    if not inspect.isroutine(function):
        raise Permanent(f'"{path.name}" has no function "{name}"')
    return function
