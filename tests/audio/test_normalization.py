"""Normalization: decorated letters are spoken as plain ones, and words keep their times."""

from __future__ import annotations

import time
import unicodedata
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.audio.espeak import Espeak
from services.audio.normalization import normalize
from services.audio.speech import SpokenText

PLAIN = "Hello world, this is a small test."
BOLD = str.maketrans(
    {chr(97 + n): chr(0x1D41A + n) for n in range(26)} | {chr(65 + n): chr(0x1D400 + n) for n in range(26)}
)
SANS = str.maketrans(
    {chr(97 + n): chr(0x1D5BA + n) for n in range(26)} | {chr(65 + n): chr(0x1D5A0 + n) for n in range(26)}
)
WIDE = str.maketrans({chr(n): chr(n + 0xFEE0) for n in range(0x21, 0x7F)})
CIRCLED = str.maketrans(
    {chr(97 + n): chr(0x24D0 + n) for n in range(26)} | {chr(65 + n): chr(0x24B6 + n) for n in range(26)}
)
DARK = str.maketrans(
    {chr(97 + n): chr(0x1F150 + n) for n in range(26)} | {chr(65 + n): chr(0x1F150 + n) for n in range(26)}
)
SMALL = str.maketrans("abdehilmnoprtuwz", "ᴀʙᴅᴇʜɪʟᴍɴᴏᴘʀᴛᴜᴡᴢ")


async def speak(provider: Espeak, sentence: str, voice: str, folder: Path) -> SpokenText:
    found = provider.voice(voice)
    assert found
    return await provider.speak([sentence], found, folder / "speech.wav")


@pytest.mark.parametrize(
    ("voice", "plain", "written"),
    [
        ("en-US", PLAIN, PLAIN.translate(BOLD)),
        ("en-US", PLAIN, PLAIN.translate(SANS)),
        ("en-US", PLAIN, PLAIN.translate(WIDE)),
        ("en-US", PLAIN, PLAIN.translate(CIRCLED)),
        ("en-US", PLAIN.upper(), PLAIN.translate(DARK)),
        ("en-US", PLAIN.lower(), PLAIN.lower().translate(SMALL)),
        ("en-US", "The fine office was sealed off.", "The ﬁne oﬃce was sealed oﬀ."),
        ("en-US", "Cooperation is wonderful.", "Co\u00adop\u00ader\u00ada\u00adtion is won\u200bder\ufefful."),
        ("en-US", "Striking news.", "S̶t̶r̶i̶k̶i̶n̶g̶ n̲e̲w̲s̲."),
        ("en-US", "We had 34 of 12.", "We had ٣٤ of １２."),
        ("en-US", "Chapter IV is here.", "Chapter Ⅳ is here."),
        ("en-US", "It's the dog's.", "Itʼs the dog＇s."),
        ("fr-FR", "L'été, j'arrive aujourd'hui.", "Lʼété, jʼarrive aujourd’hui."),
        ("uk-UA", "П'ять м'ячів і об'єкт.", "Пʼять м’ячів і об＇єкт."),
        ("it-IT", "L'acqua dell'isola.", "L`acqua dell´isola."),
        ("ar", "مرحبا بكم جميعا لا", "ﻣﺮﺣﺒﺎ ﺑﻜﻢ ﺟﻤﻴﻌﺎ ﻻ"),
        ("de-DE", "Größe fünf über alles.", "\u202aGröße fünf über alles.\u202c"),
        ("hi", "कमरा 34 में", "कमरा ३४ में"),
        ("he", "שלום לכולם", "שָׁלוֹם לְכֻלָּם".replace("ֻ", "ו")),
    ],
)  # fmt: skip
async def test_decorated_letters_are_spoken_as_plain_ones(
    provider: Espeak, tmp_path: Path, voice: str, plain: str, written: str
) -> None:
    expected, spoken = await speak(provider, plain, voice, tmp_path), await speak(provider, written, voice, tmp_path)
    assert abs(spoken.duration - expected.duration) <= timedelta(seconds=0.06)
    assert [word.text for word in spoken.sentences[0]] == written.split()
    for word, same in zip(spoken.sentences[0], expected.sentences[0], strict=True):
        assert abs(word.start - same.start) <= timedelta(seconds=0.06)
        assert abs(word.end - same.end) <= timedelta(seconds=0.06)


@pytest.mark.parametrize(
    ("voice", "sentence"),
    [
        ("vi", "Tiếng Việt rất đẹp và dễ thương."),
        ("ko", "안녕하세요 여러분, 오늘은 날씨가 좋아요."),
        ("fr-FR", "L’été à la plage, c’était très agréable où nous étions."),
        ("de-DE", "Schöne Grüße aus München über die Straße."),
        ("cs", "Příliš žluťoučký kůň úpěl ďábelské ódy."),
        ("es-ES", "El pingüino Wenceslao hizo kilómetros bajo exhaustiva lluvia y añoraba."),
        ("pl", "Zażółć gęślą jaźń."),
        ("tr", "Pijamalı hasta yağız şoföre çabucak güvendi."),
        ("ja", "ガラスのパズルをください。"),
        ("el", "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία."),
        ("ru-RU", "Съешь ещё этих мягких булок, мой ёжик."),
        ("hi", "\u0958लम और \u095bमीन प\u095dना"),
        ("bn", "আমি বাংলা\u09df প\u09dcি"),
        ("ar", "آمن أحمد إلى مؤتمر"),
    ],
)  # fmt: skip
async def test_composed_and_decomposed_text_take_the_same_time(
    provider: Espeak, tmp_path: Path, voice: str, sentence: str
) -> None:
    forms = [sentence, *(unicodedata.normalize(form, sentence) for form in ("NFC", "NFD"))]
    assert len(set(forms)) > 1
    spoken = [await speak(provider, form, voice, tmp_path) for form in forms]
    assert len({one.duration for one in spoken}) == 1
    assert len({tuple((word.start, word.end) for word in one.sentences[0]) for one in spoken}) == 1
    for form, one in zip(forms, spoken, strict=True):
        assert "".join(word.text for word in one.sentences[0]) == "".join(form.split())


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("10² and x² and 10⁶", "10 2 and x2 and 10 6"),
        ("①②③ ❶", "1 2 3 1"),
        ("\u200cWord", "Word"),
        ("\u200dWord", "Word"),
        ("\u200bWord", "Word"),
        ("\u200b", ""),
        ("It\u00b4\uaaf7s", "It's"),
        ("\ufb2a", "\u05e9"),
        ("H₂O, C₆H₁₂O₆", "H2O, C6H12O6"),
        ("½ 5½ … № ™ 25℃ 5'10″", "½ 5½ … № ™ 25℃ 5'10″"),
        ("‘quoted’ words", "‘quoted’ words"),
        ("می‌روم", "می‌روم"),
        ("क्‍ष", "क्‍ष"),
        ("सुप्रभात", "सुप्रभात"),
        ("1️⃣ first", "1 first"),
        ("ｶﾀｶﾅ ｶﾞ ﾊﾟﾝ", "カタカナ ガ パン"),
    ],
)
def test_meaningful_signs_are_unchanged(written: str, read: str) -> None:
    assert normalize(written).text == read


@pytest.mark.parametrize("emoji", ["🎉", "👨‍👩‍👧", "🇩🇪", "❤️", "👍🏽", "✅", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "→", "★"])
def test_emoji_and_arrows_are_not_spoken(emoji: str) -> None:
    assert normalize(f"a {emoji} b").text.split() == ["a", "b"]


@given(st.text(max_size=60))
def test_equivalent_spellings_have_equal_readings(text: str) -> None:
    forms = [normalize(unicodedata.normalize(form, text)) for form in ("NFC", "NFD")]
    assert forms[0].text == forms[1].text


@given(st.text(max_size=60))
def test_every_read_character_has_a_place_in_the_sentence(text: str) -> None:
    found = normalize(text)
    assert len(found.places) == len(found.text)
    assert all(before <= after for before, after in pairwise(found.places))
    assert all(0 <= place < len(text) for place in found.places)
    assert normalize(found.text).text == found.text


@pytest.mark.parametrize("text", ["e" + "\u0301" * 20_000, "'" * 20_000, "a\u0489" * 10_000, "क" + "\u093c" * 19_999])
def test_hostile_text_is_normalized_quickly(text: str) -> None:
    begun = time.process_time()
    normalize(text)
    assert time.process_time() - begun < 2
