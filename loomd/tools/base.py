"""What every tool type declares, and the guard that every call passes: readable arguments, its place, a deadline.

A tool type is one module here with one `ToolSpec`. Whatever goes wrong inside a call becomes `ToolFailed` with a text
that a model can act on; a tool never ends a task by itself. One that was withdrawn refuses the calls of running tasks,
too. Called by the agent's loop.
"""

import asyncio
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from loomd.errors import Diverged, LoomdError, RecordFailed, ToolFailed, Uncertain
from loomd.manifest.kind import Reload, Spec
from loomd.manifest.quantity import Bytes, Duration, Usd
from loomd.manifest.raised import is_cancelled, words_of
from loomd.messages import NO_OBJECT, UNREADABLE, JsonObject, ToolSchema
from loomd.tools.cache import Cache, Results, key_of
from loomd.tools.context import ToolContext
from loomd.tools.retry import Retries
from loomd.tools.text import cut
from loomd.topology import Parts

Effects = Literal["read", "write", "external"]
OnUncertain = Literal["fail", "ask", "retry"]

OPEN = "what is written elsewhere below the root is read as manifests, and who writes those can do everything"
"""Why tools write into hidden folders only."""

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
    """Longest time for one call, all its attempts included."""
    max_output: Bytes = Field(default=64 << 10, ge=1)
    """Longest result that is shown to the model; of a longer one it is shown the beginning, and can read on with a tool
    of type `result`."""
    keep: Bytes = Field(default=1 << 20, ge=1)
    """Longest result that is kept with the task; what is beyond is lost."""
    retries: Retries = Field(default_factory=Retries)
    """Further attempts of a call that failed and may work later; for tools with `effects: read` or `idempotent`."""
    concurrency: int | None = Field(default=None, ge=1, le=10_000, examples=[4])
    """Most calls at once, over all agents and tasks; further ones wait. By default there is no limit."""
    cache: Cache | None = Field(default=None, examples=[{"ttl": "5m"}])
    """Whether results stand for further calls with the same arguments; for tools with `effects: read` whose results
    hang on the arguments, the agent's `toolContext`, and the tenant, user and session alone."""
    cost: Usd = 0.0
    """US dollars of one attempt; they count against the task's budget, and a call that would exceed it is refused."""

    def check(self, root: Path) -> Iterator[tuple[str, ...]]:
        """Yield what contradicts the effects; a type that overrides this calls it, too."""
        del root
        if self.retries.count and self.effects != "read" and not self.idempotent:
            text = f"expected effects read or idempotent true for calls that are made again, got effects {self.effects}"
            yield "/retries", f"{text}: leave retries out", "invalid-value"
        if self.cache is not None and self.effects != "read":
            text = f"expected effects read for results that stand for further calls, got effects {self.effects}"
            yield "/cache", f"{text}: leave cache out", "invalid-value"

    def declared(self, name: str) -> ToolSchema | None:
        """Return what a model is told of a tool of this name, when its manifest says it all; else None."""
        del name
        return None

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
        self.max_output = spec.max_output
        self._spec = spec
        self._run = run
        self._timed = timed
        self._parts = parts
        self._own = own
        self._barred = barred
        reads = spec.effects == "read"  # a set says of all its tools what holds for those that read
        self._again = reads or spec.idempotent
        self._results = Results(spec.cache, parts.services.clock) if reads and spec.cache is not None else None
        self._places = nullcontext() if spec.concurrency is None else asyncio.Semaphore(spec.concurrency)

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
            ToolFailed: the tool was withdrawn, the arguments are refused, it raised, took too long or costs too much;
                the text is for the model.
        """
        if self.withdrawn:
            raise ToolFailed(self.withdrawn)
        if UNREADABLE in arguments:
            raise ToolFailed(NO_OBJECT)
        if self._results is None:
            return await self._guarded(arguments, context)
        key = key_of(arguments, context)
        known = self._results.get(key)
        if known is None:
            known = await self._guarded(arguments, context)
            self._results.put(key, known)
        return known

    async def _guarded(self, arguments: JsonObject, context: ToolContext | None) -> str:
        """Make a call once it has its place; time begins to count then."""
        async with self._places:
            limit = asyncio.timeout(self._spec.timeout if self._timed else None)
            try:
                async with limit:
                    attempt = partial(self._attempt, arguments, context)
                    result = await (self._spec.retries.call(attempt) if self._again else attempt())
            except (Uncertain, Diverged, RecordFailed):
                raise
            except LoomdError as error:
                raise ToolFailed(cut(str(error), self._spec.keep)) from error
            except BaseException as error:
                if isinstance(error, asyncio.CancelledError) and is_cancelled():
                    raise
                if isinstance(error, TimeoutError) and limit.expired():
                    raise ToolFailed(f"no result within {self._spec.timeout:g} s") from error
                raise ToolFailed(cut(words_of(error), self._spec.keep)) from error
        return cut(result, self._spec.keep)

    async def _attempt(self, arguments: JsonObject, context: ToolContext | None) -> str:
        if self._spec.cost and context is not None:
            context.spend(self._spec.cost)
        return await self._run(arguments, context)
