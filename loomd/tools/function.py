"""A Python function that a model may call, wherever it runs: found, and its result put into words.

Called by the `python` type, and by the process that it starts for a function in a sandbox.
"""

import importlib
import inspect
from collections.abc import Callable
from typing import Any

import pydantic_core

from loomd.errors import Permanent, ToolFailed
from loomd.manifest.raised import words_of


def import_function(package: str, name: str) -> Callable[..., Any]:
    """Return a function of a module that is installed.

    Raises:
        Permanent: the module cannot be imported, or has no such function.
    """
    try:
        module = importlib.import_module(package)
    except BaseException as error:  # whatever it is: it is the module's, and ends nothing but this
        raise Permanent(f'"{package}" cannot be imported: {words_of(error)}') from error
    function = getattr(module, name, None)
    if not inspect.isroutine(function):
        raise Permanent(f'"{package}" has no function "{name}"')
    return function


def result_text(result: object) -> str:
    """Return a string as it is and anything else as JSON.

    Raises:
        ToolFailed: it is neither.
    """
    if isinstance(result, str):
        return result
    try:
        return pydantic_core.to_json(result, inf_nan_mode="constants").decode()
    except (ValueError, pydantic_core.PydanticSerializationError) as error:
        raise ToolFailed(f"the result is no text and cannot be written as JSON: {error}") from error
