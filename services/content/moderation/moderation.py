"""Moderation: check texts by the rule lists and by a provider, and decide by the policy of the deployment."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import structlog

from moneyprinter.errors import InvalidArgument, Violation
from services.content.moderation.policy import DEFAULT_POLICY, Action, Category
from services.content.moderation.rules import MAX_MATCHES, Match, RuleList, load_rules

log = structlog.get_logger()

CONTENT_REFUSED, CONTENT_FLAGGED = "CONTENT_REFUSED", "CONTENT_FLAGGED"

QUICK_SECONDS = 0.7
"""The time of a provider while a client waits for its request to be accepted."""
PATIENT_SECONDS = 5.0
"""The time of a provider in a job."""

# A thread of its own: texts are checked before a request is accepted, also while captions of others are made.
_EXECUTOR = ThreadPoolExecutor(1, "moderation")


@dataclass(frozen=True)
class FieldText:
    """A text, and the field of the request that it comes from."""

    field: str
    """The path of the field, for example `audio.script`."""
    text: str


@dataclass(frozen=True)
class Finding:
    """A place of a text that the policy does not allow without remark."""

    field: str
    match: Match
    action: Action
    text_hash: str
    """The SHA-256 of the text, in hexadecimal, by which an administrator can allow it."""

    @property
    def description(self) -> str:
        """What was found and where, without the text itself."""
        return f"category {self.match.category}, characters {self.match.start} to {self.match.end}"


class ProviderUnavailable(Exception):
    """The moderation of a provider has no result; the message has the reason, without a key or a text."""


class ModerationProvider(Protocol):
    """A service that classifies texts."""

    name: str

    async def classify(self, texts: Sequence[str], seconds: float) -> Sequence[Collection[Category]]:
        """Return the categories of each text. Raises `ProviderUnavailable` when there is no result in `seconds`."""


class Moderator:
    """Checks texts. The rules always apply; the provider, where there is one, adds to what they find."""

    def __init__(
        self,
        policy: Mapping[Category, Action] = DEFAULT_POLICY,
        *,
        provider: ModerationProvider | None = None,
        allowed_hashes: Collection[str] = (),
        rules: RuleList | None = None,
    ) -> None:
        self._policy = policy
        self._provider = provider
        self._allowed_hashes = frozenset(allowed_hashes)
        self._rules = rules or load_rules()

    async def check(self, texts: Iterable[FieldText], provider_seconds: float = QUICK_SECONDS) -> list[Finding]:
        """Return what the policy flags or refuses, by field and position. Allowed texts have no findings.

        After `provider_seconds` without an answer of the provider, the rules alone decide.
        """
        checked = [(each, hash_text(each.text)) for each in texts if each.text]
        checked = [(each, digest) for each, digest in checked if digest not in self._allowed_hashes]
        if not checked:
            return []
        bodies = [each.text for each, _ in checked]
        by_rules, by_provider = await asyncio.gather(
            self._match_rules(bodies), self._classify(bodies, provider_seconds)
        )
        findings = []
        for (each, digest), matches, categories in zip(checked, by_rules, by_provider, strict=True):
            found = {match.category for match in matches}
            # A provider gives no position: its finding is the whole text, unless a rule has found the place.
            whole = [Match(category, 0, len(each.text)) for category in sorted(categories) if category not in found]
            for match in (*matches, *whole):
                action = self._policy[match.category]
                if action is not Action.ALLOW:
                    findings.append(Finding(each.field, match, action, digest))
        return findings

    async def _match_rules(self, texts: Sequence[str]) -> list[list[Match]]:
        def match_all() -> list[list[Match]]:
            return [self._rules.find_matches(text) for text in texts]

        return await asyncio.get_running_loop().run_in_executor(_EXECUTOR, match_all)

    async def _classify(self, texts: Sequence[str], seconds: float) -> Sequence[Collection[Category]]:
        """Return the categories of the provider; none when there is no provider, or it fails or is slow."""
        if self._provider is None:
            return [()] * len(texts)
        try:
            return await self._provider.classify(texts, seconds)
        except ProviderUnavailable as failure:
            log.warning("moderation by rules alone", provider=self._provider.name, error=str(failure))
            return [()] * len(texts)


def refusals(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings that refuse their text."""
    return [finding for finding in findings if finding.action is Action.REFUSE]


def refuse(findings: Iterable[Finding]) -> None:
    """Raise `InvalidArgument` (CONTENT_REFUSED) with each field, category and position that is refused, if any is."""
    refused = refusals(findings)[:MAX_MATCHES]
    if not refused:
        return
    first = refused[0]
    raise InvalidArgument(
        f"{first.field}: the rules of this platform do not allow the text ({first.description}); change it, or ask an "
        f"administrator to allow the text with the SHA-256 {first.text_hash}",
        reason=CONTENT_REFUSED,
        violations=[Violation(finding.field, finding.description) for finding in refused],
    )


def describe_flags(findings: Iterable[Finding]) -> list[str]:
    """Return a message for each field with flagged findings; the places of one field share a message."""
    by_field: dict[str, list[str]] = {}
    for finding in findings:
        if finding.action is Action.FLAG:
            by_field.setdefault(finding.field, []).append(finding.description)
    return [
        f"{field}: the text may break the rules of this platform ({'; '.join(places[:MAX_MATCHES])})"[:1000]
        for field, places in by_field.items()
    ]


def hash_text(text: str) -> str:
    """Return the SHA-256 of a text in hexadecimal, by which a deployment allows it."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
