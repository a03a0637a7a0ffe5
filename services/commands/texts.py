"""The commands for texts: `moneyprinter script`, `translate` and `describe`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from services.commands.targets import parse_target
from services.commands.terminal import DataOption, out, run_until_interrupted

app = typer.Typer()


@app.command(
    epilog="Examples: [bold]moneyprinter script 'The tides'[/] · [bold]moneyprinter script 'Die Gezeiten'"
    " --language de --length 8 --out tides.txt[/] · [bold]moneyprinter script 'Why the sea is salty' --seconds 45"
    " --tone humorous --audience 'children of eight' --scenes 6 --out sea.json[/]"
)
def script(
    topic: Annotated[str, typer.Argument(help="The topic.")],
    language: Annotated[
        str, typer.Option(help="The language: en, de, es, fr, it, pt, zh, ja, ...; with a writer, any language.")
    ] = "en",
    length: Annotated[
        int | None, typer.Option(help="The number of sentences. Without a length: 5.", min=1, max=9)
    ] = None,
    seconds: Annotated[float, typer.Option(help="The duration of the spoken script.", min=0, max=1800)] = 0,
    words: Annotated[int, typer.Option(help="The number of words.", min=0, max=5000)] = 0,
    tone: Annotated[str, typer.Option(help="The tone, such as humorous. It needs a writer.")] = "",
    audience: Annotated[str, typer.Option(help="The audience, such as 'children of six'. It needs a writer.")] = "",
    prompt: Annotated[str, typer.Option(help="Further instructions. They need a writer.")] = "",
    scenes: Annotated[int, typer.Option(help="The number of scenes.", min=0, max=100)] = 0,
    show_scenes: Annotated[
        bool, typer.Option("--show-scenes", help="Print scenes with titles and search terms.")
    ] = False,
    out_file: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="The output file: .json has scenes. Without it: the terminal."),
    ] = None,
    data: DataOption = None,
) -> None:
    """Write a script on a topic, with a writer if the platform has the key of one (docs/providers.md)."""
    from moneyprinter.content.v1 import writing_service_pb2 as pb
    from services.commands.actions import texts

    request = pb.CreateScriptRequest(
        topic=topic, language=language, length=length or 0, seconds=seconds, words=words, tone=tone, audience=audience
    )
    request.prompt, request.scene_count = prompt, scenes
    run_until_interrupted(texts.write_script(request, out_file, show_scenes, parse_target(data), out))


@app.command(
    epilog="Examples: [bold]moneyprinter translate story.txt --to de[/] · [bold]moneyprinter translate"
    " captions.srt --to ja --out captions.ja.srt[/]"
)
def translate(
    file: Annotated[Path, typer.Argument(help="A script, or captions: .srt or .vtt.", exists=True, dir_okay=False)],
    to: Annotated[str, typer.Option("--to", help="The language to translate into, such as de.")],
    out_file: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="The output file. Without it: beside FILE.")
    ] = None,
    data: DataOption = None,
) -> None:
    """Translate a script or captions; the times of captions stay. It needs a writer (docs/providers.md)."""
    from services.commands.actions import texts

    run_until_interrupted(texts.translate_file(file, to, out_file, parse_target(data), out))


@app.command(
    epilog="Examples: [bold]moneyprinter describe story.txt[/] · [bold]moneyprinter describe story.txt --title"
    " 'Why the sea is salty' --platform youtube --out youtube.json[/]"
)
def describe(
    file: Annotated[Path, typer.Argument(help="The script of the video.", exists=True, dir_okay=False)],
    title: Annotated[str, typer.Option(help="The title of the video.")] = "",
    language: Annotated[str, typer.Option(help="The language of the texts. Without it: that of the script.")] = "",
    platform: Annotated[
        list[str] | None, typer.Option(help="youtube, tiktok or instagram; repeatable. Without it: all of them.")
    ] = None,
    out_file: Annotated[
        Path | None, typer.Option("--out", metavar="FILE.json", help="The output file. Without it: the terminal.")
    ] = None,
    data: DataOption = None,
) -> None:
    """Write title, description and hashtags for YouTube, TikTok and Instagram."""
    from moneyprinter.content.v1 import writing_service_pb2 as pb
    from services.commands.actions import texts
    from services.commands.actions.request_files import read_script

    request = pb.CreateMetadataRequest(
        script=read_script(file), title=title, language=language, platforms=platform or ()
    )
    run_until_interrupted(texts.write_metadata(request, out_file, parse_target(data), out))
