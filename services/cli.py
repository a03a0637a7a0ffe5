"""The command `moneyprinter`.

Each command imports its libraries when it runs, so that `--help` is quick and a service loads only its own.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.markup import escape

from services.commands import (
    account,
    audit,
    config,
    dead_letters,
    platform,
    providers,
    secrets,
    sessions,
    stages,
    texts,
    uploads,
    videos,
    voices,
    webhooks,
)
from services.commands.terminal import err, out
from services.entry import INTERRUPTED

WRONG_USE = 2

app = typer.Typer(
    help="A request in, a finished, narrated, captioned video out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(requested: bool) -> None:
    if requested:
        from importlib.metadata import version

        out.print(f"moneyprinter {version('moneyprinter-services')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


for group in (platform, videos, uploads, sessions, stages, texts, account):
    app.add_typer(group.app)
app.add_typer(dead_letters.app, name="deadletter")
app.add_typer(providers.app, name="providers")
app.add_typer(voices.app, name="voices")
app.add_typer(webhooks.app, name="webhooks")
app.add_typer(audit.app, name="audit")
app.add_typer(config.app, name="config")
app.add_typer(secrets.app, name="secrets")


def _reported_errors() -> tuple[type[Exception], ...]:
    """Return the errors that are reported in one line, without a traceback."""
    from moneyprinter.errors import Error
    from services.commands.errors import WrongRequest
    from services.embedded.errors import PlatformError
    from services.runtime.config import ConfigError

    return PlatformError, ConfigError, WrongRequest, Error


def main() -> None:
    """Run the command and exit with its code."""
    try:
        app()
    except SystemExit:
        raise
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except OSError as failure:
        # A file of the user: the disk is full, the permission is missing, ... Our own errors have no error number.
        if failure.strerror is None:
            raise
        place = f"{failure.filename}: " if failure.filename else ""
        err.print(f"[bold red]error:[/] {escape(f'{place}{failure.strerror}')}")
        sys.exit(1)
    except _reported_errors() as failure:
        from services.commands.errors import WrongRequest
        from services.runtime.config import ConfigError

        err.print(f"[bold red]error:[/] {escape(str(failure))}")
        sys.exit(WRONG_USE if isinstance(failure, ConfigError | WrongRequest) else 1)


if __name__ == "__main__":
    main()
