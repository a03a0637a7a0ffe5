"""Azure AI Speech: `POST /cognitiveservices/v1` with SSML. Its REST interface returns no word times; the SDK's does."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from services.audio.providers.engine import Passage, Sound, bad_document, escape_xml, find_named
from services.audio.providers.voice_mapping import FEMALE, MALE, RemoteVoice, read_table
from services.audio.speech import Voice
from services.audio.voices import AZURE_NAME
from services.providers.client import Authentication, ProviderClient
from services.providers.credentials import Credentials
from services.runtime.config import ConfigError

FORMAT = "riff-48khz-16bit-mono-pcm"
VOICES = read_table("""
en-US f:AvaNeural m:AndrewNeural f:JennyNeural m:GuyNeural f:AriaNeural/news m:DavisNeural f:EmmaNeural m:BrianNeural
en-GB f:SoniaNeural m:RyanNeural
en-AU f:NatashaNeural m:WilliamNeural
en-CA f:ClaraNeural m:LiamNeural
en-IN f:NeerjaNeural m:PrabhatNeural
de-DE f:KatjaNeural m:ConradNeural
de-AT f:IngridNeural m:JonasNeural
de-CH f:LeniNeural m:JanNeural
fr-FR f:DeniseNeural m:HenriNeural
fr-CA f:SylvieNeural m:JeanNeural
es-ES f:ElviraNeural m:AlvaroNeural
es-MX f:DaliaNeural m:JorgeNeural
it-IT f:ElsaNeural m:DiegoNeural
pt-BR f:FranciscaNeural m:AntonioNeural
pt-PT f:RaquelNeural m:DuarteNeural
ja-JP f:NanamiNeural m:KeitaNeural
ko-KR f:SunHiNeural m:InJoonNeural
zh-CN f:XiaoxiaoNeural m:YunxiNeural m:YunyangNeural/news
zh-TW f:HsiaoChenNeural m:YunJheNeural
zh-HK f:HiuMaanNeural m:WanLungNeural
hi-IN f:SwaraNeural m:MadhurNeural
bn-IN f:TanishaaNeural m:BashkarNeural
ta-IN f:PallaviNeural m:ValluvarNeural
te-IN f:ShrutiNeural m:MohanNeural
ur-PK f:UzmaNeural m:AsadNeural
ru-RU f:SvetlanaNeural m:DmitryNeural
uk-UA f:PolinaNeural m:OstapNeural
pl-PL f:ZofiaNeural m:MarekNeural
cs-CZ f:VlastaNeural m:AntoninNeural
sk-SK f:ViktoriaNeural m:LukasNeural
hu-HU f:NoemiNeural m:TamasNeural
ro-RO f:AlinaNeural m:EmilNeural
bg-BG f:KalinaNeural m:BorislavNeural
hr-HR f:GabrijelaNeural m:SreckoNeural
sr-RS f:SophieNeural m:NicholasNeural
el-GR f:AthinaNeural m:NestorasNeural
tr-TR f:EmelNeural m:AhmetNeural
nl-NL f:ColetteNeural m:MaartenNeural
nl-BE f:DenaNeural m:ArnaudNeural
sv-SE f:SofieNeural m:MattiasNeural
da-DK f:ChristelNeural m:JeppeNeural
nb-NO f:PernilleNeural m:FinnNeural
fi-FI f:SelmaNeural m:HarriNeural
ar-SA f:ZariyahNeural m:HamedNeural
ar-EG f:SalmaNeural m:ShakirNeural
he-IL f:HilaNeural m:AvriNeural
fa-IR f:DilaraNeural m:FaridNeural
th-TH f:PremwadeeNeural m:NiwatNeural
vi-VN f:HoaiMyNeural m:NamMinhNeural
id-ID f:GadisNeural m:ArdiNeural
ms-MY f:YasminNeural m:OsmanNeural
fil-PH f:BlessicaNeural m:AngeloNeural
sw-KE f:ZuriNeural m:RafikiNeural
ca-ES f:JoanaNeural m:EnricNeural
""")
_GENDERS = {"Female": FEMALE, "Male": MALE}
_NAME = re.compile(r"([a-z]{2,3}(?:-[A-Z][a-z]{3})?-[A-Z]{2})(?:-[a-z]{2,12})?-[A-Za-z0-9:]{1,60}")


class AzureEngine:
    """The adapter of Azure AI Speech."""

    # One call returns at most 10 minutes.
    max_bytes = 3000
    calls_at_once = 4
    version = "1"

    def __init__(self, client: ProviderClient) -> None:
        self.client = client
        self.voices: Sequence[RemoteVoice] = VOICES

    def own_voice(self, name: str) -> RemoteVoice | None:
        if found := find_named(self.voices, name):
            return found
        match = _NAME.fullmatch(name) if AZURE_NAME.fullmatch(name) else None
        return RemoteVoice(name, (match[1],)) if match else None

    def returns_times(self, voice: Voice) -> bool:
        return False

    async def fetch_voices(self) -> Sequence[RemoteVoice]:
        """Check the key by listing the voices. Raises `ProviderFailure`."""
        listed = await self.client.request_json("GET", "/cognitiveservices/voices/list")
        if not isinstance(listed, list):
            raise bad_document(self.client.name, "list of voices")
        found = [voice for entry in listed if (voice := _read_voice(entry))]
        preferred = {voice.name: number for number, voice in enumerate(VOICES)}
        styles = {voice.name: voice.style for voice in VOICES}
        found = [RemoteVoice(v.name, v.languages, v.gender, styles.get(v.name, "")) for v in found]
        found.sort(key=lambda voice: (preferred.get(voice.name, len(preferred)), voice.name))
        self.voices = found or self.voices
        return self.voices

    async def synthesize(self, passage: Passage, voice: Voice) -> Sound:
        """Speak a text. Raises `ProviderFailure`."""
        match = _NAME.fullmatch(voice.setting)
        locale = match[1] if match else "en-US"
        ssml = (
            f"<speak version='1.0' xmlns='http://www.w3.org/2001/10/synthesis' xml:lang='{locale}'>"
            f"<voice name='{escape_xml(voice.setting)}'>{escape_xml(passage.text)}</voice></speak>"
        )
        headers = {"Content-Type": "application/ssml+xml", "X-Microsoft-OutputFormat": FORMAT}
        _, data = await self.client.request_bytes(
            "POST", "/cognitiveservices/v1", content=ssml.encode(), headers=headers, content_types=("audio/",)
        )
        return Sound(data)


def authenticate(key: str) -> Authentication:
    """The key of a Speech resource in its header."""
    return Authentication({"Ocp-Apim-Subscription-Key": key})


def read_address(credentials: Credentials) -> str:
    """The address of the resource: `base_url`, or that of the option `region`. Raises `ConfigError` without either."""
    region = credentials.options.get("region", "")
    if credentials.base_url:
        return credentials.base_url
    if not isinstance(region, str) or not re.fullmatch(r"[a-z][a-z0-9]{2,30}", region):
        raise ConfigError("azure has no region; add one such as westeurope, or a base_url")
    return f"https://{region}.tts.speech.microsoft.com"


def _read_voice(entry: Any) -> RemoteVoice | None:
    if not isinstance(entry, dict):
        return None
    name, locale = entry.get("ShortName"), entry.get("Locale")
    if not (isinstance(name, str) and _NAME.fullmatch(name) and isinstance(locale, str)):
        return None
    return RemoteVoice(name, (locale,), _GENDERS.get(str(entry.get("Gender")), ""))
