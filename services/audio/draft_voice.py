"""The voice of a draft: espeak-ng, the fastest provider, speaks in place of the neural voices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from services.audio.speech import Quality, SpeechProvider
from services.audio.voice_selection import Text, VoiceSelection, select_voice

FAST_PROVIDER = "espeak"
# The longest name of a voice in the contracts.
_MAX_NAME = 64


def select_draft_voice(
    providers: Sequence[SpeechProvider], name: str, texts: Sequence[Text], title: Text | None = None
) -> VoiceSelection:
    """Select the voice of a draft: espeak-ng's for the language of the voice that `select_voice` selects.

    Its name contains the provider. Where espeak-ng has no intelligible voice, it is the voice of `select_voice`.

    Args:
        providers: The providers, in order of preference.
        name: The requested voice; empty: the default voice.
        texts: The texts to speak.
        title: A title that is spoken among sentences in the language of the voice.

    Raises what `select_voice` raises.
    """
    selection = select_voice(providers, name, texts, title)
    fast = next((provider for provider in providers if provider.name == FAST_PROVIDER), None)
    if fast is None or selection.provider is fast or ":" in name:
        return selection
    # A name of another provider's speaker keeps its gender.
    voice = fast.voice(selection.voice.name) or fast.voice(selection.voice.language)
    if voice is None or voice.quality is Quality.UNINTELLIGIBLE:
        return selection
    full = f"{fast.name}:{voice.name}"
    full = full if len(full) <= _MAX_NAME else f"{fast.name}:{voice.language}"
    return replace(selection, provider=fast, voice=replace(voice, name=full))
