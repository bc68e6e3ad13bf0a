"""What every tool type declares, and the guard that every call passes: readable arguments, a deadline, a capped result.

A tool type is one module here with one `ToolSpec`. Whatever goes wrong inside a call becomes `ToolFailed` with a text
that a model can act on; a tool never ends a task by itself. One that was withdrawn refuses the calls of running tasks,
too. Called by the agent's loop.
"""

import asyncio
from abc import abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Annotated, Literal

from pydantic import Field

from loomd.errors import Diverged, LoomdError, RecordFailed, ToolFailed, Uncertain
from loomd.manifest.kind import Reload, Spec
from loomd.manifest.quantity import Bytes, Duration
from loomd.messages import UNREADABLE, JsonObject, ToolSchema
from loomd.tools.context import ToolContext
from loomd.topology import Parts

Effects = Literal["read", "write", "external"]
OnUncertain = Literal["fail", "ask", "retry"]

Run = Callable[[JsonObject, ToolContext | None], Awaitable[str]]
"""Makes a call: decoded arguments in, the result as text out."""


class Approval(Spec):
    """When a person must agree to a call before it is made, and how long the question stands."""

    required: Literal["never", "always"] = "never"
    """Whether a person must agree before each call (`loomd approve`)."""
    ttl: Duration = Field(default=86_400.0, gt=0)
    """Time after which a question that nobody answered counts as denied."""
    on_denied: Literal["stop", "continue"] = "stop"
    """What a denial does: end the work with what there is, or tell the model, which goes on."""


class ToolSpec(Spec):
    """Something an agent can do. Each type adds its field `type`."""

    description: str = Field(default="", examples=["Finds a book by words in its title."])
    """What the tool does and when to use it, for the model."""
    effects: Effects = "external"
    """What a call does to the world: `read` nothing, `write` changes something here, `external` reaches out."""
    idempotent: bool = False
    """Whether the same call may be made twice without harm, for example after a crash; it gets the same key again."""
    on_uncertain: OnUncertain = "fail"
    """What is done when a call that may not be made twice was begun before a crash and nobody knows whether it had its
    effect: end the work as `uncertain`, ask a person whether to repeat it, or repeat it."""
    approval: Annotated[Approval, Reload("immediate")] = Field(default_factory=Approval)
    """Whether a person must agree to a call."""
    timeout: Duration = Field(default=30.0, gt=0)
    """Longest time for one call."""
    max_output: Bytes = Field(default=64 << 10, ge=1)
    """Longest result that is handed to the model; a longer one is cut, and says so."""

    @abstractmethod
    def open(self, parts: Parts) -> AbstractAsyncContextManager[object]:
        """Open the live tool, or the live tool set: see `LiveTool`, and `ToolSet` in `loomd.agents.base`.

        Raises:
            Permanent: it cannot be used as declared; the text names the field.
        """

    def one(self, tool: str) -> "ToolSpec":
        """Return what is declared of one tool, by its own name: a set may declare it of each."""
        del tool
        return self


def _free() -> str:
    return ""


class LiveTool:
    """A tool that can be called."""

    def __init__(
        self,
        schema: ToolSchema,
        spec: ToolSpec,
        run: Run,
        parts: Parts,
        *,
        timed: bool = True,
        own: str = "",
        barred: Callable[[], str] = _free,
    ) -> None:
        """Guard `run`, which gets the decoded arguments and returns the result as text.

        Args:
            schema: what a model is told.
            spec: what is declared of it.
            run: makes a call.
            parts: what opened the tool, or the set that it is one of.
            timed: whether a call is ended after `spec.timeout`; a type that waits sees to that by itself.
            own: its own name in a set.
            barred: returns why it may not be called now, for the model; an empty text when nothing speaks against it.
        """
        self.schema = schema
        self.effects: Effects = spec.effects
        self.idempotent = spec.idempotent
        self.on_uncertain: OnUncertain = spec.on_uncertain
        self._spec = spec
        self._run = run
        self._timed = timed
        self._parts = parts
        self._own = own
        self._barred = barred

    @property
    def withdrawn(self) -> str:
        """Return why it may not be called any more, for the model; an empty string as long as it may."""
        if self._parts.latest() is not None:
            return self._barred()
        revision = self._parts.services.serving.snapshot.revision
        return f'the tool "{self.schema.name}" was withdrawn at revision {revision}: go on without it'

    @property
    def approval(self) -> Approval | None:
        """Return on what terms a person must agree before a call, as declared now; None when nobody is asked."""
        terms = self._terms()
        return None if terms.required == "never" else terms

    def _terms(self) -> Approval:
        item = self._parts.latest()
        if item is None:
            return self._spec.approval
        now: ToolSpec = item.spec
        return now.one(self._own).approval

    async def call(self, arguments: JsonObject, context: ToolContext | None = None) -> str:
        """Do it and return the result as text, valid Unicode and of bounded length.

        Raises:
            Uncertain: a part of it was begun before an interruption, and may have had its effect.
            Diverged: a part of it is not what was recorded.
            RecordFailed: a part of it could not be recorded.
            ToolFailed: the tool was withdrawn, the arguments are refused, or it raised or took too long; the text is
                for the model.
        """
        if self.withdrawn:
            raise ToolFailed(self.withdrawn)
        if UNREADABLE in arguments:
            raise ToolFailed("the arguments are not a JSON object: call again with valid JSON")
        limit = asyncio.timeout(self._spec.timeout if self._timed else None)
        try:
            async with limit:
                result = await self._run(arguments, context)
        except (ToolFailed, Uncertain, Diverged, RecordFailed):
            raise
        except LoomdError as error:
            raise ToolFailed(str(error)) from error
        except Exception as error:
            if isinstance(error, TimeoutError) and limit.expired():
                raise ToolFailed(f"no result within {self._spec.timeout:g} s") from error
            raise ToolFailed(f"{type(error).__name__}: {error}") from error
        return cut(result, self._spec.max_output)


def cut(text: str, limit: int) -> str:
    """Return a text of at most `limit` bytes in UTF-8; what is cut says how much is missing."""
    if len(text) <= limit and text.isascii():
        return text
    data = text.encode("utf-8", "replace")
    if len(data) <= limit:
        return data.decode()
    return f"{data[:limit].decode('utf-8', 'ignore')}\n[cut: {limit} of {len(data)} bytes]"
