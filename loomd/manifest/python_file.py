"""Python files that manifests name: read, and their functions found in the syntax tree, without running a line.

Called by the specs that name a function; `loomd.manifest.python_module` runs such a file.
"""

import ast
from pathlib import Path

from loomd.errors import Permanent

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
    return top_functions(parse(source, path))


def top_functions(tree: ast.Module) -> dict[str, ast.FunctionDef | ast.AsyncFunctionDef]:
    """Return the functions at the top level of a syntax tree by name, in order."""
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def parse(source: bytes, path: Path) -> ast.Module:
    """Return the syntax tree of a file; for its arguments and errors see `functions_of`."""
    try:
        return ast.parse(source, str(path))
    except SyntaxError as error:
        line = f" line {error.lineno}" if error.lineno else ""
        raise Permanent(f'"{path.name}"{line}: {error.msg}') from None
    except (ValueError, RecursionError, MemoryError):
        raise Permanent(f'"{path.name}" is too deeply nested to be read') from None


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
