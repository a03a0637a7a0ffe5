"""Cli: the command `moneyprinter`.

What a command needs is imported when it runs, so that `--help` is quick and a service loads its own libraries only.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from services.commands import audit, jobs, sign_in, stage_commands, webhooks
from services.commands.targets import parse_target
from services.commands.terminal import INTERRUPTED, Data, err, on_signals, out, until_interrupted

GATEWAY_PORT = 8080
WRONG_USE = 2

app = typer.Typer(
    help="A request in, a finished, narrated, captioned video out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        out.print(f"moneyprinter {version('moneyprinter-services')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version, and end.")
    ] = False,
) -> None:
    pass


@app.command(
    epilog="Examples: [bold]moneyprinter up[/] · [bold]moneyprinter up --port 9000 --data /tmp/try[/] ·"
    " [bold]moneyprinter up --processes --replicas processing=2,orchestrator=2[/]"
)
def up(
    data: Annotated[
        Path | None,
        typer.Option(help="The folder that keeps everything.", show_default="~/.local/share/moneyprinter"),
    ] = None,
    port: Annotated[
        int,
        typer.Option(help="The gateway's port; the services use the twelve after it. 0: any free ones.", min=0),
    ] = GATEWAY_PORT,
    processes: Annotated[
        bool, typer.Option("--processes", help="Run each service in a process of its own, instead of all in one.")
    ] = False,
    replicas: Annotated[
        str, typer.Option(metavar="SERVICE=N,...", help="With --processes: how many instances services have.")
    ] = "",
    tls: Annotated[
        bool, typer.Option("--tls", help="Serve https; clients trust certificates/ca.pem in the platform's folder.")
    ] = False,
    allow_local: Annotated[
        bool,
        typer.Option(
            "--allow-local",
            help="Post webhooks to this machine, too, also by http. For development.",
        ),
    ] = False,
) -> None:
    """Run the whole platform on this machine, in the foreground. Ctrl-C stops it; a second one at once."""
    from services.embedded import data_folder
    from services.embedded import replicas as instances
    from services.runtime.config import ConfigError

    if replicas and not processes:
        raise ConfigError("--replicas needs --processes: instances are processes")
    options = {
        "processes": processes,
        "instances": instances.parse_replicas(replicas),
        "tls": tls,
        "allow_local": allow_local,
    }
    raise typer.Exit(asyncio.run(_up(data or data_folder.default_folder(), port=port, **options)))


async def _up(data: Path, **options: Any) -> int:
    stop = asyncio.Event()
    starting = asyncio.current_task()

    def interrupted() -> None:
        if stop.is_set():
            # What we started dies with us.
            os._exit(INTERRUPTED)
        stop.set()
        if starting is not None:
            starting.cancel()

    on_signals(interrupted)
    import structlog

    from services.embedded.platform import run_platform

    # The platform logs to its folder; what libraries say once it has stopped is for nobody.
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    try:
        async with run_platform(data, **options) as running:
            starting = None
            _print_first_account(running.new_account)
            where = escape(str(running.data))
            out.print(f"MoneyPrinter is ready at [bold]{running.url}[/] (data in {where}; Ctrl-C stops it)")
            running.failed.add_done_callback(lambda _: stop.set())
            await stop.wait()
            if running.failed.done():
                running.failed.result()
            out.print("Stopping ...")
    except asyncio.CancelledError:
        if not stop.is_set():
            raise
    # A gRPC server that was interrupted while it started wants a running loop when it is collected.
    gc.collect()
    await asyncio.sleep(0)
    return 0


def _print_first_account(file: Path | None) -> None:
    import json

    if file is not None:
        account = json.loads(file.read_text())
        out.print(
            f"First account: [bold]{escape(account['username'])}[/], password:"
            f" [bold]{escape(account['password'])}[/] (kept in {escape(str(file))})"
        )


@app.command(
    epilog="Examples: [bold]moneyprinter serve user[/] · [bold]moneyprinter serve storage config[/]. Settings come from"
    " the environment: MONEYPRINTER_RUNTIME_..., MONEYPRINTER_USER_... and so on."
)
def serve(
    services: Annotated[list[str], typer.Argument(metavar="SERVICE...", help="For example `user`.")],
) -> None:
    """Run one service or more, as a container does. SIGTERM lets calls in progress end."""
    from services.runtime.config import SERVICES, ConfigError

    for service in services:
        if service not in SERVICES:
            raise ConfigError(f"there is no service {service}; there are: {', '.join(SERVICES)}")
    asyncio.run(_serve(list(dict.fromkeys(services))))


async def _serve(services: list[str]) -> None:
    from services.runtime import server, telemetry
    from services.runtime.config import RuntimeConfig, load

    config = load(RuntimeConfig)
    telemetry.configure(config)
    stop = asyncio.Event()
    on_signals(stop.set)
    await server.serve(services, config, stop)


@app.command(
    epilog="Examples: [bold]moneyprinter make --clip walk.mp4 --title 'A walk' --out walk-with-voice.mp4[/] ·"
    " [bold]moneyprinter make --clip a.mp4@5-12 --clip b.mp4 --script-file text.txt --aspect 9:16 --music calm"
    " --out short.mp4[/] · [bold]moneyprinter make request.json --out video.mp4[/]"
)
def make(
    request: Annotated[
        Path | None, typer.Argument(metavar="[REQUEST.json]", help="A request as the REST interface takes it.")
    ] = None,
    title: Annotated[str | None, typer.Option(help="What it is called, and about when there is no script.")] = None,
    script: Annotated[str | None, typer.Option(help="The narration, word for word.")] = None,
    script_file: Annotated[Path | None, typer.Option(help="A text file with the narration.")] = None,
    clip: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE_OR_URL[@START-END]", help="A clip, and the part that is used, for example walk.mp4@0:05-0:12."
        ),
    ] = None,
    voice: Annotated[str | None, typer.Option(help="The voice, for example en-US or de-DE.")] = None,
    music: Annotated[str | None, typer.Option(help="none, upbeat, calm, dramatic, happy or dark.")] = None,
    resolution: Annotated[str | None, typer.Option(help="480p, 720p, 1080p, 1440p or 2160p.")] = None,
    aspect: Annotated[str | None, typer.Option(help="16:9, 9:16, 1:1, 4:5 or 21:9.")] = None,
    frame_rate: Annotated[int | None, typer.Option(help="24, 25, 30, 50 or 60 frames a second.")] = None,
    fit: Annotated[str | None, typer.Option(help="How clips fill it: cover, contain, blur or stretch.")] = None,
    transition: Annotated[
        str | None, typer.Option(help="Between clips: none, crossfade, fade_black, slide_left, wipe_up, zoom, ...")
    ] = None,
    captions: Annotated[str | None, typer.Option(help="Where captions are: bottom, middle, top or none.")] = None,
    highlight: Annotated[str | None, typer.Option(help="The spoken word: none, word or karaoke.")] = None,
    font: Annotated[str | None, typer.Option(help="The font of captions, for example 'Manrope Bold'.")] = None,
    logo: Annotated[Path | None, typer.Option(help="A picture shown in the upper right corner.")] = None,
    quality: Annotated[str | None, typer.Option(help="draft, standard or high.")] = None,
    priority: Annotated[str | None, typer.Option(help="Before other jobs or after: low, normal or high.")] = None,
    out_file: Annotated[
        Path,
        typer.Option("--out", metavar="FILE", help="Where the video is written: .mp4, or .webm for VP9 and AV1."),
    ] = Path("video.mp4"),
    only_video: Annotated[
        bool, typer.Option("--only-video", help="Save no captions, poster and renditions beside the video.")
    ] = False,
    data: Data = None,
) -> None:
    """Make one video. Starts the platform when none is running, and stops it again."""
    from services.commands import make as making
    from services.commands import request_files
    from services.commands.errors import WrongRequest

    if script is not None and script_file is not None:
        raise WrongRequest("give either --script or --script-file")
    if script_file is not None:
        script = request_files.read_script(script_file)
    settings = {
        "title": title,
        "audio.script": script,
        "audio.voice": voice,
        "audio.background_music": music,
        "settings.resolution": resolution,
        "settings.aspect_ratio": aspect,
        "settings.quality": quality,
        "settings.frame_rate": frame_rate,
        "settings.transition": transition,
        "captions.position": captions,
        "captions.highlight": highlight,
        "captions.font": font,
        "priority": priority,
    }
    wanted, clips = request_files.read_request(request, settings, clip or [])
    wanted.setdefault("title", out_file.stem)
    if request is None and not clips:
        raise WrongRequest("there is nothing to show: name at least one --clip FILE_OR_URL")
    request_files.choose_codec(wanted, out_file)
    request_files.check_files(clips, logo, out_file)
    clips = [replace(c, fit=fit or c.fit) for c in clips]
    work = making.make(wanted, clips, logo, out_file, parse_target(data), out, only_video=only_video)
    until_interrupted(work)


@app.command(epilog="Examples: [bold]moneyprinter doctor[/] · [bold]moneyprinter doctor --data /tmp/try[/]")
def doctor(
    data: Annotated[
        Path | None,
        typer.Option(help="The folder that keeps everything.", show_default="~/.local/share/moneyprinter"),
    ] = None,
    brief: Annotated[bool, typer.Option("--brief", help="Print only what is wrong, and a summary.")] = False,
) -> None:
    """Check whether all that a platform needs on this machine is here and runs; ends with 1 when something is not."""
    from services.embedded import checks, data_folder

    found = list(checks.run_checks(data or data_folder.default_folder()))
    for check in found:
        if not (brief and check.passed):
            mark = "[green]ok[/]   " if check.passed else "[bold red]wrong[/]"
            out.print(f"{mark} {check.name:12} {escape(check.detail)}")
    failed = [check for check in found if not check.passed]
    out.print(f"{len(found) - len(failed)} of {len(found)} checks passed")
    raise typer.Exit(1 if failed else 0)


app.add_typer(sign_in.app)
app.add_typer(jobs.app)
app.add_typer(stage_commands.app)
app.add_typer(webhooks.app, name="webhooks")
app.add_typer(audit.app, name="audit")


def _expected() -> tuple[type[Exception], ...]:
    """The errors that say in one line what to do."""
    from moneyprinter.errors import Error
    from services.commands.errors import WrongRequest
    from services.embedded.errors import PlatformError
    from services.runtime.config import ConfigError

    return PlatformError, ConfigError, WrongRequest, Error


def main() -> None:
    """Run the command, and end with its code."""
    try:
        app()
    except SystemExit:
        raise
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except _expected() as failure:
        from services.commands.errors import WrongRequest
        from services.runtime.config import ConfigError

        err.print(f"[bold red]error:[/] {escape(str(failure))}")
        sys.exit(WRONG_USE if isinstance(failure, ConfigError | WrongRequest) else 1)


if __name__ == "__main__":
    main()
