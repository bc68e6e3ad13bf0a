"""`kind: Task`: work that is declared once, and runs when somebody sends it: a person, a program, a schedule.

What is declared here is all that a manifest says; `declared` makes the tasks that run of it.
"""

import re
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Self

from pydantic import ConfigDict, Field, ValidationInfo, field_validator, model_validator

from loomd.amoeba.expect import ExpectSpec
from loomd.amoeba.task import Durability, Task
from loomd.errors import Permanent
from loomd.manifest.inside import named
from loomd.manifest.kind import RefTo, Spec
from loomd.manifest.quantity import NO_NEWLINE
from loomd.manifest.rule import never, spelled
from loomd.tasks.declared import Declared, pictures, texts
from loomd.tasks.terms import TaskBudget
from loomd.topology import Parts

_GOAL = (r"\S", "expected what is wanted, in words")
_OWNER = (
    rf"^[A-Za-z0-9][-A-Za-z0-9._:@|+=]{{0,199}}${NO_NEWLINE}",
    "expected up to 200 letters, digits and -._:@|+= that begin with a letter or a digit",
)
_SPELLED = {"goal": _GOAL, "session": _OWNER, "tenant": _OWNER, "user": _OWNER}
"""Pattern of each field, and what people are told of a text that does not fit it."""
_ONE_TARGET = "expected one of agent and cluster, got both"
_SET = {"not": {"type": "null"}}


class TaskSpec(Spec):
    """Work that is declared once and runs as often as somebody sends it; applying it runs nothing."""

    model_config = ConfigDict(json_schema_extra=never(_ONE_TARGET, agent=_SET, cluster=_SET))

    description: str = Field(default="", examples=["The report that the desk reads on Mondays."])
    """What the task is for, in one sentence."""
    goal: str = Field(
        max_length=100_000, json_schema_extra=spelled(_GOAL), examples=["Summarise the tickets that are open."]
    )
    """What is wanted, in words."""
    agent: Annotated[str, RefTo("Agent")] | None = Field(default=None, examples=["writer"])
    """The agent that does it, alone; without it and without `cluster` the only cluster of the namespace chooses."""
    cluster: Annotated[str, RefTo("Cluster")] | None = Field(default=None, examples=["support"])
    """Cluster that takes the task; needed only when there are several."""
    images: list[str] = Field(default_factory=list, examples=[["photos/shelf.png"]])
    """Paths of the pictures that the agents are shown beside the goal, from the manifest's root and below it: PNG,
    JPEG, GIF or WebP, at most 5 MiB each and 16 MiB together."""
    files: list[str] = Field(default_factory=list, examples=[["notes/week.md"]])
    """Paths of the texts in UTF-8 that the agents are shown beside the goal, at most 1 MiB together; larger documents
    belong into a `KnowledgeBase`, which is searched."""
    budget: TaskBudget = Field(default_factory=TaskBudget)
    """What one run may use, its retries included."""
    expect: ExpectSpec = Field(default_factory=ExpectSpec)
    """What the answer must satisfy."""
    durability: Durability | None = None
    """What is kept of a run: every step, the run as a whole, or nothing; the cluster's own choice when unset."""
    retries: int = Field(default=0, ge=0, le=10, examples=[2])
    """How often a run that failed is begun anew, by another agent when there is one, with what is left of its budget
    and its time. What a person denied, what may have had an effect, and what ended at a limit is not tried again."""
    session: str | None = Field(default=None, json_schema_extra=spelled(_OWNER), examples=["weekly-report"])
    """Conversation that each run is a turn of: the agent sees the turns before."""
    tenant: str | None = Field(default=None, json_schema_extra=spelled(_OWNER), examples=["acme"])
    """Whose work it is; tenants see nothing of each other's conversations and memories."""
    user: str | None = Field(default=None, json_schema_extra=spelled(_OWNER), examples=["ann"])
    """Which user of the tenant; users are kept apart alike."""

    @field_validator(*_SPELLED)
    @classmethod
    def _is_spelled(cls, value: str | None, field: ValidationInfo) -> str | None:
        pattern, message = _SPELLED[str(field.field_name)]
        if value is not None and not re.search(pattern, value):
            raise ValueError(message)
        return value

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        if self.agent is not None and self.cluster is not None:
            raise ValueError(_ONE_TARGET)
        return self

    def check(self, root: Path) -> Iterator[tuple[str, ...]]:
        """Yield what is wrong with the pictures and the files, and with what cannot be kept."""
        for field, paths, read in (("images", self.images, pictures), ("files", self.files, texts)):
            for at in range(len(paths)):
                try:
                    read(root, paths[: at + 1])
                except (Permanent, OSError) as error:
                    yield f"/{field}/{at}", str(error).removeprefix(f"{field}[{at}]: ")
                    break
        if self.session is not None and self.durability == "none":
            yield "/durability", "expected steps or task, got none: the session keeps its turns", "invalid-value"

    def reads(self, root: Path) -> Iterator[Path]:
        """Yield the pictures and the files."""
        for path in (*self.images, *self.files):
            yield named(root, path)

    @asynccontextmanager
    async def open(self, parts: Parts) -> AsyncGenerator[Declared, None]:
        """Yield what makes the tasks that run of it."""
        ref = parts.declared.ref
        yield Declared(
            Task(
                "",
                self.goal.strip(),
                namespace=ref.namespace,
                cluster=self.cluster or "",
                agent=self.agent or "",
                findings=texts(parts.root, self.files),
                budget=self.budget.limits,
                expect=self.expect.carried(parts.root),
                durability=self.durability,
                session=self.session or "",
                tenant=self.tenant or "",
                user=self.user or "",
                images=pictures(parts.root, self.images),
                retries=self.retries,
                declared=ref.name,
            )
        )
