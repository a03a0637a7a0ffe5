"""Google Cloud Text-to-Speech: `v1beta1/text:synthesize`, where marks before the words return their times."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from services.audio.providers.engine import Passage, Sound, bad_document, escape_xml, find_named, read_base64
from services.audio.providers.voice_mapping import FEMALE, MALE, RemoteVoice, read_table, to_tag
from services.audio.speech import Voice
from services.audio.voices import GOOGLE_NAME
from services.audio.word_alignment import split_words
from services.providers.client import Authentication, ProviderClient

BASE_URL = "https://texttospeech.googleapis.com"
VOICES = read_table("""
en-US f:Neural2-F m:Neural2-D f:Neural2-C m:Neural2-J f:Neural2-H m:Neural2-A
en-GB f:Neural2-A m:Neural2-B f:Neural2-C m:Neural2-D
en-AU f:Neural2-A m:Neural2-B
en-IN f:Neural2-A m:Neural2-B
de-DE f:Wavenet-C m:Wavenet-B
fr-FR f:Wavenet-A m:Wavenet-B
es-ES f:Neural2-A m:Wavenet-B
es-US f:Neural2-A m:Neural2-B
it-IT f:Neural2-A m:Neural2-C
pt-BR f:Neural2-A m:Neural2-B
pt-PT f:Wavenet-A m:Wavenet-B
ja-JP f:Neural2-B m:Neural2-C
ko-KR f:Neural2-A m:Neural2-C
hi-IN f:Neural2-A m:Neural2-B
cmn-CN f:Wavenet-A m:Wavenet-B
cmn-TW f:Wavenet-A m:Wavenet-B
yue-HK f:Standard-A m:Standard-B
ru-RU f:Wavenet-A m:Wavenet-B
uk-UA f:Wavenet-A
pl-PL f:Wavenet-A m:Wavenet-B
nl-NL f:Wavenet-A m:Wavenet-B
sv-SE f:Wavenet-A m:Wavenet-C
da-DK f:Wavenet-A m:Wavenet-C
nb-NO f:Wavenet-A m:Wavenet-B
fi-FI f:Wavenet-A
cs-CZ f:Wavenet-A
el-GR f:Wavenet-A
hu-HU f:Wavenet-A
ro-RO f:Wavenet-A
tr-TR f:Wavenet-A m:Wavenet-B
ar-XA f:Wavenet-A m:Wavenet-B
he-IL f:Wavenet-A m:Wavenet-B
th-TH f:Neural2-C
vi-VN f:Wavenet-A m:Wavenet-B
id-ID f:Wavenet-A m:Wavenet-B
""")
# These families take SSML with marks; newer ones (Chirp, Studio, Journey) take no marks. The best one is the first.
_FAMILIES = ("Neural2", "Wavenet", "Standard")
_MAX_SSML_BYTES = 5000
_GENDERS = {"FEMALE": FEMALE, "MALE": MALE}
_NAME = re.compile(r"[a-z]{2,3}-[A-Z]{2}-[A-Za-z0-9-]{1,40}")


class GoogleEngine:
    """The adapter of Google Cloud Text-to-Speech."""

    # A character takes up to 6 bytes in SSML, which has at most 5,000.
    max_bytes = 800
    calls_at_once = 4
    version = "1"

    def __init__(self, client: ProviderClient) -> None:
        self.client = client
        self.voices: Sequence[RemoteVoice] = VOICES

    def own_voice(self, name: str) -> RemoteVoice | None:
        if found := find_named(self.voices, name):
            return found
        # Google has hundreds of voices; a name of its form is passed on.
        match = GOOGLE_NAME.fullmatch(name)
        return RemoteVoice(name, (to_tag(match[1]),)) if match and _NAME.fullmatch(name) else None

    def returns_times(self, voice: Voice) -> bool:
        return _rank(voice.setting) < len(_FAMILIES)

    async def fetch_voices(self) -> Sequence[RemoteVoice]:
        """Check the key by listing the voices. Raises `ProviderFailure`."""
        document = await self.client.request_json("GET", "/v1beta1/voices")
        listed = document.get("voices") if isinstance(document, dict) else None
        if not isinstance(listed, list):
            raise bad_document(self.client.name, "voices")
        found = [voice for entry in listed if (voice := _read_voice(entry))]
        preferred = {voice.name: number for number, voice in enumerate(VOICES)}
        found.sort(key=lambda voice: (preferred.get(voice.name, len(preferred)), _rank(voice.name), voice.name))
        self.voices = found or self.voices
        return self.voices

    async def synthesize(self, passage: Passage, voice: Voice) -> Sound:
        """Speak a text. Raises `ProviderFailure`."""
        marked = self.returns_times(voice)
        ssml, places = mark_words(passage.text) if marked else ("", [])
        document = await self.client.request_json(
            "POST",
            "/v1beta1/text:synthesize",
            json={
                "input": {"ssml": ssml} if marked else {"text": passage.text},
                "voice": {"languageCode": "-".join(voice.setting.split("-")[:2]), "name": voice.setting},
                "audioConfig": {"audioEncoding": "LINEAR16", "sampleRateHertz": 48000},
                "enableTimePointing": ["SSML_MARK"] if marked else [],
            },
        )
        data = read_base64(self.client.name, document, "audioContent")
        return Sound(data, tuple(_read_points(document.get("timepoints"), places)))


def authenticate(key: str) -> Authentication:
    """The key in a header, so that no address holds it."""
    return Authentication({"X-Goog-Api-Key": key})


def mark_words(text: str) -> tuple[str, list[int]]:
    """SSML with marks before words, named by numbers, and the places of the marked words in the text.

    All words that follow a blank are marked, or every second, fourth and so on, as many as the limit allows. A mark
    between Chinese characters would change how they are read.
    """
    places = [word.first for word in split_words(text) if word.first == 0 or text[word.first - 1].isspace()]
    while len((ssml := _mark(text, places)).encode()) > _MAX_SSML_BYTES and len(places) > 1:
        places = places[::2]
    return ssml, places


def _mark(text: str, places: Sequence[int]) -> str:
    """SSML with a mark at each of some places of a text, named after its number."""
    ends = [*places[1:], len(text)]
    parts = (
        f'<mark name="{number}"/>{escape_xml(text[first:last])}'
        for number, (first, last) in enumerate(zip(places, ends, strict=True))
    )
    return f"<speak>{''.join(parts)}</speak>"


def _read_points(listed: Any, places: Sequence[int]) -> list[tuple[float, int]]:
    """The seconds of the marks with their places; those that are not valid are left out."""
    points = []
    for point in listed if isinstance(listed, list) else ():
        name, seconds = (point.get("markName"), point.get("timeSeconds", 0.0)) if isinstance(point, dict) else ("", 0)
        if isinstance(name, str) and name.isdecimal() and int(name) < len(places) and isinstance(seconds, int | float):
            points.append((float(seconds), places[int(name)]))
    return points


def _read_voice(entry: Any) -> RemoteVoice | None:
    if not isinstance(entry, dict):
        return None
    name, codes = entry.get("name"), entry.get("languageCodes")
    if not (isinstance(name, str) and _NAME.fullmatch(name) and isinstance(codes, list) and codes):
        return None
    languages = tuple(to_tag(str(code)) for code in codes)
    return RemoteVoice(name, languages[:1], _GENDERS.get(str(entry.get("ssmlGender")), ""))


def _rank(name: str) -> int:
    return next((number for number, family in enumerate(_FAMILIES) if f"-{family}-" in name), len(_FAMILIES))
