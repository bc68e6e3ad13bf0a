"""The agent's loop, with scripted answers and real tools."""

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence

import pytest

from loomd.agents.base import OnUncertain
from loomd.agents.budget import Limits
from loomd.agents.work import Work
from loomd.errors import Permanent, Uncertain
from loomd.events.event import Fallback, ModelDelta, ToolErred, ToolStarted
from loomd.events.room import BudgetExceeded, BudgetWarning
from loomd.interceptors.context import InterceptorContext
from loomd.memory.item import Item, ScopeOf, Turn, Whose
from loomd.messages import (
    Chunk,
    JsonObject,
    Message,
    Reply,
    Request,
    TextDelta,
    ToolCall,
    Usage,
)
from loomd.providers.scripted import ScriptedModel, ScriptedReply
from loomd.tools.context import ToolContext
from tests.agents.bench import Adder, Bench, Plain, Shelf, agent, call, replies


@pytest.fixture
def bench() -> Bench:
    """Return a place to run agents."""
    return Bench()


async def test_an_answer_without_tools(bench: Bench) -> None:
    """The model's text is the output, its pieces are shown as they come, its tokens are booked."""
    outcome = await bench.run(agent(replies({"text": "Three.", "chunks": 3, "usage": {"input": 10, "output": 2}})))
    assert (outcome.output, outcome.stop_reason, outcome.steps) == ("Three.", "completed", 1)
    assert outcome.usage == Usage(10, 2)
    assert len(bench.facts(ModelDelta)) == 3


async def test_tool_results_go_back_to_the_model(bench: Bench) -> None:
    """A call is made with its arguments, and its result stands in the next request."""
    tool = Adder()
    outcome = await bench.run(agent(replies(call(a=1, b=2), {"text": "3"}), tools={"add": tool}))
    assert tool.calls == [{"a": 1, "b": 2}]
    assert (outcome.output, outcome.tools, outcome.tool_errors) == ("3", ("add",), 0)
    assert bench.steps.keys == ["execute/model/0", "execute/tool/0/0", "execute/model/1"]


@pytest.mark.parametrize(
    ("first", "error"),
    [
        pytest.param(call(a="x"), "must be whole numbers", id="refused-arguments"),
        pytest.param(
            {"toolCalls": [{"name": "sub", "arguments": {}}]}, 'no tool "sub"; available: add', id="unknown-tool"
        ),
    ],
)
async def test_a_failed_call_is_told_to_the_model(bench: Bench, first: dict[str, object], error: str) -> None:
    """The run goes on, and the failure is counted and evented."""
    outcome = await bench.run(agent(replies(first, {"text": "sorry"}), tools={"add": Adder()}))
    assert (outcome.output, outcome.tool_errors) == ("sorry", 1)
    (erred,) = bench.facts(ToolErred)
    assert isinstance(erred, ToolErred)
    assert error in erred.error


async def test_parallel_calls_keep_their_order(bench: Bench) -> None:
    """Results stand in the order of the calls, whoever finishes first."""

    class Slow(Adder):
        async def call(self, arguments: JsonObject, context: ToolContext | None = None) -> str:
            del context
            for _ in range(3 - int(str(arguments["n"]))):
                await asyncio.sleep(0)
            return f"r{arguments['n']}"

    seen: list[Request] = []

    class Watch(ScriptedModel):
        async def stream(self, request: Request) -> AsyncGenerator[Chunk, None]:
            seen.append(request)
            async for chunk in super().stream(request):
                yield chunk

    calls = [{"name": "add", "arguments": {"n": n}} for n in range(3)]
    script = [ScriptedReply.model_validate(item) for item in ({"toolCalls": calls}, {"text": "done"})]
    await bench.run(agent(Watch("w", script), tools={"add": Slow()}))
    assert [m.text for m in seen[1].messages if m.role == "tool"] == ["r0", "r1", "r2"]


async def test_a_part_of_a_call_that_is_uncertain_ends_the_work(bench: Bench) -> None:
    """To repeat the call does not help: it would come to the same part."""

    class Parted(Adder):
        effects = "write"
        idempotent = False
        on_uncertain: OnUncertain = "retry"

        async def call(self, arguments: JsonObject, context: ToolContext | None = None) -> str:
            await super().call(arguments, context)
            raise Uncertain("a part was begun", "execute/tool/0/0/part")

    tool = Parted()
    outcome = await bench.run(agent(replies(call(a=1), {"text": "3"}), tools={"add": tool}))
    assert outcome.stop_reason == "uncertain"
    assert len(tool.calls) == 1


async def test_the_same_call_again_and_again_is_wrapped_up(bench: Bench) -> None:
    """A loop of one call ends with the best answer so far, not with an error."""
    script = replies(*[call(a=1)] * 3, {"text": "enough"})
    outcome = await bench.run(agent(script, tools={"add": Adder()}))
    assert (outcome.output, outcome.stop_reason) == ("enough", "tool_loop")


async def test_the_last_step_is_a_wrap_up_without_tools(bench: Bench) -> None:
    """At the limit of steps the model is asked for its best answer, without tools to call."""
    script = replies(call(a=1), call(a=2), {"text": "partial"})
    outcome = await bench.run(agent(script, tools={"add": Adder()}, limits=Limits(steps=3)))
    assert (outcome.output, outcome.stop_reason, outcome.steps) == ("partial", "max_steps", 3)


async def test_tokens_are_checked_before_a_call(bench: Bench) -> None:
    """When the tokens are used up the next call is not made, and what there is is returned."""
    script = replies({**call(a=1), "text": "so far", "usage": {"input": 90, "output": 20}}, {"text": "never"})
    outcome = await bench.run(agent(script, tools={"add": Adder()}, limits=Limits(tokens=100)))
    assert (outcome.output, outcome.stop_reason, outcome.steps) == ("so far", "budget_tokens", 1)
    assert bench.facts(BudgetExceeded)


async def test_time_is_a_limit(bench: Bench) -> None:
    """A model that hangs ends the work at the limit, with an empty answer and the reason."""
    outcome = await bench.run(
        agent(replies({"text": "late", "delay": "1m"}), limits=Limits.model_validate({"time": "50ms"}))
    )
    assert (outcome.output, outcome.stop_reason) == ("", "budget_time")


SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


@pytest.mark.parametrize(
    ("second", "reason"),
    [pytest.param({"n": 3}, "completed", id="mended"), pytest.param({"n": "x"}, "output_invalid", id="not-mended")],
)
async def test_structured_output_is_mended_as_often_as_allowed(bench: Bench, second: object, reason: str) -> None:
    """The model is told what is wrong; one failure too many is said, not hidden."""
    script = replies({"json": {"m": 1}}, {"json": second})
    outcome = await bench.run(agent(script, output=SCHEMA, limits=Limits(repairs=1)))
    assert outcome.stop_reason == reason
    assert json.loads(outcome.output) == second


async def test_a_fence_around_structured_output_costs_no_call(bench: Bench) -> None:
    """It is taken off where JSON is wanted, and belongs to the answer elsewhere."""
    fenced = '```json\n{"n": 3}\n```'
    outcome = await bench.run(agent(replies({"text": fenced}), output=SCHEMA, limits=Limits(repairs=0)))
    assert (outcome.output, outcome.stop_reason) == ('{"n": 3}', "completed")
    outcome = await bench.run(agent(replies({"text": fenced})))
    assert outcome.output == fenced


async def test_citations_are_resolved_and_grounded(bench: Bench) -> None:
    """Marks name the passages that were offered; the source comes with them."""
    outcome = await bench.run(agent(replies({"text": "They yield values lazily [1]."}), knowledge=[Shelf()]))
    assert [c.source for c in outcome.citations] == ["gen.md:1-2"]
    assert (outcome.offered, outcome.unknown_citations) == (2, ())
    assert outcome.grounding > 0.5


async def test_interceptors_see_everything_and_nothing_is_shown_before_them(bench: Bench) -> None:
    """A redacting interceptor changes request, reply, call and result; the raw text is never shown."""

    class Redact(Plain):
        moments = frozenset({"beforeModel", "afterModel", "beforeTool", "afterTool"})

        async def before_model(self, request: Request, context: InterceptorContext) -> Request:
            del context
            turns = tuple(Message(m.role, m.text.replace("secret", "***")) for m in request.messages)
            return Request(turns, request.tools)

        async def after_model(self, request: Request, reply: Reply, context: InterceptorContext) -> Reply:
            del request, context
            return Reply(reply.text.replace("secret", "***"), reply.tool_calls, reply.usage, model=reply.model)

        async def before_tool(self, call: ToolCall, context: InterceptorContext) -> ToolCall:
            del context
            return ToolCall(call.id, "other", {"a": 5})

        async def after_tool(self, call: ToolCall, result: str, context: InterceptorContext) -> str:
            del context
            return f"<{call.name}:{result}>"

    tool = Adder()
    script = replies({**call(a=1), "when": "*"}, {"when": "*", "text": "the secret is out"})
    outcome = await bench.run(agent(script, tools={"add": tool}, interceptors=[Redact()]), Work("my secret"))
    assert outcome.output == "the *** is out"
    assert tool.calls == [{"a": 5}]
    shown = "".join(fact.text for fact in bench.facts(ModelDelta) if isinstance(fact, ModelDelta))
    assert "secret" not in shown
    assert [fact.arguments for fact in bench.facts(ToolStarted) if isinstance(fact, ToolStarted)] == [{"a": 5}]


@pytest.mark.parametrize(("kind", "temporary"), [("permanent", False), ("temporary", True)])
async def test_a_provider_that_fails_ends_the_work_with_what_it_took(
    bench: Bench, kind: str, *, temporary: bool
) -> None:
    """The failure is told, the usage of the calls before it is kept."""
    script = replies({**call(a=1), "usage": {"input": 50, "output": 5}}, {"error": kind, "text": "no money"})
    outcome = await bench.run(agent(script, tools={"add": Adder()}))
    assert (outcome.stop_reason, outcome.error, outcome.temporary) == ("error", "script/test: no money", temporary)
    assert (outcome.usage, outcome.tools) == (Usage(50, 5), ("add",))


async def test_nothing_uninspected_is_kept_at_a_time_limit(bench: Bench) -> None:
    """An agent with interceptors that runs out of time returns nothing that they have not seen."""

    class Hang:
        name = "hang"

        async def stream(self, request: Request) -> AsyncGenerator[Chunk, None]:
            del request
            yield TextDelta("the key is sk-1234")
            await asyncio.Event().wait()

    class Pass(Plain):
        moments = frozenset({"afterModel"})

    outcome = await bench.run(agent(Hang(), interceptors=[Pass()], limits=Limits.model_validate({"time": "50ms"})))
    assert (outcome.output, outcome.stop_reason) == ("", "budget_time")


async def test_work_may_be_cancelled_while_its_answer_is_looked_at(bench: Bench) -> None:
    """What was not looked at is not kept; what it took is."""
    looking = asyncio.Event()

    class Hang(Plain):
        moments = frozenset({"afterRun"})

        async def after_run(self, output: str, context: InterceptorContext) -> str:
            del output, context
            looking.set()
            await asyncio.Event().wait()
            raise AssertionError

    work = asyncio.ensure_future(bench.run(agent(replies({"text": "Three."}), interceptors=[Hang()])))
    await looking.wait()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert bench.steps.left is not None
    assert (bench.steps.left.output, bench.steps.left.stop_reason, bench.steps.left.steps) == ("", "cancelled", 1)


async def test_a_memory_that_fails_does_not_lose_the_answer(bench: Bench) -> None:
    """The answer is returned, and that it is not remembered is told."""

    class Full:
        name = "notes"
        scope: ScopeOf = "agent"
        recalls = True
        lacks = ""
        summarizer = None
        patience = 0.0
        seeds = False
        reminder = 0
        boost = 1.0

        async def seed(self, whose: Whose, goal: str) -> list[str]:
            """Return nothing."""
            del whose, goal
            return []

        async def crowded(self, whose: Whose) -> list[Item]:
            """Return nothing."""
            del whose
            return []

        async def condense(self, whose: Whose, turn: Turn, facts: Sequence[Item]) -> list[Item]:
            """Keep nothing."""
            del whose, turn, facts
            return []

        def fit(self, messages: tuple[Message, ...], goal: int = 1) -> tuple[Message, ...]:
            del goal
            return messages

        async def recall(self, whose: Whose, query: str, seen: Sequence[str] = ()) -> list[str]:
            del whose, query, seen
            return []

        async def remember(self, whose: Whose, turn: Turn) -> list[str]:
            del whose, turn
            raise Permanent("the disk is full")

    outcome = await bench.run(agent(replies({"text": "Three."}), memory=Full()), Work("sum", remember="t1"))
    assert outcome.output == "Three."
    assert bench.facts(Fallback) == [Fallback("remember", "the disk is full", "the answer is not remembered")]


async def test_a_cut_answer_says_so(bench: Bench) -> None:
    """An answer that ended at maxTokens is partial, and its stop reason tells."""

    class Cut:
        name = "cut"

        async def stream(self, request: Request) -> AsyncGenerator[Chunk, None]:
            del request
            yield TextDelta("half an ans")
            yield Reply("half an ans", stop="length")

    outcome = await bench.run(agent(Cut()))
    assert (outcome.output, outcome.stop_reason) == ("half an ans", "max_tokens")


@pytest.mark.parametrize("calls", [1, 3])
async def test_results_of_a_turn_fit_the_window(bench: Bench, calls: int) -> None:
    """What the tools of one turn give has half of the window between them, whatever each of them may give."""

    class Long(Adder):
        async def call(self, arguments: JsonObject, context: ToolContext | None = None) -> str:
            del arguments, context
            return "x" * 60_000

    class Small:
        name = "small"
        window = 8000
        seen: tuple[Message, ...] = ()

        async def stream(self, request: Request) -> AsyncGenerator[Chunk, None]:
            self.seen = request.turns
            wanted = () if len(request.turns) > 2 else tuple(ToolCall(f"c{n}", "add", {"n": n}) for n in range(calls))
            yield Reply("Done.", wanted, stop="tool_calls" if wanted else "stop")

    model = Small()
    outcome = await bench.run(agent(model, tools={"add": Long()}))
    assert outcome.stop_reason == "completed"
    given = [message.text for message in model.seen if message.role == "tool"]
    assert len(given) == calls
    assert 10_000 < sum(map(len, given)) < 8000 * 4 / 2
    assert all("of 60000 bytes; the whole is result" in text for text in given)


async def test_calls_of_the_task_are_shared_out(bench: Bench) -> None:
    """The last model call that a task allows is the wrap-up; none at all ends in what there is."""
    adding = agent(replies(call(a=1), call(a=2), {"text": "Done.", "times": None}), tools={"add": Adder()})
    outcome = await bench.run(adding, Work("go", calls=2))
    assert (outcome.output, outcome.stop_reason, outcome.steps, outcome.tools) == ("Done.", "budget_calls", 2, ("add",))
    outcome = await bench.run(adding, Work("go", calls=0))
    assert (outcome.stop_reason, outcome.steps) == ("budget_calls", 0)


async def test_tool_calls_of_the_task_are_shared_out(bench: Bench) -> None:
    """With none left no tool is offered; of several calls in one turn those beyond are not made, and the work ends."""
    adder = Adder()
    both: dict[str, object] = {"toolCalls": [{"name": "add", "arguments": {"a": n}} for n in (1, 2)]}
    adding = agent(replies(both, {"text": "Done.", "times": None}), tools={"add": adder})
    outcome = await bench.run(adding, Work("go", tool_calls=2))
    assert (outcome.output, outcome.stop_reason, len(adder.calls)) == ("Done.", "completed", 2)
    adder.calls.clear()
    outcome = await bench.run(adding, Work("go", tool_calls=1))
    assert (outcome.output, outcome.stop_reason, outcome.tools) == ("Done.", "max_tool_calls", ("add",))
    assert adder.calls == [{"a": 1}]
    outcome = await bench.run(adding, Work("go", tool_calls=0))
    assert (outcome.output, outcome.stop_reason, outcome.tools) == ("Done.", "completed", ())


async def test_most_of_a_limit_is_told(bench: Bench) -> None:
    """Once, when the run has used 80 % of its tokens."""
    said: dict[str, object] = {
        "toolCalls": [{"name": "add", "arguments": {"a": 1}}],
        "usage": {"input": 390, "output": 10},
    }
    adding = agent(replies(said, {**said, "times": 5}), tools={"add": Adder()}, limits=Limits(tokens=1000, steps=8))
    await bench.run(adding)
    assert bench.facts(BudgetWarning) == [BudgetWarning("run", "tokens", 1000, 800)]


async def test_a_call_is_not_begun_that_does_not_fit(bench: Bench) -> None:
    """Before a call its prompt is counted: what is left must pay it and an answer, or there is no call."""
    long = agent(replies({"text": "x", "usage": {"input": 500}}), limits=Limits(tokens=400))
    outcome = await bench.run(long, Work("word " * 400))
    assert (outcome.stop_reason, outcome.steps, outcome.usage.total) == ("budget_tokens", 0, 0)
