"""Asks a Python function whether an answer will do: in a process of its own, in a sandbox without files and network.

The function is a person's, the answer is not trusted. What an answer can cause (an exception, too much time or memory)
counts against it; what it cannot (code that does not load, a sandbox that cannot be made) says nothing of it.
"""

import ast
import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from loomd.errors import LoomdError, Permanent, ToolFailed
from loomd.messages import JsonObject
from loomd.tools.check import Check, Checked
from loomd.tools.process import Argv, Ended, run
from loomd.tools.python_process import Code, FunctionProcess, interpreter
from loomd.tools.sandbox import SEARCH, Bubblewrap, Paths, ProcessLimits, open_bubblewrap, was_set_up
from loomd.tools.text import plain

_LIMITS = {"memory": "1Gi", "processes": 16, "fileSize": "1Mi", "output": "64Ki"}
"""What a check may use, beside what any sandboxed function may."""
_LONGEST = 500
"""Most characters of what a check says."""
_MOST = 4
"""Most checks at once."""
_ASK = """

def _loomd_check({takes}):
    try:
        said = {function}({given})
    except AssertionError as error:
        return {{"good": False, "text": str(error) or "an assertion failed"}}
    except (NameError, ImportError, SyntaxError) as error:
        return {{"broken": True, "text": f"{{type(error).__name__}}: {{error}}"}}
    except BaseException as error:
        return {{"good": False, "text": f"it raised {{type(error).__name__}}: {{error}}"}}
    if said is None or said is True or said == "":
        return {{"good": True}}
    if said is False:
        return {{"good": False, "text": "it returned False"}}
    if isinstance(said, str):
        return {{"good": False, "text": said}}
    return {{"broken": True, "text": f"expected it to return True, False, nothing or a text, got {{said!r:.80}}"}}
"""


class Checker:
    """Runs checks.

    Args:
        state: the daemon's own state, which no check sees.
    """

    def __init__(self, state: Path) -> None:
        self._state = state
        self._made: Bubblewrap | None = None
        self._places = asyncio.Semaphore(_MOST)

    async def check(self, check: Check, given: Mapping[str, str]) -> Checked:
        """Return what a check says.

        Args:
            check: the check.
            given: what it may be called with, by the names of its parameters.
        """
        try:
            code, arguments = _code(check, given)
            async with self._places, asyncio.timeout(check.timeout):
                where = _Where(await self._sandbox(), self._state)
                process = FunctionProcess(code, where.program, where, 1)
                said = await process(arguments)
            return msgspec.json.decode(said, type=Checked)
        except TimeoutError:
            return Checked(text=f"it took longer than {check.timeout:g} s")
        except ToolFailed as error:
            text = str(error)[:_LONGEST]
            return Checked(text=text, broken=text.startswith(f'"{Path(check.file).name}" '))  # it does not load
        except (LoomdError, SyntaxError, ValueError, RecursionError) as error:
            return Checked(text=str(error)[:_LONGEST], broken=True)

    async def _sandbox(self) -> Bubblewrap:
        """Return the sandbox.

        Raises:
            Permanent: it cannot be made here.
        """
        if self._made is None:
            paths = Paths((), (), None, self._state.resolve(), interpreter()[1])
            self._made = await open_bubblewrap(ProcessLimits.model_validate(_LIMITS), paths, network=False)
        return self._made


class _Where:
    """Where a check runs; fits what calls functions."""

    def __init__(self, made: Bubblewrap, state: Path) -> None:
        self.program, lent = interpreter()
        self._made = made
        self._paths = Paths((), (), None, state.resolve(), lent)

    def mask(self, text: str) -> str:
        """Return a text as it is: no secret is there."""
        return text

    async def run(self, argv: Argv, stdin: bytes | None, *, apart: bool = False, told: Sequence[str] = ()) -> Ended:
        """Run a program to its end.

        Raises:
            Permanent: the sandbox could not be made.
            ToolFailed: it wrote too much.
        """
        env = {"PATH": SEARCH, "LANG": "C.UTF-8", "HOME": "/tmp", "TMPDIR": "/tmp"}  # noqa: S108  # the sandbox's own
        command = self._made.command(argv, env, self._paths, stdin)
        ended = await run(command, limit=self._made.limits.output, apart=apart, told=[*told, "status"])
        if not was_set_up(ended.told["status"]):
            raise Permanent(f"the sandbox could not be made: {plain(ended.err or ended.out).strip()}")
        return ended


def _code(check: Check, given: Mapping[str, str]) -> tuple[Code, JsonObject]:
    """Return what is called in the place of a function, and with what.

    Raises:
        Permanent: there is no such function.
    """
    tree = ast.parse(check.source, check.file)
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == check.function:
            takes = [one.arg for one in (*node.args.args, *node.args.kwonlyargs) if one.arg in given]
            ask = _ASK.format(
                takes=", ".join(f"{name}: str" for name in takes),
                given=", ".join(f"{name}={name}" for name in takes),
                function=check.function,
            )
            code = Code("_loomd_check", path=Path(check.file).name, source=f"{check.source}{ask}".encode())
            return code, {name: given[name] for name in takes}
    raise Permanent(f'"{check.file}" has no function "{check.function}"')
