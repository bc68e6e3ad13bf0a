"""What a skill declares, and the live skill: instructions, and the texts that they fit.

A skill is text for a prompt; it runs nothing. Called by the agent when it assembles the prompt.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import ConfigDict, Field, model_validator

from loomd.errors import Permanent
from loomd.manifest.inside import inside, named
from loomd.manifest.kind import Spec
from loomd.manifest.quantity import Bytes
from loomd.manifest.rule import exactly_one
from loomd.skills.activation import Activation
from loomd.skills.document import read_skill
from loomd.topology import Parts


class Triggers(Spec):
    """When a skill applies."""

    keywords: list[str] = Field(default_factory=list, examples=[["review", "pull request"]])
    """Words or phrases of which a task holds at least one, as whole words in any case; none means every task."""
    always: bool = False
    """Apply to every task, whatever the keywords."""


class SkillSpec(Spec):
    """Instructions that an agent takes up when they fit the task."""

    model_config = ConfigDict(json_schema_extra=exactly_one("file", "instructions"))

    file: str | None = Field(default=None, examples=["skills/review/SKILL.md"])
    """Path of a `SKILL.md` (front matter with name and description, then instructions), below the manifest's root."""
    instructions: str | None = Field(default=None, examples=["Name the file and line of every remark."])
    """The instructions themselves, instead of a file."""
    triggers: Triggers = Field(default_factory=Triggers)
    """When the skill applies."""
    max_size: Bytes = Field(default=64 << 10, ge=1)
    """Largest skill document; a larger one is refused, because it would fill the prompt."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.file is None) == (self.instructions is None):
            raise ValueError("expected exactly one of file, instructions")
        return self

    def check(self, root: Path) -> Iterator[tuple[str, str]]:
        """Yield a skill document that is missing or cannot be used."""
        if self.file is not None:
            try:
                read_skill(inside(root, self.file), self.max_size)
            except Permanent as error:
                yield "/file", str(error)

    def reads(self, root: Path) -> Iterator[Path]:
        """Yield the skill document."""
        if self.file is not None:
            yield named(root, self.file)

    @asynccontextmanager
    async def open(self, parts: Parts) -> AsyncGenerator["LiveSkill", None]:
        """Yield the live skill.

        Raises:
            Permanent: the document cannot be used.
        """
        activation = Activation(self.triggers.keywords, always=self.triggers.always)
        text = self.instructions or ""
        if self.file is not None:
            try:
                document = await asyncio.to_thread(read_skill, inside(parts.root, self.file), self.max_size)
            except Permanent as error:
                raise Permanent(f"{parts.declared.ref} spec.file: {error}") from error
            text = document.instructions
        yield LiveSkill(parts.name, text, activation)


@dataclass(frozen=True)
class LiveSkill:
    """A skill that can be taken up."""

    name: str
    instructions: str
    activation: Activation

    def fits(self, text: str) -> bool:
        """Return whether the skill applies to a task."""
        return self.activation.fits(text)
