"""Checks: moderate the texts of a call, and record in the audit log what is flagged or refused."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from moneyprinter import contract
from services.content.moderation.moderation import (
    CONTENT_FLAGGED,
    CONTENT_REFUSED,
    QUICK_SECONDS,
    FieldText,
    Finding,
    Moderator,
    describe_flags,
    refuse,
)
from services.content.moderation.policy import Action
from services.content.moderation.rules import MAX_MATCHES
from services.runtime import identity
from services.runtime.audit import AuditBuffer


class TextChecks:
    """Checks the texts of the running call, which a method of this service serves."""

    def __init__(self, moderator: Moderator, audit: AuditBuffer) -> None:
        self._moderator = moderator
        self._audit = audit

    async def check(
        self,
        texts: Sequence[FieldText],
        method: str,
        *,
        account_id: str = "",
        flagged_before: Collection[str] = (),
        provider_seconds: float = QUICK_SECONDS,
    ) -> list[str]:
        """Return a message for each field that is flagged.

        Args:
            texts: The texts, with their fields.
            method: The method that checks them (`/package.Service/Method`).
            account_id: The account whose texts they are, where the call has no user.
            flagged_before: Fields that an earlier check has flagged: here they can only be refused.
            provider_seconds: How long the provider of moderation may take.

        Raises `InvalidArgument` (CONTENT_REFUSED) when the policy refuses a text.
        """
        findings = [
            finding
            for finding in await self._moderator.check(texts, provider_seconds)
            if finding.action is Action.REFUSE or finding.field not in flagged_before
        ]
        for finding in findings[:MAX_MATCHES]:
            self._record(finding, method, account_id)
        refuse(findings)
        return describe_flags(findings)

    def _record(self, finding: Finding, method: str, account_id: str) -> None:
        """Record a finding: its category and position, and the hash of the text, but not the text."""
        event = self._audit.new_event(
            contract.audit_action(method),
            target=account_id,
            result=CONTENT_REFUSED if finding.action is Action.REFUSE else CONTENT_FLAGGED,
            address=identity.client_address(),
            method=method,
            details={
                "category": finding.match.category,
                "field": finding.field,
                "characters": f"{finding.match.start}-{finding.match.end}",
                "text_hash": finding.text_hash,
            },
        )
        self._audit.record(event)
