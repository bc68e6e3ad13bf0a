"""What a tool may know of the call that it answers, and what makes long calls durable.

An `async def` function of a `python` tool takes it as a parameter annotated `ToolContext`; a `def` function may read
the attributes, the rest belongs to the event loop. Made by the agent's loop; only its shape is here.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:  # a process that calls one function pays for what is imported here
    from loomd.messages import JsonObject, Passage

T = TypeVar("T")

TOLD = ("task", "namespace", "agent", "session", "tenant", "user", "key")
"""What is said of every call, as attributes of its context, and as `context.session` in templates."""
WITHIN = "context."
"""What placeholders begin with that name something of the context."""


class ToolContext(Protocol):
    """Where a call comes from; what is asked of it is recorded with the task and answered alike when it is resumed."""

    @property
    def task(self) -> str:
        """Return the id of the task."""
        ...

    @property
    def namespace(self) -> str:
        """Return the namespace of the task."""
        ...

    @property
    def agent(self) -> str:
        """Return the name of the agent that calls."""
        ...

    @property
    def session(self) -> str:
        """Return the name of the conversation that the task is a turn of, or an empty string."""
        ...

    @property
    def tenant(self) -> str:
        """Return on whose behalf the task runs, or an empty string."""
        ...

    @property
    def user(self) -> str:
        """Return who speaks in the task, or an empty string."""
        ...

    @property
    def key(self) -> str:
        """Return what is the same whenever this very call is made again, and unique among all calls.

        Hand it to services that take an idempotency key.
        """
        ...

    @property
    def metadata(self) -> Mapping[str, object]:
        """Return what the agent's manifest says to its tools under `toolContext`; no model sees it.

        Each of its fields is an attribute of the context, too, unless the context has one of that name itself.
        """
        ...

    def spend(self, usd: float) -> None:
        """Book US dollars that the call costs to the budget of the task, before they are spent.

        Raises:
            ToolFailed: so much is not left.
        """
        ...

    def result(self, name: str) -> str | None:
        """Return the whole result of an earlier call of the same work, of which the model was shown the beginning.

        Args:
            name: as the model was told.
        """
        ...

    async def step(self, name: str, do: Callable[[], Awaitable[T]], result: type[T], *, once: bool = False) -> T:
        """Return the recorded result of a part of the call, or do it and record the result.

        Args:
            name: unique within the call.
            do: the part.
            result: type to decode a recorded result to.
            once: the part must not happen twice: the intent is recorded first.

        Raises:
            Uncertain: with `once`, it was begun before an interruption, and its end is not recorded.
        """
        ...

    async def sleep(self, seconds: float) -> None:
        """Return when so many seconds have gone by since the call first came here, interruptions included."""
        ...

    async def receive(self, name: str, seconds: float) -> object:
        """Return the JSON value that is sent to the task under a name (`loomd signal`), as soon as it is there.

        Raises:
            TimeoutError: nothing came within so many seconds since the call first came here.
        """
        ...

    def now(self) -> float:
        """Return the wall-clock time, in seconds since 1970-01-01 UTC, at which the call first came here."""
        ...

    def random(self) -> float:
        """Return a number from 0 to 1, the same one when the call is made again."""
        ...

    def offer(self, passages: Sequence["Passage"]) -> str:
        """Return passages as text for the result, so that the answer may cite them.

        Call it outside of `step`: what is recorded of a part holds no passages.
        """
        ...

    def asker(self) -> object:
        """Return what pays for what a search asks of models, on the account of the task.

        Used by tools of type `knowledge`.
        """
        ...

    async def delegate(self, agent: object, goal: str, *, most: int, seconds: float) -> str:
        """Let another agent do something below this call, and return its answer; used by tools of type `agent`.

        Args:
            agent: the live agent.
            goal: what is wanted.
            most: how many delegations may stand above each other.
            seconds: longest time.

        Raises:
            ToolFailed: it came to no answer, or too many delegations stand above each other.
        """
        ...


def attribute(metadata: Mapping[str, object], name: str) -> object:
    """Return a field of what an agent's manifest says to its tools, as an attribute of the context.

    Raises:
        AttributeError: it says nothing of that name.
    """
    if name not in metadata:
        known = ", ".join(metadata) or "nothing"
        raise AttributeError(f"the context has no {name}, and toolContext of the agent says: {known}")
    return metadata[name]


def with_context(arguments: "JsonObject", context: ToolContext | None) -> "JsonObject":
    """Return what fills the placeholders of a template: arguments, and what is said of the call as `context.NAME`.

    What is empty is missing, and no model can say it in its place.
    """
    given = {name: value for name, value in arguments.items() if not name.startswith(WITHIN)}
    if context is None:
        return given
    told = {**context.metadata, **{name: getattr(context, name) for name in TOLD}}
    return given | {f"{WITHIN}{name}": value for name, value in told.items() if value not in ("", None)}
