import json

import pytest

from loomd.messages import JsonObject, Message, Passage, Request, ToolCall, ToolSchema
from loomd.models.cite import source_of
from loomd.models.prompt import Limits, added, build
from loomd.models.schema import capped, sample, sample_arguments

ADD = ToolSchema(
    "add",
    "Add two numbers.\nMore text.",
    {"type": "object", "properties": {"a": {"type": "number"}, "b": {"type": "number"}}, "required": ["a", "b"]},
)
PASSAGES = (
    Passage(1, "Foxes are mammals that\neat mice.", "fox.md:1-2", "Foxes"),
    Passage(2, "The Rhine flows into the North Sea.", "rhine.md:1-2", "Rivers"),
)


def test_plain_talk_is_left_alone() -> None:
    """Without tools, passages or schema the conversation goes as it is."""
    request = Request((Message("system", "Be short."), Message("user", "Hi"), Message("assistant", "Hello")))
    prompt = build(request, Limits())
    assert prompt.schema is None
    assert prompt.turns == [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
    ]


def test_tools_become_steps_with_worked_examples() -> None:
    """Each step is a call of one of the tools or an answer, shown on the request's own tools."""
    call = ToolCall("c1", "add", {"a": 1, "b": 2})
    messages = (Message("user", "1 + 2?"), Message("assistant", "", (call,)), Message("tool", "3", call_id="c1"))
    prompt = build(Request(messages, (ADD,)), Limits(answer=99))
    assert prompt.schema is not None
    steps = prompt.schema["anyOf"]
    assert isinstance(steps, list)
    assert steps[0]["properties"]["tool"] == {"const": "add"}
    assert steps[-1]["properties"]["answer"]["maxLength"] == 99
    assert "- add(a, b): Add two numbers." in prompt.turns[0]["content"]
    assert prompt.turns[1:3] == [
        {"role": "user", "content": "Add two numbers. a: 12, b: 12"},
        {"role": "assistant", "content": '{"tool": "add", "args": {"a": 12, "b": 12}}'},
    ]
    assert prompt.turns[-2:] == [
        {"role": "assistant", "content": '{"tool": "add", "args": {"a": 1, "b": 2}}'},
        {"role": "user", "content": "Result of add: 3"},
    ]


@pytest.mark.parametrize("tools", [(), (ADD,)], ids=["no-tools", "tools"])
@pytest.mark.parametrize("passages", [(), PASSAGES], ids=["no-passages", "passages"])
@pytest.mark.parametrize("schema", [None, {"type": "object"}], ids=["text", "json"])
def test_what_is_added_is_known_before(
    tools: tuple[ToolSchema, ...], passages: tuple[Passage, ...], schema: JsonObject | None
) -> None:
    """Rules and worked examples are counted as they are sent; the rest of the prompt is what the request says."""
    request = Request((Message("system", "Be short."), Message("user", "Hi", passages=passages)), tools, schema)
    sent = sum(len(turn["content"]) for turn in build(request, Limits()).turns)
    own = len("Be short.") + len("Hi") + sum(len(one.text) + len(one.title) for one in passages)
    assert 0 <= sent - own - added(request) <= 60
    assert bool(added(request)) is bool(tools or (passages and schema is None))


def test_the_prefix_stays_the_same_within_a_task() -> None:
    """Later turns only add to the prompt, so the model's cache holds."""
    call = ToolCall("c1", "add", {"a": 1, "b": 2})
    first = (Message("system", "S"), Message("user", "1 + 2?"))
    later = (*first, Message("assistant", "", (call,)), Message("tool", "3", call_id="c1"))
    before = build(Request(first, (ADD,)), Limits()).turns
    assert build(Request(later, (ADD,)), Limits()).turns[: len(before)] == before


def test_passages_become_a_cited_answer() -> None:
    """The answer may name the offered passages only, and its mark is appended to the text."""
    prompt = build(Request((Message("user", "Where does the Rhine end?", passages=PASSAGES),)), Limits())
    assert prompt.schema is not None
    assert json.loads(json.dumps(prompt.schema))["properties"]["sources"]["items"] == {"enum": [1, 2]}
    assert prompt.turns[-1]["content"].startswith("[1] Foxes\nFoxes are mammals that eat mice.\n\n[2] Rivers\n")
    assert prompt.turns[-1]["content"].endswith("Question: Where does the Rhine end?")
    assert prompt.finish({"answer": "In the North Sea.", "sources": [1]}) == "In the North Sea. [2]"
    assert prompt.finish({"answer": "In the North Sea [2].", "sources": [1]}) == "In the North Sea [2]."


def test_a_schema_of_the_caller_is_used_with_limits() -> None:
    """Structured output follows the caller's schema; passages are then just text."""
    schema: JsonObject = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    request = Request((Message("user", "Which city?", passages=PASSAGES),), output_schema=schema)
    prompt = build(request, Limits(text=50))
    assert not prompt.stepwise
    assert prompt.schema == {**schema, "properties": {"city": {"type": "string", "maxLength": 50}}}
    assert "[2] Rivers (rhine.md:1-2)" in prompt.turns[-1]["content"]


def test_a_schema_together_with_tools_is_the_answer() -> None:
    """With tools, the caller's schema is the form of the answer step, which becomes JSON text."""
    schema: JsonObject = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    prompt = build(Request((Message("user", "1 + 2?"),), (ADD,), schema), Limits())
    assert prompt.schema is not None
    steps = prompt.schema["anyOf"]
    assert isinstance(steps, list)
    assert steps[-1]["properties"]["answer"] == schema
    assert prompt.finish({"answer": {"n": 3}}) == '{"n": 3}'


@pytest.mark.parametrize(
    ("schema", "wanted"),
    [
        pytest.param({"type": "string"}, {"type": "string", "maxLength": 9}, id="string"),
        pytest.param({"type": "string", "maxLength": 3}, {"type": "string", "maxLength": 3}, id="own-limit"),
        pytest.param({"type": "string", "enum": ["a"]}, {"type": "string", "enum": ["a"]}, id="enum"),
        pytest.param(
            {"type": "array", "items": {"type": ["string", "null"]}, "minItems": 7},
            {"type": "array", "items": {"type": ["string", "null"], "maxLength": 9}, "minItems": 7, "maxItems": 7},
            id="array",
        ),
        pytest.param(
            {"$defs": {"x": {"type": "string"}}, "anyOf": [{"type": "string"}, {"$ref": "#/$defs/x"}]},
            {
                "$defs": {"x": {"type": "string", "maxLength": 9}},
                "anyOf": [{"type": "string", "maxLength": 9}, {"$ref": "#/$defs/x"}],
            },
            id="nested",
        ),
    ],
)
def test_nothing_is_without_an_end(schema: JsonObject, wanted: JsonObject) -> None:
    """Limits appear where they are missing, and only there."""
    assert capped(schema, text=9, items=4) == wanted


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        pytest.param({"type": "integer", "minimum": 50}, 51, id="minimum"),
        pytest.param({"type": "number", "maximum": 5}, 4, id="maximum"),
        pytest.param({"enum": ["a", "b"]}, "a", id="enum"),
        pytest.param({"anyOf": [{"type": "boolean"}, {"type": "null"}]}, True, id="any-of"),
        pytest.param({"type": "array", "items": {"type": "integer"}}, [12], id="array"),
        pytest.param({"type": "string", "default": "x"}, "x", id="default"),
    ],
)
def test_a_sample_fits_its_schema(schema: JsonObject, value: object) -> None:
    """Worked examples hold values that the schema allows, the same ones every time."""
    assert sample(schema) == value


def test_sample_arguments_are_the_required_ones() -> None:
    """Optional fields stay out of the example."""
    properties = {"city": {"type": "string"}, "days": {"type": "integer"}}
    assert sample_arguments({"properties": properties, "required": ["city"]}) == {"city": "Lisbon"}
    assert sample_arguments({"properties": properties}, 1) == {"city": "Oslo", "days": 7}


@pytest.mark.parametrize(
    ("answer", "chosen", "number"),
    [
        pytest.param("Foxes eat mice.", 2, 1, id="corrected"),
        pytest.param("The North Sea.", 2, 2, id="agreed"),
        pytest.param("Yes.", 2, 2, id="nothing-in-common"),
    ],
)
def test_the_mark_follows_the_words(answer: str, chosen: int, number: int) -> None:
    """The passage that shares the answer's words is cited; the model's choice decides when that tells nothing."""
    assert source_of(answer, "Why?", PASSAGES, chosen) == number
