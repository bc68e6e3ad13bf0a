"""What runs in the process of a call of a sandboxed Python function: reads what is asked, does it, answers, and ends.

The question comes by standard input; the answer goes to a file of its own, so that nothing that the function prints
gets into it. Whatever is imported here is paid by every call. Started by `loomd.tools.python_process`, which trusts
nothing of what comes back.
"""

import base64
import inspect
import json
import os
import sys
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from loomd.errors import LoomdError, Temporary, ToolFailed, Uncertain
from loomd.manifest.python_file import load_function
from loomd.manifest.raised import words_of
from loomd.messages import JsonObject
from loomd.tools.context import TOLD, ToolContext, attribute
from loomd.tools.function import import_function, result_text
from loomd.tools.signature import read_signature

_SENT = (*TOLD, "metadata")


class Code(msgspec.Struct, frozen=True):
    """A function.

    Attributes:
        function: its name.
        path: the file that it is in, for messages; it need not be there.
        source: what that file holds.
        package: the installed module that it is in, instead.
    """

    function: str
    path: str = ""
    source: bytes = b""
    package: str = ""


class Described(msgspec.Struct, frozen=True, tag=True):
    """What a function takes: the first paragraph of its docstring, and a JSON Schema."""

    summary: str
    parameters: JsonObject


class Gave(msgspec.Struct, frozen=True, tag=True):
    """What a call gave, as text."""

    text: str


class Failed(msgspec.Struct, frozen=True, tag=True):
    """Why there is no result.

    Attributes:
        text: what is said.
        sort: whether it may work later, or may have had its effect.
        retry_after: seconds after which it may work.
    """

    text: str
    sort: Literal["failed", "later", "uncertain"] = "failed"
    retry_after: float | None = None


Answer = Described | Gave | Failed


class SentContext:
    """What can be sent to a process of where a call comes from; the rest of `ToolContext` lives in the daemon.

    Args:
        sent: values by name.
    """

    def __init__(self, sent: Mapping[str, object]) -> None:
        self.__dict__.update(sent)

    def __getattr__(self, name: str) -> object:
        if name in vars(ToolContext):
            known = f"{', '.join(_SENT[:-1])} and {_SENT[-1]}"
            raise ToolFailed(
                f"context.{name} lives in the daemon, a function with a sandbox has {known} of its context"
            )
        return attribute(self.__dict__.get("metadata", {}), name)


def question(code: Code, arguments: JsonObject | None, context: ToolContext | None) -> bytes:
    """Return what a process is asked.

    Args:
        code: the function.
        arguments: what it is called with; None to be told what it takes.
        context: where the call comes from.
    """
    sent = None if context is None else {name: getattr(context, name) for name in _SENT}
    if sent is not None:
        sent["metadata"] = dict(context.metadata) if context else {}
    source = base64.b64encode(code.source).decode()
    asked = [code.function, code.path, source, code.package, arguments, sent]
    return json.dumps(asked).encode()  # spells lone surrogates, which models do write


def main(number: int) -> None:
    """Answer one question, and end the process with all of its threads.

    Args:
        number: of the open file that the answer goes to.
    """
    os.set_inheritable(number, False)
    process = os.getpid()
    function, path, source, package, arguments, sent = json.loads(sys.stdin.buffer.read())
    code = Code(function, path, base64.b64decode(source), package)
    answer = _answer(code, arguments, None if sent is None else SentContext(sent))
    if os.getpid() == process:  # not one that the function has forked
        with open(number, "wb") as out:
            out.write(json.dumps(msgspec.to_builtins(answer), ensure_ascii=False).encode("utf-8", "replace"))
    os._exit(0)


def _answer(code: Code, arguments: JsonObject | None, context: SentContext | None) -> Answer:
    try:
        function = _load(code)
        signature = read_signature(function)
        if arguments is None:
            return Described(signature.summary, signature.parameters)
        values = signature.bind(arguments)
        if signature.context:
            values[signature.context] = context
        return Gave(result_text(_awaited(function)(**values)))
    except Uncertain as error:
        return Failed(str(error), "uncertain")
    except Temporary as error:
        return Failed(str(error), "later", error.retry_after)
    except LoomdError as error:
        return Failed(str(error))
    except BaseException as error:  # whatever it is, it is told
        return Failed(words_of(error))


def _load(code: Code) -> Callable[..., Any]:
    if code.package:
        return import_function(code.package, code.function)
    module = sys.modules["loomd_tool"] = types.ModuleType("loomd_tool")
    return load_function(module, Path(code.path), code.function, code.source)


def _awaited(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that gives what an `async def` function gives once it is awaited."""
    if not inspect.iscoroutinefunction(function):
        return function

    import asyncio  # noqa: PLC0415  # costs a fourth of a call, and most functions do not need it

    def awaited(**values: Any) -> object:
        return asyncio.run(function(**values))

    return awaited
