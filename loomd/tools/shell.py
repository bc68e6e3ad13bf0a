"""Shell: one program with its arguments, in a sandbox. What is run is a list, never a line that a shell would read.

The program and the order of its arguments stand in the manifest; what a model says fills placeholders and can neither
add an argument of its own nor an option. Nothing of the daemon's environment is handed over.
"""

import re
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from loomd.errors import Permanent, Temporary, ToolFailed
from loomd.manifest.inside import inside, named
from loomd.manifest.program import program_faults
from loomd.messages import JsonObject, ToolSchema
from loomd.tools.base import LiveTool
from loomd.tools.boxed import Box, BoxedSpec, Sandbox, blamed, open_box
from loomd.tools.context import ToolContext, with_context
from loomd.tools.parameters import arguments_validator, parameter_faults, refuse_misfits
from loomd.tools.placeholder import fill_command, fill_text, names_in
from loomd.tools.process import Ended, how_it_ended
from loomd.tools.sandbox import SEARCH, find_program
from loomd.tools.text import plain
from loomd.topology import Parts

_INTERPRETERS = re.compile(r"(?:ba|da|z|k|c|tc|fi|a)?sh|(?:python|pypy|perl|ruby|node|php|lua)[0-9.]*")
_SCRIPT = re.compile(r"-[A-Za-z]*[ceEr]|--eval|--command")
_AGAIN = 75
"""Exit code by which a program says that it may work later (EX_TEMPFAIL of sysexits.h)."""


class ShellTool(BoxedSpec):
    """Runs a program; what it writes is the result."""

    type: Literal["shell"] = "shell"
    command: list[str] = Field(min_length=1, examples=[["grep", "-n", "--", "{words}", "notes.txt"]])
    """Program and arguments. `{name}` is filled with the argument of that name: a value never becomes several
    arguments unless it is a list, and may begin with `-` only after a `--`. A part whose argument is missing is left
    out. The program is a name, an absolute path, or a path from the manifest's root such as `./bin/report`.
    `{context.session}` and its like are filled with what is said of the call: `task`, `namespace`, `agent`, `session`,
    `tenant`, `user`, `key`, and the fields of the agent's `toolContext`; what is empty is missing."""
    stdin: str | None = Field(default=None, examples=["{text}"])
    """What the program can read from standard input; `{name}` is filled with the argument."""
    parameters: JsonObject = {"type": "object", "properties": {}}  # noqa: RUF012  # pydantic copies defaults
    """JSON Schema (of type object) of the arguments."""
    streams: Literal["merged", "apart"] = "merged"
    """Whether standard output and standard error are one text in the order in which they were written, or two."""
    success: list[int] = Field(default=[0], min_length=1, examples=[[0, 1]])
    """Exit codes of a call that went well; with every other one it has failed. Code 75 says that it may work later."""
    sandbox: Sandbox = "bubblewrap"
    """Where it runs: in a sandbox of its own, or with all that the daemon's user may do."""
    concurrency: int | None = Field(default=4, ge=1, le=10_000)
    """Most calls at once, over all agents and tasks; further ones wait. With null there is no limit."""

    def check(self, root: Path) -> Iterator[tuple[str, ...]]:
        """Yield placeholders that are no parameter or would be code, secrets, programs and paths that are not there."""
        yield from super().check(root)
        yield from parameter_faults(self.parameters, ("/command", self.command), ("/stdin", self.stdin))
        yield from self._code()
        if _is_file(self.command[0]):
            try:
                inside(root, self.command[0])
            except Permanent as error:
                yield "/command/0", str(error)
        elif not [*names_in(self.command[0])]:
            yield from program_faults(self.command[0], "/command/0", SEARCH)

    def reads(self, root: Path) -> Iterator[Path]:
        """Yield the program when it lies below the root."""
        if _is_file(self.command[0]):
            yield named(root, self.command[0])

    def _code(self) -> Iterator[tuple[str, str, str]]:
        """Yield placeholders where a model would choose the program, or write a part of one."""
        for name in names_in(self.command[0]):
            text = f"expected a fixed program, got {{{name}}}: write one tool for each program"
            yield "/command/0", text, "invalid-value"
        if not _INTERPRETERS.fullmatch(Path(self.command[0]).name):
            return
        for at, part in enumerate(self.command[1:], start=1):
            for name in names_in(part) if _SCRIPT.fullmatch(self.command[at - 1]) else ():
                text = f"expected a fixed script, got {{{name}}} in it: hand it over as a further part, or by stdin"
                yield f"/command/{at}", text, "invalid-value"

    def runs(self) -> Sequence[object]:
        """Return the command, and where it runs."""
        return (self.command, self.stdin, self.sandbox)

    def declared(self, name: str) -> ToolSchema:
        """Return what a model is told."""
        return ToolSchema(name, self.description or f"Runs {' '.join(self.command)}", self.parameters)

    @asynccontextmanager
    async def open(self, parts: Parts) -> AsyncGenerator[LiveTool, None]:
        """Yield the live tool.

        Raises:
            Unauthorized: a secret is missing.
            Permanent: the program or the sandbox is missing, a path is, or `parameters` is no JSON Schema.
        """
        validator = arguments_validator(str(parts.declared.ref), self.parameters)
        with blamed(parts, "command"):
            program = self._program(parts.root)
        own = [Path(program)] if _is_file(self.command[0]) else []
        box = await open_box(self, self.sandbox, parts, own=own)
        yield LiveTool(self.declared(parts.name), self, _Runner(self, program, box, validator), parts)

    def _program(self, root: Path) -> str:
        """Return the path of the program."""
        program = self.command[0]
        if _is_file(program):
            return str(inside(root, program))
        return program if program.startswith("/") else find_program(program)


class _Runner:
    """Makes the calls of one tool."""

    def __init__(self, spec: ShellTool, program: str, box: Box, validator: Any) -> None:
        self._spec = spec
        self._program = program
        self._box = box
        self._validator = validator

    async def __call__(self, arguments: JsonObject, context: ToolContext | None = None) -> str:
        spec = self._spec
        refuse_misfits(self._validator, arguments)
        arguments = with_context(arguments, context)
        argv = [self._program, *fill_command(spec.command[1:], arguments)]
        stdin = None if spec.stdin is None else fill_text(spec.stdin, arguments).encode("utf-8", "replace")
        ended = await self._box.run(lambda _: argv, stdin, apart=spec.streams == "apart")
        return self._result(ended)

    def _result(self, ended: Ended) -> str:
        """Return what was written and how it ended.

        Raises:
            ToolFailed: it did not go well.
            Temporary: it did not, and may later.
        """
        text = plain(ended.out).rstrip("\n")
        if error := plain(ended.err).strip("\n"):
            text = f"standard output:\n{text}\nstandard error:\n{error}"
        text = self._box.mask(text)
        code = 128 - ended.code if ended.code < 0 else ended.code
        if code in self._spec.success:
            return f"{text or '(nothing was written)'}\n[exit code {code}]" if code or not text else text
        told = f"{how_it_ended(code)}\n{text}".rstrip("\n")
        raise Temporary(told) if code == _AGAIN else ToolFailed(told)


def _is_file(program: str) -> bool:
    """Return whether a program is named by its path below the root."""
    return "/" in program and not program.startswith("/")
