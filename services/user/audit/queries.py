"""Queries: administrators read and verify the audit log."""

from __future__ import annotations

from services.runtime.pagination import PageRequest
from services.user.audit.audit_log import AuditLog
from services.user.audit.model import Head, Record, RecordFilter, Verification
from services.user.authorization import require_administrator
from services.user.context import Actor, Context


async def list_records(
    context: Context, audit_log: AuditLog, actor: Actor, record_filter: RecordFilter, request: PageRequest
) -> tuple[list[Record], str]:
    """Return a page of matching records, newest first, and the token of the next page."""
    await require_administrator(context, actor)
    return await audit_log.list_page(record_filter, request.size, request.token)


async def verify_log(context: Context, audit_log: AuditLog, actor: Actor, known_head: Head) -> Verification:
    """Verify the whole audit log. Raises `ResourceExhausted` while another verification is running."""
    await require_administrator(context, actor)
    return await audit_log.verify(known_head)
