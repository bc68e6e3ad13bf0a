"""A Python function that a model may call, wherever it runs: found, called, its result and its failures put into words.

Called by the `python` type, and by the process that it starts for a function in a sandbox.
"""

import importlib
import inspect
from collections.abc import Callable
from typing import Any

import pydantic_core

from loomd.errors import Permanent, ToolFailed


def import_function(package: str, name: str) -> Callable[..., Any]:
    """Return a function of a module that is installed.

    Raises:
        Permanent: the module cannot be imported, or has no such function.
    """
    try:
        module = importlib.import_module(package)
    except (Exception, SystemExit) as error:
        raise Permanent(f'"{package}" cannot be imported: {type(error).__name__}: {error}') from error
    function = getattr(module, name, None)
    if not inspect.isroutine(function):
        raise Permanent(f'"{package}" has no function "{name}"')
    return function


def call_function(function: Callable[..., Any], values: dict[str, Any]) -> object:
    """Call a function; what would end the process or confuse the event loop becomes a failure.

    Raises:
        ToolFailed: in the place of `SystemExit` and `StopIteration`.
    """
    try:
        return function(**values)
    except SystemExit as error:
        raise ToolFailed(f"the tool called sys.exit({error.code})") from error
    except StopIteration as error:
        raise ToolFailed("StopIteration") from error


def result_text(result: object) -> str:
    """Return a string as it is and anything else as JSON.

    Raises:
        ToolFailed: it is neither.
    """
    if isinstance(result, str):
        return result
    try:
        return pydantic_core.to_json(result, inf_nan_mode="constants", fallback=str).decode()
    except (ValueError, pydantic_core.PydanticSerializationError) as error:
        raise ToolFailed(f"the result is no text and cannot be written as JSON: {error}") from error
