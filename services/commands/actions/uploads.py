"""Uploads from the command line: upload, list and delete files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from moneyprinter.video.v1 import library_service_pb2 as library_pb
from services.commands.actions.make import progress_bars, progress_callback
from services.commands.actions.paging import list_pages
from services.commands.actions.sessions import open_client
from services.commands.errors import WrongRequest
from services.commands.targets import Target


async def upload_files(target: Target, files: Sequence[Path], console: Console) -> None:
    """Upload files and print their asset ids. Raises `WrongRequest` when a file does not exist."""
    if missing := [file for file in files if not file.is_file()]:
        raise WrongRequest(f"there is no file {missing[0]}")
    async with open_client(target) as client:
        for file in files:
            with progress_bars(console) as bars:
                bar = bars.add_task(f"Uploading {escape(file.name)}", total=max(1, file.stat().st_size))
                asset_id = await client.upload(file, progress_callback(bars, bar))
            console.print(f"[bold]{asset_id}[/] {escape(str(file))}")


async def show_uploads(target: Target, console: Console) -> None:
    """Print all uploaded files."""
    table = Table(Column("upload", no_wrap=True, min_width=20), "file", "size", "uploaded at")
    async with open_client(target) as client:
        async for page in list_pages(client.library.ListAssets, library_pb.ListAssetsRequest(page_size=100)):
            for asset in page.assets:
                size = f"{asset.size_bytes / 1e6:.1f} MB"
                table.add_row(asset.asset_id, escape(asset.filename), size, asset.create_time)
    console.print(table if table.row_count else "No file is uploaded.")


async def delete_upload(target: Target, asset_id: str, console: Console) -> None:
    """Delete an uploaded file."""
    async with open_client(target) as client:
        await client.library.DeleteAsset(library_pb.DeleteAssetRequest(asset_id=asset_id))
    console.print(f"{escape(asset_id)} is deleted")
