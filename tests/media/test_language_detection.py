"""The language of short texts in Latin letters."""

from __future__ import annotations

import pytest

from services.media.language_detection import detect_latin_language

TEXTS = {
    "en": ("Why the sea is salty", "Ten facts about Mars", "The rain begins at noon."),
    "de": ("Warum das Meer salzig ist", "Besser schlafen", "Am Mittag beginnt der Regen.", "Nahrungsergänzungsmittel"),
    "fr": ("Pourquoi la mer est salée", "Mieux dormir ce soir", "La pluie commence à midi."),
    "es": ("Por qué el mar es salado", "Dormir mejor", "La lluvia empieza a mediodía."),
    "it": ("Perché il mare è salato", "Come nasce il miele", "La pioggia comincia a mezzogiorno."),
    "pt": ("Por que o mar é salgado", "A chuva começa ao meio-dia.", "Como as abelhas fazem mel"),
    "nl": ("Waarom de zee zout is", "Hoe bijen honing maken", "De regen begint om twaalf uur."),
    "pl": ("Dlaczego morze jest słone", "Deszcz zaczyna się w południe."),
    "cs": ("Proč je moře slané", "Déšť začíná v poledne."),
    "sv": ("Varför havet är salt", "Regnet börjar klockan tolv."),
    "tr": ("Deniz neden tuzludur", "Yağmur öğlen başlıyor."),
    "fi": ("Miksi meri on suolaista", "Sade alkaa keskipäivällä."),
    "id": ("Mengapa laut asin", "Hujan mulai pada siang hari."),
    "vi": ("Vì sao biển mặn", "Mưa bắt đầu vào buổi trưa."),
}
NAMES = ("Taylor Swift", "Minecraft", "La La Land", "Paris in spring", "Episode 3", "2024", "", "???", "OK")


@pytest.mark.parametrize("language", TEXTS)
def test_short_texts_show_their_language(language: str) -> None:
    found = [detect_latin_language(text) for text in TEXTS[language]]
    assert set(found) <= {language, ""}
    assert found.count(language) >= len(found) / 2


@pytest.mark.parametrize("text", NAMES)
def test_a_name_shows_no_other_language_than_english(text: str) -> None:
    assert detect_latin_language(text) in ("en", "")


def test_a_long_text_is_detected_by_its_beginning() -> None:
    assert detect_latin_language("Das Meer ist salzig, weil Flüsse das Salz der Felsen bringen. " * 50_000) == "de"
