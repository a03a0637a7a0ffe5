"""Numbers, units, dates and abbreviations: what a voice speaks for them, and the words that captions keep."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from services.audio.espeak import Espeak
from services.audio.expanded_speech import ExpandedSpeech
from services.audio.expansion import expand
from services.audio.kokoro import phonemes

# By language, the written text and what is spoken for it. `=`: espeak-ng reads it right as it is.
SPOKEN = {
    "en-US": """
        1,234.50 $|1234 dollars and 50 cents; $5 million|5 million dollars; £3.20|3 pounds and 20 pence
        3.10.2026|October 3rd 20 26; 10/03/2026|October 3rd 20 26; 2026-10-03|October 3rd 20 26; 10:30|=
        10:00|10 o'clock
        21st|=; 5 km|5 kilometers; 1 km|1 kilometer; 5-10 km|5-10 kilometers; 2.5 kg|2.5 kilograms; Dr. Smith|=
        Nr. 5|number 5; No. 5|number 5; 50 %|=; the 1990s|the 19 nineties; Henry VIII|Henry the 8th
        World War II|World War 2; in 1995|in 19 95; in 2005|=; in 1905|in 19 o 5; 1995 people|=; Malcolm X|=
        +1 555 123 4567|+ 1, 5 5 5, 1 2 3, 4 5 6 7; 1,000,000|=; e.g. this|for example this; 8 GB|8 gigabytes
        13/45/2026|=
        section 3.10|=; it fell 3-0|=; Art. 5|Art 5; 1/2|one half
    """,
    "en-GB": "10/03/2026|March 10th 20 26",
    "de-DE": """
        1.234,50 $|1234 Dollar 50; 3.10.2026|dritter Oktober 2026; am 3.10.2026|am dritten Oktober 2026; 10:30|=
        am 21. Mai|am einundzwanzigsten Mai; das 21. Jahrhundert|das einundzwanzigste Jahrhundert; 5 km|5 Kilometer
        Dr. Meier|Doktor Meier; Nr. 5|Nummer 5; 50 %|=; der 1990er|der neunzehnhundertneunziger
        Ludwig XIV.|Ludwig der Vierzehnte.; Elisabeth II|Elisabeth die Zweite; 1,5 Mio. €|1,5 Millionen Euro
        im Jahr 1995|im Jahr neunzehnhundert 95; z. B. hier|zum Beispiel hier; 1.000.000|=; 90 m²|90 Quadratmeter
    """,
    "fr-FR": """
        1 234,50 $|1234 dollars 50; 03/10/2026|3 octobre 2026; 01/10/2026|premier octobre 2026; 10:30|=
        10 h 30|10 heures 30; 21e|vingt-et-unième; 1er|=; 5 km|5 kilomètres; 1,5 km|1,5 kilomètre; Dr Martin|=
        n° 5|numéro 5; 50 %|=; les années 1990|=; Louis XIV|Louis 14; Napoléon I|Napoléon premier
        le XXIe siècle|le vingt-et-unième siècle; M. Dupont|Monsieur Dupont
    """,
    "es-ES": """
        1.234,50 $|1234 dólares con 50; 3.10.2026|3 de octubre de 2026; 10:30|=; 5 km|5 kilómetros; Dr. López|=
        n.º 5|número 5; 50 %|=; los 1990|=; Luis XIV|Luis 14; Felipe II|Felipe segundo; Isabel II|Isabel segunda
        2.º|segundo; siglo XXI|=
    """,
    "it-IT": """
        1.234,50 $|1234 dollari e 50; 3.10.2026|3 ottobre 2026; 10:30|=; 21º|=; 5 km|5 chilometri
        Dott. Rossi|Dottor Rossi
        n. 5|numero 5; 50 %|=; gli anni 1990|=; Luigi XIV|=
    """,
    "pt-BR": """
        R$ 1.234,50|1234 reais e 50; 1.234,50 $|1234 dólares e 50; 3.10.2026|3 de outubro de 2026; 10:30|=; 21º|=
        5 km|5 quilômetros; Dr. Silva|Doutor Silva; nº 5|número 5; 50 %|=; Luís XIV|Luís 14; Pedro II|Pedro segundo
    """,
    "nl-NL": """
        1.234,50 $|1234 dollar 50; 3-10-2026|3 oktober 2026; 10:30|=; 21e|eenentwintigste; 5 km|5 kilometer
        dr. Jansen|dokter Jansen; nr. 5|nummer 5; 50 %|=; in 1995|in 19 95; Lodewijk XIV|Lodewijk de veertiende
    """,
    "pl-PL": """
        1234,50 zł|1234 złote 50 groszy; 1 km|1 kilometr; 22 km|22 kilometry; 12 km|12 kilometrów; dr Kowalski|=
        3.10.2026|trzeciego października 2026; 10:30|=; nr 5|numer 5; 50 %|=; Ludwik XIV|Ludwik czternasty
        Elżbieta II|Elżbieta druga; XXI wiek|dwudziesty pierwszy wiek
    """,
    "ru-RU": """
        1 234,50 ₽|1234 рубля 50 копеек; 21 км|21 километр; 5 км|5 километров; 2,5 кг|2,5 килограмма
        3.10.2026|третье октября 2026 года; 10:30|=; 21-й|двадцать первый; д-р Иванов|доктор Иванов; № 5|номер 5
        50 %|=; 1990-х|1900 девяностых; Людовик XIV|Людовик четырнадцатый
        Екатерина II|Екатерина вторая; XX век|двадцатый век
    """,
    "tr-TR": """
        1.234,50 ₺|1234 lira 50 kuruş; 3.10.2026|3 Ekim 2026; 10:30|=; 21. gün|yirmi birinci gün; 5 km|5 kilometre
        Dr. Yılmaz|Doktor Yılmaz; %50|=; XIV. Louis|ondördüncü Louis
    """,
    "hi-IN": "₹1,234.50|1234 रुपये 50 पैसे; 3/10/2026|3 अक्टूबर 2026; 10:30|=; 5 km|5 किलोमीटर; डॉ. शर्मा|डॉक्टर शर्मा; 50%|=",
    # No table: only what needs no words.
    "sv-SE": "5 km|=; 070-555-1234|0 7 0, 5 5 5, 1 2 3 4; 555-1234|5 5 5, 1 2 3 4; Art. 5|Art 5",
    "zh-CN": "我有1,234.50美元。|=; 2026年10月3日|=",
}  # fmt: skip
ROWS = [
    (tag, *row.strip().split("|"))
    for tag, table in SPOKEN.items()
    for line in table.strip().splitlines()
    for row in line.split("; ")
]


@pytest.mark.parametrize(("tag", "written", "spoken"), ROWS)
def test_what_is_spoken(tag: str, written: str, spoken: str) -> None:
    sentence = f"x {written}"
    expanded = expand(sentence, tag)
    assert expanded.text == sentence if spoken == "=" else expanded.text == f"x {spoken}"
    assert [token for token, _ in expanded.tokens] == sentence.split(), "captions keep what is written"
    assert all(word for _, word in expanded.tokens)


def test_several_in_one_sentence() -> None:
    sentence = "It cost (€5,50) per 3 km/h, or 10km/20km; see Nr. 5."
    assert expand(sentence, "en-US").text == (
        "It cost (5 euros and 50 cents) per 3 kilometers per hour, or 10 kilometers/20km; see number 5."
    )


async def test_words_keep_their_spelling_and_get_the_times_of_what_is_spoken(provider: Espeak, tmp_path: Path) -> None:
    speech = ExpandedSpeech(provider)
    voice = speech.voice("en-US")
    assert voice
    sentences = ["It weighs 3 kg, costs $1,234.50 and  runs 5 km.", "Nothing else."]
    spoken = await speech.speak(sentences, voice, tmp_path / "a.wav")
    words = [[word.text for word in sentence] for sentence in spoken.sentences]
    assert words == [sentence.split() for sentence in sentences]
    times = [word for sentence in spoken.sentences for word in sentence]
    assert all(word.start < word.end <= after.start for word, after in pairwise(times))
    by_text = {word.text: word.end - word.start for word in times}
    assert by_text["$1,234.50"] > timedelta(seconds=2), "one thousand two hundred thirty-four dollars and fifty cents"
    assert by_text["kg,"] > timedelta(seconds=0.4)
    assert speech.version != provider.version


def test_espeak_reads_the_expansions(provider: Espeak) -> None:
    """The sounds, for what looks right and could still be read wrong."""
    heard = {
        "x in 1995": "nˈaɪntiːn nˈaɪnti fˈaɪv",
        "x the 1990s": "nˈaɪntiːn nˈaɪntiz",
        "x on 3.10.2026": "ɑːktˈoʊbɚ θˈɜːd twˈɛnti twˈɛnti sˈɪks",
        "x 5 km": "fˈaɪv kɪlˈɑːmɪɾɚz",
        "x No. 5": "nˈʌmbɚ fˈaɪv",
        "x Louis XIV": "lˈuːi ðə fˈɔːɹtiːnθ",
    }
    texts = [expand(text, "en-US").text for text in heard]
    child = [sys.executable, "-I", "-S", str(Path(phonemes.__file__).parent / "phoneme_child.py")]
    made = subprocess.run(
        [*child, str(provider.library), str(provider.data)],
        input=json.dumps(["gmw/en-US", texts]).encode(),
        stdout=subprocess.PIPE,
        check=True,
    )
    for expected, sounds in zip(heard.values(), json.loads(made.stdout), strict=True):
        assert expected.replace("ˈ", "") in sounds.replace("^", "").replace("ˈ", "").replace("ˌ", ""), sounds


@pytest.mark.parametrize("text", ["1." * 5000, "1 " * 5000, "1,234" * 2000, "X" * 9000, "+1-" * 3000, "a. " * 3000])
@pytest.mark.parametrize("tag", ["en-US", "de-DE", "fr-FR", "sv"])
def test_a_hostile_sentence_takes_little_time(text: str, tag: str) -> None:
    from time import process_time

    expand("1", tag)
    began = process_time()
    expand(text, tag)
    assert process_time() - began < 0.5
