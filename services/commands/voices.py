"""The commands for voices: `moneyprinter voices`, which lists them, and `moneyprinter voices sample`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from services.commands.targets import parse_target
from services.commands.terminal import DataOption, out, run_until_interrupted

_DEFAULT = "list"


class _ListByDefault(TyperGroup):
    """A group whose command `list` runs where none is named: `moneyprinter voices de`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        named = args and (args[0] in self.commands or args[0] in ctx.help_option_names)
        return super().parse_args(ctx, args if named else [_DEFAULT, *args])


app = typer.Typer(cls=_ListByDefault, help="List the voices, and listen to them.")


@app.command(
    _DEFAULT,
    epilog="Examples: [bold]moneyprinter voices[/] · [bold]moneyprinter voices de[/] · [bold]moneyprinter voices en"
    " --gender female --provider kokoro[/]",
)
def list_voices(
    language: Annotated[str, typer.Argument(help="Only voices of this language, such as de or en-GB.")] = "",
    gender: Annotated[str, typer.Option(help="Only female or male voices.")] = "",
    provider: Annotated[str, typer.Option(help="Only voices of this provider, such as kokoro.")] = "",
    data: DataOption = None,
) -> None:
    """List the voices."""
    from moneyprinter.audio.v1 import speech_service_pb2 as pb
    from services.commands.actions import voices

    request = pb.ListVoicesRequest(language=language, gender=gender, provider=provider)
    run_until_interrupted(voices.show_voices(request, parse_target(data), out))


@app.command(epilog="Examples: [bold]moneyprinter voices sample en-US-Heart --out heart.mp3[/]")
def sample(
    voice: Annotated[str, typer.Argument(metavar="VOICE", help="The name of the voice.")],
    out_file: Annotated[Path, typer.Option("--out", metavar="FILE", help="The output file: .mp3.")] = Path(
        "sample.mp3"
    ),
    data: DataOption = None,
) -> None:
    """Write a short sample of a voice to a file."""
    from services.commands.actions import voices

    run_until_interrupted(voices.write_sample(voice, out_file, parse_target(data), out))
