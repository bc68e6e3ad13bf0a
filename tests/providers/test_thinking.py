"""Models that think: how much, where it is seen, and that what was thought goes back as it came to who had it."""

from pathlib import Path
from typing import Any

import pytest

from loomd.errors import Permanent
from loomd.manifest.kind import find_kinds
from loomd.messages import Message, Reply, Request, Thought, ToolCall
from tests.providers.speech import ADD, GOOD
from tests.providers.traffic import THOUGHTS

CALLS = (ToolCall("c1", "add", {"a": 1}), ToolCall("c2", "add", {"a": 2}))


def called(*thoughts: Thought) -> Request:
    """Return a conversation in which two tools were called after some thought."""
    turns = (
        Message("user", "add"),
        Message("assistant", "Let me.", CALLS, thoughts=thoughts),
        Message("tool", "1", call_id="c1"),
        Message("tool", "2", call_id="c2"),
    )
    return Request(turns, (ADD,), max_tokens=100)


async def body(provider: Any, server: Any, request: Request, kind: str, **fields: object) -> dict[str, Any]:
    """Return what a service was sent."""
    server.says(GOOD[kind])
    async with provider({"type": kind, "model": "m", "baseUrl": server.url, **fields}) as model:
        assert isinstance([found async for found in model.stream(request)][-1], Reply)
    return dict(server.bodies[-1])


@pytest.mark.parametrize(
    ("thinking", "sent", "room"),
    [
        pytest.param({}, {"type": "adaptive"}, 8192, id="adaptive"),
        pytest.param(
            {"budget": 2000, "display": "omitted"}, {"type": "adaptive", "display": "omitted"}, 2000, id="omitted"
        ),
        pytest.param({"mode": "budget", "budget": 2000}, {"type": "enabled", "budget_tokens": 2000}, 2000, id="budget"),
        pytest.param({"mode": "off"}, {"type": "disabled"}, 0, id="off"),
    ],
)
async def test_how_much(provider: Any, service: Any, thinking: object, sent: object, room: int) -> None:
    """Thinking has room of its own, so that the answer keeps what the agent allows it."""
    request = Request((Message("user", "hi"),), max_tokens=100)
    found = await body(provider, service, request, "anthropic", thinking=thinking, effort="low")
    assert (found["thinking"], found["max_tokens"]) == (sent, 100 + room)
    assert found["output_config"] == {"effort": "low"}


async def test_nothing_is_said_of_it_by_default(provider: Any, service: Any) -> None:
    """A model does by itself what it does."""
    for kind in ("anthropic", "openai"):
        found = await body(provider, service, Request((Message("user", "hi"),)), kind)
        assert not {"thinking", "output_config", "reasoning_effort"} & found.keys()
    assert (await body(provider, service, Request((Message("user", "hi"),)), "openai", reasoningEffort="high"))[
        "reasoning_effort"
    ] == "high"


async def test_thoughts_go_back_as_they_came(provider: Any, service: Any) -> None:
    """Each at its place in the turn, with its signature, and sealed ones sealed."""
    found = await body(provider, service, called(*THOUGHTS), "anthropic", thinking={})
    assert [block if "thinking" in block["type"] else block["type"] for block in found["messages"][1]["content"]] == [
        {"type": "thinking", "thinking": "Two calls.", "signature": "EqQB"},
        {"type": "redacted_thinking", "data": "Emwk"},
        "text",
        "tool_use",
        "tool_use",
        {"type": "thinking", "thinking": "", "signature": "Gx8C"},
    ]


async def test_a_thought_between_calls(provider: Any, service: Any) -> None:
    """What was thought in the middle of a text or between two calls stays there."""
    thoughts = (Thought("a", "it/m", "s", after_text=4), Thought("b", "it/m", "t", after_text=7, after_calls=1))
    found = await body(provider, service, called(*thoughts), "anthropic")
    said = [block.get("text") or block.get("thinking") or block["id"] for block in found["messages"][1]["content"]]
    assert said == ["Let ", "a", "me.", "c1", "b", "c2"]


async def test_thoughts_of_others_stay_here(provider: Any, service: Any) -> None:
    """A service gets only what it knows again: nothing of another model, and nothing without its signature."""
    strange = (Thought("x", "other/m", "s"), Thought("y", "it/m"))
    found = await body(provider, service, called(*strange), "anthropic", thinking={"mode": "budget"})
    assert [block["type"] for block in found["messages"][1]["content"]] == ["text", "tool_use", "tool_use"]
    assert "thinking" not in found  # the protocol lets none begin in the middle
    assert found["max_tokens"] == 100
    found = await body(provider, service, called(*THOUGHTS), "anthropic", thinking={"mode": "budget"})
    assert found["thinking"]["type"] == "enabled"


async def test_no_tool_is_forced_on_a_model_that_thinks(provider: Any, service: Any) -> None:
    """The answer's schema is offered as a tool, which the model may take."""
    request = Request((Message("user", "hi"),), output_schema={"type": "object"})
    assert (await body(provider, service, request, "anthropic"))["tool_choice"]["type"] == "tool"
    assert (await body(provider, service, request, "anthropic", thinking={}))["tool_choice"] == {"type": "auto"}


async def test_no_temperature_beside_it(provider: Any, service: Any, tmp_path: Path) -> None:
    """It is told before the service refuses it: in the manifest, and to the agent that sets one."""
    spec = find_kinds()["Provider"].adapter.validate_python(
        {"type": "anthropic", "model": "m", "thinking": {}, "temperature": 0.5}
    )
    assert [problem[0] for problem in spec.check(tmp_path)] == ["/temperature"]
    request = Request((Message("user", "hi"),), temperature=0.5)
    with pytest.raises(Permanent, match=r"Provider/it takes no temperature .* got 0\.5"):
        await body(provider, service, request, "anthropic", thinking={})
    assert not service.bodies


@pytest.mark.parametrize(
    ("name", "field"), [("deepseek", "reasoning_content"), ("openrouter", "reasoning"), ("openai", None)]
)
async def test_reasoning_goes_back_where_it_is_demanded(
    provider: Any, service: Any, name: str, field: str | None
) -> None:
    """DeepSeek refuses a tool loop without it, OpenAI one with it."""
    sent = await body(provider, service, called(Thought("hm", "it/m")), "openai", service=name)
    turn = sent["messages"][1]
    assert {key: turn.get(key) for key in ("reasoning_content", "reasoning") if key in turn} == (
        {field: "hm"} if field else {}
    )
    none = (await body(provider, service, called(), "openai", service="deepseek"))["messages"][1]
    assert none["reasoning_content"] == ""
    sent = await body(provider, service, called(Thought("hm", "it/m")), "openai", reasoningField="reasoning_content")
    assert sent["messages"][1]["reasoning_content"] == "hm"


async def test_signed_calls_go_back_signed(provider: Any, service: Any) -> None:
    """Google refuses a call without the signature that it gave it, and knows none but its own."""
    thoughts = (Thought(by="it/m", signature="CiQB"), Thought(by="other/m", signature="no", after_calls=1))
    calls = (await body(provider, service, called(*thoughts), "openai"))["messages"][1]
    assert [call.get("extra_content") for call in calls["tool_calls"]] == [
        {"google": {"thought_signature": "CiQB"}},
        None,
    ]
