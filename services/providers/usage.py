"""Usage: what calls of providers consume, in the units of the providers' prices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client import Counter

_UNITS = Counter("moneyprinter_provider_units", "What external providers have charged, by unit", ("provider", "unit"))
# Prices are per million units, as the providers publish them.
PRICED_UNITS = 1_000_000


@dataclass(frozen=True)
class Usage:
    """What one provider charged for."""

    provider: str
    unit: str
    """`characters`, `input_tokens`, `output_tokens` or `calls`."""
    amount: int
    cost: float = 0.0
    """In the currency of the price table; 0 when it has no price."""


def record_usage(provider: str, unit: str, amount: int) -> None:
    """Count units in the metrics."""
    _UNITS.labels(provider, unit).inc(amount)


def price(provider: str, unit: str, amount: int, prices: Mapping[str, float]) -> Usage:
    """The usage with its cost.

    `prices` are per million units, by provider and unit (`openai/characters`) or by provider alone (`openai`).
    """
    rate = prices.get(f"{provider}/{unit}", prices.get(provider, 0.0))
    return Usage(provider, unit, amount, round(amount * rate / PRICED_UNITS, 6))
