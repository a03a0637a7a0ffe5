"""Checks of a request before its job is created: a voice can speak it, its captions can be drawn, and its texts are
allowed."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Mapping

from moneyprinter.audio.v1 import audio_service_pb2 as audio
from moneyprinter.content.v1 import content_service_pb2 as content
from services.orchestrator.jobs.model import VideoRequest
from services.orchestrator.jobs.options import LanguageVersion
from services.orchestrator.jobs.scenes import Narrator, Notice
from services.orchestrator.workers import messages
from services.orchestrator.workers.stubs import Stubs

# The workflow chooses the voice again soon after the check: choices are kept for this long, and at most this many.
VOICE_SECONDS, VOICES = 60.0, 1000

# The characters that are moderated before a job is accepted; a script may have 20,000.
_MAX_CHECKED = 30_000
# The limit of the contract for the texts of one check.
_MAX_TEXTS = 2000


class GrpcChecks:
    """Asks the audio and the content service whether they can do what a request needs."""

    def __init__(self, stubs: Stubs) -> None:
        self._audio = stubs.audio
        self._content = stubs.content
        self._voices: dict[bytes, tuple[float, Narrator]] = {}

    async def find_voice(self, user_id: str, request: VideoRequest) -> Narrator:
        """Return the voice that speaks the script of a user's request.

        Raises `InvalidArgument` when no voice can speak it, or the requested voice cannot.
        """
        message = _voice_request(user_id, request)
        key = hashlib.sha256(message.SerializeToString(deterministic=True)).digest()
        found_at, narrator = self._voices.get(key, (-math.inf, None))
        if narrator is None or time.monotonic() - found_at > VOICE_SECONDS:
            found = await self._audio.GetVoice(message)
            narrator = Narrator(found.name, found.language, found.quality, messages.to_notices(found.notices))
            while len(self._voices) >= VOICES:
                del self._voices[next(iter(self._voices))]
            self._voices[key] = (time.monotonic(), narrator)
        return narrator

    async def check_translation(self, user_id: str, language: str) -> None:
        """Raise `FailedPrecondition` (WRITER_MISSING) when no writer can translate into a language for a user."""
        await self._content.TranslateScenes(content.TranslateScenesRequest(language=language, account_id=user_id))

    async def check_captions(self, request: VideoRequest) -> None:
        """Raise `InvalidArgument` when captions cannot be drawn in the requested style, such as in a missing font."""
        if request.captions:
            style = messages.caption_style(request.captions)
            await self._content.MakeCaptions(content.MakeCaptionsRequest(canvas=messages.canvas(request), style=style))

    async def check_texts(self, user_id: str, request: VideoRequest) -> tuple[Notice, ...]:
        """Return a notice for each text of a request that moderation flags.

        Texts beyond _MAX_CHECKED characters are left to the job, which checks all texts before it uses them. Raises
        `InvalidArgument` (CONTENT_REFUSED) when the policy of the deployment refuses a text.
        """
        version = request.version
        if version and version.is_translated:
            # The job of the first language has the other texts.
            return await self._check({"translations.title": version.title, **_own_scripts(version)}, user_id)
        texts = {"title": request.title, "audio.script": request.script or ""}
        for index, clip in enumerate(request.clips):
            texts |= {f"clips[{index}].script": clip.script, f"clips[{index}].title": clip.style.title}
        for index, scene in enumerate(request.scenes):
            texts |= {f"scenes[{index}].script": scene.script, f"scenes[{index}].title": scene.title}
            texts |= {f"scenes[{index}].search_terms[{at}]": term for at, term in enumerate(scene.search_terms)}
        texts |= {f"writing.{name}": getattr(request.writing, name) for name in ("prompt", "tone", "audience")}
        for index, (_, spoken) in enumerate(sorted(request.speech_options.pronunciations.items())):
            texts[f"audio.pronunciations[{index}]"] = spoken
        for index, entry in enumerate(request.speech_options.lexicon):
            texts[f"settings.lexicon.entries[{index}].pronunciation"] = entry.pronunciation
        return await self._check(texts, user_id)

    async def _check(self, texts: Mapping[str, str], user_id: str) -> tuple[Notice, ...]:
        checked: list[content.CheckedText] = []
        room = _MAX_CHECKED
        for field, text in texts.items():
            if text and len(text) <= room and len(checked) < _MAX_TEXTS:
                checked.append(content.CheckedText(field=field, text=text))
                room -= len(text)
        if not checked:
            return ()
        found = await self._content.CheckTexts(content.CheckTextsRequest(texts=checked, account_id=user_id))
        return messages.to_notices(found.notices)


def _own_scripts(version: LanguageVersion | None) -> dict[str, str]:
    """The scripts that the owner gave in a language, by their fields."""
    scripts = version.scripts if version else ()
    return {f"translations.scripts[{index}]": script for index, script in enumerate(scripts)}


def _voice_request(user_id: str, request: VideoRequest) -> audio.GetVoiceRequest:
    """Returns what a voice must speak, by the fields that the texts come from."""
    texts = {"audio.script": request.script or ""} | {
        f"clips[{index}].script": clip.script for index, clip in enumerate(request.clips)
    }
    texts |= {f"scenes[{index}].script": scene.script for index, scene in enumerate(request.scenes)}
    if translated := bool(request.version and request.version.is_translated):
        # The scripts of the request are in another language.
        texts = _own_scripts(request.version)
    narrated = [audio.NarratedText(field=field, text=text) for field, text in texts.items() if text]
    title, draft = "" if narrated or translated else request.title, request.quality == "draft"
    return audio.GetVoiceRequest(name=request.voice, texts=narrated, title=title, draft=draft, account_id=user_id)
