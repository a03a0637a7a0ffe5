"""The commands `moneyprinter audit ...`, for the audit log."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from services.commands.targets import parse_target
from services.commands.terminal import DataOption, out

app = typer.Typer(help="The audit log of actions, actors and results: list and verify it.", no_args_is_help=True)


@app.command(
    "list",
    epilog="Examples: [bold]moneyprinter audit list --action sign_in --result CREDENTIALS_WRONG[/] ·"
    " [bold]moneyprinter audit list --action job. --actor user_1a2b[/] ·"
    " [bold]moneyprinter audit list --target vid_12345abc --from 2025-01-29T10:00:00Z[/]",
)
def list_audit(
    actor: Annotated[str, typer.Option(help="The id of an account, or the SPIFFE id of a workload.")] = "",
    action: Annotated[
        str, typer.Option(help="The action, for example sign_in; job. matches all actions with that prefix.")
    ] = "",
    target: Annotated[str, typer.Option(help="The object of the action: a job, an account, an object key, ...")] = "",
    result: Annotated[str, typer.Option(help="OK, or an error reason, for example ROLE_MISSING.")] = "",
    from_time: Annotated[str, typer.Option("--from", metavar="TIME", help="Only records from this time on.")] = "",
    to_time: Annotated[str, typer.Option("--to", metavar="TIME", help="Only records before this time.")] = "",
    limit: Annotated[int, typer.Option(help="The largest number of records to list.", min=1)] = 50,
    every: Annotated[
        bool,
        typer.Option(
            "--all",
            help="Also list what services do all the time, such as object.read. Any filter but the time does so, too.",
        ),
    ] = False,
    wide: Annotated[bool, typer.Option("--wide", help="One line for each record, with all of its details.")] = False,
    data: DataOption = None,
) -> None:
    """List audit records, newest first."""
    from moneyprinter.user.v1.audit_service_pb2 import ListAuditRecordsRequest
    from services.commands.actions import audit

    request = ListAuditRecordsRequest(
        actor=actor,
        action=action,
        target=target,
        result=result,
        from_time=from_time,
        to_time=to_time,
        omit_routine=not (every or actor or action or target or result),
    )
    asyncio.run(audit.show_audit(parse_target(data), request, limit, out, wide=wide))


@app.command(
    "verify",
    epilog="Examples: [bold]moneyprinter audit verify[/] · [bold]moneyprinter audit verify --known 4711:9f86d0...[/]."
    " Store the printed COUNT:HASH: with it, a later run detects records removed from the end.",
)
def verify_audit(
    known: Annotated[
        str,
        typer.Option(
            metavar="COUNT:HASH",
            help="The output of an earlier run.",
            show_default="that of the last run on this folder",
        ),
    ] = "",
    data: DataOption = None,
) -> None:
    """Verify that the audit log is unchanged. Exits with 1 when it is not."""
    from services.commands.actions import audit

    if not asyncio.run(audit.verify_audit(parse_target(data), known, out)):
        raise typer.Exit(1)
