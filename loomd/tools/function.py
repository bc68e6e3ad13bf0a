"""A Python function that a model may call, wherever it runs: found, and its result put into words.

Called by the `python` type, and by the process that it starts for a function in a sandbox.
"""

import importlib
import sys
from collections.abc import Callable

from loomd.errors import Permanent, ToolFailed
from loomd.manifest.python_module import function_in
from loomd.manifest.raised import words_of
from loomd.tools.plain import plain_json


def import_function(package: str, name: str) -> Callable[..., object]:
    """Return a function of a module that is installed.

    Raises:
        Permanent: the module cannot be imported, or has no such function.
    """
    try:
        module = importlib.import_module(package)
    except BaseException as error:  # whatever it is: it is the module's, and ends nothing but this
        raise Permanent(f'"{package}" cannot be imported: {words_of(error)}') from error
    function = function_in(module, name)
    if function is None:
        raise Permanent(f'"{package}" has no function "{name}"')
    return function


def result_text(result: object) -> str:
    """Return a string as it is and anything else as JSON.

    Raises:
        ToolFailed: it is neither.
    """
    if isinstance(result, str):
        return result
    if "pydantic_core" not in sys.modules and (text := plain_json(result)) is not None:
        return text
    import pydantic_core  # noqa: PLC0415  # takes longer than all else that a process does for one call

    try:
        return pydantic_core.to_json(result, inf_nan_mode="constants").decode()
    except (ValueError, pydantic_core.PydanticSerializationError) as error:
        raise ToolFailed(f"the result is no text and cannot be written as JSON: {error}") from error
