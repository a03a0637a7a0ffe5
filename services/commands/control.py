"""Control: what is asked of a platform by the command line: videos, uploads, webhooks, the audit trail, what failed."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from moneyprinter.user.v1 import audit_service_pb2 as audit
from moneyprinter.video.v1 import library_service_pb2 as library_pb
from moneyprinter.video.v1 import video_service_pb2 as pb
from moneyprinter.video.v1 import webhook_service_pb2 as hooks
from services.commands.errors import WrongRequest
from services.commands.sessions import signed_in
from services.commands.targets import Target
from services.embedded import data_folder

# What the last verification of a folder's trail told.
VERIFIED = "audit-verified"

FAULTS = {
    "REMOVED": "is missing",
    "CHANGED": "is not the one that was written there",
    "FORGED": "was not written by this platform",
    "CUT": "was there once, and is missing: the end of the trail was removed",
}


async def cancel(target: Target, job_id: str, console: Console) -> None:
    """End a job that is not finished."""
    async with signed_in(target) as client:
        status = (await client.videos.CancelVideo(pb.CancelVideoRequest(job_id=job_id))).status
    console.print(f"{escape(job_id)} is cancelled; {status.progress} % of it was done")


async def retry(target: Target, job_id: str, console: Console) -> None:
    """Go on with a failed or cancelled job."""
    async with signed_in(target) as client:
        job = await client.videos.RetryVideo(pb.RetryVideoRequest(job_id=job_id))
    console.print(f"{escape(job_id)} goes on; it is expected at {job.estimated_completion}")


async def delete(target: Target, job_id: str, console: Console) -> None:
    """Delete a video and its files."""
    async with signed_in(target) as client:
        await client.videos.DeleteVideo(pb.DeleteVideoRequest(job_id=job_id))
    console.print(f"{escape(job_id)} is deleted")


async def _pages(ask: Callable[[Any], Awaitable[Any]], request: Any) -> AsyncIterator[Any]:
    """The pages of a list, from the one that is asked for on."""
    while True:
        page = await ask(request)
        yield page
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


async def show_dead_letters(target: Target, console: Console) -> None:
    """Print what failed, all pages of it."""
    table = Table(Column("job", no_wrap=True, min_width=20), "title", "stage", "reason", "failed at")
    async with signed_in(target) as client:
        async for page in _pages(client.videos.ListDeadLetters, pb.ListDeadLettersRequest(page_size=100)):
            for letter in page.dead_letters:
                table.add_row(
                    letter.job_id, escape(letter.title), letter.stage, letter.error.reason, letter.create_time
                )
    console.print(table if table.row_count else "Nothing has failed.")


async def show_dead_letter(target: Target, job_id: str, console: Console) -> None:
    """Print why a job failed, and what was tried."""
    async with signed_in(target) as client:
        letter = (await client.videos.GetDeadLetter(pb.GetDeadLetterRequest(job_id=job_id))).dead_letter
    console.print(f"[bold]{escape(letter.title)}[/] ({letter.job_id}) failed at {letter.create_time} in {letter.stage}")
    console.print(f"  [red]{escape(letter.error.message)}[/] ({letter.error.reason})")
    for attempt in letter.attempts:
        why = f": {escape(attempt.error.message)} ({attempt.error.reason})" if attempt.HasField("error") else ""
        ended = attempt.end_time or "?"
        console.print(f"  attempt {attempt.number}, {attempt.start_time} to {ended}, {attempt.outcome}{why}")


async def show_uploads(target: Target, console: Console) -> None:
    """Print what was uploaded, all pages of it."""
    table = Table(Column("upload", no_wrap=True, min_width=20), "file", "size", "uploaded at")
    async with signed_in(target) as client:
        async for page in _pages(client.library.ListAssets, library_pb.ListAssetsRequest(page_size=100)):
            for asset in page.assets:
                size = f"{asset.size_bytes / 1e6:.1f} MB"
                table.add_row(asset.asset_id, escape(asset.filename), size, asset.create_time)
    console.print(table if table.row_count else "Nothing is uploaded.")


async def delete_upload(target: Target, asset_id: str, console: Console) -> None:
    """Delete an upload."""
    async with signed_in(target) as client:
        await client.library.DeleteAsset(library_pb.DeleteAssetRequest(asset_id=asset_id))
    console.print(f"{escape(asset_id)} is deleted")


async def retention(target: Target, days: int | None, console: Console) -> None:
    """Say how long videos and uploads are kept, after choosing it when `days` is given."""
    async with signed_in(target) as client:
        if days is not None:
            chosen = library_pb.LibrarySettings(retention_days=days)
            await client.library.UpdateSettings(library_pb.UpdateSettingsRequest(settings=chosen))
        kept = (await client.library.GetSettings(library_pb.GetSettingsRequest())).settings.retention_days
    console.print(f"Videos and uploads are kept for {kept} days." if kept else "They are kept until they are deleted.")


async def show_usage(target: Target, console: Console) -> None:
    """Print how much the account uses, and how much it may use."""
    async with signed_in(target) as client:
        usage = await client.library.GetUsage(library_pb.GetUsageRequest())
    table = Table("", "used", "limit")
    for name, used, limit in (
        ("uploads and videos", f"{usage.files}", f"{usage.max_files}"),
        ("their size", f"{usage.bytes / 1e6:,.1f} MB", f"{usage.max_bytes / 1e6:,.0f} MB"),
        ("jobs that have not ended", f"{usage.jobs}", f"{usage.max_jobs}"),
        (
            "fetched for them in 24 hours",
            f"{usage.fetched_bytes / 1e6:,.1f} MB",
            f"{usage.max_fetched_bytes / 1e6:,.0f} MB",
        ),
        ("minutes of video in 24 hours", f"{usage.minutes:.1f}", f"{usage.max_minutes:.0f}"),
    ):
        table.add_row(name, used, "none" if limit.split()[0] == "0" else limit)
    console.print(table)


async def show_audit(target: Target, wanted: audit.ListAuditRecordsRequest, limit: int, console: Console) -> None:
    """Print the newest records of the audit trail that fit, a line each."""
    shown = 0
    async with signed_in(target) as client:
        while shown < limit:
            wanted.page_size = min(limit - shown, 500)
            page = await client.audit.ListAuditRecords(wanted)
            for record in page.records:
                console.print(_line(record))
            shown += len(page.records)
            if not page.next_page_token:
                break
            wanted.page_token = page.next_page_token
    if not shown:
        console.print("There is nothing of that kind.")


def _line(record: audit.AuditRecord) -> str:
    event = record.event
    when = event.time.ToDatetime().isoformat(timespec="milliseconds")
    by = event.actor or "nobody known"
    what = f"{event.action} {event.target}" if event.target else event.action
    if event.action == "call":
        what = f"call {event.method}"
    where = f" from {event.address}" if event.address else ""
    ended = "" if event.result == "OK" else f" [red]{escape(event.result)}[/]"
    more = " ".join(f"{name}={value}" for name, value in sorted(event.details.items()))
    return (
        f"{record.number} {when}Z [bold]{escape(what)}[/]{ended} by {escape(by)}{escape(where)} {escape(more)}".rstrip()
    )


async def verify_audit(target: Target, known: str, console: Console) -> bool:
    """Verify the audit trail, print what was found, and say whether it is intact.

    `known` is what a former verification printed, `COUNT:HASH`; without it, what the last one on this folder did.
    """
    file = target.state / VERIFIED
    request = _known(known or (file.read_text().strip() if file.exists() else ""))
    async with signed_in(target) as client:
        found = await client.audit.VerifyAuditTrail(request)
    if not found.intact:
        console.print(f"[bold red]The audit trail is broken:[/] record {found.fault_number} {FAULTS[found.fault]}.")
        console.print(f"The {found.record_count} records before it are as they were written.")
        return False
    console.print(f"The audit trail is intact: [bold]{found.record_count}:{found.head_hash}[/]")
    if request.known_count:
        console.print(f"It holds what it held when {request.known_count} records were verified.")
    data_folder.write_private(file, f"{found.record_count}:{found.head_hash}\n".encode())
    return True


def _known(text: str) -> audit.VerifyAuditTrailRequest:
    if not text:
        return audit.VerifyAuditTrailRequest()
    count, _, head = text.partition(":")
    if not re.fullmatch(r"[0-9]{1,18}", count) or not re.fullmatch(r"[0-9a-f]{64}", head):
        raise WrongRequest(f"{text!r} is nothing that `moneyprinter audit verify` printed: give COUNT:HASH")
    return audit.VerifyAuditTrailRequest(known_count=int(count), known_hash=head)


async def show_webhooks(target: Target, webhook_id: str, status: str, console: Console) -> None:
    """Print where events are posted, and a page of what was posted last."""
    table = Table(Column("webhook", no_wrap=True, min_width=20), "address", "events", "state")
    posted = Table(Column("delivery", no_wrap=True, min_width=36), "event", "job", "status", "tries", "made at")
    async with signed_in(target) as client:
        for webhook in (await client.webhooks.ListWebhooks(hooks.ListWebhooksRequest(page_size=100))).webhooks:
            types = ", ".join(kind.rpartition(".")[2] for kind in webhook.event_types) or "all"
            state = f"gone since {webhook.disable_time}" if webhook.disable_time else "in use"
            table.add_row(webhook.webhook_id, escape(webhook.url) or "of single requests", types, state)
        request = hooks.ListWebhookDeliveriesRequest(webhook_id=webhook_id, status=status)
        for each in (await client.webhooks.ListWebhookDeliveries(request)).deliveries:
            kind = each.event_type.rpartition(".")[2]
            posted.add_row(each.delivery_id, kind, each.job_id, each.status, str(each.tries), each.create_time)
    console.print(table if table.row_count else "There are no webhooks.")
    console.print(posted if posted.row_count else "Nothing was posted.")


async def add_webhook(target: Target, url: str, event_types: Sequence[str], console: Console) -> None:
    """Have events posted to an address, and print the secret."""
    async with signed_in(target) as client:
        made = await client.webhooks.CreateWebhook(hooks.CreateWebhookRequest(url=url, event_types=event_types))
    _print_secret(made.webhook, made.secret, console)


async def rotate_webhook(target: Target, webhook_id: str, console: Console) -> None:
    """Make a new secret, and print it."""
    async with signed_in(target) as client:
        made = await client.webhooks.RotateWebhookSecret(hooks.RotateWebhookSecretRequest(webhook_id=webhook_id))
    _print_secret(made.webhook, made.secret, console)


def _print_secret(webhook: hooks.Webhook, secret: str, console: Console) -> None:
    where = escape(webhook.url) or "what single requests name as webhook_url"
    console.print(f"{webhook.webhook_id} posts to {where}. Its secret, which is not shown again:")
    console.print(secret, soft_wrap=True)


async def remove_webhook(target: Target, webhook_id: str, console: Console) -> None:
    """Have nothing posted to an address any more."""
    async with signed_in(target) as client:
        await client.webhooks.DeleteWebhook(hooks.DeleteWebhookRequest(webhook_id=webhook_id))
    console.print(f"{escape(webhook_id)} is removed")


async def show_delivery(target: Target, delivery_id: str, console: Console) -> None:
    """Print what was posted, and what was answered."""
    async with signed_in(target) as client:
        request = hooks.GetWebhookDeliveryRequest(delivery_id=delivery_id)
        delivery = (await client.webhooks.GetWebhookDelivery(request)).delivery
    when = f", next at {delivery.next_time}" if delivery.next_time else ""
    console.print(f"[bold]{delivery.event_id}[/] to {escape(delivery.url)} is {delivery.status}{when}")
    for tried in delivery.history:
        said = escape(tried.error) or f"answered {tried.http_status}"
        console.print(f"  {tried.time}, {tried.seconds:.2f} s: {said}")
    console.print(escape(delivery.body), soft_wrap=True)


async def replay_delivery(target: Target, delivery_id: str, console: Console) -> None:
    """Post an event again."""
    async with signed_in(target) as client:
        request = hooks.ReplayWebhookDeliveryRequest(delivery_id=delivery_id)
        delivery = (await client.webhooks.ReplayWebhookDelivery(request)).delivery
    console.print(f"{delivery.event_id} is posted to {escape(delivery.url)} again")
