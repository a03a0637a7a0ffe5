"""Control: cancel, retry and delete videos and uploads from the command line, and see what failed."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from moneyprinter.video.v1 import library_service_pb2 as library_pb
from moneyprinter.video.v1 import video_service_pb2 as pb
from services.make import signed_in


async def cancel(data: Path, job_id: str, console: Console) -> None:
    """End a job that is not finished."""
    async with signed_in(data) as client:
        status = (await client.videos.CancelVideo(pb.CancelVideoRequest(job_id=job_id))).status
    console.print(f"{escape(job_id)} is cancelled; {status.progress} % of it was done")


async def retry(data: Path, job_id: str, console: Console) -> None:
    """Go on with a failed or cancelled job."""
    async with signed_in(data) as client:
        job = await client.videos.RetryVideo(pb.RetryVideoRequest(job_id=job_id))
    console.print(f"{escape(job_id)} goes on; it is expected at {job.estimated_completion}")


async def delete(data: Path, job_id: str, console: Console) -> None:
    """Delete a video and its files."""
    async with signed_in(data) as client:
        await client.videos.DeleteVideo(pb.DeleteVideoRequest(job_id=job_id))
    console.print(f"{escape(job_id)} is deleted")


async def show_dead_letters(data: Path, console: Console) -> None:
    """Print what failed, all pages of it."""
    table = Table(Column("job", no_wrap=True, min_width=20), "title", "stage", "reason", "failed at")
    async with signed_in(data) as client:
        request = pb.ListDeadLettersRequest(page_size=100)
        while True:
            page = await client.videos.ListDeadLetters(request)
            for letter in page.dead_letters:
                table.add_row(
                    letter.job_id, escape(letter.title), letter.stage, letter.error.reason, letter.create_time
                )
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
    console.print(table if table.row_count else "Nothing has failed.")


async def show_dead_letter(data: Path, job_id: str, console: Console) -> None:
    """Print why a job failed, and what was tried."""
    async with signed_in(data) as client:
        letter = (await client.videos.GetDeadLetter(pb.GetDeadLetterRequest(job_id=job_id))).dead_letter
    console.print(f"[bold]{escape(letter.title)}[/] ({letter.job_id}) failed at {letter.create_time} in {letter.stage}")
    console.print(f"  [red]{escape(letter.error.message)}[/] ({letter.error.reason})")
    for attempt in letter.attempts:
        why = f": {escape(attempt.error.message)} ({attempt.error.reason})" if attempt.HasField("error") else ""
        ended = attempt.end_time or "?"
        console.print(f"  attempt {attempt.number}, {attempt.start_time} to {ended}, {attempt.outcome}{why}")


async def show_uploads(data: Path, console: Console) -> None:
    """Print what was uploaded, all pages of it."""
    table = Table(Column("upload", no_wrap=True, min_width=20), "file", "size", "uploaded at")
    async with signed_in(data) as client:
        request = library_pb.ListAssetsRequest(page_size=100)
        while True:
            page = await client.library.ListAssets(request)
            for asset in page.assets:
                size = f"{asset.size_bytes / 1e6:.1f} MB"
                table.add_row(asset.asset_id, escape(asset.filename), size, asset.create_time)
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
    console.print(table if table.row_count else "Nothing is uploaded.")


async def delete_upload(data: Path, asset_id: str, console: Console) -> None:
    """Delete an upload."""
    async with signed_in(data) as client:
        await client.library.DeleteAsset(library_pb.DeleteAssetRequest(asset_id=asset_id))
    console.print(f"{escape(asset_id)} is deleted")


async def retention(data: Path, days: int | None, console: Console) -> None:
    """Say how long videos and uploads are kept, after choosing it when `days` is given."""
    async with signed_in(data) as client:
        if days is not None:
            chosen = library_pb.LibrarySettings(retention_days=days)
            await client.library.UpdateSettings(library_pb.UpdateSettingsRequest(settings=chosen))
        kept = (await client.library.GetSettings(library_pb.GetSettingsRequest())).settings.retention_days
    console.print(f"Videos and uploads are kept for {kept} days." if kept else "They are kept until they are deleted.")
