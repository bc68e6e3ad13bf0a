"""Where the calls of a tool run that starts a program for each: what its manifest says of that, and the place itself.

Nothing of the daemon's environment is handed over, and paths are looked up anew for each call. Called by the types
`shell` and `python`.
"""

import hashlib
import json
import re
import tempfile
from abc import abstractmethod
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from loomd.errors import Permanent, ToolFailed, Unauthorized
from loomd.manifest.inside import below, is_hidden
from loomd.manifest.keyring import Keyring, entitled
from loomd.manifest.kind import Reload
from loomd.manifest.secret import Secret, literal_secrets
from loomd.manifest.wording import escape, one_line
from loomd.tools.base import OPEN, ToolSpec
from loomd.tools.process import Argv, Command, Ended, run
from loomd.tools.sandbox import SEARCH, Bubblewrap, Paths, ProcessLimits, limited, open_bubblewrap, was_set_up
from loomd.tools.text import plain
from loomd.topology import Parts

Sandbox = Literal["bubblewrap", "none"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SCRATCH = "/tmp"  # noqa: S108  # the sandbox's own


class BoxedSpec(ToolSpec):
    """A tool whose calls are processes. Each type adds its field `sandbox`, too."""

    workdir: str | None = Field(default=None, examples=["reports"])
    """Folder to begin in, from the manifest's root and below it; readable, and changed only when `write` says so.
    Without it each call begins in an empty folder that is gone afterwards."""
    env: Annotated[dict[str, str | Secret], Reload("immediate")] = Field(default={}, examples=[{"LANG": "C.UTF-8"}])
    """Environment of the process, beside PATH, HOME, TMPDIR and LANG; what may be a secret is named with valueFrom."""
    network: bool = False
    """Whether the sandbox may use the network, this machine's own services included."""
    read: list[str] = Field(default_factory=list, examples=[["data"]])
    """Files and folders below the manifest's root that the sandbox may read."""
    write: list[str] = Field(default_factory=list, examples=[["reports"]])
    """Folders below the manifest's root that the sandbox may read and change. They are hidden ones, such as `.work`:
    what is written elsewhere is read as manifests."""
    limits: ProcessLimits = Field(default_factory=ProcessLimits)
    """What a call may use."""

    @abstractmethod
    def runs(self) -> Sequence[object]:
        """Return what tells one program from another: secrets are for the one that they were declared for."""

    def check(self, root: Path) -> Iterator[tuple[str, ...]]:
        """Yield secrets, odd names of variables, and paths that are not there."""
        yield from super().check(root)
        yield from literal_secrets(self.env, "/env")
        for name in self.env:
            if not _NAME.fullmatch(name):
                text = "expected a name of letters, digits and underscores, such as API_TOKEN"
                yield f"/env/{escape(name)}", f'{text}, got "{one_line(name)}"', "invalid-value"
        yield from self._misplaced(root)

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


class Box:
    """Where the calls of one tool run.

    Attributes:
        mask: hides secrets in a text.
    """

    def __init__(self, spec: BoxedSpec, places: "_Places", variables: "_Variables", made: Bubblewrap | None) -> None:
        self._limits = spec.limits
        self._places = places
        self._variables = variables
        self._made = made
        self.mask = variables.mask

    async def run(self, argv: Argv, stdin: bytes | None, *, apart: bool = False, told: Sequence[str] = ()) -> Ended:
        """Run a program to its end; see `loomd.tools.process.run`.

        Args:
            argv: what is run.
            stdin: what it can read.
            apart: whether standard error is read apart from standard output.
            told: names of further files to write to.

        Raises:
            Unauthorized: a secret is missing.
            ToolFailed: it cannot be started, or wrote too much.
            Permanent: a path is gone, or leads out of the root.
        """
        env = {"PATH": SEARCH, "LANG": "C.UTF-8"}
        made, limits = self._made, self._limits
        folder = nullcontext(_SCRATCH) if made else tempfile.TemporaryDirectory("-loomd", ignore_cleanup_errors=True)
        with folder as own:
            env |= {"HOME": own, "TMPDIR": own, **self._variables.read()}
            paths = self._places.now()
            if made is None:
                command = Command(
                    lambda files: limited(limits, argv(files), processes=False), env, paths.workdir or Path(own), stdin
                )
            else:
                command, told = made.command(argv, env, paths, stdin), [*told, "status"]
            ended = await run(command, limit=limits.output, apart=apart, told=told)
        if made is not None and not was_set_up(ended.told["status"]):
            raise ToolFailed(f"the sandbox could not be made: {plain(ended.err or ended.out).strip()}")
        return ended


async def open_box(
    spec: BoxedSpec, sandbox: Sandbox, parts: Parts, *, own: Sequence[Path] = (), lent: Sequence[Path] = ()
) -> Box:
    """Return where the calls of a tool run, once a program has run there.

    Args:
        spec: what is declared.
        sandbox: in what they run.
        parts: what opens the tool.
        own: files that they may read beside those that are declared.
        lent: what they may read although it need not be for everybody.

    Raises:
        Unauthorized: a secret is missing.
        Permanent: the sandbox cannot be made, or a path is missing; the text names the field.
    """
    places = _Places(spec, parts, own, lent)
    with blamed(parts, "sandbox"):
        paths = places.now()
        if sandbox == "none":
            limited(spec.limits, [], processes=False)
            made = None
        else:
            made = await open_bubblewrap(spec.limits, paths, network=spec.network)
    variables = _Variables(spec, parts)
    variables.read()
    return Box(spec, places, variables, made)


@contextmanager
def blamed(parts: Parts, field: str) -> Generator[None]:
    """Say which field is to blame for a failure."""
    try:
        yield
    except Permanent as error:
        raise Permanent(f"{parts.declared.ref} spec.{field}: {error}") from error


class _Places:
    """What the calls of one tool see, looked up anew for each: a folder may have become a link meanwhile."""

    def __init__(self, spec: BoxedSpec, parts: Parts, own: Sequence[Path], lent: Sequence[Path]) -> None:
        self._spec = spec
        self._root = parts.root
        self._state = parts.services.store.directory.resolve()
        self._own = own
        self._lent = lent

    def now(self) -> Paths:
        """Return it.

        Raises:
            Permanent: one is gone, or leads out of the root.
        """
        spec, root = self._spec, self._root
        read = [*(below(root, path, "a file or folder") for path in spec.read), *self._own]
        write = [below(root, path, "a folder") for path in spec.write]
        workdir = None if spec.workdir is None else below(root, spec.workdir, "a folder")
        for path in (*read, *write, *([workdir] if workdir else [])):
            if path.is_relative_to(self._state):
                raise Permanent(f"expected a path outside {self._state}, got {path}: the daemon's own state is there")
        return Paths(read, write, workdir, self._state, self._lent)


class _Variables:
    """The environment of one tool's calls, as it is declared and kept at the time of a call."""

    def __init__(self, spec: BoxedSpec, parts: Parts) -> None:
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


def _told_to(spec: BoxedSpec) -> str:
    """Return what a tool tells its secrets to, as an address."""
    said = [*spec.runs(), spec.network, spec.read, spec.write]
    return f"command://{hashlib.sha256(json.dumps(said).encode()).hexdigest()}"
