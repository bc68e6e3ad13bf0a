"""What people are shown of where a provider calls, and how."""

from typing import Any

import msgspec
import pytest

LOCAL = "http://127.0.0.1:9/v1"
KEY = {"valueFrom": {"env": "CANARY"}}


@pytest.mark.parametrize(
    ("spec", "shown"),
    [
        pytest.param(
            {"type": "openai", "baseUrl": LOCAL},
            {"address": f"{LOCAL}/chat/completions", "protocol": "chat completions", "client": "http"},
            id="local",
        ),
        pytest.param(
            {"type": "openai", "baseUrl": f"{LOCAL}/?api-version=7", "apiKey": KEY},
            {
                "address": f"{LOCAL}/chat/completions?api-version=7",
                "protocol": "chat completions",
                "client": "http",
                "key": "environment variable CANARY",
            },
            id="query",
        ),
        pytest.param(
            {"type": "openai", "service": "groq"},
            {
                "address": "https://api.groq.com/openai/v1/chat/completions",
                "protocol": "chat completions",
                "client": "http",
                "key": "environment variable GROQ_API_KEY",
            },
            id="service",
        ),
        pytest.param(
            {"type": "anthropic", "baseUrl": LOCAL, "client": "sdk"},
            {"address": f"{LOCAL}/messages", "protocol": "messages", "client": "sdk"},
            id="sdk",
        ),
        pytest.param(
            {"type": "gemini", "baseUrl": "http://me:hidden@127.0.0.1:9/g"},
            {"address": "http://127.0.0.1:9/g/chat/completions", "protocol": "chat completions", "client": "http"},
            id="user-and-password",
        ),
    ],
)
async def test_where_and_how(
    provider: Any, spec: dict[str, object], shown: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a manifest leaves to defaults is told, and no secret is."""
    monkeypatch.setenv("CANARY", "hidden")
    monkeypatch.setenv("GROQ_API_KEY", "hidden")
    monkeypatch.setenv("NO_PROXY", "*")
    async with provider({"model": "m", **spec}) as model:
        assert msgspec.to_builtins(model.calls()) == shown


@pytest.mark.parametrize("client", ["http", "sdk"])
@pytest.mark.parametrize("kind", ["openai", "anthropic"])
async def test_a_proxy_is_told(provider: Any, kind: str, client: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the environment puts in between is told without its password."""
    monkeypatch.setenv("HTTP_PROXY", "http://me:hidden@127.0.0.1:8/")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    spec = {"type": kind, "model": "m", "client": client, "baseUrl": "http://127.0.0.2:9"}
    async with provider(spec) as model:
        assert model.calls().proxy == "http://127.0.0.1:8/"
