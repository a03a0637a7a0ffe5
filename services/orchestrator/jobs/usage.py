"""Usage: what external providers charged for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Usage:
    """What one provider charged for."""

    provider: str
    unit: str
    """For example `characters`."""
    amount: float
    cost: float = 0.0
    """By the price table of the deployment, in its currency."""
