"""Live skills: what they say, whether a task fits them, and what is in their files. Fit by shape what agents expect."""

import asyncio
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from loomd.errors import Permanent, ToolFailed
from loomd.manifest.wording import did_you_mean
from loomd.skills.folder import read_resource
from loomd.skills.triggers.base import Fit, Judge


@dataclass(frozen=True)
class LiveSkill:
    """A skill that can be taken up.

    Attributes:
        name: what it is called.
        description: what it does and when to use it.
        instructions: what enters the prompt.
        files: what else belongs to it, by paths below its folder.
        tools: names of the tools that may be used with it; None when it does not say.
        priority: which skills come first.
        offered: whether a model may take it up by itself.
        folder: where its files are, links resolved; None when it has none.
        longest: how many bytes of a file are shown.
    """

    name: str
    description: str
    instructions: str
    files: tuple[str, ...] = ()
    tools: tuple[str, ...] | None = None
    priority: int = 0
    offered: bool = True
    folder: Path | None = None
    longest: int = 0

    async def digest(self) -> str:
        """Return the SHA-256 of its instructions, the tools that it allows, and its files.

        Raises:
            Permanent: a file cannot be read.
        """
        return await asyncio.to_thread(self._digest)

    def _digest(self) -> str:
        files: dict[str, str] = {}
        folder = self.folder or Path()  # without one it has no files
        for path in self.files:
            try:
                with (folder / path).open("rb") as file:
                    files[path] = hashlib.file_digest(file, "sha256").hexdigest()
            except OSError as error:
                raise Permanent(f'"{path}" of the skill "{self.name}" cannot be read: {error.strerror}') from error
        return hashlib.sha256(json.dumps([self.instructions, self.tools, files]).encode()).hexdigest()

    async def read(self, path: str) -> str:
        """Return the text of one of its files, cut where it is too long.

        Raises:
            ToolFailed: it has no such file, or that is not text; the text is for the model.
        """
        wanted = path.removeprefix("./")
        if self.folder is None or wanted not in self.files:
            hint = did_you_mean(wanted, self.files, "its files:") or "it has no files"
            raise ToolFailed(f'the skill "{self.name}" has no file "{path}": {hint}')
        try:
            return await asyncio.to_thread(read_resource, self.folder, wanted, self.longest)
        except Permanent as error:
            raise ToolFailed(str(error)) from error


@dataclass(frozen=True)
class LiveSkills:
    """The skills of one object.

    Attributes:
        skills: by name.
    """

    skills: Mapping[str, LiveSkill]
    _judges: Sequence[Judge] = field(default=(), repr=False)

    async def fits(self, text: str) -> dict[str, Fit]:
        """Return which skills a task fits, by name, each with what says so first."""
        names = list(self.skills)
        descriptions = [skill.description for skill in self.skills.values()]
        found: dict[str, Fit] = {}
        for judge in self._judges:
            for name, fit in zip(names, await judge(text, descriptions), strict=True):
                if fit is not None:
                    found.setdefault(name, fit)
        return found
