"""What a skill object declares: where skills come from, and what takes them up.

Called by validation, which reads the documents that it names, and by the topology, which opens it.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Self

from pydantic import ConfigDict, Field, model_validator

from loomd.errors import Permanent
from loomd.manifest.inside import inside, named
from loomd.manifest.kind import Spec
from loomd.manifest.mention import Mention
from loomd.manifest.oneof import OneOf
from loomd.manifest.quantity import Bytes
from loomd.manifest.rule import exactly_one
from loomd.manifest.source import SKILL
from loomd.manifest.wording import quoted
from loomd.skills.document import LONGEST_DESCRIPTION, SkillDocument, read_skill
from loomd.skills.folder import SkillFolder, find_folders, list_files
from loomd.skills.live import LiveSkill, LiveSkills
from loomd.skills.triggers.always import AlwaysTrigger
from loomd.skills.triggers.base import Trigger
from loomd.skills.triggers.model import ModelTrigger
from loomd.topology import Parts

_INVALID = "invalid-value"
MAX_TOLD = 20
"""Most skills of a folder of which is told what is wrong with them."""


class SkillSpec(Spec):
    """Instructions that an agent takes up when they fit the task."""

    model_config = ConfigDict(json_schema_extra=exactly_one("directory", "file", "instructions"))

    directory: str | None = Field(default=None, min_length=1, examples=[".agents/skills"])
    """Folder below the manifest's root that holds a skill (a `SKILL.md` and the files that belong to it), or folders of
    skills: then this object stands for all of them, at any depth. Their names are those in their documents."""
    file: str | None = Field(default=None, examples=["skills/review.md"])
    """Path of a single document (front matter with name and description, then instructions), below the manifest's root.
    It is called as this object is, and brings no other files along."""
    instructions: str | None = Field(default=None, examples=["Name the file and line of every remark."])
    """The instructions themselves, instead of files; the skill is called as this object is."""
    description: str = Field(default="", max_length=LONGEST_DESCRIPTION, examples=["How to review code."])
    """What the skill does and when to use it, for the triggers `model` and `semantic`: needed there for `instructions`,
    and in the place of what the document of a single skill says."""
    exclude: list[str] = Field(default_factory=list, examples=[["pdf"]])
    """Names of folders below `directory` that are left out."""
    triggers: list[Annotated[Trigger, OneOf("loomd.skills.triggers")]] | None = Field(
        default=None, min_length=1, examples=[[{"type": "keyword", "keywords": ["review"]}, {"type": "model"}]]
    )
    """What takes the skill up: the first that fits. By default the model decides about skills from files (`model`), and
    `instructions` apply to every task (`always`). A task that holds the word `/name` takes any skill up."""
    priority: int = Field(default=0, ge=-1000, le=1000)
    """Which skills come first in the prompt and stay in it when there is too much: those with higher numbers."""
    tool_names: dict[str, list[Annotated[str, Mention("Tool")]]] = Field(
        default_factory=dict, examples=[{"Read": ["read-file"], "Bash": []}]
    )
    """Names of tools here, for names in the `allowed-tools` of documents that were written for another program."""
    strict: bool = True
    """Refuse skills that break the rules of their format in what no reader depends on: how a name is spelled, whether
    it is that of the folder, and how long texts may be."""
    max_size: Bytes = Field(default=64 << 10, ge=1)
    """Largest skill document; a larger one is refused, because it would fill the prompt."""
    max_resource: Bytes = Field(default=64 << 10, ge=1)
    """How much of another file of a skill a model is shown; a longer one is cut, and says so."""
    max_files: int = Field(default=200, ge=1, le=10_000)
    """Most files of one skill; one with more is refused."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum(one is not None for one in (self.directory, self.file, self.instructions)) != 1:
            raise ValueError("expected exactly one of directory, file, instructions")
        return self

    @property
    def judged(self) -> list[Trigger]:
        """Return what takes the skill up, the default filled in."""
        if self.triggers is not None:
            return self.triggers
        return [AlwaysTrigger() if self.instructions is not None else ModelTrigger()]

    def check(self, root: Path) -> Iterator[tuple[str, ...]]:
        """Yield documents that are missing or cannot be used, and fields that mean nothing."""
        if self.directory is None and self.exclude:
            yield "/exclude", "expected nothing without spec.directory, got folders to leave out: remove them", _INVALID
        if self.instructions is not None and not self.description:
            for at, trigger in enumerate(self.judged):
                if trigger.describes:
                    beside = f"expected spec.description beside the trigger {_type(trigger)}"
                    yield f"/triggers/{at}", f"{beside}, got none: write what the skill is for", _INVALID
        try:
            if self.file is not None:
                read_skill(inside(root, self.file), self.max_size)
            elif self.directory is not None:
                yield from (("/directory", fault) for fault in self._faults(root))
        except Permanent as error:
            yield ("/file" if self.file is not None else "/directory"), str(error)

    def reads(self, root: Path) -> Iterator[Path]:
        """Yield the documents and all files that belong to them."""
        if self.file is not None:
            yield named(root, self.file)
        elif self.directory is not None:
            for folder in find_folders(root, self.directory, self.exclude):
                yield folder.place / SKILL
                yield from ((folder.place / path).resolve() for path in list_files(folder.place, self.max_files))

    @asynccontextmanager
    async def open(self, parts: Parts) -> AsyncGenerator[LiveSkills, None]:
        """Yield the live skills.

        Raises:
            Permanent: a document or a pattern cannot be used.
        """
        judges = [trigger.judge(parts) for trigger in self.judged]
        field = "file" if self.file is not None else "directory"
        try:
            skills = await asyncio.to_thread(self._skills, parts.root, parts.name)
        except Permanent as error:
            raise Permanent(f"{parts.declared.ref} spec.{field}: {error}") from error
        yield LiveSkills({skill.name: skill for skill in skills}, judges)

    def _skills(self, root: Path, name: str) -> list[LiveSkill]:
        """Return the skills as they are now.

        Raises:
            Permanent: one cannot be used.
        """
        if self.directory is None:
            path = None if self.file is None else inside(root, self.file)
            document = SkillDocument(name, self.description, self.instructions or "")
            return [self._live(name, document if path is None else read_skill(path, self.max_size), None)]
        found: list[LiveSkill] = []
        for fault in self._faults(root):
            raise Permanent(fault)
        for folder in find_folders(root, self.directory, self.exclude):
            document = read_skill(folder.place / SKILL, self.max_size)
            found.append(self._live(document.name, document, folder.place))
        return found

    def _live(self, name: str, document: SkillDocument, folder: Path | None) -> LiveSkill:
        tools = document.tools
        if tools is not None:
            tools = tuple(dict.fromkeys(one for tool in tools for one in self.tool_names.get(tool, [tool])))
        return LiveSkill(
            name=name,
            description=self.description or document.description,
            instructions=document.instructions,
            files=() if folder is None else tuple(list_files(folder, self.max_files)),
            tools=tools,
            priority=self.priority,
            offered=not document.hidden and any(trigger.offers for trigger in self.judged),
            folder=folder,
            longest=self.max_resource,
        )

    def _faults(self, root: Path) -> Iterator[str]:
        """Yield what is wrong with the skills of a folder.

        Raises:
            Permanent: there are none.
        """
        names: dict[str, str] = {}
        told = 0
        folders = find_folders(root, self.directory or "", self.exclude)
        if self.description and len(folders) > 1:
            yield f"expected one skill beside spec.description, got {len(folders)}: each has a description of its own"
        for folder in folders:
            for fault in self._wrong(folder, root, names):
                yield fault
                told += 1
            if told >= MAX_TOLD:
                return

    def _wrong(self, folder: SkillFolder, root: Path, names: dict[str, str]) -> Iterator[str]:
        """Yield what is wrong with one skill.

        Args:
            folder: where it is.
            root: the manifest's root, whose name means nothing.
            names: where the skills before it are, by name.
        """
        act = "mend it, leave it out with spec.exclude"
        try:
            document = read_skill(folder.place / SKILL, self.max_size)
            list_files(folder.place, self.max_files)
        except Permanent as error:
            yield f"{folder.shown}: {error}"
            return
        before = names.setdefault(document.name, folder.shown)
        if before != folder.shown:
            yield f"expected in {folder.shown} a name of its own, got {quoted(document.name)}, as in {before}: {act}"
        if self.strict:
            named = None if folder.place == root.resolve() else folder.name
            for expected, got in document.faults(named):
                yield f"expected in {folder.shown} {expected}, got {got}: {act}, or take it as it is with strict: false"


def _type(trigger: Trigger) -> str:
    return str(getattr(trigger, "type", ""))
