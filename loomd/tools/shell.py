"""Shell: one program with its arguments, in a sandbox. What is run is a list, never a line that a shell would read.

The program and the order of its arguments stand in the manifest; what a model says fills placeholders and can neither
add an argument of its own nor an option. Nothing of the daemon's environment is handed over.
"""

import hashlib
import json
import re
import signal
import tempfile
from collections.abc import AsyncGenerator, Generator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, nullcontext
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from loomd.errors import Permanent, Temporary, ToolFailed, Unauthorized
from loomd.manifest.inside import below, inside, is_hidden, named
from loomd.manifest.keyring import Keyring, entitled
from loomd.manifest.kind import Reload
from loomd.manifest.secret import Secret, literal_secrets
from loomd.manifest.wording import escape, one_line
from loomd.messages import JsonObject, ToolSchema
from loomd.tools.base import OPEN, LiveTool, ToolSpec
from loomd.tools.context import ToolContext
from loomd.tools.parameters import arguments_validator, parameter_faults, refuse_misfits
from loomd.tools.placeholder import fill_command, fill_text, names_in
from loomd.tools.process import Command, Ended, run
from loomd.tools.sandbox import (
    SEARCH,
    Bubblewrap,
    Paths,
    ProcessLimits,
    find_program,
    limited,
    open_bubblewrap,
    was_set_up,
)
from loomd.tools.text import plain
from loomd.topology import Parts

_INTERPRETERS = re.compile(r"(?:ba|da|z|k|c|tc|fi|a)?sh|(?:python|pypy|perl|ruby|node|php|lua)[0-9.]*")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SCRIPT = re.compile(r"-[A-Za-z]*[ceEr]|--eval|--command")
_SCRATCH = "/tmp"  # noqa: S108  # the sandbox's own
_AGAIN = 75
"""Exit code by which a program says that it may work later (EX_TEMPFAIL of sysexits.h)."""


class ShellTool(ToolSpec):
    """Runs a program; what it writes is the result."""

    type: Literal["shell"] = "shell"
    command: list[str] = Field(min_length=1, examples=[["grep", "-n", "--", "{words}", "notes.txt"]])
    """Program and arguments. `{name}` is filled with the argument of that name: a value never becomes several
    arguments unless it is a list, and may begin with `-` only after a `--`. A part whose argument is missing is left
    out. The program is a name, an absolute path, or a path from the manifest's root such as `./bin/report`."""
    stdin: str | None = Field(default=None, examples=["{text}"])
    """What the program can read from standard input; `{name}` is filled with the argument."""
    parameters: JsonObject = {"type": "object", "properties": {}}  # noqa: RUF012  # pydantic copies defaults
    """JSON Schema (of type object) of the arguments."""
    workdir: str | None = Field(default=None, examples=["reports"])
    """Folder to begin in, from the manifest's root and below it; readable, and changed only when `write` says so.
    Without it each call begins in an empty folder that is gone afterwards."""
    env: Annotated[dict[str, str | Secret], Reload("immediate")] = Field(default={}, examples=[{"LANG": "C.UTF-8"}])
    """Environment of the program, beside PATH, HOME, TMPDIR and LANG; what may be a secret is named with valueFrom."""
    streams: Literal["merged", "apart"] = "merged"
    """Whether standard output and standard error are one text in the order in which they were written, or two."""
    success: list[int] = Field(default=[0], min_length=1, examples=[[0, 1]])
    """Exit codes of a call that went well; with every other one it has failed. Code 75 says that it may work later."""
    sandbox: Literal["bubblewrap", "none"] = "bubblewrap"
    """Where it runs: in a sandbox of its own, or with all that the daemon's user may do."""
    network: bool = False
    """Whether the sandbox may use the network, this machine's own services included."""
    read: list[str] = Field(default_factory=list, examples=[["data"]])
    """Files and folders below the manifest's root that the sandbox may read."""
    write: list[str] = Field(default_factory=list, examples=[["reports"]])
    """Folders below the manifest's root that the sandbox may read and change. They are hidden ones, such as `.work`:
    what is written elsewhere is read as manifests."""
    limits: ProcessLimits = Field(default_factory=ProcessLimits)
    """What a call may use."""
    concurrency: int | None = Field(default=4, ge=1, le=10_000)
    """Most calls at once, over all agents and tasks; further ones wait. With null there is no limit."""

    def check(self, root: Path) -> Iterator[tuple[str, ...]]:
        """Yield placeholders that are no parameter or would be code, secrets, and paths that are not there."""
        yield from super().check(root)
        yield from parameter_faults(self.parameters, ("/command", self.command), ("/stdin", self.stdin))
        yield from literal_secrets(self.env, "/env")
        for name in self.env:
            if not _NAME.fullmatch(name):
                text = "expected a name of letters, digits and underscores, such as API_TOKEN"
                yield f"/env/{escape(name)}", f'{text}, got "{one_line(name)}"', "invalid-value"
        yield from self._code()
        if _is_file(self.command[0]):
            try:
                inside(root, self.command[0])
            except Permanent as error:
                yield "/command/0", str(error)
        yield from self._misplaced(root)

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

    def _misplaced(self, root: Path) -> Iterator[tuple[str, ...]]:
        places = [*((f"/read/{at}", path) for at, path in enumerate(self.read))]
        folders = [*((f"/write/{at}", path) for at, path in enumerate(self.write))]
        if self.workdir is not None:
            folders.append(("/workdir", self.workdir))
        for pointer, path in places + folders:
            try:
                found = below(root, path, "a folder" if (pointer, path) in folders else "a file or folder")
            except Permanent as error:
                yield pointer, str(error)
                continue
            if (pointer, path) in folders and not found.is_dir():
                yield pointer, f'expected a folder below {root}, got the file "{path}"'
            elif pointer.startswith("/write") and not is_hidden(root, found):
                yield pointer, f'expected a hidden folder, such as ".work", got "{path}": {OPEN}', "invalid-value"

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
        owner = str(parts.declared.ref)
        validator = arguments_validator(owner, self.parameters)
        with _blamed(owner, "command"):
            program = self._program(parts.root)
        folders = _Folders(self, parts, program)
        with _blamed(owner, "sandbox"):
            box = await self._box(folders.now())
        secrets = _Environment(self, parts)
        secrets.read()
        yield LiveTool(self.declared(parts.name), self, _Runner(self, program, box, folders, validator, secrets), parts)

    def _program(self, root: Path) -> str:
        """Return the path of the program."""
        program = self.command[0]
        if _is_file(program):
            return str(inside(root, program))
        return program if program.startswith("/") else find_program(program)

    async def _box(self, paths: Paths) -> Bubblewrap | None:
        if self.sandbox == "none":
            limited(self.limits, [], processes=False)
            return None
        return await open_bubblewrap(self.limits, paths, network=self.network)


class _Folders:
    """What one tool's program sees, looked up anew for each call: a folder may have become a link meanwhile."""

    def __init__(self, spec: ShellTool, parts: Parts, program: str) -> None:
        self._spec = spec
        self._root = parts.root
        self._state = parts.services.store.directory.resolve()
        self._program = Path(program)

    def now(self) -> Paths:
        """Return it.

        Raises:
            Permanent: one is gone, or leads out of the root.
        """
        spec, root = self._spec, self._root
        read = [below(root, path, "a file or folder") for path in spec.read]
        if _is_file(spec.command[0]):
            read.append(self._program)
        write = [below(root, path, "a folder") for path in spec.write]
        workdir = None if spec.workdir is None else below(root, spec.workdir, "a folder")
        for path in (*read, *write, *([workdir] if workdir else [])):
            if path.is_relative_to(self._state):
                raise Permanent(f"expected a path outside {self._state}, got {path}: the daemon's own state is there")
        return Paths(read, write, workdir, self._state)


class _Environment:
    """The environment of one tool's program, as it is declared and kept at the time of a call."""

    def __init__(self, spec: ShellTool, parts: Parts) -> None:
        self._spec = spec
        self._latest = parts.latest
        self._owner = str(parts.declared.ref)
        self._keyring = Keyring(self._owner)
        self.mask = self._keyring.mask

    def read(self) -> dict[str, str]:
        """Return what is declared.

        Raises:
            Unauthorized: a secret is missing, or meant for another program now.
        """
        item = self._latest()
        spec = self._spec if item is None else entitled(self._spec, item.spec, _told_to)
        if spec is None:
            raise Unauthorized(f"{self._owner} has other secrets now; the old ones are not used any more")
        return self._keyring.texts("spec.env", spec.env)


class _Runner:
    """Makes the calls of one tool."""

    def __init__(
        self,
        spec: ShellTool,
        program: str,
        box: Bubblewrap | None,
        folders: _Folders,
        validator: Any,
        secrets: _Environment,
    ) -> None:
        self._spec = spec
        self._program = program
        self._box = box
        self._folders = folders
        self._validator = validator
        self._secrets = secrets

    async def __call__(self, arguments: JsonObject, context: ToolContext | None = None) -> str:
        del context
        spec = self._spec
        refuse_misfits(self._validator, arguments)
        argv = [self._program, *fill_command(spec.command[1:], arguments)]
        stdin = None if spec.stdin is None else fill_text(spec.stdin, arguments).encode("utf-8", "replace")
        env = {"PATH": SEARCH, "LANG": "C.UTF-8"}
        box = self._box
        folder = nullcontext(_SCRATCH) if box else tempfile.TemporaryDirectory("-loomd", ignore_cleanup_errors=True)
        with folder as own:
            env |= {"HOME": own, "TMPDIR": own, **self._secrets.read()}
            paths = self._folders.now()
            if box is None:
                limits = limited(spec.limits, argv, processes=False)
                command = Command(lambda _: limits, env, paths.workdir or Path(own), stdin)
            else:
                command = box.command(argv, env, paths, stdin)
            apart = spec.streams == "apart"
            ended = await run(command, limit=spec.limits.output, apart=apart, status=box is not None)
        if box is not None and not was_set_up(ended.told):
            raise ToolFailed(f"the sandbox could not be made: {plain(ended.err or ended.out).strip()}")
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
        text = self._secrets.mask(text)
        code = 128 - ended.code if ended.code < 0 else ended.code
        if code in self._spec.success:
            return f"{text or '(nothing was written)'}\n[exit code {code}]" if code or not text else text
        told = f"{_said(code)}\n{text}".rstrip("\n")
        raise Temporary(told) if code == _AGAIN else ToolFailed(told)


@contextmanager
def _blamed(owner: str, field: str) -> Generator[None]:
    """Say which field is to blame for a failure."""
    try:
        yield
    except Permanent as error:
        raise Permanent(f"{owner} spec.{field}: {error}") from error


def _said(code: int) -> str:
    """Return how a command ended, in words: a shell's numbers above 128 are signals."""
    try:
        name = signal.Signals(code - 128).name
    except ValueError:
        return f"exit code {code}"
    why = {"SIGXCPU": ": it took too much processor time", "SIGXFSZ": ": it wrote too large a file"}
    return f"exit code {code}, by signal {name}{why.get(name, '')}"


def _is_file(program: str) -> bool:
    """Return whether a program is named by its path below the root."""
    return "/" in program and not program.startswith("/")


def _told_to(spec: ShellTool) -> str:
    """Return what a tool tells its secrets to, as an address."""
    said: Sequence[object] = (spec.command, spec.stdin, spec.sandbox, spec.network, spec.read, spec.write)
    return f"command://{hashlib.sha256(json.dumps(said).encode()).hexdigest()}"
