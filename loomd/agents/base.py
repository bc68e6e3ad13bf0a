"""What an agent expects of its parts. The consumer owns the protocol: a part fits by shape and knows no agent."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Literal, Protocol, TypeVar

from loomd.messages import Chunk, JsonObject, Message, Passage, Reply, Request, ToolCall, ToolSchema

T = TypeVar("T")

Effects = Literal["read", "write", "external"]
"""What a tool does to the world: nothing, changes something here, reaches out."""


class ChatModel(Protocol):
    """A model that answers; the live form of kind Provider."""

    @property
    def name(self) -> str:
        """Return `provider/model`."""
        ...

    def stream(self, request: Request) -> AsyncGenerator[Chunk, None]:
        """Answer a request: deltas as they come, then exactly one `Reply`. Closing the generator ends the call.

        Raises:
            Permanent: repeating will not help (key, quota, unusable answer).
            Temporary: it may work later.
        """
        ...


class Tool(Protocol):
    """Something an agent can do; the live form of kind Tool."""

    @property
    def schema(self) -> ToolSchema:
        """Return what a model is told."""
        ...

    @property
    def effects(self) -> Effects:
        """Return what a call does to the world."""
        ...

    @property
    def idempotent(self) -> bool:
        """Return whether the same call may be made twice without harm."""
        ...

    async def call(self, arguments: JsonObject) -> str:
        """Do it and return the result as text.

        Raises:
            ToolFailed: the arguments are refused or the tool raised; the text is meant for the model.
        """
        ...


class KnowledgeBase(Protocol):
    """Documents to look things up in; the live form of kind KnowledgeBase."""

    @property
    def name(self) -> str:
        """Return the object's name."""
        ...

    async def search(self, query: str, top_k: int | None = None) -> list[Passage]:
        """Return the best passages, best first, numbered from 1; `top_k` None means the manifest's."""
        ...


class Memory(Protocol):
    """What is remembered across tasks; the live form of kind Memory. `scope` keeps agents apart."""

    def fit(self, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        """Return the messages that fit the window: the system turn, the goal, and the latest turns."""
        ...

    async def recall(self, scope: str, query: str) -> list[str]:
        """Return what was remembered that fits the query, best first."""
        ...

    async def remember(self, scope: str, key: str, text: str) -> None:
        """Keep a text; a second call with the same scope and key changes nothing."""
        ...


class Interceptor(Protocol):
    """Looks at every model call and tool call, and may change it; the live form of kind Interceptor."""

    async def before_model(self, request: Request) -> Request:
        """Return the request to send."""
        ...

    async def after_model(self, reply: Reply) -> Reply:
        """Return the reply to use."""
        ...

    async def before_tool(self, call: ToolCall) -> ToolCall:
        """Return the call to make."""
        ...

    async def after_tool(self, call: ToolCall, result: str) -> str:
        """Return the result to use."""
        ...


class Skill(Protocol):
    """Instructions that an agent takes up when they fit the task; the live form of kind Skill."""

    @property
    def name(self) -> str:
        """Return the skill's name."""
        ...

    @property
    def instructions(self) -> str:
        """Return the text that enters the prompt."""
        ...

    def fits(self, text: str) -> bool:
        """Return whether the skill applies to a task."""
        ...


class Steps(Protocol):
    """Where side effects are recorded, so that none is done twice. Owned by the loop, kept by the engine."""

    async def step(
        self, key: str, name: str, do: Callable[[], Awaitable[T]], result: type[T], *, once: bool = False
    ) -> T:
        """Return the recorded result of a step, or do it and record it.

        Args:
            key: stable within the task: phase, branch and ordinal, never the order of arrival.
            name: what is done, `model` or `tool:add`; another name under a recorded key is a divergence.
            do: the side effect.
            result: type to decode a recorded result to.
            once: the effect must not happen twice: the intent is recorded first, and a step that was begun but not
                recorded before a crash raises `ToolFailed` instead of being done again.
        """
        ...
