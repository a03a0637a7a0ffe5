"""Samples: a short sentence in each voice, by which users choose one. Each is spoken once and then kept in storage."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Collection, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol
from weakref import WeakValueDictionary

from moneyprinter.errors import FailedPrecondition, NotFound
from services.audio import export, mastering, speech
from services.audio.costs import is_charged, leave_out_costly
from services.audio.fallback import Candidate, speak_first
from services.audio.speech import SpeechProvider, SpokenText, Voice
from services.providers.cost_limits import CostLimits

CONTENT_TYPE = "audio/mpeg"
MAX_SECONDS = 5.0
_VERSION = 1
"""Increases when the same voice would get another sample."""
# A page that lists voices requests many samples at once, and jobs need the cores.
_SPOKEN_AT_ONCE = 2
# Sentences of 2 to 4 s, of our own writing.
SENTENCES: Mapping[str, str] = {
    "ar": "صباح الخير، هكذا يبدو صوتي.",
    "bg": "Добро утро! Така звучи моят глас.",
    "bn": "সুপ্রভাত, আমার কণ্ঠ এমন শোনায়।",
    "ca": "Bon dia! Així sona la meva veu.",
    "cs": "Dobré ráno! Takhle zní můj hlas.",
    "da": "Godmorgen! Sådan lyder min stemme.",
    "de": "Guten Morgen! So klingt meine Stimme.",
    "el": "Καλημέρα! Έτσι ακούγεται η φωνή μου.",
    "en": "Good morning! This is how my voice sounds.",
    "es": "¡Buenos días! Así suena mi voz.",
    "et": "Tere hommikust! Nii kõlab minu hääl.",
    "fa": "صبح بخیر، صدای من این‌گونه است.",
    "fi": "Hyvää huomenta! Tältä ääneni kuulostaa.",
    "fr": "Bonjour ! Voici le son de ma voix.",
    "hi": "सुप्रभात! मेरी आवाज़ ऐसी सुनाई देती है।",
    "hr": "Dobro jutro! Ovako zvuči moj glas.",
    "hu": "Jó reggelt! Így szól a hangom.",
    "id": "Selamat pagi! Beginilah suara saya.",
    "it": "Buongiorno! Ecco come suona la mia voce.",
    "ja": "おはようございます。これが私の声です。",
    "ko": "안녕하세요, 제 목소리는 이렇게 들립니다.",
    "lt": "Labas rytas! Taip skamba mano balsas.",
    "lv": "Labrīt! Tā skan mana balss.",
    "ms": "Selamat pagi! Beginilah bunyi suara saya.",
    "nb": "God morgen! Slik høres stemmen min ut.",
    "nl": "Goedemorgen! Zo klinkt mijn stem.",
    "pl": "Dzień dobry! Tak brzmi mój głos.",
    "pt": "Bom dia! É assim que soa a minha voz.",
    "ro": "Bună dimineața! Așa sună vocea mea.",
    "ru": "Доброе утро! Так звучит мой голос.",
    "sk": "Dobré ráno! Takto znie môj hlas.",
    "sl": "Dobro jutro! Tako zveni moj glas.",
    "sr": "Добро јутро! Овако звучи мој глас.",
    "sv": "God morgon! Så här låter min röst.",
    "sw": "Habari za asubuhi! Hivi ndivyo sauti yangu inavyosikika.",
    "th": "สวัสดีค่ะ นี่คือเสียงของฉัน",
    "tr": "Günaydın! Sesim böyle duyuluyor.",
    "uk": "Доброго ранку! Так звучить мій голос.",
    "ur": "صبح بخیر، میری آواز ایسی ہے۔",
    "vi": "Xin chào! Giọng nói của tôi nghe như thế này.",
    "zh": "早上好，这就是我的声音。",
}
_ALIASES = {"cmn": "zh", "yue": "zh", "hak": "zh", "no": "nb", "nn": "nb", "fil": "tl"}
# Every engine reads digits in the language of its voice.
NUMBERS = "1, 2, 3, 4, 5."


class Objects(Protocol):
    """The object store."""

    async def put_file(self, key: str, path: Path) -> Any: ...

    async def get_bytes(self, key: str, offset: int = 0, length: int = 0) -> bytes: ...


class VoiceSamples:
    """Speaks and keeps the samples.

    Args:
        objects: The object store. It holds one sample of each voice of a provider and its version.
        ffmpeg: The ffmpeg program.
        free: The names of the providers that charge nothing.
        costs: What providers may charge for the calls of an account.
        allows_others: Whether the other providers speak samples, too.
    """

    def __init__(
        self, objects: Objects, ffmpeg: Path, free: Collection[str], costs: CostLimits, *, allows_others: bool
    ) -> None:
        self._objects = objects
        self._ffmpeg = ffmpeg
        self._free = free
        self._costs = costs
        self._allows_others = allows_others
        self._slots = asyncio.Semaphore(_SPOKEN_AT_ONCE)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def is_allowed(self, provider: SpeechProvider) -> bool:
        """Whether a provider speaks samples."""
        return self._allows_others or provider.name in self._free

    async def make(self, provider: SpeechProvider, voice: Voice, folder: Path, account_id: str = "") -> bytes:
        """Return the sample of a voice, an MP3 file of at most `MAX_SECONDS`.

        Args:
            provider: The provider of the voice.
            voice: The voice.
            folder: The folder of temporary files.
            account_id: The account that requests the sample, for which the provider may charge.

        Raises `FailedPrecondition` (SAMPLE_UNAVAILABLE) when the provider may not speak samples, and what
        `CostLimits.reserve`, `leave_out_costly` and `speak_first` raise.
        """
        if not self.is_allowed(provider):
            raise FailedPrecondition(
                f"there are no samples of {provider.name}'s voices here; an operator allows them with "
                f"MONEYPRINTER_AUDIO_PROVIDER_SAMPLES=true",
                reason="SAMPLE_UNAVAILABLE",
            )
        sentence = sample_sentence(voice.language)
        spec = "\n".join((str(_VERSION), provider.name, provider.version, voice.setting, sentence))
        key = f"cache/audio/sample-{hashlib.sha256(spec.encode()).hexdigest()}.mp3"
        lock = self._locks.setdefault(key, asyncio.Lock())
        # One speaks; the others wait for its result.
        async with lock:
            try:
                return await self._objects.get_bytes(key)
            except NotFound:
                pass
            async with self._slots:
                candidate = Candidate(provider, voice)
                charged = [provider.name] if is_charged(provider) else []
                units = {"characters": len(sentence)}
                async with self._costs.reserve(account_id, charged, units) as spending:
                    leave_out_costly([candidate], [sentence], spending.budget)
                    sample = await self._speak(candidate, sentence, key, folder)
                    spending.cost = self._costs.count_cost(provider.name, units) if charged else 0.0
                return sample

    async def _speak(self, candidate: Candidate, sentence: str, key: str, folder: Path) -> bytes:
        wav = folder / "sample.wav"

        async def speak(source: SpeechProvider, voice: Voice) -> SpokenText:
            return await speech.speak_to_file(source, voice, [sentence], wav)

        # Only this voice: a sample in another voice would deceive.
        spoken = (await speak_first([candidate], speak)).result
        seconds = min(spoken.duration / timedelta(seconds=1), MAX_SECONDS)
        samples = round(seconds * mastering.RATE)
        chain = mastering.choose_chain("", candidate.name)
        sound = await export.export_speech(self._ffmpeg, wav, "mp3", export.LOUDNESS_LUFS, samples, chain)
        await self._objects.put_file(key, sound)
        return await asyncio.to_thread(sound.read_bytes)


def sample_sentence(tag: str) -> str:
    """The sentence for a language (BCP 47); `NUMBERS` where there is none."""
    language = tag.partition("-")[0].lower()
    return SENTENCES.get(_ALIASES.get(language, language), NUMBERS)
