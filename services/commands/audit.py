"""Audit: the commands `moneyprinter audit ...`."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from services.commands.targets import parse_target
from services.commands.terminal import Data, out

app = typer.Typer(
    help="What was done, by whom, and how it ended: read the audit trail, verify it.", no_args_is_help=True
)


@app.command(
    "list",
    epilog="Examples: [bold]moneyprinter audit list --action sign_in --result CREDENTIALS_WRONG[/] ·"
    " [bold]moneyprinter audit list --action job. --actor user_1a2b[/] ·"
    " [bold]moneyprinter audit list --target vid_12345abc --from 2025-01-29T10:00:00Z[/]",
)
def list_audit(
    actor: Annotated[str, typer.Option(help="An account's id, or a workload's SPIFFE id.")] = "",
    action: Annotated[str, typer.Option(help="For example sign_in, or job. for all that begin so.")] = "",
    target: Annotated[str, typer.Option(help="What it was done to: a job, an account, an object's key ...")] = "",
    result: Annotated[str, typer.Option(help="OK, or a reason, for example ROLE_MISSING.")] = "",
    from_time: Annotated[str, typer.Option("--from", metavar="TIME", help="The first moment.")] = "",
    to_time: Annotated[str, typer.Option("--to", metavar="TIME", help="The moment before which it was.")] = "",
    limit: Annotated[int, typer.Option(help="How many at most.", min=1)] = 50,
    data: Data = None,
) -> None:
    """List what was done, newest first."""
    from moneyprinter.user.v1.audit_service_pb2 import ListAuditRecordsRequest
    from services.commands import control

    wanted = ListAuditRecordsRequest(
        actor=actor, action=action, target=target, result=result, from_time=from_time, to_time=to_time
    )
    asyncio.run(control.show_audit(parse_target(data), wanted, limit, out))


@app.command(
    "verify",
    epilog="Examples: [bold]moneyprinter audit verify[/] · [bold]moneyprinter audit verify --known 4711:9f86d0...[/]."
    " Keep what it prints: given to the next one, it shows whether records were removed from the end meanwhile.",
)
def verify_audit(
    known: Annotated[
        str,
        typer.Option(
            metavar="COUNT:HASH", help="What a former one printed.", show_default="of the last on this folder"
        ),
    ] = "",
    data: Data = None,
) -> None:
    """Say whether the audit trail is as it was written; ends with 1 when it is not."""
    from services.commands import control

    if not asyncio.run(control.verify_audit(parse_target(data), known, out)):
        raise typer.Exit(1)
