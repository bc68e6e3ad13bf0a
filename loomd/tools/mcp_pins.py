"""The tools of an MCP server as people know them: pinned at first sight, withdrawn when the server says something else.

What a model is told of a tool is what was pinned, never what the server says since. The pins are kept in the state
directory, so that tools are known before the server answers and whatever it says after a restart; a pin in the
manifest is a person's word and counts more. They belong to the server that the manifest names: another command or
address is seen for the first time. Called by the type `mcp`.
"""

import asyncio
import hashlib
import logging
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from loomd.errors import Damaged, Temporary
from loomd.manifest.wording import visible
from loomd.store.directory import settle
from loomd.tools.mcp_server import Said
from loomd.tools.parameters import schema_fault

_UNSEEN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f]")
"""Characters that steer a terminal, turn text around, or hide it from people: no honest description needs them."""
_log = logging.getLogger("loomd.tools.mcp")


class PinFile(msgspec.Struct, frozen=True):
    """The tools of one server as they were pinned: `server` is the hash of what the manifest says of where it is."""

    server: str
    tools: tuple[Said, ...] = ()


class Pins:
    """What was pinned, beside what the server says.

    Attributes:
        pinned: tools as models are told of them, by their own names.
        said: what the server says now, by the same names; None as long as it was not asked.
    """

    def __init__(self, path: Path, server: object) -> None:
        """Take the file in which pins are kept, and what tells the server from others.

        Raises:
            Damaged: the file is no such file.
        """
        self._path = path
        self._server = hashlib.sha256(msgspec.json.encode(server)).hexdigest()
        self.said: dict[str, Said] | None = None
        self.pinned: dict[str, Said] = {one.name: one for one in self._read()}

    def _read(self) -> Sequence[Said]:
        try:
            kept = msgspec.json.decode(self._path.read_bytes(), type=PinFile)
        except FileNotFoundError:
            return ()
        except (OSError, msgspec.MsgspecError) as error:
            text = f"{self._path} does not hold the pins of an MCP server any more ({error})"
            raise Damaged(f"{text}: restore it, or remove it to see the server for the first time") from error
        return kept.tools if kept.server == self._server else ()

    async def hear(self, said: Sequence[Said], declared: Mapping[str, str]) -> bool:
        """Take over what the server says, and return whether it is anything new.

        A tool is pinned when it is seen for the first time, or when it is what the manifest declares.

        Args:
            said: all its tools.
            declared: pins of the manifest by the tools' own names.

        Raises:
            Temporary: what is pinned cannot be kept, so that it is not offered.
        """
        now = {one.name: one for one in said}
        fresh = {name: one for name, one in now.items() if self._counts(one, declared.get(name))}
        if fresh:
            pinned = self.pinned | fresh
            try:
                await asyncio.to_thread(self._write, tuple(pinned.values()))
            except OSError as error:
                raise Temporary(f"the pins of its tools cannot be kept in {self._path}: {error.strerror}") from error
            self.pinned = pinned
        changed, self.said = self.said != now, now
        return changed or bool(fresh)

    def _counts(self, said: Said, declared: str | None) -> bool:
        known = self.pinned.get(said.name)
        if declared is None:
            return known is None
        return declared == said.pin and known != said

    def _write(self, tools: tuple[Said, ...]) -> None:
        fresh = self._path.with_suffix(".new")
        fresh.touch(mode=0o600)
        fresh.write_bytes(msgspec.json.encode(PinFile(self._server, tools)))
        settle(fresh, self._path)

    def state(self, tool: str, declared: str | None) -> tuple[Literal["Offered", "Drifted", "Gone"], str]:
        """Return how a tool stands, and why it is not offered.

        Args:
            tool: its own name.
            declared: its pin in the manifest, if there is one.
        """
        known = self.pinned.get(tool)
        now = None if self.said is None else self.said.get(tool)
        wanted = declared or (known.pin if known is not None else "")
        if self.said is not None and now is None:
            return "Gone", "its server does not offer it any more"
        if now is not None and now.pin != wanted:
            return "Drifted", f"its server says something else of it now: expected pin {wanted}, got {now.pin}"
        if known is None or known.pin != wanted:
            return "Drifted", f"its server did not say yet what spec.pins asks for: expected pin {wanted}"
        return "Offered", ""


def size_of(said: Said) -> int:
    """Return how many bytes description and schema of a tool have."""
    return len(said.description.encode("utf-8", "replace")) + len(msgspec.json.encode(said.parameters))


def unusable(said: Said, longest: int, taken: Collection[str], name: str) -> str:
    """Return why no model can be told of a tool, or an empty string.

    Args:
        said: what the server says of it.
        longest: most bytes of description and schema.
        taken: names that other tools of the set have.
        name: what models would call it.
    """
    if (size := size_of(said)) > longest:
        return f"description and schema have {size} bytes, more than spec.maxTool ({longest})"
    if name in taken:
        return f'another tool of this server is called "{name}" as well'
    parameters = msgspec.json.encode(said.parameters).decode()
    if found := _UNSEEN.search(f"{said.name}\n{said.description}\n{parameters}"):
        return f"what it says of itself holds {visible(found[0])}, which people do not see and models may read"
    return schema_fault(said.parameters)
