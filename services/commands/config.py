"""The commands `moneyprinter config ...`, for the settings of the services on this machine."""

from __future__ import annotations

import os
from typing import Annotated

import typer
from rich.markup import escape

from services.commands.terminal import out

app = typer.Typer(
    help="The settings of all services, from the defaults, the file MONEYPRINTER_CONFIG_FILE and the environment.",
    no_args_is_help=True,
)

ServicesArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[SERVICE...]", help="Only these services.", show_default="all")
]
EnvironmentOption = Annotated[
    str,
    typer.Option(
        metavar="ENVIRONMENT",
        help="development, staging or production.",
        show_default="that of MONEYPRINTER_ENVIRONMENT",
    ),
]


@app.command(
    epilog="Examples: [bold]moneyprinter config show[/] · [bold]moneyprinter config show audio --changed[/]. The output"
    " is a file of settings."
)
def show(
    services: ServicesArgument = None,
    environment: EnvironmentOption = "",
    changed: Annotated[bool, typer.Option("--changed", help="Leave out settings with their defaults.")] = False,
) -> None:
    """Print the settings with the layer that each comes from. Passwords are left out."""
    from services.commands.actions import config

    for line in config.list_settings(os.environ, services or [], environment, only_changed=changed):
        out.print(escape(line))


@app.command(
    epilog="Examples: [bold]moneyprinter config diff[/] compares the defaults with the settings in use ·"
    " [bold]moneyprinter config diff staging production[/]"
)
def diff(
    first: Annotated[str, typer.Argument(metavar="[FIRST]", help="defaults, or an environment.")] = "defaults",
    second: Annotated[
        str, typer.Argument(metavar="[SECOND]", help="An environment.", show_default="that of MONEYPRINTER_ENVIRONMENT")
    ] = "",
) -> None:
    """Print the settings that differ between two environments, or from the defaults."""
    from services.commands.actions import config

    for line in config.list_differences(os.environ, first, second):
        out.print(escape(line))


@app.command(
    epilog="Examples: [bold]moneyprinter config check[/] · [bold]moneyprinter config check --environment production[/]"
)
def check(services: ServicesArgument = None, environment: EnvironmentOption = "") -> None:
    """Check the settings of all services, one line for each fault. Exits with 1 when there is one."""
    from services.commands.actions import config

    faults = config.list_faults(os.environ, services or [], environment)
    for fault in faults:
        out.print(escape(fault))
    if faults:
        raise typer.Exit(1)
    out.print("The settings are valid.")
