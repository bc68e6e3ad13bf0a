"""What Anthropic is told to keep of a conversation, and what that costs."""

import itertools
from typing import Any

from loomd.messages import Message, Reply, Request, ToolCall
from tests.providers.speech import ADD, GOOD

CALL = ToolCall("c1", "add", {"a": 1})
ASK = Request((Message("system", "Be brief."), Message("user", "add")), (ADD,))
NEXT = Request(
    (*ASK.messages, Message("assistant", tool_calls=(CALL,)), Message("tool", "1", call_id="c1")),
    (ADD,),
)
LAST = Request(
    (
        *NEXT.messages,
        Message("assistant", tool_calls=(CALL, CALL)),
        Message("tool", "2", call_id="c1"),
        Message("tool", "3", call_id="c1"),
    ),
    (ADD,),
)


async def sent(provider: Any, service: Any, *requests: Request, **fields: object) -> list[dict[str, Any]]:
    """Return what a service was sent, by one live provider."""
    service.says(GOOD["anthropic"])
    async with provider({"type": "anthropic", "model": "m", "baseUrl": service.url, **fields}) as model:
        for request in requests:
            assert isinstance([found async for found in model.stream(request)][-1], Reply)
    return list(service.bodies)


def marks(body: dict[str, Any]) -> list[str]:
    """Return where the marks are, and check that they are all the same."""
    blocks = {f"tool {at}": tool for at, tool in enumerate(body.get("tools", ()))}
    blocks |= {f"system {at}": one for at, one in enumerate(body["system"])} if "system" in body else {}
    for at, turn in enumerate(body["messages"]):
        blocks |= {f"turn {at}.{n}": block for n, block in enumerate(turn["content"])}
    return [name for name, block in blocks.items() if isinstance(block, dict) and "cache_control" in block]


def unmarked(value: Any) -> Any:
    """Return a body without its marks."""
    if isinstance(value, dict):
        return {key: unmarked(inner) for key, inner in value.items() if key != "cache_control"}
    return [unmarked(inner) for inner in value] if isinstance(value, list) else value


async def test_what_is_kept(provider: Any, service: Any) -> None:
    """Tools, prompt, the new end of the conversation and the one before it: four places, as many as there may be."""
    bodies = await sent(provider, service, ASK, NEXT, LAST)
    assert [marks(body) for body in bodies] == [
        ["tool 0", "system 0", "turn 0.0"],
        ["tool 0", "system 0", "turn 0.0", "turn 2.0"],
        ["tool 0", "system 0", "turn 2.0", "turn 4.1"],
    ]
    for before, after in itertools.pairwise(bodies):  # nothing that was kept is sent otherwise
        count = len(before["messages"])
        assert unmarked(after["messages"][:count]) == unmarked(before["messages"])
        assert (after["tools"], after["system"]) == (before["tools"], before["system"])


async def test_what_is_asked_once_is_not_worth_it(provider: Any, service: Any) -> None:
    """Without tools and earlier turns only the prompt is kept, which other tasks share."""
    body = (await sent(provider, service, Request(ASK.messages)))[0]
    assert marks(body) == ["system 0"]


async def test_for_how_long(provider: Any, service: Any) -> None:
    """Five minutes by default, an hour, or not at all."""
    assert (await sent(provider, service, ASK))[-1]["system"][0]["cache_control"] == {"type": "ephemeral"}
    hour = (await sent(provider, service, ASK, cache="1h"))[-1]
    assert hour["messages"][0]["content"][0]["cache_control"] == {"type": "ephemeral", "ttl": "1h"}
    off = (await sent(provider, service, NEXT, cache="off"))[-1]
    assert marks(off) == []
    assert off["system"] == "Be brief."
