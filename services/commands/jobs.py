"""Jobs: the commands that look after videos and uploads, and what failed."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from services.commands.terminal import Data, folder_of, out

app = typer.Typer()


@app.command(epilog="Examples: [bold]moneyprinter status[/] · [bold]moneyprinter status vid_12345abc[/]")
def status(
    job: Annotated[str | None, typer.Argument(help="A job; without it, the newest ones are listed.")] = None,
    data: Data = None,
) -> None:
    """Say how far a video is, or list the newest."""
    from services.commands import make as making

    where = folder_of(data)
    asyncio.run(making.show_job(where, job, out) if job else making.show_jobs(where, out))


@app.command(epilog="Example: [bold]moneyprinter cancel vid_12345abc[/]")
def cancel(job: Annotated[str, typer.Argument(help="The job.")], data: Data = None) -> None:
    """End a job that is not finished; what works on it stops."""
    from services.commands import control

    asyncio.run(control.cancel(folder_of(data), job, out))


@app.command(epilog="Example: [bold]moneyprinter retry vid_12345abc[/]")
def retry(job: Annotated[str, typer.Argument(help="The job.")], data: Data = None) -> None:
    """Go on with a failed or cancelled job; what was done is not done again."""
    from services.commands import control

    asyncio.run(control.retry(folder_of(data), job, out))


@app.command(epilog="Example: [bold]moneyprinter delete vid_12345abc[/]")
def delete(job: Annotated[str, typer.Argument(help="The job.")], data: Data = None) -> None:
    """Delete a video and its files; a job that is not finished is cancelled first."""
    from services.commands import control

    asyncio.run(control.delete(folder_of(data), job, out))


deadletter = typer.Typer(help="What failed for good: list it, show what was tried, and retry it.", no_args_is_help=True)
app.add_typer(deadletter, name="deadletter")


@deadletter.command("list", epilog="Example: [bold]moneyprinter deadletter list[/]")
def list_dead_letters(data: Data = None) -> None:
    """List what failed, newest first."""
    from services.commands import control

    asyncio.run(control.show_dead_letters(folder_of(data), out))


@deadletter.command("show", epilog="Example: [bold]moneyprinter deadletter show vid_12345abc[/]")
def show_dead_letter(job: Annotated[str, typer.Argument(help="The job.")], data: Data = None) -> None:
    """Show why a job failed, and what was tried."""
    from services.commands import control

    asyncio.run(control.show_dead_letter(folder_of(data), job, out))


@deadletter.command("retry", epilog="Example: [bold]moneyprinter deadletter retry vid_12345abc[/]")
def retry_dead_letter(job: Annotated[str, typer.Argument(help="The job.")], data: Data = None) -> None:
    """Go on with a job that failed, from the step that failed."""
    from services.commands import control

    asyncio.run(control.retry(folder_of(data), job, out))


uploads = typer.Typer(help="What was uploaded: list it, and delete it.", no_args_is_help=True)
app.add_typer(uploads, name="uploads")


@uploads.command("list", epilog="Example: [bold]moneyprinter uploads list[/]")
def list_uploads(data: Data = None) -> None:
    """List what was uploaded, newest first."""
    from services.commands import control

    asyncio.run(control.show_uploads(folder_of(data), out))


@uploads.command("delete", epilog="Example: [bold]moneyprinter uploads delete ast_12345abc[/]")
def delete_upload(upload: Annotated[str, typer.Argument(help="The upload.")], data: Data = None) -> None:
    """Delete an upload; videos that were made of it stay."""
    from services.commands import control

    asyncio.run(control.delete_upload(folder_of(data), upload, out))


@app.command(epilog="Examples: [bold]moneyprinter retention[/] · [bold]moneyprinter retention 30[/]")
def retention(
    days: Annotated[
        int | None, typer.Argument(min=0, max=3650, help="For how many days from now on; 0: until they are deleted.")
    ] = None,
    data: Data = None,
) -> None:
    """Say for how long your videos and uploads are kept, or choose it."""
    from services.commands import control

    asyncio.run(control.retention(folder_of(data), days, out))


@app.command(epilog='Example: [bold]curl -H "Authorization: Bearer $(moneyprinter token)" localhost:8080/v1/videos[/]')
def token(data: Data = None) -> None:
    """Print an access token of the first account, good for 15 minutes."""
    from services.commands import make as making

    print(asyncio.run(making.access_token(folder_of(data))))
