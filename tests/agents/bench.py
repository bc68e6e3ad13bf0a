"""What tests of the loop share: real tools, scripted models, and a place to run agents."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace
from typing import Literal

from loomd.agents.agent import Agent
from loomd.agents.approval import Approval
from loomd.agents.base import OnUncertain
from loomd.agents.budget import Limits
from loomd.agents.loop import Loop
from loomd.agents.work import Outcome, Work
from loomd.clock import SystemClock
from loomd.errors import ToolFailed
from loomd.events.bus import Bus, Scope
from loomd.events.event import Event
from loomd.interceptors.context import InterceptorContext, Moment
from loomd.knowledge.asking import Asker
from loomd.knowledge.standing import Found
from loomd.messages import Chunk, JsonObject, Passage, Reply, Request, ToolCall, ToolSchema
from loomd.providers.scripted import ScriptedModel, ScriptedReply
from loomd.testing import Unrecorded
from loomd.tools.context import ToolContext


class Adder:
    """A tool that adds, refuses what is no number, and counts."""

    effects = "read"
    idempotent = True
    withdrawn = ""
    on_uncertain: OnUncertain = "fail"
    max_output = 64 << 10
    approval: Approval | None = None
    schema = ToolSchema("add", "Adds numbers.", {"type": "object"})

    def __init__(self) -> None:
        self.calls: list[JsonObject] = []

    async def call(self, arguments: JsonObject, context: ToolContext | None = None) -> str:
        """Add."""
        del context
        self.calls.append(arguments)
        numbers = [value for value in arguments.values() if isinstance(value, int)]
        if len(numbers) < len(arguments):
            raise ToolFailed("a and b must be whole numbers")
        return str(sum(numbers))


class Shelf:
    """A knowledge base with two passages."""

    name = "shelf"
    refines = False

    async def search(self, query: str, top_k: int | None = None) -> list[Passage]:
        """Return both, whatever is asked."""
        del query, top_k
        return [
            Passage(1, "Generators yield values lazily.", "gen.md:1-2", "Generators", "shelf"),
            Passage(2, "Lists hold all values.", "list.md:3-4", "Lists", "shelf"),
        ]

    async def look(self, query: str, *, asker: Asker | None = None) -> Found:
        """Return the same."""
        del asker
        return Found(tuple(await self.search(query)))


def replies(*items: Mapping[str, object]) -> ScriptedModel:
    """Return a model that answers in this order."""
    return ScriptedModel("script/test", [ScriptedReply.model_validate(item) for item in items])


def call(**arguments: object) -> dict[str, object]:
    """Return a scripted reply that calls add."""
    return {"toolCalls": [{"name": "add", "arguments": arguments}]}


class Plain:
    """An interceptor that changes nothing."""

    name = "Interceptor/plain"
    moments: frozenset[Moment] = frozenset()
    timeout = 5.0
    foreign = False
    on_error: Literal["refuse", "skip"] = "refuse"

    async def before_run(self, goal: str, context: InterceptorContext) -> str:
        """Return the goal."""
        del context
        return goal

    async def after_run(self, output: str, context: InterceptorContext) -> str:
        """Return the answer."""
        del context
        return output

    async def before_model(self, request: Request, context: InterceptorContext) -> Request | Reply:
        """Return the request."""
        del context
        return request

    async def after_model(self, request: Request, reply: Reply, context: InterceptorContext) -> Reply:
        """Return the reply."""
        del request, context
        return reply

    async def before_tool(self, call: ToolCall, context: InterceptorContext) -> ToolCall:
        """Return the call."""
        del context
        return call

    async def after_tool(self, call: ToolCall, result: str, context: InterceptorContext) -> str:
        """Return the result."""
        del call, context
        return result


class Bench:
    """Runs an agent and keeps what happened."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.steps = Unrecorded()
        self.bus = Bus(SystemClock())
        self.bus.subscribe(self.events.append)

    async def run(self, agent: Agent, work: Work | None = None) -> Outcome:
        """Do a piece of work."""
        return await Loop(agent, work or Work("What is 1 + 2?"), self.steps, Scope(self.bus, "t")).run()

    def facts(self, kind: type) -> list[object]:
        """Return the facts of a type."""
        return [event.data for event in self.events if isinstance(event.data, kind)]


class Searcher:
    """A tool that finds one passage: one that the shelf offers, too, or one of its own."""

    effects = "read"
    idempotent = True
    withdrawn = ""
    on_uncertain: OnUncertain = "fail"
    approval: Approval | None = None
    max_output = 64 << 10
    schema = ToolSchema("look", "Looks something up.", {"type": "object"})

    async def call(self, arguments: JsonObject, context: ToolContext | None = None) -> str:
        """Look it up."""
        assert context is not None
        old = Passage(7, "Generators yield values lazily.", "gen.md:1-2", "Generators", "shelf")
        new = Passage(7, "xs = [2] is a list, see [1].", "new.md:1", "Lists", "shelf")
        return context.offer([old if arguments["for"] == "old" else new])


class Heard(ScriptedModel):
    """A scripted model that keeps what it was asked."""

    def __init__(self, *items: Mapping[str, object]) -> None:
        super().__init__("script/heard", [ScriptedReply.model_validate(item) for item in items])
        self.heard: list[Request] = []

    async def stream(self, request: Request) -> AsyncGenerator[Chunk, None]:
        """Answer."""
        self.heard.append(request)
        async for chunk in super().stream(request):
            yield chunk


def agent(model: object, **changes: object) -> Agent:
    """Return an agent on a model."""
    plain = Agent("ada", "default", "d1", "", {}, model, "You are {{ agent }}.", Limits(), SystemClock())  # type: ignore[arg-type]  # fits by shape
    return replace(plain, **changes)  # type: ignore[arg-type]  # the caller names fields
