"""Dead letters from the command line: list and show the jobs that failed for good."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from moneyprinter.video.v1 import video_service_pb2 as pb
from services.commands.actions.paging import list_pages
from services.commands.actions.sessions import open_client
from services.commands.targets import Target


async def show_dead_letters(target: Target, console: Console) -> None:
    """Print all jobs that failed for good."""
    table = Table(Column("job", no_wrap=True, min_width=20), "title", "stage", "reason", "failed at")
    async with open_client(target) as client:
        async for page in list_pages(client.videos.ListDeadLetters, pb.ListDeadLettersRequest(page_size=100)):
            for letter in page.dead_letters:
                table.add_row(
                    letter.job_id, escape(letter.title), letter.stage, letter.error.reason, letter.create_time
                )
    console.print(table if table.row_count else "No job has failed.")


async def show_dead_letter(target: Target, job_id: str, console: Console) -> None:
    """Print why a job failed, and its attempts."""
    async with open_client(target) as client:
        letter = (await client.videos.GetDeadLetter(pb.GetDeadLetterRequest(job_id=job_id))).dead_letter
    console.print(f"[bold]{escape(letter.title)}[/] ({letter.job_id}) failed at {letter.create_time} in {letter.stage}")
    console.print(f"  [red]{escape(letter.error.message)}[/] ({letter.error.reason})")
    for attempt in letter.attempts:
        error = f": {escape(attempt.error.message)} ({attempt.error.reason})" if attempt.HasField("error") else ""
        ended = attempt.end_time or "?"
        console.print(f"  attempt {attempt.number}, {attempt.start_time} to {ended}, {attempt.outcome}{error}")
