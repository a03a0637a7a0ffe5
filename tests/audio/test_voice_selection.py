"""Voice selection: the voice can read the script, or the request is refused before the synthesis."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from moneyprinter.errors import InvalidArgument
from services.audio import languages
from services.audio.espeak import Espeak
from services.audio.speech import Quality
from services.audio.voice_selection import Text, VoiceSelection, select_voice
from services.audio.voices import UNINTELLIGIBLE

# Ordinary sentences in languages with other letters than Latin.
SCRIPTS = {
    "ru": "Сегодня хорошая погода, и мы едем к морю.",
    "uk": "Сьогодні гарна погода, і ми їдемо до моря.",
    "be": "Сёння добрае надвор'е, і мы едзем да мора.",
    "bg": "Днес времето е хубаво и отиваме на море.",
    "sr": "Данас је лепо време и идемо на море.",
    "kk": "Бүгін ауа райы жақсы, біз теңізге барамыз.",
    "el": "Σήμερα ο καιρός είναι καλός και πάμε στη θάλασσα.",
    "ar": "الطقس جميل اليوم وسنذهب إلى البحر.",
    "fa": "امروز هوا خوب است و ما به دریا می‌رویم.",
    "ur": "آج موسم اچھا ہے اور ہم سمندر پر جا رہے ہیں۔",
    "hi": "आज मौसम अच्छा है और हम समुद्र जा रहे हैं।",
    "mr": "आज हवामान चांगले आहे आणि आपण समुद्रावर जाऊ.",
    "bn": "আজ আবহাওয়া ভালো এবং আমরা সমুদ্রে যাচ্ছি।",
    "ta": "இன்று வானிலை நன்றாக இருக்கிறது.",
    "te": "ఈరోజు వాతావరణం బాగుంది.",
    "ko": "오늘은 날씨가 좋아서 바다에 갑니다.",
    "zh-CN": "今天天气很好，我们去海边玩。",
    "yue": "今日天氣好好，我哋去海邊玩。",
    "ka": "დღეს კარგი ამინდია და ზღვაზე მივდივართ.",
    "hy": "Այսօր եղանակը լավ է և մենք գնում ենք ծով:",
    "am": "ዛሬ አየሩ ጥሩ ነው ወደ ባህር እንሄዳለን።",
    "si": "අද කාලගුණය හොඳයි අපි මුහුදට යමු.",
}
UNHEARD = {
    "ja": "今日は天気がいいので海に行きます。",
    "he": "כל בני האדם נולדו בני חורין ושווים בערכם ובזכויותיהם",
    "th": "วันนี้อากาศดีมากและเราจะไปเที่ยวทะเลกัน",
    "my": "မင်္ဂလာပါ ကျွန်တော်တို့ ဒီနေ့ ပင်လယ်ကို သွားမယ်",
    "shn": "ၵူၼ်းတႆး မိူင်းတႆး",
}


def select(provider: Espeak, name: str, *texts: str, title: str = "") -> VoiceSelection:
    requested = [Text(f"clips[{index}].script", text) for index, text in enumerate(texts)]
    return select_voice([provider], name, requested, Text("title", title) if title else None)


def refused(provider: Espeak, name: str, *texts: str, title: str = "") -> InvalidArgument:
    with pytest.raises(InvalidArgument) as raised:
        select(provider, name, *texts, title=title)
    return raised.value


async def spoken_seconds(selection: VoiceSelection, text: str, folder: Path) -> float:
    spoken = await selection.provider.speak([text], selection.voice, folder / "speech.wav")
    return spoken.duration / timedelta(seconds=1)


@pytest.mark.parametrize("language", SCRIPTS)
async def test_a_script_is_spoken_by_a_voice_of_its_language(provider: Espeak, tmp_path: Path, language: str) -> None:
    selection = select(provider, "", SCRIPTS[language])
    assert selection.voice.name == language
    assert [notice.reason for notice in selection.notices] == ["VOICE_CHOSEN"]
    letters = sum(character.isalpha() for character in SCRIPTS[language])
    assert await spoken_seconds(selection, SCRIPTS[language], tmp_path) / letters < 0.5, (
        "it is spelled letter by letter"
    )


@pytest.mark.parametrize("language", SCRIPTS)
@pytest.mark.parametrize("name", ["de-DE", "en-US", "fr"])
def test_a_voice_that_cannot_read_a_script_is_refused(provider: Espeak, language: str, name: str) -> None:
    error = refused(provider, name, SCRIPTS[language])
    assert error.reason == "VOICE_LANGUAGE_MISMATCH"
    assert [violation.field for violation in error.violations] == ["clips[0].script"]
    for part in ("clips[0].script", name, languages.system_name(languages.main_system(SCRIPTS[language])), language):
        assert part in error.message
    advised = error.message.partition("take ")[2].partition(", or")[0].split(", ")
    assert advised[0] == language
    assert not any(voice.is_substitute for voice in map(provider.voice, advised) if voice)
    for name in advised:
        assert select(provider, name, SCRIPTS[language]).voice.name == name


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ru-RU", "Hello everyone, and welcome."),
        ("zh-CN", "Good morning."),
        ("ar", "Guten Morgen."),
        ("hi-IN", "Namaste doston, aaj hum baat karenge."),
        ("el", "Сегодня хорошая погода."),
        ("ru", "Σήμερα ο καιρός είναι καλός."),
        ("zh-CN", "오늘은 날씨가 좋아서 바다에 갑니다."),
        ("ko-KR", "今天天气很好。"),
        ("en-US", "北京"),
        ("en-US", "Привет"),
        ("hi", "আজ আবহাওয়া ভালো"),
        ("fa-latn", "امروز هوا خوب است"),
    ],
)
def test_every_other_writing_system_is_refused(provider: Espeak, name: str, text: str) -> None:
    assert refused(provider, name, text).reason == "VOICE_LANGUAGE_MISMATCH"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("de-DE", "Heute fahren wir mit Herrn 王小明 nach Berlin und essen dort zu Abend."),
        ("en-US", "The Russian word for peace is мир, as every visitor learns."),
        ("ru-RU", "Мы используем Python и PostgreSQL каждый день."),
        ("zh-CN", "使用 PyTorch 和 TensorFlow 进行 Deep Learning。"),
        ("ko", "오늘은 iPhone 15 Pro Max를 소개합니다."),
        ("sr", "Danas je lepo vreme i idemo na more."),
        ("sr", SCRIPTS["sr"]),
        ("en-US", "𝐇𝐞𝐥𝐥𝐨 Ⓗⓔⓛⓛⓞ ｗｏｒｌｄ"),
        ("en-US", "α, β and γ are letters of physics."),
        ("el", "Η τιμή είναι 5 €."),
        ("ru", "2024!"),
        ("en-US", "100 € 🎉"),
        ("ja", "今天天气很好。"),
    ],
)
def test_mixed_scripts_are_spoken(provider: Espeak, name: str, text: str) -> None:
    assert select(provider, name, text).voice.name == name


def test_latin_text_without_a_voice_gets_the_default_one(provider: Espeak) -> None:
    for text in ("This is the narration text", "La La Land", "2024", "Die Hard", "Kubernetes", "Taylor Swift"):
        assert (select(provider, "", text).voice.name, select(provider, "", text).notices) == ("en-US", ())


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("de", "Heute ist ein schöner Tag, und wir gehen ans Meer."),
        ("fr", "Les plus beaux villages de France et leurs secrets pour vous."),
        ("es", "Diez consejos para dormir mejor por la noche y en el día."),
        ("it", "Oggi il tempo è bello e andiamo al mare con gli amici."),
        ("pt-BR", "Hoje o tempo está bom e vamos para o mar com os amigos."),
        ("nl", "Vandaag is het mooi weer en wij gaan naar zee."),
    ],
)
def test_frequent_words_select_the_voice_of_their_language(provider: Espeak, language: str, text: str) -> None:
    assert select(provider, "", text).voice.name == language


def test_a_text_that_the_voice_cannot_read_is_named(provider: Espeak) -> None:
    error = refused(provider, "", "This is all in English, and there is a lot of it.", SCRIPTS["ko"])
    assert error.message.startswith("clips[1].script")
    assert "en-US" in error.message


def test_only_a_title_in_latin_letters_is_readable_by_every_voice(provider: Espeak) -> None:
    assert select(provider, "ru-RU", title="TikTok").voice.name == "ru-RU"
    assert refused(provider, "de-DE", title="Красная площадь").message.startswith("title")
    assert select(provider, "", title="Красная площадь").voice.name == "ru"


def test_a_writing_system_without_a_voice_is_refused(provider: Espeak) -> None:
    error = refused(provider, "", "ថ្ងៃនេះអាកាសធាតុល្អ")
    assert (error.reason, "Khmer" in error.message) == ("VOICE_LANGUAGE_MISMATCH", True)


@pytest.mark.parametrize("language", UNHEARD)
def test_an_unintelligible_voice_needs_its_own_name(provider: Espeak, language: str) -> None:
    error = refused(provider, "", UNHEARD[language])
    assert error.reason == "VOICE_UNINTELLIGIBLE"
    assert f"{language!r}" in error.message and UNINTELLIGIBLE[language] in error.message
    selection = select(provider, language, UNHEARD[language])
    assert selection.voice.quality is Quality.UNINTELLIGIBLE
    assert [notice.reason for notice in selection.notices] == ["VOICE_UNINTELLIGIBLE"]


@pytest.mark.parametrize("name", ["ja-JP-NanamiNeural", "ja-JP-Standard-A", "he-IL-AvriNeural", "th-TH-Standard-A"])
def test_an_unintelligible_voice_is_never_a_substitute(provider: Espeak, name: str) -> None:
    assert refused(provider, name, UNHEARD[name[:2]]).reason == "VOICE_UNINTELLIGIBLE"


@pytest.mark.parametrize("language", ["ja", "shn"])
async def test_unintelligible_languages_are_spelled_out(provider: Espeak, tmp_path: Path, language: str) -> None:
    took = await spoken_seconds(select(provider, language, UNHEARD[language]), UNHEARD[language], tmp_path)
    assert took / sum(character.isalpha() for character in UNHEARD[language]) > 0.5


def test_hebrew_is_unintelligible_without_vowels(provider: Espeak) -> None:
    """Its phonemes have half as many vowels as those of an intelligible language."""

    def vowels(language: str, text: str) -> float:
        program = (
            "import ctypes, sys; e = ctypes.CDLL(sys.argv[1]); e.espeak_Initialize(2, 0, sys.argv[2].encode(), 0x8000);"
            "e.espeak_SetVoiceByName(sys.argv[3].encode()); e.espeak_TextToPhonemes.restype = ctypes.c_char_p;"
            "p = ctypes.c_void_p(ctypes.cast(ctypes.c_char_p(sys.argv[4].encode()), ctypes.c_void_p).value);"
            "sys.stdout.buffer.write(e.espeak_TextToPhonemes(ctypes.byref(p), 1, 2))"
        )
        arguments = [str(provider.library), str(provider.data), language, text]
        output = subprocess.run(
            [sys.executable, "-c", program, *arguments], capture_output=True, check=True
        ).stdout.decode()
        letters = [character for character in output if character.isalpha()]
        return sum(character in "aeiouyøœɐɑɒɔəɘɛɜɨɪɯɵʉʊʌæ" for character in letters) / len(letters)

    assert vowels("he", UNHEARD["he"]) < 0.2 < 0.28 < vowels("fa", SCRIPTS["fa"])


@pytest.mark.parametrize("name", ["en-US-AriaNeural", "en-US-Standard-A", "de-DE-Wavenet-B"])
def test_a_substitute_voice_comes_with_a_notice(provider: Espeak, name: str) -> None:
    (notice,) = select(provider, name, "Hello.").notices
    assert notice.reason == "VOICE_REPLACED"
    assert name in notice.message and "robotic" in notice.message
    assert select(provider, name[:5], "Hello.").notices == ()


def test_no_error_recommends_the_voice_of_another_provider(provider: Espeak) -> None:
    for error in (
        refused(provider, "nonsense", "Hi."),
        refused(provider, "de", "Привет, мир"),
        refused(provider, "ru", "Hi"),
    ):
        assert not any(part in error.message for part in ("Neural", "Standard", "Wavenet"))


def test_every_listed_voice_reads_its_language() -> None:
    """A voice with an unknown writing system would refuse its own language."""
    for language, text in {**SCRIPTS, **UNHEARD}.items():
        assert languages.unreadable_system(text, language) == ""
        assert languages.unreadable_system(text, "de") == ("HAN" if language == "ja" else languages.main_system(text))
