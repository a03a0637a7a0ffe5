"""Costs: leaves out the voices that would cost more than a narration may."""

from __future__ import annotations

from collections.abc import Sequence

from moneyprinter.errors import FailedPrecondition
from services.audio.fallback import Candidate
from services.audio.providers.remote import RemoteSpeech
from services.audio.speech import SpeechProvider
from services.providers.chain import Skipped
from services.providers.failures import FailureKind
from services.providers.usage import Budget


def leave_out_costly(
    candidates: Sequence[Candidate], sentences: Sequence[str], budget: Budget
) -> tuple[list[Candidate], tuple[Skipped, ...]]:
    """Return the voices that may speak, and those that would cost too much.

    Raises `FailedPrecondition` (COST_LIMIT_REACHED) when none is left.
    """
    characters = sum(map(len, sentences))
    allowed: list[Candidate] = []
    skipped: list[Skipped] = []
    for candidate in candidates:
        excess = ""
        if is_charged(candidate.provider):
            excess = budget.find_excess(candidate.name, {"characters": characters})
        if excess:
            skipped.append(Skipped(candidate.name, FailureKind.QUOTA_EXHAUSTED, excess))
        else:
            allowed.append(candidate)
    if not allowed:
        causes = "; ".join(each.message for each in skipped)
        raise FailedPrecondition(
            f"no voice may speak the script: {causes}; shorten it, or ask an administrator for a higher limit",
            reason="COST_LIMIT_REACHED",
        )
    return allowed, tuple(skipped)


def is_charged(provider: SpeechProvider) -> bool:
    """Whether the deployment pays for what a provider speaks."""
    return isinstance(provider, RemoteSpeech) and not provider.is_own
