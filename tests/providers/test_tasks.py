"""Whole tasks on services: thinking survives an interruption, prices reach the account, a reference names the model."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from loomd.daemon import Settings, open_system
from loomd.engine.intake import new_task
from loomd.errors import Unauthorized
from loomd.manifest.delivery import Delivery
from loomd.manifest.source import SourceFile
from loomd.messages import Usage
from loomd.replay.export import export
from loomd.replay.player import replay
from loomd.testing import run_manifests
from tests.providers.speech import GOOD, sse
from tests.providers.traffic import TRAFFIC

TOOLS = "def add(a: int, b: int) -> int:\n    return a + b\n\ndef clock() -> str:\n    return 'noon'\n"
SYSTEM = """
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: model}
spec: {type: anthropic, model: m, baseUrl: URL, thinking: {mode: budget}, client: CLIENT}
---
apiVersion: loomd.dev/v1
kind: Tool
metadata: {name: add}
spec: {type: python, file: tool.py, function: add, effects: read, description: Adds.}
---
apiVersion: loomd.dev/v1
kind: Tool
metadata: {name: clock}
spec: {type: python, file: tool.py, function: clock, effects: read, description: Tells the time.}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: ada}
spec: {provider: model, tools: [add, clock]}
"""
ASSISTANT = """
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: ada}
spec: {provider: REFERENCE}
"""
PROVIDER = """
---
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: NAME}
spec: {type: openai, model: MODEL, baseUrl: "URL"}
"""


def said(body: bytes) -> web.Response:
    """Return an answer of the service."""
    return web.Response(body=body, content_type="text/event-stream")


@pytest.mark.parametrize("client", ["http", "sdk"])
async def test_thoughts_survive_an_interruption(service: Any, tmp_path: Path, client: str) -> None:
    """A task that is stopped between two calls hands back what was thought before, and shows it in its result."""
    (tmp_path / "tool.py").write_text(TOOLS)
    asked, answer = asyncio.Event(), asyncio.Event()

    async def serve(request: web.Request) -> web.StreamResponse:
        if len((await request.json())["messages"]) == 1:
            return said(sse(*TRAFFIC["anthropic-thinking-and-tools"].stream))
        asked.set()
        await answer.wait()
        return said(GOOD["anthropic"])

    service.handler = serve
    text = SYSTEM.replace("URL", service.url).replace("CLIENT", client)
    delivery = Delivery("test", (SourceFile(tmp_path, "a.yaml", text.encode()),))
    settings = Settings(tmp_path / "state", tmp_path / "models", tmp_path / "socket")
    async with open_system(settings) as system:
        await system.reconciler.apply(delivery)
        task = await system.engine.submit(new_task("What is 1 + 2, and when?", system.clock))
        await asked.wait()
        await system.engine.drain(0)
    answer.set()
    async with open_system(settings) as system:
        await system.reconciler.apply(delivery)
        assert await system.engine.resume() == [task]
        result = await system.engine.result(task)
    first, second, third = service.bodies
    assert len(first["messages"]) == 1
    assert third == second
    assert [block["type"] for block in third["messages"][1]["content"]] == [
        "thinking",
        "redacted_thinking",
        "text",
        "tool_use",
        "tool_use",
        "thinking",
    ]
    assert third["messages"][1]["content"][0] == {"type": "thinking", "thinking": "Two calls.", "signature": "EqQB"}
    assert result.executed is not None
    outcome = result.executed.outcome
    assert (outcome.output, outcome.reasoning, outcome.tools) == ("Hello", "Two calls.", ("add", "clock"))
    assert outcome.usage.reasoning == 21


async def test_another_model_of_a_provider(service: Any, tmp_path: Path) -> None:
    """A reference may name it; the provider needs no second object, and what was recorded is replayed."""
    service.says(GOOD["openai"])
    main = PROVIDER.replace("NAME", "main").replace("MODEL", "small").replace("URL", service.url)
    text = ASSISTANT.replace("REFERENCE", "main/large:v1.5") + main
    async with open_system(Settings(tmp_path / "state", tmp_path / "models", tmp_path / "socket")) as system:
        await system.reconciler.apply(Delivery("test", (SourceFile(tmp_path, "a.yaml", text.encode()),)))
        task = await system.engine.submit(new_task("hi", system.clock))
        assert (await system.engine.result(task)).phase == "Succeeded"
        cassette = await export(system.store, task)
    assert service.bodies[0]["model"] == "large:v1.5"
    assert [one.name for one in cassette.objects if one.kind == "Provider"] == ["main", "main-large-v1-5"]
    assert (await replay(cassette)).whole


async def test_a_key_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The place of the reference is told, because there is no other."""
    monkeypatch.delenv("GROQ_API_KEY", raising=False)
    with pytest.raises(Unauthorized, match=r"manifests\.yaml:5:18: Provider/groq-m spec\.apiKey: .* GROQ_API_KEY"):
        await run_manifests(ASSISTANT.replace("REFERENCE", "groq/m"), "hi", tmp_path)


async def test_a_model_without_a_price(service: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its tokens are in the result as such, and in the sentence that a phase ends with."""
    monkeypatch.setenv("http_proxy", service.url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-some-key-0123456789")
    service.says(GOOD["openai"])
    provider = PROVIDER.replace("NAME", "odd").replace("MODEL", "m").replace("URL", "http://who.example/v1")
    ran = await run_manifests(ASSISTANT.replace("REFERENCE", "odd") + provider, "hi", tmp_path)
    assert ran.result.executed is not None
    assert ran.result.executed.outcome.usage == Usage(9, 7, unpriced=16)
    whys = [event.data.why for event in ran.events if event.type == "phase.completed"]  # type: ignore[union-attr]  # it has one
    assert any("no price known of 16 tokens" in why for why in whys)
