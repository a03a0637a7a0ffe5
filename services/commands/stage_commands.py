"""Stage commands: `moneyprinter say`, `voices`, `script`, `captions` and `probe`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from services.commands.targets import parse_target
from services.commands.terminal import Data, out, until_interrupted

Text = Annotated[str | None, typer.Argument(metavar="TEXT", help="The text.")]
TextFile = Annotated[Path | None, typer.Option(help="A file with the text.")]


app = typer.Typer()


@app.command(
    epilog="Examples: [bold]moneyprinter say 'Hello, world.' --out hello.wav[/] · [bold]moneyprinter say"
    " --text-file story.txt --voice en-GB --out story.mp3 --timings story.json[/]"
)
def say(
    text: Text = None,
    text_file: TextFile = None,
    voice: Annotated[
        str, typer.Option(help="The voice; `moneyprinter voices` lists them. Without it, one of the text's language.")
    ] = "",
    out_file: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="The sound: .wav, .mp3, .opus, .ogg or .flac.")
    ] = Path("speech.wav"),
    timings: Annotated[Path | None, typer.Option(metavar="FILE.json", help="When each word is spoken.")] = None,
    data: Data = None,
) -> None:
    """Speak a text. Starts the platform when none is running, and stops it again."""
    from services.commands import stages

    until_interrupted(stages.say(stages.text_of(text, text_file), voice, out_file, timings, parse_target(data), out))


@app.command(epilog="Examples: [bold]moneyprinter voices[/] · [bold]moneyprinter voices de[/]")
def voices(
    language: Annotated[str, typer.Argument(help="Only those of a language, such as de or en-GB.")] = "",
    data: Data = None,
) -> None:
    """List the voices."""
    from services.commands import stages

    until_interrupted(stages.show_voices(language, parse_target(data), out))


@app.command(
    epilog="Examples: [bold]moneyprinter script 'The tides'[/] · [bold]moneyprinter script 'Die Gezeiten'"
    " --language de --length 8 --out tides.txt[/]"
)
def script(
    topic: Annotated[str, typer.Argument(help="What it is about.")],
    language: Annotated[str, typer.Option(help="en, de, es, fr, it, pt, zh or ja.")] = "en",
    length: Annotated[int, typer.Option(help="How many sentences.", min=1, max=9)] = 5,
    out_file: Annotated[Path | None, typer.Option("--out", metavar="FILE.txt", help="Where it is written.")] = None,
    data: Data = None,
) -> None:
    """Write a script on a topic."""
    from services.commands import stages

    until_interrupted(stages.write_script(topic, language, length, out_file, parse_target(data), out))


@app.command(
    epilog="Examples: [bold]moneyprinter captions 'Hello. Is it you?' --duration 4 --out hello.srt[/] ·"
    " [bold]moneyprinter captions --text-file story.txt --voice en-GB --out story.vtt[/] · [bold]moneyprinter"
    " captions --timings story.json --aspect 9:16 --highlight word --out story.ass[/]"
)
def captions(
    text: Text = None,
    text_file: TextFile = None,
    duration: Annotated[
        float, typer.Option(help="How long the text is spoken, in seconds. Without it, as long as a voice takes.")
    ] = 0.0,
    voice: Annotated[
        str, typer.Option(help="Whose times the words have. Without it, one of the text's language.")
    ] = "",
    timings: Annotated[
        Path | None, typer.Option(metavar="FILE.json", help="In place of a text: what `say --timings` wrote.")
    ] = None,
    aspect: Annotated[str, typer.Option(help="The picture: 16:9, 9:16, 1:1, 4:5 or 21:9.")] = "16:9",
    position: Annotated[str, typer.Option(help="In .ass: bottom, middle or top.")] = "",
    highlight: Annotated[str, typer.Option(help="In .ass, the spoken word: none, word or karaoke.")] = "",
    font: Annotated[str, typer.Option(help="In .ass: the font, for example 'Manrope Bold'.")] = "",
    out_file: Annotated[Path, typer.Option("--out", metavar="FILE", help="The captions: .srt, .vtt or .ass.")] = Path(
        "captions.srt"
    ),
    data: Data = None,
) -> None:
    """Make the captions of a text."""
    from moneyprinter.video.v1 import video_service_pb2 as pb
    from services.commands import stages

    words = "" if timings is not None and text is None and text_file is None else stages.text_of(text, text_file)
    style = pb.Captions(position=position, highlight=highlight, font=font)
    request = stages.captions_request(words, duration, timings, aspect, style)
    until_interrupted(stages.make_captions(request, voice, out_file, parse_target(data), out))


@app.command(
    epilog="Examples: [bold]moneyprinter probe walk.mp4[/] · [bold]moneyprinter probe https://example.com/walk.mp4[/]"
)
def probe(
    clip: Annotated[str, typer.Argument(metavar="FILE_OR_URL", help="The clip, or the id of an asset.")],
    data: Data = None,
) -> None:
    """Say what a clip is, or why no video can be made of it. Nothing of it is kept."""
    from services.commands import stages

    until_interrupted(stages.probe(clip, parse_target(data), out))
