"""The commands for single stages: `moneyprinter say`, `captions`, `footage` and `probe`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from services.commands.targets import parse_target
from services.commands.terminal import DataOption, out, run_until_interrupted

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
        str,
        typer.Option(
            help="The voice; `moneyprinter voices` lists them. Without it: a voice in the language of the text."
        ),
    ] = "",
    speed: Annotated[float, typer.Option(help="The speed of the voice, from 0.5 to 2.")] = 1.0,
    pause: Annotated[float, typer.Option(help="The pause between sentences, in seconds.")] = 0.0,
    pronounce: Annotated[
        list[str] | None,
        typer.Option(metavar="WORD=SPOKEN", help="What is spoken for a word, such as nginx='engine x'; repeatable."),
    ] = None,
    out_file: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="The output file: .wav, .mp3, .opus, .ogg or .flac.")
    ] = Path("speech.wav"),
    timings: Annotated[
        Path | None, typer.Option(metavar="FILE.json", help="A file for the start and end of each word.")
    ] = None,
    data: DataOption = None,
) -> None:
    """Speak a text. Starts a platform when none is running, and stops it afterwards."""
    from services.commands.actions import request_files, stages

    options = {
        "voice": voice,
        "speed": speed,
        "sentence_pause": pause,
        "pronunciations": request_files.parse_pronunciations(pronounce or []),
    }
    spoken = stages.read_text(text, text_file)
    run_until_interrupted(stages.write_speech(spoken, options, out_file, timings, parse_target(data), out))


@app.command(
    epilog="Examples: [bold]moneyprinter captions 'Hello. Is it you?' --duration 4 --out hello.srt[/] ·"
    " [bold]moneyprinter captions --text-file story.txt --voice en-GB --out story.vtt[/] · [bold]moneyprinter"
    " captions --timings story.json --aspect 9:16 --highlight word --out story.ass[/]"
)
def captions(
    text: Text = None,
    text_file: TextFile = None,
    duration: Annotated[
        float, typer.Option(help="The duration of the speech in seconds. Without it: as long as the voice takes.")
    ] = 0.0,
    voice: Annotated[
        str, typer.Option(help="The voice that times the words. Without it: a voice in the language of the text.")
    ] = "",
    timings: Annotated[
        Path | None, typer.Option(metavar="FILE.json", help="The output of `say --timings`, in place of a text.")
    ] = None,
    aspect: Annotated[str, typer.Option(help="The aspect ratio: 16:9, 9:16, 1:1, 4:5 or 21:9.")] = "16:9",
    position: Annotated[str, typer.Option(help="The position in .ass: bottom, middle or top.")] = "",
    highlight: Annotated[str, typer.Option(help="How .ass highlights the spoken word: none, word or karaoke.")] = "",
    font: Annotated[str, typer.Option(help="The font in .ass, for example 'Manrope Bold'.")] = "",
    out_file: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="The output file: .srt, .vtt or .ass.")
    ] = Path("captions.srt"),
    data: DataOption = None,
) -> None:
    """Make the captions of a text."""
    from moneyprinter.video.v1 import video_service_pb2 as pb
    from services.commands.actions import stages

    words = "" if timings is not None and text is None and text_file is None else stages.read_text(text, text_file)
    style = pb.Captions(position=position, highlight=highlight, font=font)
    request = stages.build_captions_request(words, duration, timings, aspect, style)
    run_until_interrupted(stages.write_captions(request, voice, out_file, parse_target(data), out))


@app.command(
    epilog="Examples: [bold]moneyprinter footage 'sea waves'[/] · [bold]moneyprinter footage 'old town' --orientation"
    " portrait --min-seconds 8 --source pexels[/]"
)
def footage(
    terms: Annotated[str, typer.Argument(help="What the clips show.")],
    orientation: Annotated[str, typer.Option(help="landscape, portrait or square. Without it: any.")] = "",
    min_seconds: Annotated[float, typer.Option(help="The least duration in seconds.", min=0)] = 0.0,
    max_seconds: Annotated[float, typer.Option(help="The greatest duration in seconds. 0: any.", min=0)] = 0.0,
    source: Annotated[str, typer.Option(help="pexels, pixabay or coverr. Without it: the first that has some.")] = "",
    language: Annotated[str, typer.Option(help="The language of the terms, such as de.")] = "en",
    count: Annotated[int, typer.Option(help="The most clips.", min=1, max=80)] = 20,
    data: DataOption = None,
) -> None:
    """List clips of the providers of footage. An operator gives the platform their keys."""
    from moneyprinter.content.v1 import footage_search_service_pb2 as pb
    from services.commands.actions import stages

    request = pb.SearchFootageRequest(
        terms=terms,
        orientation=orientation,
        min_seconds=min_seconds,
        max_seconds=max_seconds,
        source=source,
        language=language,
        page_size=count,
    )
    run_until_interrupted(stages.show_footage(request, parse_target(data), out))


@app.command(
    epilog="Examples: [bold]moneyprinter probe walk.mp4[/] · [bold]moneyprinter probe https://example.com/walk.mp4[/]"
)
def probe(
    clip: Annotated[str, typer.Argument(metavar="FILE_OR_URL", help="A file, an address or an asset id.")],
    data: DataOption = None,
) -> None:
    """Describe a clip, or report why it cannot be used. The clip is not stored."""
    from services.commands.actions import stages

    run_until_interrupted(stages.show_clip(clip, parse_target(data), out))
