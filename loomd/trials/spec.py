"""`kind: Test`: a task whose replies are given, and what must come of it. `loomd test` runs them, no daemon does."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import msgspec
from pydantic import ConfigDict, Field, model_validator

from loomd.agents.work import StopReason
from loomd.amoeba.expect import Expect, ExpectSpec
from loomd.cassette import read
from loomd.errors import Permanent
from loomd.manifest.inline_schema import schema_faults
from loomd.manifest.inside import inside, named
from loomd.manifest.kind import RefTo, Spec
from loomd.manifest.quantity import Duration, Tokens, Usd
from loomd.manifest.rule import exactly_one, never
from loomd.messages import JsonObject
from loomd.providers.scripted import ScriptedReply
from loomd.topology import Parts

_SET = {"not": {"type": "null"}}
_SOME = {"minItems": 1}
_ONE_TARGET = "expected one of agent and cluster, got both"
_TWO_SCHEMAS = "expected one of jsonSchema and outputSchema, got both"
_RECORDED = "expected no {} beside cassette, got both: it comes from the recording"


class ToolAnswer(Spec):
    """What a tool gives instead of being called."""

    model_config = ConfigDict(json_schema_extra=exactly_one("text", "error"))

    text: str | None = Field(default=None, examples=["2.40"])
    """The result."""
    error: str | None = Field(default=None, examples=["no such book"])
    """The message of a call that fails."""
    tool: str = Field(default="", examples=["read_file"])
    """Which tool of a tool set gives it, by its own name; for any other tool nothing."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.text is None) == (self.error is None):
            raise ValueError("expected exactly one of text, error")
        return self


class ExpectedOutput(ExpectSpec):
    """What the answer must be like; all that is set must hold."""

    model_config = ConfigDict(json_schema_extra=never(_TWO_SCHEMAS, jsonSchema=_SET, outputSchema=_SET))

    json_schema: JsonObject | None = Field(default=None, examples=[{"type": "object", "required": ["fee"]}])
    """The name that `outputSchema` had before; one of the two."""

    @model_validator(mode="after")
    def _one_schema(self) -> Self:
        if self.json_schema is not None and self.output_schema is not None:
            raise ValueError(_TWO_SCHEMAS)
        return self

    def check(self, root: Path) -> Iterator[tuple[str, ...]]:
        """Yield a pattern or a schema that is none."""
        yield from super().check(root)
        if self.json_schema is not None:
            yield from schema_faults(self.json_schema, "/jsonSchema")

    def carried(self, root: Path) -> Expect:
        """Return what is expected, under whichever name its schema stands."""
        found = super().carried(root)
        return found if self.json_schema is None else msgspec.structs.replace(found, output_schema=self.json_schema)


class ExpectedTools(Spec):
    """Which tools must be called, parts included."""

    in_order: list[str] | None = Field(default=None, examples=[["search", "late-fee"]])
    """Exactly these calls, in this order."""
    any_order: list[str] | None = Field(default=None, examples=[["late-fee", "search"]])
    """Exactly these tools, in any order and however often."""
    never: list[str] = Field(default_factory=list, examples=[["delete-book"]])
    """None of these."""


class Most(Spec):
    """What the task may use at most, parts included."""

    tokens: Tokens | None = Field(default=None, examples=[2_000])
    """Input and output tokens of all model calls."""
    cost: Usd | None = Field(default=None, examples=[0.01])
    """US dollars of all model calls."""
    steps: int | None = Field(default=None, ge=0, examples=[3])
    """Model calls."""
    tool_calls: int | None = Field(default=None, ge=0, examples=[2])
    """Tool calls."""


class Expected(Spec):
    """What must come of the task; what is unset is not looked at."""

    phase: Literal["Succeeded", "Failed"] = "Succeeded"
    """How it ends."""
    stop_reason: StopReason | None = Field(default=None, examples=["completed"])
    """Why the work ends."""
    winner: Annotated[str, RefTo("Agent")] | None = Field(default=None, examples=["cashier"])
    """The agent that does it."""
    error: str = Field(default="", examples=["no agent takes the task"])
    """Text that the error of a failed task contains."""
    output: ExpectedOutput = Field(default_factory=ExpectedOutput)
    """What the answer is like."""
    tools: ExpectedTools = Field(default_factory=ExpectedTools)
    """Which tools are called."""
    parts: int | None = Field(default=None, ge=0, examples=[2])
    """Into how many parts it is split; 0 for none."""
    most: Most = Field(default_factory=Most)
    """What it may use."""


class TrialSpec(Spec):
    """A task whose replies are given, and what must come of it."""

    model_config = ConfigDict(
        json_schema_extra={
            "allOf": [
                *exactly_one("goal", "cassette")["allOf"],
                *never(_ONE_TARGET, agent=_SET, cluster=_SET)["allOf"],
                *never(_RECORDED.format("agent"), agent=_SET, cassette=_SET)["allOf"],
                *never(_RECORDED.format("cluster"), cluster=_SET, cassette=_SET)["allOf"],
                *never(_RECORDED.format("replies"), replies=_SOME, cassette=_SET)["allOf"],
            ]
        }
    )

    description: str = Field(default="", examples=["A late book costs twenty cents a day."])
    """What is shown, in one sentence."""
    goal: str | None = Field(default=None, min_length=1, examples=["My book is 12 days late."])
    """What is wanted, in words."""
    cassette: str | None = Field(default=None, examples=["recordings/late-fee.json"])
    """Path of a cassette that `loomd export` wrote, from the manifest's root and below it. The recorded task is run
    again on the manifests; the first difference fails the test."""
    agent: Annotated[str, RefTo("Agent")] | None = Field(default=None, examples=["cashier"])
    """The agent that does it, alone."""
    cluster: Annotated[str, RefTo("Cluster")] | None = Field(default=None, examples=["desk"])
    """The cluster that does it; without it and without `agent` the only one of the namespace."""
    seed: int = Field(default=0, ge=0)
    """Start of every random draw."""
    replies: list[ScriptedReply] = Field(default_factory=list, examples=[[{"text": "It costs 2.40 euros."}]])
    """What models say, in the place of every provider, as by one of type `scripted`. Without it providers of the types
    `scripted` and `replay` answer as they are declared, and no other is asked."""
    results: dict[Annotated[str, RefTo("Tool")], list[ToolAnswer]] = Field(
        default_factory=dict, examples=[{"late-fee": [{"text": "2.40"}]}]
    )
    """What tools give instead of being called, one answer for each call, the last one again. A `python` tool with
    `effects: read` is called when nothing stands here for it; every other one that is called fails the test. The
    answers of a tool set say which of its tools gives them; a tool that only its server knows is there when it gives
    one."""
    timeout: Duration = Field(default=30.0, gt=0)
    """Longest time of the test."""
    expect: Expected = Field(default_factory=Expected)
    """What must come of it."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.goal is None) == (self.cassette is None):
            raise ValueError("expected exactly one of goal, cassette")
        if self.agent is not None and self.cluster is not None:
            raise ValueError(_ONE_TARGET)
        if self.cassette is not None:
            for name in ("agent", "cluster", "replies"):
                if getattr(self, name):
                    raise ValueError(_RECORDED.format(name))
        return self

    def check(self, root: Path) -> Iterator[tuple[str, str]]:
        """Yield a cassette that is missing or cannot be read."""
        if self.cassette is not None:
            try:
                read(inside(root, self.cassette))
            except (Permanent, OSError) as error:
                yield "/cassette", str(error)

    def reads(self, root: Path) -> Iterator[Path]:
        """Yield the cassette."""
        if self.cassette is not None:
            yield named(root, self.cassette)

    @asynccontextmanager
    async def open(self, parts: Parts) -> AsyncGenerator[Any, None]:
        """Yield what is declared; nothing of it lives in a daemon."""
        del parts
        yield self
