"""The services that speak chat completions: each is asked as it wants to be, and gets no other one's key."""

from typing import Any, get_args

import pytest

from loomd.errors import Unauthorized
from loomd.manifest.kind import find_kinds
from loomd.messages import Message, Reply, Request
from loomd.providers.service import SERVICES, Name
from tests.providers.speech import GOOD, KEY, delta, sse

SCHEMA: dict[str, object] = {"type": "object", "properties": {"answer": {"type": "string"}}}
ASK = Request((Message("system", "Be brief."), Message("user", "hello")), output_schema=SCHEMA, max_tokens=77)
LOCAL = {"ollama", "llamacpp", "vllm", "lmstudio"}
WORDS = "Answer with JSON that fits this JSON Schema"


def spec_of(**fields: object) -> Any:
    """Return a typed spec."""
    return find_kinds()["Provider"].adapter.validate_python({"model": "m", **fields})


async def body(provider: Any, server: Any, request: Request = ASK, **fields: object) -> dict[str, Any]:
    """Return what a service was sent."""
    server.says(GOOD["openai"])
    spec = {"type": "openai", "model": "m", "baseUrl": server.url, **fields}
    async with provider(spec) as model:
        said = [found async for found in model.stream(request)]
        assert isinstance(said[-1], Reply)
    return dict(server.bodies[-1])


def test_every_service_is_known() -> None:
    """The names of the schema and the table agree; a local one needs no key, the others one each."""
    assert set(SERVICES) == set(get_args(Name))
    for name, known in SERVICES.items():
        spec = spec_of(type="openai", service=name)
        assert spec.address == known.url
        assert spec.address.startswith("http://127.0.0.1:" if name in LOCAL else "https://")
        assert bool(spec.key_variable) is (name not in LOCAL)
    keys = [known.key for known in SERVICES.values() if known.key]
    assert len(set(keys)) == len(keys)
    assert spec_of(type="gemini").address.startswith("https://generativelanguage.googleapis.com/")
    assert spec_of(type="openai").address == "https://api.openai.com/v1"
    assert spec_of(type="openai", service="groq", baseUrl="https://proxy.example/v1").address == (
        "https://proxy.example/v1"
    )


@pytest.mark.parametrize("name", SERVICES)
async def test_each_is_asked_as_it_wants(provider: Any, service: Any, name: str) -> None:
    """The limit, the usage and the schema go where the service expects them, and nowhere else."""
    sent = await body(provider, service, service=name)
    limit = "max_completion_tokens" if name in {"openai", "groq"} else "max_tokens"
    assert sent[limit] == 77
    assert not {"max_completion_tokens", "max_tokens"} - {limit} & set(sent)
    assert ("stream_options" in sent) is (name != "mistral")
    in_words = name in {"deepseek", "moonshot", "qwen", "zhipu"}
    assert sent["response_format"]["type"] == ("json_object" if in_words else "json_schema")
    assert (WORDS in sent["messages"][0]["content"]) is in_words
    assert [turn["role"] for turn in sent["messages"]] == ["system", "user"]


async def test_what_is_known_can_be_overridden(provider: Any, service: Any) -> None:
    """Quirks are fields."""
    plain = Request((Message("user", "hello"),), output_schema=SCHEMA)
    quirks = {"structuredOutput": "prompt", "streamUsage": False, "maxTokensField": "max_completion_tokens"}
    sent = await body(provider, service, plain, service="ollama", **quirks)
    assert "response_format" not in sent
    assert "stream_options" not in sent
    assert sent["max_completion_tokens"] == 1024
    assert [turn["role"] for turn in sent["messages"]] == ["system", "user"]
    assert WORDS in sent["messages"][0]["content"]
    assert "response_format" not in await body(provider, service, Request((Message("user", "hi"),)), service="qwen")


async def test_a_missing_key_is_named(provider: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has none is told which variable to set; a local server asks for none."""
    for spec, variable in (
        ({"type": "openai", "service": "deepseek"}, "DEEPSEEK_API_KEY"),
        ({"type": "gemini"}, "GEMINI_API_KEY"),
    ):
        monkeypatch.delenv(variable, raising=False)
        with pytest.raises(Unauthorized, match=variable):
            async with provider({"model": "m", **spec}):
                pass
    async with provider({"type": "openai", "service": "ollama", "model": "m"}):
        pass


async def test_the_key_of_one_goes_to_no_other(provider: Any, service: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual variable is that of the service."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-another-0123456789")
    monkeypatch.setenv("GROQ_API_KEY", KEY)
    service.says(GOOD["openai"])
    url = service.url.replace("127.0.0.1", "localhost")
    monkeypatch.setitem(SERVICES, "groq", type(SERVICES["groq"])(url, "GROQ_API_KEY"))
    async with provider({"type": "openai", "service": "groq", "model": "m"}) as model:
        async for _ in model.stream(ASK):
            pass
    assert service.headers[-1]["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("told", [{"prompt_cache_hit_tokens": 6}, {"cached_tokens": 6}])
async def test_cached_tokens_are_counted(provider: Any, service: Any, told: dict[str, int]) -> None:
    """Two services tell them in words of their own."""
    usage = {"prompt_tokens": 9, "completion_tokens": 7, **told}
    service.says(sse(delta(content="Hi"), delta("stop"), {"choices": [], "usage": usage}, b"[DONE]"))
    async with provider({"type": "openai", "model": "m", "baseUrl": service.url}) as model:
        found = [one async for one in model.stream(ASK)]
    assert found[-1].usage.cached == 6
