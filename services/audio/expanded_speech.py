"""Expanded speech: an offline provider that speaks expanded sentences (`expansion`) and returns the written words."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from services.audio import expansion
from services.audio.speech import SpeechProvider, SpokenText, Voice, restore_words
from services.runtime.progress import OnProgress, ignore_progress


class ExpandedSpeech:
    """A provider that reads numbers, units and abbreviations by the rules of the voice's language.

    External providers do that by themselves, and charge for each character of an expansion.
    """

    def __init__(self, provider: SpeechProvider) -> None:
        self._provider = provider
        self.name = provider.name
        self.version = f"{provider.version} {expansion.VERSION}"
        self.voice = provider.voice
        self.voices = provider.voices
        self.examples = provider.examples

    async def speak(
        self, sentences: Sequence[str], voice: Voice, target: Path, on_progress: OnProgress = ignore_progress
    ) -> SpokenText:
        """Speak sentences. Raises what the provider raises."""
        expanded = await asyncio.to_thread(
            lambda: [expansion.expand(" ".join(sentence.split()), voice.language) for sentence in sentences]
        )
        spoken = await self._provider.speak([each.text for each in expanded], voice, target, on_progress)
        return await asyncio.to_thread(restore_words, expanded, spoken)
