"""What the models of known services cost: a list that comes with the package `genai-prices`, and is asked offline.

The only module that imports it, and only when a provider opens that needs it. What a manifest says wins over the list.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from loomd.messages import Usage
from loomd.providers.base import Price, Pricing
from loomd.providers.remote import RemoteFields, is_loopback


async def price_of(fields: RemoteFields, *, kept: str = "") -> Price | None:
    """Return what a provider's calls cost: as declared, nothing on this machine, or as listed; None when not known.

    Args:
        fields: the provider's.
        kept: how long the service keeps what is written to its cache, where that matters to the price.
    """
    if fields.pricing is not None:
        return fields.pricing
    if is_loopback(fields.address):
        return Pricing()
    return await asyncio.to_thread(_listed, fields, kept)


def _listed(fields: RemoteFields, kept: str) -> Price | None:
    from genai_prices.data_snapshot import get_snapshot  # noqa: PLC0415  # a long list, which only a running system needs

    prices = get_snapshot()
    for address in dict.fromkeys((fields.address, fields.usual_address)):  # a gateway charges what the service does
        try:
            _, model = prices.find_provider_model(fields.model, None, None, address)
        except LookupError:
            continue
        return Listed(model.get_prices, hourly=kept == "1h")
    return None


@dataclass(frozen=True)
class Listed:
    """The price of a model, as listed.

    Attributes:
        prices: returns the prices at a moment, in USD per million tokens.
        hourly: whether what is written to the cache is kept for an hour.
    """

    prices: Callable[[datetime], Any]
    hourly: bool

    def cost(self, usage: Usage, now: float) -> float:
        """Return what one call at a moment cost in USD."""
        prices = self.prices(datetime.fromtimestamp(now, UTC))
        written = self._rate(prices.cache_write_1h_mtok, usage) if self.hourly else None
        return Pricing(
            input=self._rate(prices.input_mtok, usage) or 0.0,
            cached_input=self._rate(prices.cache_read_mtok, usage),
            cache_write=self._rate(prices.cache_write_mtok, usage) if written is None else written,
            output=self._rate(prices.output_mtok, usage) or 0.0,
        ).cost(usage, now)

    @staticmethod
    def _rate(price: Any, usage: Usage) -> float | None:
        """Return a price of the list; some depend on how much is sent."""
        if price is None:
            return None
        for tier in reversed(getattr(price, "tiers", ())):
            if usage.input > tier.start:
                return float(tier.price)
        return float(getattr(price, "base", price))
