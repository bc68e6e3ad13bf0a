"""Limits on tool calls, answers that go back to the model, and how an agent may end its work."""

import asyncio
import json
from collections.abc import Mapping

import pytest

from loomd.agents.agent import Latest
from loomd.agents.budget import Limits
from loomd.agents.strategies.react import React
from loomd.agents.work import Work
from loomd.events.event import ModelDelta, ToolErred, ToolStarted
from loomd.messages import JsonObject, Message, Request
from loomd.tools.context import ToolContext
from tests.agents.bench import Adder, Bench, Heard, Searcher, Shelf, agent, call, replies

SCHEMA: JsonObject = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


def calls(count: int, name: str = "add") -> dict[str, object]:
    """Return a scripted reply with so many different calls."""
    return {"toolCalls": [{"name": name, "arguments": {"a": n}} for n in range(count)]}


def done(answer: object) -> dict[str, object]:
    """Return a scripted reply that calls done."""
    return {"toolCalls": [{"name": "done", "arguments": {"answer": answer}}]}


def results(request: Request) -> list[str]:
    """Return what the tool turns of a request say."""
    return [message.text for message in request.messages if message.role == "tool"]


@pytest.fixture
def bench() -> Bench:
    """Return a place to run agents."""
    return Bench()


# Calls of one turn, and of the whole task


async def test_five_hundred_calls_at_once(bench: Bench) -> None:
    """As many as are allowed in a turn are made; of each other one the model is told that it was not."""
    tool, model = Adder(), Heard(calls(500), {"text": "done"})
    outcome = await bench.run(agent(model, tools={"add": tool}, limits=Limits(calls_per_turn=7)))
    assert (outcome.stop_reason, outcome.tools) == ("completed", ("add",) * 7)
    assert [found["a"] for found in tool.calls] == list(range(7))
    said = results(model.heard[1])
    assert said[:7] == [str(n) for n in range(7)]
    assert said[7:] == ["not made: at most 7 are made in one turn"] * 493
    assert len(bench.facts(ToolStarted)) == 7


async def test_calls_of_the_whole_task(bench: Bench) -> None:
    """A call beyond the limit is not made, and the model is asked for its best answer."""
    tool, model = Adder(), Heard(calls(2), calls(3), {"text": "so far"})
    outcome = await bench.run(agent(model, tools={"add": tool}, limits=Limits(tool_calls=4)))
    assert (outcome.output, outcome.stop_reason) == ("so far", "max_tool_calls")
    assert len(tool.calls) == 4
    assert results(model.heard[2])[-1] == "not made: the task may make no more calls"
    assert model.heard[2].tools == ()


async def test_as_many_calls_as_allowed_are_fine(bench: Bench) -> None:
    """Whoever stays within the limit ends as if there were none."""
    outcome = await bench.run(
        agent(replies(calls(3), {"text": "3"}), tools={"add": Adder()}, limits=Limits(tool_calls=3))
    )
    assert (outcome.output, outcome.stop_reason) == ("3", "completed")


@pytest.mark.parametrize(("parallel", "most"), [(True, 3), (False, 1)], ids=["side-by-side", "one-after-another"])
async def test_calls_of_one_turn_may_have_to_wait_for_each_other(bench: Bench, parallel: bool, most: int) -> None:
    """With parallelTools false the next call begins when the one before has ended."""
    running: list[int] = []

    class Slow(Adder):
        busy = 0

        async def call(self, arguments: JsonObject, context: ToolContext | None = None) -> str:
            self.busy += 1
            running.append(self.busy)
            await asyncio.sleep(0)
            self.busy -= 1
            return await super().call(arguments, context)

    await bench.run(agent(replies(calls(3), {"text": "x"}), tools={"add": Slow()}, parallel_tools=parallel))
    assert max(running) == most


# Errors


@pytest.mark.parametrize(
    "bad", [call(a="x"), {"toolCalls": [{"name": "sub", "arguments": {}}]}], ids=["bad-arguments", "unknown-tool"]
)
async def test_errors_in_a_row_are_wrapped_up(bench: Bench, bad: Mapping[str, object]) -> None:
    """The model is told of each; after the last it has to answer."""
    tool, script = Adder(), Heard(bad, bad, bad, {"text": "I give up"})
    limits = Limits(tool_errors=3, repeats=10)
    outcome = await bench.run(agent(script, tools={"add": tool}, limits=limits))
    assert (outcome.output, outcome.stop_reason, outcome.tool_errors) == ("I give up", "tool_errors", 3)
    assert len(bench.facts(ToolErred)) == 3
    assert all(text.startswith("Error: ") for text in results(script.heard[3]))


async def test_errors_that_are_mended_do_not_count(bench: Bench) -> None:
    """A call that succeeds begins the count anew."""
    script = replies(call(a="x"), call(a="y"), call(a=1), call(a="z"), call(a="u"), {"text": "1"})
    outcome = await bench.run(agent(script, tools={"add": Adder()}, limits=Limits(tool_errors=3)))
    assert (outcome.output, outcome.stop_reason, outcome.tool_errors) == ("1", "completed", 4)


async def test_a_tool_that_was_not_offered_is_never_called(bench: Bench) -> None:
    """Whatever the model makes up: no call reaches a tool, and none is said to have begun."""
    tool = Adder()
    names = ["Add", "add ", "adder", "__class__", "", "done"]
    wish = {"toolCalls": [{"name": name, "arguments": {"a": 1}} for name in names]}
    outcome = await bench.run(agent(replies(wish, {"text": "no"}), tools={"add": tool}))
    assert (tool.calls, bench.facts(ToolStarted)) == ([], [])
    assert outcome.stop_reason == "tool_errors"


# Answers that go back


async def test_repairs_are_bounded(bench: Bench) -> None:
    """An answer that breaks the schema is mended as often as allowed, and is never passed off as one that fits."""
    wrong = {"json": {"m": 1}}
    mended = await bench.run(
        agent(replies(wrong, wrong, wrong, {"json": {"n": 1}}), output=SCHEMA, limits=Limits(repairs=3))
    )
    assert (json.loads(mended.output), mended.stop_reason, mended.steps) == ({"n": 1}, "completed", 4)
    spoiled = await bench.run(agent(replies(wrong, wrong, wrong), output=SCHEMA, limits=Limits(repairs=2)))
    assert (spoiled.stop_reason, spoiled.steps) == ("output_invalid", 3)
    assert spoiled.failure
    never = await bench.run(agent(replies(wrong), output=SCHEMA, limits=Limits(repairs=0)))
    assert (never.stop_reason, never.steps) == ("output_invalid", 1)
    short = await bench.run(agent(replies(wrong, wrong), output=SCHEMA, limits=Limits(steps=2, repairs=5)))
    assert (short.stop_reason, short.steps) == ("output_invalid", 2)


async def test_a_partial_answer_that_breaks_the_schema_is_none(bench: Bench) -> None:
    """At a limit there may be a text, but whoever relies on the schema is not handed it as an answer."""
    script = replies(calls(1), {"text": "about three"})
    outcome = await bench.run(agent(script, output=SCHEMA, tools={"add": Adder()}, limits=Limits(steps=2)))
    assert (outcome.output, outcome.stop_reason) == ("about three", "max_steps")
    assert "not JSON" in outcome.failure
    fits = replies(calls(1), {"json": {"n": 3}})
    outcome = await bench.run(agent(fits, output=SCHEMA, tools={"add": Adder()}, limits=Limits(steps=2)))
    assert (outcome.stop_reason, outcome.failure) == ("max_steps", "")


# Ending by a call


async def test_the_model_ends_by_calling_done(bench: Bench) -> None:
    """Its argument is the answer; other calls of that turn are not made."""
    tool = Adder()
    both = {"toolCalls": [{"name": "add", "arguments": {"a": 1}}, {"name": "done", "arguments": {"answer": "3"}}]}
    outcome = await bench.run(agent(replies(both), tools={"add": tool}, done=True))
    assert (outcome.output, outcome.stop_reason, outcome.tools, tool.calls) == ("3", "completed", (), [])


async def test_done_is_offered_with_the_schema_of_the_answer(bench: Bench) -> None:
    """The answer fits the output schema; one that does not goes back, with what is wrong."""
    model = Heard(done({"n": "x"}), {"toolCalls": [{"name": "done", "arguments": {}}]}, done({"n": 3}))
    outcome = await bench.run(agent(model, output=SCHEMA, done=True))
    assert (json.loads(outcome.output), outcome.stop_reason) == ({"n": 3}, "completed")
    (offered,) = model.heard[0].tools
    properties = offered.parameters["properties"]
    assert (offered.name, properties) == ("done", {"answer": SCHEMA})
    assert model.heard[0].output_schema is None
    said = results(model.heard[2])
    assert said[0].startswith("Error: at n: ")
    assert said[1] == "Error: expected the answer, got none"


async def test_an_answer_by_done_that_never_fits(bench: Bench) -> None:
    """It is said to be none."""
    script = replies(done({"n": "x"}), done({"n": "y"}))
    outcome = await bench.run(agent(script, output=SCHEMA, done=True, limits=Limits(repairs=1)))
    assert (outcome.output, outcome.stop_reason) == ('{"n": "y"}', "output_invalid")


async def test_words_beside_done_go_back_and_count_in_the_end(bench: Bench) -> None:
    """A model that does not call it is told to; one that cannot is believed after all."""
    model = Heard({"text": "let me see"}, done("3"))
    outcome = await bench.run(agent(model, done=True))
    assert (outcome.output, outcome.stop_reason) == ("3", "completed")
    assert 'call the tool "done"' in model.heard[1].messages[-1].text
    stubborn = await bench.run(agent(replies({"text": "three", "times": None}), done=True, limits=Limits(repairs=2)))
    assert (stubborn.output, stubborn.stop_reason, stubborn.steps) == ("three", "completed", 3)


async def test_a_limit_takes_done_away_with_the_other_tools(bench: Bench) -> None:
    """The last turn is an answer in words."""
    model = Heard(calls(1), {"text": "partial"})
    outcome = await bench.run(agent(model, tools={"add": Adder()}, done=True, limits=Limits(steps=2)))
    assert (outcome.output, outcome.stop_reason) == ("partial", "max_steps")
    assert model.heard[1].tools == ()


# Speaking plain text


def act(name: str, arguments: str) -> dict[str, object]:
    """Return a scripted reply that wants a call in plain text."""
    return {"text": f"Thought: next\nAction: {name}\nAction Input: {arguments}"}


async def test_react_calls_tools_and_answers(bench: Bench) -> None:
    """A model without tool calls uses tools all the same; its thoughts are not shown as pieces of the answer."""
    tool = Adder()
    model = Heard(act("add", '{"a": 1, "b": 2}'), {"text": "Thought: I know\nFinal Answer: 3"})
    outcome = await bench.run(agent(model, tools={"add": tool}, strategy=React()))
    assert (outcome.output, outcome.stop_reason, outcome.tools) == ("3", "completed", ("add",))
    assert tool.calls == [{"a": 1, "b": 2}]
    assert model.heard[1].messages[-1].text.startswith("Observation: 3\n\nIf that answers the question")
    assert bench.facts(ModelDelta) == []
    assert bench.steps.keys == ["execute/model/0", "execute/tool/0/0", "execute/model/1"]


async def test_react_survives_a_bad_form_for_a_while(bench: Bench) -> None:
    """The model is told what is expected, and a good reply begins the count anew."""
    bad: dict[str, object] = {"text": "I think it is three."}
    model = Heard(bad, bad, act("add", '{"a": 3}'), bad, bad, {"text": "Final Answer: 3"})
    outcome = await bench.run(agent(model, tools={"add": Adder()}, strategy=React(), limits=Limits(repairs=2)))
    assert (outcome.output, outcome.stop_reason) == ("3", "completed")
    assert model.heard[1].messages[-2:] == (
        Message("assistant", "I think it is three."),
        model.heard[1].messages[-1],
    )
    assert "could not be read" in model.heard[1].messages[-1].text


async def test_react_gives_up_on_a_bad_form(bench: Bench) -> None:
    """After that the model answers in its own words, and it is said why."""
    bad: dict[str, object] = {"text": "I think it is three.", "times": None}
    outcome = await bench.run(agent(replies(bad), tools={"add": Adder()}, strategy=React(), limits=Limits(repairs=1)))
    assert (outcome.output, outcome.stop_reason, outcome.steps) == ("I think it is three.", "bad_format", 3)


async def test_react_with_an_unknown_tool_and_bad_arguments(bench: Bench) -> None:
    """They are told like any other failed call."""
    model = Heard(act("dig", "{}"), act("add", "one"), {"text": "Final Answer: none"})
    outcome = await bench.run(agent(model, tools={"add": Adder()}, strategy=React()))
    assert (outcome.output, outcome.tool_errors) == ("none", 2)
    assert 'Observation: Error: there is no tool "dig"' in model.heard[1].messages[-1].text


async def test_react_answers_by_a_schema(bench: Bench) -> None:
    """A structured answer stands behind the last label, and is mended like any other."""
    script = replies({"text": "Final Answer: three"}, {"text": 'Final Answer: {"n": 3}'})
    outcome = await bench.run(agent(script, tools={"add": Adder()}, strategy=React(), output=SCHEMA))
    assert (json.loads(outcome.output), outcome.stop_reason) == ({"n": 3}, "completed")


# Earlier turns, and passages that tools offer


async def test_earlier_turns_stand_before_the_goal(bench: Bench) -> None:
    """The model sees them as a conversation."""
    model = Heard({"text": "Four."}, {"text": "Four."}, {"text": "Four."})
    before = (Message("user", "What is 1 + 2?"), Message("assistant", "Three."))
    await bench.run(agent(model), Work("And one more?", history=before))
    roles = [message.role for message in model.heard[0].messages]
    assert roles == ["system", "user", "assistant", "user"]
    assert model.heard[0].messages[1:3] == before


async def test_passages_of_tools_are_numbered_through(bench: Bench) -> None:
    """In the order of the calls, after those of the prompt; one that was offered before keeps its number."""
    model = Heard(
        {"toolCalls": [{"name": "look", "arguments": {"for": word}} for word in ("new", "old", "new")]},
        {"text": "Both [1] and [3] say so [9]."},
    )
    outcome = await bench.run(agent(model, knowledge=[Shelf()], tools={"look": Searcher()}))
    said = results(model.heard[1])
    assert [text.partition("]")[0] for text in said] == ["[3", "[1", "[3"]
    assert "xs = [2]" in said[0]
    assert [(c.number, c.source) for c in outcome.citations] == [(1, "gen.md:1-2"), (3, "new.md:1")]
    assert (outcome.offered, outcome.unknown_citations) == (5, (9,))


async def test_a_limit_that_was_lowered_is_the_agents(bench: Bench) -> None:
    """Whoever lowered it is told so, and nothing is learned of the agent from it; the task's own budget is another."""
    model = replies({"text": "three"})
    lowered = agent(model, latest=lambda: Latest("r2", Limits(tokens=0), ()))
    outcome = await bench.run(lowered)
    assert (outcome.stop_reason, outcome.foreign) == ("budget_tokens", True)
    assert outcome.note.startswith("limits.tokens of Agent/ada is used up (0 of 0 used")
    assert outcome.note.endswith("raise spec.limits.tokens of Agent/ada")
    lower = agent(model, latest=lambda: Latest("r2", Limits(tokens=50), ()))
    outcome = await Bench().run(lower, Work("What is 1 + 2?", tokens=5))
    assert outcome.note.startswith("the task's budget of tokens is used up (0 of 5 used")


async def test_an_answer_without_a_word_is_none(bench: Bench) -> None:
    """A model that writes nothing, or only blanks, has not answered, and that is said of it."""
    outcome = await bench.run(agent(replies({"text": " \n"})))
    assert (outcome.stop_reason, outcome.failure) == ("completed", "there is no answer: the model wrote nothing")
