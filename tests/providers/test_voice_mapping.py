"""The mapping of voices between providers: language first, then gender, then style."""

from __future__ import annotations

import pytest

from services.audio.providers import azure, google, openai
from services.audio.providers.voice_mapping import RemoteVoice, WantedVoice, describe_name, find_nearest

KNOWN = (*openai.VOICES, *azure.VOICES, *google.VOICES)


@pytest.mark.parametrize(
    ("name", "at_openai", "at_google", "at_azure"),
    [
        ("en-US", "marin", "en-US-Neural2-F", "en-US-AvaNeural"),
        ("en", "marin", "en-US-Neural2-F", "en-US-AvaNeural"),
        ("en-GB", "marin", "en-GB-Neural2-A", "en-GB-SoniaNeural"),
        ("de", "marin", "de-DE-Wavenet-C", "de-DE-KatjaNeural"),
        ("de-AT", "marin", "de-DE-Wavenet-C", "de-AT-IngridNeural"),
        ("zh-CN", "marin", "cmn-CN-Wavenet-A", "zh-CN-XiaoxiaoNeural"),
        ("zh-HK", "marin", "yue-HK-Standard-A", "zh-HK-HiuMaanNeural"),
        ("pt", "marin", "pt-BR-Neural2-A", "pt-BR-FranciscaNeural"),
        ("ar", "marin", "ar-XA-Wavenet-A", "ar-SA-ZariyahNeural"),
        ("en-US-Standard-B", "cedar", "en-US-Neural2-D", "en-US-AndrewNeural"),
        ("en-US-GuyNeural", "cedar", "en-US-Neural2-D", "en-US-GuyNeural"),
        ("fr-FR-HenriNeural", "cedar", "fr-FR-Wavenet-B", "fr-FR-HenriNeural"),
        ("onyx", "onyx", "en-US-Neural2-D", "en-US-AndrewNeural"),
        ("en-US-AriaNeural", "marin", "en-US-Neural2-F", "en-US-AriaNeural"),
        ("is-IS", "marin", None, None),
        ("xx-XX", None, None, None),
        ("nobody", None, None, None),
    ],
)
def test_a_voice_maps_to_the_nearest_one(
    name: str, at_openai: str | None, at_google: str | None, at_azure: str | None
) -> None:
    wanted = describe_name(name, KNOWN)
    nearest = []
    for voices in (openai.VOICES, google.VOICES, azure.VOICES):
        own = next((voice for voice in voices if voice.name == name), None)
        found = own or (find_nearest(voices, wanted) if wanted else None)
        nearest.append(found and found.name)
    assert nearest == [at_openai, at_google, at_azure]


def test_the_style_decides_between_voices_of_one_gender() -> None:
    voices = [RemoteVoice("a", ("en-US",), "male"), RemoteVoice("b", ("en-US",), "male", "news")]
    assert find_nearest(voices, WantedVoice("en-US", "male", "news")) == voices[1]
    assert find_nearest(voices, WantedVoice("en-US", "female")) == voices[0]
    assert find_nearest(voices, WantedVoice("fr-FR")) is None


def test_a_voice_of_several_languages_speaks_the_one_of_the_text() -> None:
    described = describe_name("nova", KNOWN, "de")
    assert described == WantedVoice("de", "female", "bright")
    assert describe_name("en-US-AvaNeural", KNOWN, "de") == WantedVoice("en-US", "female")
