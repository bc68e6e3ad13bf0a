"""ReAct: what the model is told, and what is read of what it writes."""

import json

import msgspec
import pytest

from loomd.agents.strategies.base import Strategy, Unreadable
from loomd.agents.strategies.react import React
from loomd.agents.strategies.tool_use import ToolUse
from loomd.manifest.oneof import find_types
from loomd.messages import UNREADABLE, JsonObject, Message, Passage, Reply, Request, ToolCall, ToolSchema


def tool(name: str, *fields: str) -> ToolSchema:
    """Return what a model is told of a tool with text fields."""
    properties = {field: {"type": "string"} for field in fields}
    return ToolSchema(name, f"Does {name}.", {"type": "object", "properties": properties})


TOOLS = (tool("search", "query"), tool("add", "a", "b"), tool("now"))
ASKED = Request((Message("system", "You are ada."), Message("user", "Why?")), TOOLS)


def read(text: str, request: Request = ASKED, number: int = 0) -> Reply:
    """Return how a text is read."""
    return React().read(Reply(text), request, number)


def test_the_types() -> None:
    """The folder holds these strategies."""
    assert set(find_types("loomd.agents.strategies", Strategy)) == {"react", "tool_use"}


def test_tool_use_changes_nothing() -> None:
    """The service of the model has means of its own."""
    reply = Reply("Thought: x\nAction: search")
    assert ToolUse().phrase(ASKED) is ASKED
    assert ToolUse().read(reply, ASKED, 0) is reply


@pytest.mark.parametrize(
    ("text", "name", "arguments"),
    [
        pytest.param(
            'Thought: look\nAction: search\nAction Input: {"query": "x"}', "search", {"query": "x"}, id="plain"
        ),
        pytest.param('**Action:** `search`\n**Action Input:** {"query": "x"}', "search", {"query": "x"}, id="bold"),
        pytest.param('action: search\naction input: {"query": "x"}', "search", {"query": "x"}, id="small-letters"),
        pytest.param(
            'Action: add\nAction Input:\n```json\n{"a": 1,\n "b": 2}\n```', "add", {"a": 1, "b": 2}, id="fenced"
        ),
        pytest.param('Action: add\nAction Input: here: {"a": 1} so', "add", {"a": 1}, id="words-around"),
        pytest.param(
            'Action: search\nAction Input: {"query": "x"}\nObservation: made up\nFinal Answer: wrong',
            "search",
            {"query": "x"},
            id="made-up-observation",
        ),
        pytest.param("Action: search\nAction Input: green tea", "search", {"query": "green tea"}, id="plain-words"),
        pytest.param('Action: search\nAction Input: "green"', "search", {"query": "green"}, id="a-json-text"),
        pytest.param("Action: search[green tea]", "search", {"query": "green tea"}, id="brackets"),
        pytest.param('Action: search({"query": "x"})', "search", {"query": "x"}, id="called"),
        pytest.param('Action: {"action": "add", "action_input": {"a": 1}}', "add", {"a": 1}, id="one-object"),
        pytest.param('Action: {"name": "search", "arguments": "x"}', "search", {"query": "x"}, id="another-object"),
        pytest.param("Action: now\nAction Input: None", "now", {}, id="no-arguments"),
        pytest.param("Action: now", "now", {}, id="no-input"),
        pytest.param("Action: add\nAction Input: 1, 2", "add", {UNREADABLE: "1, 2"}, id="unreadable-input"),
        pytest.param('Action: add\nAction Input: {"a": "x\ny"}', "add", {"a": "x\ny"}, id="a-text-over-lines"),
        pytest.param("Action: dig\nAction Input: x", "dig", {UNREADABLE: "x"}, id="unknown-tool"),
        pytest.param(
            'Action: search\nAction Input: {"query": "```a```"}', "search", {"query": "```a```"}, id="fence-in-text"
        ),
    ],
)
def test_an_action_is_a_call(text: str, name: str, arguments: JsonObject) -> None:
    """However a model writes it, as far as it can be told what it means."""
    reply = read(text, number=3)
    assert reply.tool_calls == (ToolCall("call-3", name, arguments),)
    assert reply.stop == "tool_calls"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Thought: I know\nFinal Answer: 42", "42"),
        ("Final answer: one\n\nAction: no more\ntwo", "one\n\nAction: no more\ntwo"),
        ("**Final Answer:** *so*", "*so*"),
    ],
    ids=["plain", "whatever-follows", "marked-up"],
)
def test_a_final_answer_ends_it(text: str, answer: str) -> None:
    """All that follows is the answer."""
    reply = read(text)
    assert (reply.text, reply.tool_calls) == (answer, ())


def test_an_answer_with_a_schema_may_stand_in_a_fence() -> None:
    """The fence around JSON is no part of it; an answer in words keeps its fences."""
    text = 'Thought: I know\nFinal Answer:\n```json\n{"n": 42}\n```'
    asked = msgspec.structs.replace(ASKED, output_schema={"type": "object"})
    assert read(text, asked).text == '{"n": 42}'
    assert read(text.replace("```json", "").replace("```", ""), asked).text == '{"n": 42}'
    assert read(text).text == '```json\n{"n": 42}\n```'


@pytest.mark.parametrize("text", ["", "It is 42.", "Thought: hm", "Observation: made up\nFinal Answer: x"])
def test_neither_action_nor_answer(text: str) -> None:
    """That goes back to the model, with what is expected."""
    with pytest.raises(Unreadable, match=r"neither an action nor an answer.*Final Answer:") as caught:
        read(text)
    assert caught.value.said == text


def test_a_reply_that_was_cut_off() -> None:
    """The model is told that, so that it can be brief."""
    with pytest.raises(Unreadable, match="it was cut off"):
        React().read(Reply("Thought: on and on", stop="length"), ASKED, 0)


def test_without_tools_any_text_is_an_answer() -> None:
    """So it is in the last turn, when nothing is called any more."""
    bare = Request(ASKED.messages)
    assert read("It is 42.", bare).text == "It is 42."
    called = read("Thought: it may be 42\nAction: search\nAction Input: x", bare)
    assert (called.text, called.tool_calls) == ("it may be 42", ())
    assert read("Thought: done\nFinal Answer: 42", bare).text == "42"


def test_the_model_is_told_the_form_and_the_tools() -> None:
    """They stand in the system turn; nothing is handed to the service."""
    told = React().phrase(ASKED)
    assert (told.tools, told.output_schema) == ((), None)
    system = told.messages[0].text
    assert system.startswith("You are ada.\n\n")
    assert "- search: Does search. Arguments: " in system
    assert "one of search, add, now" in system
    assert told.messages[1:] == ASKED.messages[1:]


def test_a_schema_stands_in_the_form() -> None:
    """The service is not asked for JSON, because thoughts are none."""
    told = React().phrase(Request(ASKED.messages, TOOLS, {"type": "object", "required": ["n"]}))
    assert told.output_schema is None
    assert '{"type": "object", "required": ["n"]}' in told.messages[0].text
    bare = React().phrase(Request(ASKED.messages, (), {"type": "object"}))
    assert bare.output_schema == {"type": "object"}


def test_calls_and_results_are_told_as_text() -> None:
    """Nobody speaks twice in a row, and passages stay with the turn that offers them."""
    passage = Passage(1, "Tea is green.", "tea.md:1")
    talk = (
        Message("user", "Why?", passages=(passage,)),
        Message("assistant", "look", (ToolCall("c1", "search", {"query": "x"}), ToolCall("c2", "now", {}))),
        Message("tool", "found", call_id="c1"),
        Message("tool", "12:00", call_id="c2"),
        Message("user", "Stop here."),
    )
    told = React().phrase(Request(talk)).messages
    assert [message.role for message in told] == ["user", "assistant", "user"]
    assert told[0].passages == (passage,)
    assert told[1].text == (
        'Thought: look\nAction: search\nAction Input: {"query": "x"}\nAction: now\nAction Input: {}'
    )
    assert told[2].text == (
        'Observation: found\n\nObservation: 12:00\n\nStop here.\n\nWrite "Final Answer:" and the answer.'
    )


def test_a_result_comes_with_what_to_write_next() -> None:
    """Small models go on in the form of what they see last."""
    talk = (Message("user", "Why?"), Message("assistant", "", (ToolCall("c1", "now", {}),)), Message("tool", "12:00"))
    asked = React().phrase(Request(talk, TOOLS)).messages[-1]
    assert asked.text.startswith('Observation: 12:00\n\nIf that answers the question, write "Final Answer:"')
    again = React().phrase(Request((*talk, Message("user", "Mend it.")), TOOLS)).messages[-1]
    assert again.text == "Observation: 12:00\n\nMend it."


def test_what_is_said_is_read_back_alike() -> None:
    """A call as the loop words it is understood as that call."""
    call = ToolCall("call-0", "add", {"a": "ü", "b": ["x", {"y": None}]})
    told = React().phrase(Request((Message("assistant", "think", (call,)),)))
    again = read(told.messages[0].text)
    assert (again.text, again.tool_calls) == ("think", (call,))


def test_native_calls_and_refusals_pass() -> None:
    """A model that calls tools by its own means is understood, too."""
    native = Reply("", (ToolCall("x", "now", {}),))
    refusal = Reply("No.", stop="refusal")
    assert React().read(native, ASKED, 0) is native
    assert React().read(refusal, ASKED, 0) is refusal


def test_hostile_text_is_read_at_once() -> None:
    """Neither deep JSON nor long lines of marks take time."""
    deep = "[" * 100_000
    assert read(f"Action: search\nAction Input: {deep}").tool_calls[0].arguments == {"query": deep}
    deep = '{"a":' * 100_000
    assert read(f"Action: add\nAction Input: {deep}").tool_calls[0].arguments == {UNREADABLE: deep}
    with pytest.raises(Unreadable):
        read("> # " * 50_000 + "**" * 50_000 + json.dumps("x" * 100_000))
