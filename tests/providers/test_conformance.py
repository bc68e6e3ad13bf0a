"""What every provider type owes the agent's loop; a new type fails here until it says how it is opened."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loomd.manifest.oneof import find_types
from loomd.messages import Image, Message, Reply, Request, Thought, ToolCall, Usage
from loomd.providers.base import ProviderSpec
from tests.providers.tapes import tape

HELLO = Request((Message("user", "hello"),))
OPENAI = (
    b'data: {"choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\n'
    b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
)
ANTHROPIC = (
    b'data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}\n\n'
    b'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hi"}}\n\n'
    b'data: {"type":"message_delta","delta":{"stop_reason":"end_turn"}}\n\n'
)


def _remote(kind: str, body: bytes, client: str = "http") -> Callable[[Any], dict[str, object]]:
    def spec(service: Any) -> dict[str, object]:
        service.says(body)
        return {"type": kind, "model": "m", "baseUrl": service.url, "client": client}

    return spec


RECIPES: dict[str, Callable[[Any], dict[str, object]]] = {
    "anthropic": _remote("anthropic", ANTHROPIC),
    "anthropic/sdk": _remote("anthropic", ANTHROPIC, "sdk"),
    "gemini": _remote("gemini", OPENAI),
    "openai": _remote("openai", OPENAI),
    "openai/sdk": _remote("openai", OPENAI, "sdk"),
    "replay": lambda _: {"type": "replay", "file": "hello.json"},
    "scripted": lambda _: {"type": "scripted", "replies": [{"text": "Hi", "times": None}]},
}
ELSEWHERE = {
    "fallback",  # it asks others: `test_resilience`
    "local",  # the same is asked of it where the embedded model runs
}


def test_every_type_has_a_recipe() -> None:
    """No provider type escapes this suite."""
    assert set(find_types("loomd.providers", ProviderSpec)) - ELSEWHERE == {name.partition("/")[0] for name in RECIPES}


@pytest.fixture(autouse=True)
def recorded(tmp_path: Path) -> None:
    """Write the recording that the type `replay` answers from."""
    (tmp_path / "hello.json").write_bytes(tape((HELLO, Reply("Hi", usage=Usage(3, 1)))))


@pytest.mark.parametrize("kind", RECIPES)
async def test_a_stream_ends_with_one_reply(provider: Any, service: Any, kind: str) -> None:
    """Deltas, then exactly one reply, last, that holds their text, the model's name and some usage."""
    async with provider(RECIPES[kind](service)) as model:
        assert model.name.startswith("it/")
        for _ in range(2):
            got = [chunk async for chunk in model.stream(HELLO)]
            assert [isinstance(chunk, Reply) for chunk in got] == [False] * (len(got) - 1) + [True]
            reply = got[-1]
            assert (reply.text, reply.model, reply.stop) == ("Hi", model.name, "stop")
            assert "".join(chunk.text for chunk in got[:-1]) == "Hi"
            assert reply.usage.input > 0
            assert reply.usage.output > 0


@pytest.mark.parametrize("kind", RECIPES)
async def test_a_stream_may_be_left(provider: Any, service: Any, kind: str) -> None:
    """A reader may leave after the first piece, and the provider goes on working."""
    async with provider(RECIPES[kind](service)) as model:
        stream = model.stream(HELLO)
        await anext(stream)
        await stream.aclose()
        assert [chunk async for chunk in model.stream(HELLO)]


@pytest.mark.parametrize("kind", [kind for kind in RECIPES if kind != "replay"])  # which answers what was recorded
async def test_images_are_never_left_out(provider: Any, service: Any, kind: str) -> None:
    """What is sent holds them as they are; who sends nothing answers from what it was told."""
    request = Request((Message("user", "what is it?", images=(Image("image/gif", "R0lGODlh"),)),))
    async with provider(RECIPES[kind](service)) as model:
        assert [chunk async for chunk in model.stream(request)][-1].text == "Hi"
    assert ("R0lGODlh" in str(service.bodies)) is (kind != "scripted")


@pytest.mark.parametrize("kind", [kind for kind in RECIPES if kind != "replay"])
async def test_thoughts_of_others_are_not_handed_on(provider: Any, service: Any, kind: str) -> None:
    """A conversation that another model began goes on, without what that one thought."""
    thoughts = (Thought("secretly", "other/m", "sig-of-another"), Thought(by="other/m", sealed="sealed-by-another"))
    turns = (
        Message("user", "add"),
        Message("assistant", "", (ToolCall("c1", "add", {}),), thoughts=thoughts),
        Message("tool", "1", call_id="c1"),
    )
    async with provider(RECIPES[kind](service)) as model:
        assert [chunk async for chunk in model.stream(Request(turns))][-1].text == "Hi"
    assert not any(word in str(service.bodies) for word in ("secretly", "another"))
