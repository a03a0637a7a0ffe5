"""The audit log from the command line: list its records, and verify their chain."""

from __future__ import annotations

import re

from rich.console import Console
from rich.markup import escape

from moneyprinter.user.v1 import audit_service_pb2 as audit
from services.commands.actions.sessions import open_client
from services.commands.errors import WrongRequest
from services.commands.targets import Target
from services.embedded import data_folder

# The file with the result of the last verification.
VERIFIED_FILE = "audit-verified"

COLUMNS = 80

FAULT_MESSAGES = {
    "REMOVED": "is missing",
    "CHANGED": "is not the one that was written there",
    "FORGED": "was not written by this platform",
    "CUT": "is missing: the end of the log was removed",
}


async def show_audit(
    target: Target, request: audit.ListAuditRecordsRequest, limit: int, console: Console, *, wide: bool = False
) -> None:
    """Print the newest matching records of the audit log, up to `limit`.

    Each has two lines of at most 80 columns; with `wide`, one line with all of its details.
    """
    shown = 0
    async with open_client(target) as client:
        while shown < limit:
            request.page_size = min(limit - shown, 500)
            page = await client.audit.ListAuditRecords(request)
            for record in page.records:
                console.print(_format_wide(record) if wide else _format_record(record))
            shown += len(page.records)
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
    if not shown:
        console.print("There are no such records.")


def _format_record(record: audit.AuditRecord) -> str:
    event = record.event
    start = f"{record.number} {event.time.ToDatetime().isoformat(sep=' ', timespec='seconds')} "
    what = event.method.rpartition("/")[2] if event.action == "call" else event.action
    ended = "" if event.result == "OK" else f" {event.result}"
    room = COLUMNS - len(start) - len(what) - len(ended) - 1
    aim = f" {_shorten(event.target, room)}" if event.target else ""
    result = f"[red]{escape(ended)}[/]" if ended else ""
    by = f"  by {_shorten(event.actor or 'unknown', COLUMNS // 2)}"
    where = f" from {event.address}" if event.address else ""
    return f"{start}[bold]{escape(what)}[/]{escape(aim)}{result}\n{escape(by + where)}"


def _shorten(text: str, room: int) -> str:
    """Shorten a text to `room` characters. Its end stays, which tells ids and names of services apart."""
    return text if len(text) <= room else f"…{text[len(text) - max(room, 9) + 1 :]}"


def _format_wide(record: audit.AuditRecord) -> str:
    event = record.event
    when = event.time.ToDatetime().isoformat(timespec="milliseconds")
    by = event.actor or "unknown"
    what = f"{event.action} {event.target}" if event.target else event.action
    if event.action == "call":
        what = f"call {event.method}"
    where = f" from {event.address}" if event.address else ""
    ended = "" if event.result == "OK" else f" [red]{escape(event.result)}[/]"
    more = " ".join(f"{name}={value}" for name, value in sorted(event.details.items()))
    return (
        f"{record.number} {when}Z [bold]{escape(what)}[/]{ended} by {escape(by)}{escape(where)} {escape(more)}".rstrip()
    )


async def verify_audit(target: Target, earlier: str, console: Console) -> bool:
    """Verify the audit log, print the result, and return whether the log is intact.

    `earlier` is the result of an earlier verification, `COUNT:HASH`; when empty, that of the last one on this folder.
    Raises `WrongRequest` when it has another form.
    """
    file = target.state_folder / VERIFIED_FILE
    request = _parse_result(earlier or (file.read_text().strip() if file.exists() else ""))
    async with open_client(target) as client:
        result = await client.audit.VerifyAuditLog(request)
    if not result.intact:
        console.print(
            f"[bold red]The audit log is broken:[/] record {result.fault_number} {FAULT_MESSAGES[result.fault]}."
        )
        console.print(f"The {result.record_count} records before it are unchanged.")
        return False
    console.print(f"The audit log is intact: [bold]{result.record_count}:{result.head_hash}[/]")
    if request.known_count:
        console.print(f"It continues the log of {request.known_count} records that was verified earlier.")
    data_folder.write_private(file, f"{result.record_count}:{result.head_hash}\n".encode())
    return True


def _parse_result(text: str) -> audit.VerifyAuditLogRequest:
    if not text:
        return audit.VerifyAuditLogRequest()
    count, _, head = text.partition(":")
    if not re.fullmatch(r"[0-9]{1,18}", count) or not re.fullmatch(r"[0-9a-f]{64}", head):
        raise WrongRequest(f"{text!r} is not a result of `moneyprinter audit verify`; give COUNT:HASH")
    return audit.VerifyAuditLogRequest(known_count=int(count), known_hash=head)
