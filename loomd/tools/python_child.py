"""What runs in the process of a call of a sandboxed Python function: reads what is asked, does it, answers, and ends.

The question comes by standard input; the answer goes to a file of its own, so that nothing that the function prints
gets into it. Whatever is imported here is paid by every call, so what few calls need is imported by those: Pydantic
describes and takes the arguments that are not plain JSON. Started by `loomd.tools.python_process`, which trusts nothing
of what comes back.
"""

import json
import os
import sys
from collections.abc import Callable
from types import FunctionType, ModuleType

from loomd.errors import LoomdError, Temporary, Uncertain
from loomd.manifest.python_module import load_function
from loomd.manifest.raised import words_of
from loomd.tools.function import import_function, result_text
from loomd.tools.plain import plain_arguments, plain_parameters

_COROUTINE = 0x80
"""Flag of a function that is `async def`."""


def main(number: int) -> None:
    """Answer one question, and end the process with all of its threads.

    Args:
        number: of the open file that the answer goes to.
    """
    os.set_inheritable(number, False)
    process = os.getpid()
    asked, _, source = sys.stdin.buffer.read().partition(b"\n")
    answer = _answer(source, *json.loads(asked))
    if os.getpid() == process:  # not one that the function has forked
        with open(number, "wb") as out:
            out.write(json.dumps(answer, ensure_ascii=False).encode("utf-8", "replace"))
    os._exit(0)


def _answer(
    source: bytes,
    name: str,
    path: str,
    package: str,
    arguments: dict[str, object] | None,
    sent: dict[str, object] | None,
) -> dict[str, object]:
    """Return what is said of a function or of a call, as `loomd.tools.python_process` reads it."""
    try:
        function = import_function(package, name) if package else _load(source, name, path)
        if arguments is None:
            return _described(function)
        values = _values(function, arguments, sent)
        return {"type": "Gave", "text": result_text(_called(function, values))}
    except Uncertain as error:
        return _failed(str(error), "uncertain")
    except Temporary as error:
        return _failed(str(error), "later", error.retry_after)
    except LoomdError as error:
        return _failed(str(error))
    except BaseException as error:  # whatever it is, it is told
        return _failed(words_of(error))


def _failed(text: str, sort: str = "failed", retry_after: float | None = None) -> dict[str, object]:
    return {"type": "Failed", "text": text, "sort": sort, "retry_after": retry_after}


def _load(source: bytes, name: str, path: str) -> Callable[..., object]:
    module = sys.modules["loomd_tool"] = ModuleType("loomd_tool")
    return load_function(module, path, name, source)


def _described(function: Callable[..., object]) -> dict[str, object]:
    if "pydantic" not in sys.modules:  # what a function is told of by Pydantic, that has to describe
        from inspect import getdoc  # noqa: PLC0415  # a call has no use for it

        from loomd.tools.docstring import read_docstring  # noqa: PLC0415  # nor for this

        summary, texts = read_docstring(getdoc(function) or "")
        parameters = plain_parameters(function, texts)
        if parameters is not None:
            return {"type": "Described", "summary": summary, "parameters": parameters}
    from loomd.tools.signature import read_signature  # noqa: PLC0415  # imports Pydantic

    signature = read_signature(function)
    return {"type": "Described", "summary": signature.summary, "parameters": signature.parameters}


def _values(
    function: Callable[..., object], arguments: dict[str, object], sent: dict[str, object] | None
) -> dict[str, object]:
    """Return what a function is called with, by name.

    Raises:
        ToolFailed: the arguments do not fit.
    """
    if "pydantic" not in sys.modules:  # what a function is told of by Pydantic, that has to read
        values = plain_arguments(function, arguments, lambda: _context(sent))
        if values is not None:
            return values
    from loomd.tools.signature import read_signature  # noqa: PLC0415  # imports Pydantic

    signature = read_signature(function)
    bound = signature.bind(arguments)
    return {**bound, signature.context: _context(sent)} if signature.context else bound


def _context(sent: dict[str, object] | None) -> object:
    from loomd.tools.sent_context import SentContext  # noqa: PLC0415  # most functions ask for none

    return None if sent is None else SentContext(sent)


def _called(function: Callable[..., object], values: dict[str, object]) -> object:
    """Return what a function gives; one that is `async def` is awaited."""
    if not _is_async(function):
        return function(**values)

    import asyncio  # noqa: PLC0415  # takes longer than the start of Python, and most functions do not need it

    async def awaited() -> object:
        return await function(**values)  # type: ignore[misc]  # it is a coroutine

    return asyncio.run(awaited())


def _is_async(function: Callable[..., object]) -> bool:
    if type(function) is FunctionType and "inspect" not in sys.modules:
        return bool(function.__code__.co_flags & _COROUTINE)
    from inspect import iscoroutinefunction  # noqa: PLC0415  # knows what is wrapped or marked

    return iscoroutinefunction(function)
