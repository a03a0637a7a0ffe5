"""Voices: the names of locales and of other providers' voices, and the voices of espeak-ng for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from moneyprinter.errors import InvalidArgument
from services.audio import speech, voices
from services.audio.espeak import Espeak


@pytest.mark.parametrize(
    ("name", "language", "setting"),
    [
        ("en-US", "en-US", "gmw/en-US"),
        ("en", "en", "gmw/en-US"),
        ("en-GB", "en-GB", "gmw/en"),
        ("en-AU", "en-AU", "gmw/en-US"),
        ("EN_us", "en-US", "gmw/en-US"),
        ("de-DE", "de-DE", "gmw/de"),
        ("fr-CA", "fr-CA", "roa/fr"),
        ("fr-BE", "fr-BE", "roa/fr-BE"),
        ("es-ES", "es-ES", "roa/es"),
        ("es-AR", "es-AR", "roa/es-419"),
        ("pt-BR", "pt-BR", "roa/pt-BR"),
        ("pt-PT", "pt-PT", "roa/pt"),
        ("zh-CN", "zh-CN", "sit/cmn"),
        ("zh-Hant-TW", "zh-Hant-TW", "sit/cmn"),
        ("zh-HK", "zh-HK", "sit/yue"),
        ("cmn-CN", "cmn-CN", "sit/cmn"),
        ("ja-JP", "ja-JP", "jpx/ja"),
        ("ko-KR", "ko-KR", "ko"),
        ("no-NO", "no-NO", "gmq/nb"),
        ("sr-Latn-RS", "sr-Latn-RS", "zls/sr"),
        ("en-US-Standard-A", "en-US", "gmw/en-US"),
        ("en-US-Standard-C", "en-US", "gmw/en-US+f3"),
        ("en-US-Wavenet-F", "en-US", "gmw/en-US+f5"),
        ("de-DE-Neural2-B", "de-DE", "gmw/de"),
        ("de-DE-Wavenet-D", "de-DE", "gmw/de+m3"),
        ("en-US-Studio-O", "en-US", "gmw/en-US"),
        ("en-US-Chirp3-HD-Aoede", "en-US", "gmw/en-US+f3"),
        ("en-US-JennyNeural", "en-US", "gmw/en-US+f2"),
        ("en-GB-RyanNeural", "en-GB", "gmw/en+m7"),
        ("en-US-AvaMultilingualNeural", "en-US", "gmw/en-US+f3"),
        ("zh-CN-liaoning-XiaobeiNeural", "zh-CN", "sit/cmn+f2"),
        ("en-US-SomebodyNeural", "en-US", "gmw/en-US"),
    ],
)
def test_a_name_is_mapped_to_its_voice(provider: Espeak, name: str, language: str, setting: str) -> None:
    found, voice = speech.find_voice([provider], name)
    assert (found, voice.name, voice.language, voice.setting) == (provider, name, language, setting)


@pytest.mark.parametrize(
    "name",
    ["", "xx", "xx-XX", "fo-FO", "nonsense", "en-US-Foo-A", "en-US-", "-", "../gmw/en", "en-US+f2", "en-US\n", "alloy",
     "Jenny", "en-US-Standard-", "en-US-Standard-AA", "en-us-standard-a", "en-US-Neural", "+" * 64],
)  # fmt: skip
def test_an_unknown_name_is_refused_with_examples(provider: Espeak, name: str) -> None:
    with pytest.raises(InvalidArgument, match="en-US, en-GB, de-DE") as refused:
        speech.find_voice([provider], name)
    assert refused.value.reason == "VOICE_UNKNOWN"
    assert len(refused.value.message) < 250


def test_every_example_is_a_voice(provider: Espeak) -> None:
    assert all(provider.voice(name) for name in provider.examples())


def test_a_folder_without_languages_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no languages"):
        voices.read_languages(tmp_path)
