"""A Python function that never runs inside the daemon: each call is a process of its own, and so is the first look.

The process is not trusted: it runs the function's file, and what it answers is checked like the answer of a stranger.
Called by the type `python`; `loomd.tools.python_child` is the other side.
"""

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from loomd.errors import Permanent, Temporary, ToolFailed, Uncertain
from loomd.messages import JsonObject
from loomd.tools.context import TOLD, ToolContext
from loomd.tools.parameters import schema_fault
from loomd.tools.process import Argv, Ended, how_it_ended
from loomd.tools.text import plain

_PACKAGE = Path(__file__).parents[1]
_BEGIN = (
    f"import sys; sys.path.insert(0, sys.argv[1]); import {_PACKAGE.name}; del sys.path[0]; "
    f"from {__package__}.python_child import main; main(int(sys.argv[2]))"
)
"""What the process runs: this very package, whatever else of that name is installed."""
_LARGEST = 64 << 10
"""Bytes of what a function may say of itself: it goes into every prompt of the agents that have the tool."""
_SHOWN = 500
"""Characters of what a process wrote that stand in an error."""


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


def interpreter() -> tuple[str, Sequence[Path]]:
    """Return the daemon's own Python, and what it needs to run where nothing but the system is: itself and packages."""
    needed = [Path(sys.prefix), Path(sys.base_prefix), _PACKAGE]
    every = dict.fromkeys(path for place in needed for path in (place, place.resolve()))
    return sys.executable, [path for path in every if not path.is_relative_to("/usr")]


class Where(Protocol):
    """Where the processes run; a `Box` fits."""

    def mask(self, text: str) -> str:
        """Hide secrets in a text."""
        ...

    async def run(self, argv: Argv, stdin: bytes | None, *, apart: bool = False, told: Sequence[str] = ()) -> Ended:
        """Run a program to its end."""
        ...


class FunctionProcess:
    """Calls one function.

    Args:
        code: the function.
        program: path of Python.
        box: where it runs.
        most: most calls at once.
    """

    def __init__(self, code: Code, program: str, box: Where, most: int) -> None:
        self._code = code
        self._program = program
        self._box = box
        self._places = asyncio.Semaphore(most)

    async def describe(self, seconds: float) -> Described:
        """Return what the function takes, by its own words.

        Args:
            seconds: longest time that its file may take to load.

        Raises:
            Permanent: it cannot be loaded, or no model can be told of it.
        """
        try:
            async with asyncio.timeout(seconds):
                answer = await self._ask(None, None)
        except TimeoutError as error:
            raise Permanent(f"it did not load within {seconds:g} s (spec.timeout)") from error
        if isinstance(answer, Failed):
            raise Permanent(answer.text)
        if not isinstance(answer, Described):
            raise Permanent("its process answered with something that is no description")
        size = len(msgspec.json.encode(answer))
        if size > _LARGEST:
            raise Permanent(f"expected at most {_LARGEST} bytes of description and parameters, got {size}")
        if fault := schema_fault(answer.parameters):
            raise Permanent(fault)
        return answer

    async def __call__(self, arguments: JsonObject, context: ToolContext | None = None) -> str:
        """Return what a call gives, as text.

        Raises:
            LoomdError: what the function raised, or what happened to its process.
        """
        answer = await self._ask(arguments, context)
        if isinstance(answer, Gave):
            return self._box.mask(answer.text)
        if not isinstance(answer, Failed):
            raise ToolFailed("its process answered with something that is no result")
        text = self._box.mask(answer.text)
        match answer.sort:
            case "uncertain":
                raise Uncertain(text)
            case "later":
                raise Temporary(text, answer.retry_after)
            case "failed":
                raise ToolFailed(text)

    async def _ask(self, arguments: JsonObject | None, context: ToolContext | None) -> Answer:
        """Return what a process answers.

        Raises:
            LoomdError: it cannot be started, wrote too much, or ended without an answer.
        """
        asked = _question(self._code, arguments, context)
        async with self._places:
            ended = await self._box.run(self._argv, asked, told=["answer"])
        data = ended.told["answer"]
        if not data:
            code = 128 - ended.code if ended.code < 0 else ended.code
            said = self._box.mask(plain(ended.out)).strip()[-_SHOWN:]
            raise ToolFailed(f"its process ended without a result: {how_it_ended(code)}\n{said}".rstrip())
        try:
            answer: Answer = msgspec.json.decode(data, type=Answer)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise ToolFailed("its process answered with something that is no answer") from error
        return answer

    def _argv(self, files: Mapping[str, int]) -> Sequence[str]:
        return [self._program, "-I", "-c", _BEGIN, str(_PACKAGE.parent), str(files["answer"])]


def _question(code: Code, arguments: JsonObject | None, context: ToolContext | None) -> bytes:
    """Return what a process is asked: a line of JSON, then the file.

    Args:
        code: the function.
        arguments: what it is called with; None to be told what it takes.
        context: where the call comes from.
    """
    sent: JsonObject | None = None
    if context is not None:
        sent = {name: getattr(context, name) for name in TOLD}
        sent["metadata"] = dict(context.metadata)
    asked = json.dumps([code.function, code.path, code.package, arguments, sent])  # with lone surrogates spelled out
    return asked.encode() + b"\n" + code.source
