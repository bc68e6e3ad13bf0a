"""What an agent expects of its parts. The consumer owns the protocol: a part fits by shape and knows no agent."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar, runtime_checkable

from loomd.agents.approval import Approval, Ask, Decision
from loomd.agents.budget import Spent
from loomd.agents.work import Outcome
from loomd.events.fact import Fact
from loomd.interceptors.context import InterceptorContext, Moment
from loomd.knowledge.asking import Asker
from loomd.knowledge.standing import Found
from loomd.memory.item import Item, ScopeOf, Turn, Whose
from loomd.messages import Chunk, JsonObject, Message, Passage, Reply, Request, ToolCall, ToolSchema
from loomd.tools.context import ToolContext

if TYPE_CHECKING:
    from loomd.memory.summary import Condensation

T = TypeVar("T")
F = TypeVar("F", bound=Fact)

Effects = Literal["read", "write", "external"]
"""What a tool does to the world: nothing, changes something here, reaches out."""

OnUncertain = Literal["fail", "ask", "retry"]
"""What is done about a call whose end is not known: end the work, ask a person, or call again."""


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

    @property
    def withdrawn(self) -> str:
        """Return why it may not be called any more, for the model; an empty string as long as it may."""
        ...

    @property
    def on_uncertain(self) -> OnUncertain:
        """Return what is done when a call was begun before an interruption and its end is not known."""
        ...

    @property
    def max_output(self) -> int:
        """Return how many bytes of a result the model is shown; the rest it may read on."""
        ...

    @property
    def approval(self) -> Approval | None:
        """Return on what terms a person must agree before a call; None when nobody is asked."""
        ...

    async def call(self, arguments: JsonObject, context: ToolContext | None = None) -> str:
        """Do it and return the result as text.

        Raises:
            ToolFailed: the arguments are refused or the tool raised; the text is meant for the model.
        """
        ...


@runtime_checkable
class ToolSet(Protocol):
    """Many tools under one name; what a kind Tool may be, too. Having `tools` is enough."""

    @property
    def tools(self) -> Sequence[Tool]:
        """Return its tools as they are now: no two of one name, and the same sequence as long as nothing changed.

        What was offered once stays in it; a tool that may not be called any more says so itself (`withdrawn`).
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

    @property
    def refines(self) -> bool:
        """Return whether `look` does more than `search`, and may ask models."""
        ...

    async def look(self, query: str, *, asker: Asker | None = None) -> Found:
        """Return what is found after all that is declared to be done about a question; `asker` pays."""
        ...


class Memory(Protocol):
    """What is remembered across tasks; the live form of kind Memory. `whose` keeps apart who may know what."""

    @property
    def recalls(self) -> bool:
        """Return whether anything is remembered across tasks."""
        ...

    @property
    def name(self) -> str:
        """Return the name of the object."""
        ...

    @property
    def scope(self) -> ScopeOf:
        """Return who may recall what it is told."""
        ...

    @property
    def lacks(self) -> str:
        """Return why texts are found by words alone although there is an embedder; empty when it answers."""
        ...

    def fit(self, messages: tuple[Message, ...], goal: int = 1) -> tuple[Message, ...]:
        """Return the messages that fit the window: the system turn, the goal, and the latest turns.

        Args:
            messages: the conversation, oldest first.
            goal: place of the turn that says what is wanted; those before it are earlier turns.
        """
        ...

    @property
    def summarizer(self) -> object | None:
        """Return the live model or agent that puts working facts into fewer words; None when rules decide."""
        ...

    @property
    def patience(self) -> float:
        """Return the seconds that the summarizer may take."""
        ...

    @property
    def reminder(self) -> int:
        """Return the tokens that facts of turns may take which left the window within one piece of work."""
        ...

    @property
    def seeds(self) -> bool:
        """Return whether parts of a task are told what fits their goals."""
        ...

    @property
    def boost(self) -> float:
        """Return by how much more important is what parts of a task bring back."""
        ...

    async def seed(self, whose: Whose, goal: str) -> list[str]:
        """Return what is remembered that fits the goal of a part of a task, best first."""
        ...

    async def crowded(self, whose: Whose) -> list[Item]:
        """Return the working facts of a conversation that are too many."""
        ...

    async def condense(self, whose: Whose, turn: Turn, facts: Sequence[Item]) -> "Condensation":
        """Keep the lines of an answer in place of facts that they say, and return which, and what is left out."""
        ...

    async def recall(self, whose: Whose, query: str, seen: Sequence[str] = ()) -> list[str]:
        """Return what was remembered that fits the query, best first, without what `seen` says already."""
        ...

    async def remember(self, whose: Whose, turn: Turn) -> list[str]:
        """Keep what was asked and answered, and return the ids of what is kept; the same key again adds nothing."""
        ...


class Interceptor(Protocol):
    """Looks at runs, model calls and tool calls, and may change or refuse them; the live form of kind Interceptor."""

    @property
    def name(self) -> str:
        """Return `Interceptor/guard`."""
        ...

    @property
    def moments(self) -> frozenset[Moment]:
        """Return when it is asked; the other methods are not called."""
        ...

    @property
    def foreign(self) -> bool:
        """Return whether it runs what somebody else wrote, which may end the process."""
        ...

    @property
    def timeout(self) -> float:
        """Return the seconds that it may take each time."""
        ...

    @property
    def on_error(self) -> Literal["refuse", "skip"]:
        """Return what a failure of its own does to the call."""
        ...

    async def before_run(self, goal: str, context: InterceptorContext) -> str:
        """Return the goal to work on.

        Raises:
            Refused: the work is not to be done; so it is with all methods.
        """
        ...

    async def after_run(self, output: str, context: InterceptorContext) -> str:
        """Return the answer to give."""
        ...

    async def before_model(self, request: Request, context: InterceptorContext) -> Request | Reply:
        """Return the request to send, or the reply that makes the call needless."""
        ...

    async def after_model(self, request: Request, reply: Reply, context: InterceptorContext) -> Reply:
        """Return the reply to use; `request` is what this interceptor let pass."""
        ...

    async def before_tool(self, call: ToolCall, context: InterceptorContext) -> ToolCall:
        """Return the call to make; of it only the arguments may differ."""
        ...

    async def after_tool(self, call: ToolCall, result: str, context: InterceptorContext) -> str:
        """Return the result to use, or the text of the failure."""
        ...


class Fit(Protocol):
    """That a skill fits a task: what says so, why, and how sure it is (0 to 1)."""

    @property
    def trigger(self) -> str:
        """Return the type of the trigger."""
        ...

    @property
    def why(self) -> str:
        """Return what it found, in a few words."""
        ...

    @property
    def score(self) -> float:
        """Return how sure it is."""
        ...


class Skill(Protocol):
    """Instructions that an agent takes up when they fit the task."""

    @property
    def name(self) -> str:
        """Return the skill's name."""
        ...

    @property
    def description(self) -> str:
        """Return what it does and when to use it."""
        ...

    @property
    def instructions(self) -> str:
        """Return the text that enters the prompt."""
        ...

    @property
    def files(self) -> Sequence[str]:
        """Return the paths of the files that belong to it."""
        ...

    @property
    def tools(self) -> tuple[str, ...] | None:
        """Return the names of the tools that may be used with it; None when it does not say."""
        ...

    @property
    def priority(self) -> int:
        """Return a number; skills with higher ones come first."""
        ...

    @property
    def offered(self) -> bool:
        """Return whether a model may take it up by itself."""
        ...

    async def digest(self) -> str:
        """Return the SHA-256 of its instructions, the tools that it allows, and its files.

        Raises:
            Permanent: a file cannot be read.
        """
        ...

    async def read(self, path: str) -> str:
        """Return the text of one of its files.

        Raises:
            ToolFailed: it cannot be had; the text is meant for the model.
        """
        ...


class Skills(Protocol):
    """Skills that are taken up alike; the live form of kind Skill."""

    @property
    def skills(self) -> Mapping[str, Skill]:
        """Return the skills by name."""
        ...

    async def fits(self, text: str) -> Mapping[str, Fit]:
        """Return which of them a task fits, by name."""
        ...


class Steps(Protocol):
    """Where side effects are recorded, so that none is done twice. Owned by the loop, kept by the engine."""

    async def step(
        self,
        key: str,
        name: str,
        do: Callable[[], Awaitable[T]],
        result: type[T],
        *,
        asked: str = "",
        once: bool = False,
        again: int = 0,
    ) -> T:
        """Return the recorded result of a step, or do it and record it.

        Args:
            key: stable within the task: phase, branch and ordinal, never the order of arrival.
            name: what is done, `model` or `tool:add`; another name under a recorded key is a divergence.
            do: the side effect.
            result: type to decode a recorded result to.
            asked: what is asked, as words `part=hash`; other words under a recorded key are a divergence, too.
            once: the effect must not happen twice: the intent is recorded first.
            again: do it even if it was begun before, for the so-many-th time; each such repeat is made once.

        Raises:
            Uncertain: with `once`, it was begun before an interruption, and its end is not recorded.
            Diverged: another step is recorded under this key, or this one was asked something else.
        """
        ...

    def now(self, key: str) -> float:
        """Return the wall-clock time, in seconds since 1970-01-01 UTC, at which this was first asked."""
        ...

    def random(self, key: str) -> float:
        """Return a number from 0 to 1, the same one whenever this is asked again."""
        ...

    def draw(self, key: str, name: str, take: Callable[[], T], result: type[T]) -> T:
        """Return the recorded value under a key, or what `take` returns, recorded with what comes after it.

        For what is known in this moment and must be the same when the work is run again; `take` must be quick.

        Raises:
            Diverged: another step is recorded under this key.
        """
        ...

    def told(self, key: str, fact: type[F]) -> F | None:
        """Return what was made known under a key before an interruption, as it is recorded."""
        ...

    async def sleep(self, key: str, seconds: float) -> None:
        """Return when so many seconds have gone by since this was first asked, however often it was interrupted."""
        ...

    async def receive(self, key: str, name: str, seconds: float) -> object:
        """Return what was sent to the task under a name, as soon as it is there.

        Raises:
            TimeoutError: nothing came within so many seconds since this was first asked.
        """
        ...

    async def approve(self, key: str, ask: Ask) -> Decision:
        """Return what a person decided about a step before it is done, as soon as that is there.

        A step that is recorded was agreed to. Args: `key` is that of the step.

        Raises:
            Diverged: what is recorded was decided about another call.
        """
        ...

    async def denied(self, key: str, ask: Ask) -> Decision | None:
        """Return what people decided about a step when they did not agree to it, though nobody has to be asked now."""
        ...

    async def skip(self, key: str, name: str, value: T, *, asked: str = "") -> T:
        """Return the recorded result of a step, or record what stands for it because people did not agree to it.

        Raises:
            Diverged: another step is recorded under this key, or this one was asked something else.
        """
        ...

    def recorded(self, prefix: str) -> Spent:
        """Return what was used before an interruption in the steps below a key, as it is recorded."""
        ...

    def waited(self, prefix: str = "") -> float:
        """Return how many seconds were spent waiting for people, in steps whose keys begin so; all by default.

        Time in which several were waited for counts once.
        """
        ...

    def leave(self, outcome: Outcome) -> None:
        """Note what there is of the work when it is cancelled."""
        ...
