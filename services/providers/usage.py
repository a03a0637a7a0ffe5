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


@dataclass(frozen=True)
class Budget:
    """What providers may charge for a call."""

    max_cost: float | None
    """In the currency of the price table; None: no limit."""
    prices: Mapping[str, float]
    """Per million units, as `price` takes them."""

    def find_excess(self, provider: str, units: Mapping[str, int]) -> str:
        """Return why a provider may not be called for so many units at most; empty when it may.

        With a limit of 0, a provider without a price counts as one that charges; otherwise as one that does not.
        """
        if self.max_cost is None:
            return ""
        cost = sum(price(provider, unit, amount, self.prices).cost for unit, amount in units.items())
        is_priced = any(each.partition("/")[0] == provider for each in self.prices)
        if cost > self.max_cost:
            return f"{provider} may charge {cost:.4f}, and {self.max_cost:.4f} are left for this video"
        return "" if is_priced or self.max_cost else f"{provider} charges, and the account may cost nothing"


UNLIMITED = Budget(None, {})


def price(provider: str, unit: str, amount: int, prices: Mapping[str, float]) -> Usage:
    """The usage with its cost.

    `prices` are per million units, by provider and unit (`openai/characters`) or by provider alone (`openai`).
    """
    rate = prices.get(f"{provider}/{unit}", prices.get(provider, 0.0))
    return Usage(provider, unit, amount, round(amount * rate / PRICED_UNITS, 6))
