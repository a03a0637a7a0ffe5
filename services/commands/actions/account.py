"""The account from the command line: its settings and its usage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from moneyprinter.client import Client
from moneyprinter.video.v1 import library_service_pb2 as library_pb
from services.commands.actions.request_files import parse_pronunciations
from services.commands.actions.sessions import open_client
from services.commands.targets import Target


async def show_retention(target: Target, days: int | None, console: Console) -> None:
    """Print how long videos and uploads are kept, after setting it when `days` is given."""
    async with open_client(target) as client:
        settings = await _change_settings(client, library_pb.LibrarySettings(retention_days=days))
    _print_retention(settings, console)


async def _change_settings(client: Client, changes: library_pb.LibrarySettings) -> library_pb.LibrarySettings:
    """Set the given fields, if there are any, and return all settings."""
    if not changes.ListFields():
        return (await client.library.GetSettings(library_pb.GetSettingsRequest())).settings
    return (await client.library.UpdateSettings(library_pb.UpdateSettingsRequest(settings=changes))).settings


def _print_retention(settings: library_pb.LibrarySettings, console: Console) -> None:
    console.print(
        f"Videos and uploads are kept for {settings.retention_days} days."
        if settings.retention_days
        else "Videos and uploads are kept until they are deleted."
    )


@dataclass(frozen=True)
class LexiconChanges:
    """The pronunciations that are added, and the words whose pronunciations are removed."""

    added: Sequence[library_pb.Pronunciation]
    removed: Sequence[str]

    def apply(self, lexicon: library_pb.Lexicon) -> library_pb.Lexicon:
        """Return a changed lexicon."""
        replaced = {(entry.term, entry.language) for entry in self.added}
        kept = (e for e in lexicon.entries if e.term not in self.removed and (e.term, e.language) not in replaced)
        return library_pb.Lexicon(entries=[*kept, *self.added])


def parse_lexicon_changes(added: Sequence[str], removed: Sequence[str]) -> LexiconChanges:
    """Parse `WORD=SPOKEN` and `LANGUAGE:WORD=SPOKEN` entries. Raises `WrongRequest` for another form."""
    entries = []
    for name, spoken in parse_pronunciations(added).items():
        language, _, term = name.rpartition(":")
        entries.append(library_pb.Pronunciation(term=term, pronunciation=spoken, language=language))
    return LexiconChanges(entries, removed)


async def show_settings(target: Target, days: int | None, changes: LexiconChanges, console: Console) -> None:
    """Print the settings of the account, after the given changes."""
    new = library_pb.LibrarySettings(retention_days=days)
    async with open_client(target) as client:
        if changes.added or changes.removed:
            old = (await client.library.GetSettings(library_pb.GetSettingsRequest())).settings.lexicon
            new.lexicon.CopyFrom(changes.apply(old))
        settings = await _change_settings(client, new)
    _print_retention(settings, console)
    table = Table("word", "spoken", "language")
    for entry in settings.lexicon.entries:
        table.add_row(escape(entry.term), escape(entry.pronunciation), entry.language or "all")
    if settings.lexicon.entries:
        console.print(table)


async def show_usage(target: Target, console: Console) -> None:
    """Print the usage and the limits of the account."""
    async with open_client(target) as client:
        usage = await client.library.GetUsage(library_pb.GetUsageRequest())
    table = Table("", "used", "limit")
    for name, used, limit in (
        ("uploads and videos", f"{usage.files}", f"{usage.max_files}"),
        ("their size", f"{usage.bytes / 1e6:,.1f} MB", f"{usage.max_bytes / 1e6:,.0f} MB"),
        ("unfinished jobs", f"{usage.jobs}", f"{usage.max_jobs}"),
        (
            "downloaded clips in 24 hours",
            f"{usage.fetched_bytes / 1e6:,.1f} MB",
            f"{usage.max_fetched_bytes / 1e6:,.0f} MB",
        ),
        ("minutes of video in 24 hours", f"{usage.minutes:.1f}", f"{usage.max_minutes:.0f}"),
    ):
        table.add_row(name, used, "none" if limit.split()[0] == "0" else limit)
    limit = f"{usage.max_cost:.4f}" if usage.HasField("max_cost") else "none"
    table.add_row("cost of providers this month", f"{usage.cost:.4f}", limit)
    console.print(table)


async def set_cost_limit(target: Target, account: str, amount: float | None, console: Console) -> None:
    """Set what providers may charge for an account in a month; None: the limit of the platform's settings."""
    async with open_client(target) as client:
        await client.library.SetCostLimit(library_pb.SetCostLimitRequest(account_id=account, max_cost=amount))
    shown = "the limit of the platform's settings" if amount is None else f"a limit of {amount:g} a month"
    console.print(f"{escape(account)} has {shown}.")
