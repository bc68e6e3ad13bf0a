"""Files: lets an agent work in one folder below the manifest's root: list, read, search, and write where that is said.

Called by the agent's loop; `folder` sees to it that nothing outside is reached.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from threading import Lock
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from loomd.errors import Permanent, ToolFailed
from loomd.manifest.inside import below, is_hidden
from loomd.manifest.quantity import Bytes
from loomd.messages import JsonObject, ToolSchema
from loomd.tools.base import OPEN, Effects, LiveTool, ToolSpec
from loomd.tools.context import ToolContext
from loomd.tools.folder import Folder
from loomd.tools.signature import refusal
from loomd.topology import Parts

_READING = "list (what is in a folder), read (a file), search (lines that hold all of some words)"
_WRITING = ", write (a whole file), edit (replace a text that stands once in a file)"
_LINE = 300
"""Characters of a line that a search shows."""


class FilesTool(ToolSpec):
    """Lets an agent list, read, search and, when `write` says so, write the files of one folder."""

    type: Literal["files"] = "files"
    folder: str = Field(examples=["notes"])
    """Folder, from the manifest's root and below it; nothing outside it is reached, links are not followed."""
    write: bool = False
    """Whether files may be written and edited; then `effects` must be `write`, and the folder a hidden one such as
    `.notes`: what is written elsewhere is read as manifests."""
    effects: Effects = "read"
    """What a call does to the world."""
    max_file: Bytes = Field(default=1 << 20, ge=1)
    """Largest file that is read, searched or written."""
    max_found: int = Field(default=50, ge=1, le=10_000)
    """Most lines that a search finds."""
    max_searched: int = Field(default=10_000, ge=1, le=1_000_000)
    """Most files and folders that a search looks at."""

    def check(self, root: Path) -> Iterator[tuple[str, ...]]:
        """Yield a missing folder, and one where files may be written that would be read as manifests."""
        yield from super().check(root)
        if self.write and self.effects == "read":
            yield "/write", "expected effects write where files may be written, got effects read", "invalid-value"
        try:
            found = below(root, self.folder, "a folder")
        except Permanent as error:
            yield "/folder", str(error)
            return
        if not found.is_dir():
            yield "/folder", f'expected a folder below {root}, got the file "{self.folder}"'
        elif self.write and not is_hidden(root, found):
            yield "/folder", f'expected a hidden folder, such as ".work", got "{self.folder}": {OPEN}', "invalid-value"

    @asynccontextmanager
    async def open(self, parts: Parts) -> AsyncGenerator[LiveTool, None]:
        """Yield the live tool.

        Raises:
            Permanent: there is no such folder.
        """
        folder = Folder(below(parts.root, self.folder, "a folder"), parts.services.store.directory, self.max_file)
        work = _Work(self, folder)

        async def run(arguments: JsonObject, context: ToolContext | None) -> str:
            del context
            return await asyncio.to_thread(work.do, arguments)

        says = f"Works with the files of one folder. action: {_READING}{_WRITING if self.write else ''}."
        schema = ToolSchema(parts.name, self.description or says, work.parameters)
        yield LiveTool(schema, self, run, parts)


class _Asked(BaseModel):
    """What a model may say."""

    model_config = ConfigDict(extra="forbid")

    action: Literal["list", "read", "search", "write", "edit"]
    path: Annotated[str, Field(description="Path in the folder, for example notes/today.md; . is the folder.")] = "."
    words: Annotated[str, Field(description="search: the words, in any order and case.")] = ""
    line: Annotated[int, Field(ge=1, description="read: line to begin at.")] = 1
    text: Annotated[str, Field(description="write: the whole file. edit: what stands there afterwards.")] = ""
    old: Annotated[str, Field(description="edit: the text to replace; it must stand in the file exactly once.")] = ""


class _Work:
    """Does what a model asks for, in a thread."""

    def __init__(self, spec: FilesTool, folder: Folder) -> None:
        self._spec = spec
        self._folder = folder
        self._writing = Lock()
        self._do: Mapping[str, Callable[[_Asked], str]] = {
            "list": self._list,
            "read": self._read,
            "search": self._search,
            "write": self._write,
            "edit": self._edit,
        }

    @property
    def parameters(self) -> JsonObject:
        """Return the JSON Schema of the arguments."""
        schema = _Asked.model_json_schema()
        fields = schema["properties"]
        for field in fields.values():
            field.pop("title", None)
        if not self._spec.write:
            fields["action"]["enum"] = ["list", "read", "search"]
            del fields["text"], fields["old"]
        return {"type": "object", "properties": fields, "required": ["action"], "additionalProperties": False}

    def do(self, arguments: JsonObject) -> str:
        """Return what an action gives.

        Raises:
            ToolFailed: it cannot be done; the text is for the model.
        """
        try:
            asked = _Asked.model_validate(arguments)
        except ValidationError as error:
            raise refusal(error) from None
        if asked.action not in ("write", "edit"):
            return self._do[asked.action](asked)
        if not self._spec.write:
            raise ToolFailed(f"action: expected list, read or search, got {asked.action}: nothing may be written here")
        with self._writing:
            return self._do[asked.action](asked)

    def _list(self, asked: _Asked) -> str:
        return "\n".join(self._folder.names(asked.path)) or "(the folder is empty)"

    def _read(self, asked: _Asked) -> str:
        text = self._folder.read(asked.path)
        if asked.line == 1:
            return text or "(the file is empty)"
        lines = text.splitlines(keepends=True)
        if asked.line > len(lines):
            raise ToolFailed(f'"{asked.path}" has {len(lines)} lines, from {asked.line} there is nothing')
        return "".join(lines[asked.line - 1 :])

    def _search(self, asked: _Asked) -> str:
        words = asked.words.lower().split()
        if not words:
            raise ToolFailed("words: expected at least one word to search for")
        found: list[str] = []
        for path in self._folder.files(asked.path, self._spec.max_searched):
            try:
                text = self._folder.read(path)
            except ToolFailed:
                continue  # no text, too large, or removed meanwhile: nothing that could be found
            for number, line in enumerate(text.splitlines(), start=1):
                if all(word in line.lower() for word in words):
                    found.append(f"{path}:{number}: {line.strip()[:_LINE]}")
                if len(found) == self._spec.max_found:
                    return "\n".join([*found, f"[only the first {len(found)} lines: search for more words]"])
        return "\n".join(found) or f"no line holds {' and '.join(words)}"

    def _write(self, asked: _Asked) -> str:
        new = self._folder.write(asked.path, asked.text)
        return f'"{asked.path}" was {"written" if new else "replaced"}, {len(asked.text)} characters'

    def _edit(self, asked: _Asked) -> str:
        if not asked.old:
            raise ToolFailed("old: expected the text to replace")
        text = self._folder.read(asked.path)
        times = text.count(asked.old)
        if times != 1:
            raise ToolFailed(f'old: expected a text that stands in "{asked.path}" once, it stands there {times} times')
        self._folder.write(asked.path, text.replace(asked.old, asked.text))
        return f'"{asked.path}" was changed'
