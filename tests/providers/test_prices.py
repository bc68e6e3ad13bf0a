"""What calls cost when no manifest says it."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from loomd.manifest.kind import find_kinds
from loomd.messages import Message, Reply, Request, Usage
from loomd.providers.base import Pricing
from loomd.providers.prices import price_of
from tests.providers.speech import GOOD, KEY

NOW = 1_780_000_000.0
USAGE = Usage(input=1000, output=100, cached=600, reasoning=40, written=300)


def fields(**spec: object) -> Any:
    """Return a typed spec."""
    return find_kinds()["Provider"].adapter.validate_python(spec)


async def cost(usage: Usage, kept: str = "", **spec: object) -> float | None:
    """Return what a call costs, None when that is not known."""
    price = await price_of(fields(**spec), kept=kept)
    return None if price is None else price.cost(usage, NOW)


async def test_a_listed_model() -> None:
    """Fresh, cached and made tokens have each their price; reasoning is among those made."""
    found = await cost(USAGE, type="openai", model="gpt-4o-mini")
    assert found == pytest.approx((400 * 0.15 + 600 * 0.075 + 100 * 0.6) / 1e6)


async def test_what_is_written_to_a_cache() -> None:
    """Anthropic takes a quarter more for five minutes, and as much again for an hour."""
    spec: dict[str, Any] = {"type": "anthropic", "model": "claude-sonnet-4-5"}
    base = 100 * 3 + 600 * 0.3 + 100 * 15
    assert await cost(USAGE, **spec) == pytest.approx((base + 300 * 3.75) / 1e6)
    assert await cost(USAGE, kept="1h", **spec) == pytest.approx((base + 300 * 6) / 1e6)


async def test_prices_that_depend_on_how_much_is_sent() -> None:
    """A long request costs more for each of its tokens, where the service does so."""
    spec: dict[str, Any] = {"type": "gemini", "model": "gemini-2.5-pro"}
    short, long = await cost(Usage(200_000), **spec), await cost(Usage(400_000), **spec)
    assert short == pytest.approx(0.2 * 1.25)
    assert long == pytest.approx(0.4 * 2.5)


async def test_who_wins() -> None:
    """A manifest over the list, this machine over both, and a gateway charges what the service does."""
    spec = {"type": "openai", "model": "gpt-4o-mini"}
    assert await cost(Usage(1_000_000), **spec, pricing={"input": 9.0}) == 9.0
    assert await cost(Usage(1_000_000), **spec, baseUrl="http://127.0.0.1:1/v1") == 0.0
    assert await cost(Usage(1_000_000), type="openai", service="ollama", model="gpt-4o-mini") == 0.0
    known = await cost(Usage(1_000_000), **spec, service="openai", baseUrl="https://gateway.example/v1")
    assert known == pytest.approx(0.15)


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param({"type": "openai", "model": "no-such-model"}, id="model"),
        pytest.param({"type": "openai", "model": "gpt-4o-mini", "baseUrl": "https://who.example/v1"}, id="service"),
    ],
)
async def test_what_is_not_listed(spec: dict[str, Any]) -> None:
    """A price that is not known is not zero."""
    assert await cost(USAGE, **spec) is None


async def test_unpriced_tokens_are_told(provider: Any, service: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are counted, so that nobody takes nothing for the price."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    service.says(GOOD["openai"])
    monkeypatch.setenv("http_proxy", service.url)
    async with provider({"type": "openai", "model": "m", "baseUrl": "http://who.example/v1"}) as model:
        reply = [found async for found in model.stream(Request((Message("user", "hi"),)))][-1]
    assert isinstance(reply, Reply)
    assert (reply.usage, reply.cost) == (Usage(9, 7, unpriced=16), 0.0)


def test_declared_prices() -> None:
    """What is not set costs what fresh input does."""
    assert Pricing(input=2.0, output=10.0).cost(USAGE, NOW) == pytest.approx((1000 * 2 + 100 * 10) / 1e6)
    whole = Pricing(input=2.0, cached_input=0.2, cache_write=2.5, output=10.0)
    assert whole.cost(USAGE, NOW) == pytest.approx((100 * 2 + 600 * 0.2 + 300 * 2.5 + 1000) / 1e6)


def test_the_list_is_read_by_who_needs_it(tmp_path: Path) -> None:
    """Nothing that only reads manifests waits for it."""
    (tmp_path / "a.yaml").write_text(
        "apiVersion: loomd.dev/v1\nkind: Provider\nmetadata: {name: a}\nspec: {type: anthropic, model: m}\n"
    )
    code = (
        "import sys\nfrom loomd.cli.main import main\n"
        f"sys.argv = ['loomd', 'validate', {str(tmp_path)!r}]\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "assert 'loomd.providers.prices' in sys.modules\nassert 'genai_prices' not in sys.modules\n"
    )
    command = [sys.executable, "-c", code]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603  # our own words
