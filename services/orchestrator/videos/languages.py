"""Languages: divides a request for a video in several languages into the requests of their jobs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from services.orchestrator.jobs.model import NO_VOICE
from services.orchestrator.jobs.options import LanguageVersion
from services.orchestrator.videos.requests import VideoInput
from services.orchestrator.videos.violations import invalid_field

# Without letters and digits that look alike, as in the ids of jobs.
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_ID_LENGTH = 16


@dataclass(frozen=True)
class Version:
    """The request for one language, and the id of its job."""

    job_id: str
    video: VideoInput
    original: Mapping[str, Any]
    """The request as JSON."""


def group_id(first_job_id: str) -> str:
    """Returns the id of the group to which the job of the first language belongs."""
    return f"grp_{first_job_id.partition('_')[2]}"


def job_ids(first_job_id: str, languages: Sequence[str]) -> list[str]:
    """Returns the ids of the jobs of a group, which follow from the first one: a repeated request gets the same."""
    return [first_job_id, *(_derive_id(first_job_id, language) for language in languages[1:])]


def _derive_id(first_job_id: str, language: str) -> str:
    digest = hashlib.sha256(f"{first_job_id} {language}".encode()).digest()
    return f"vid_{''.join(_ALPHABET[byte % len(_ALPHABET)] for byte in digest[:_ID_LENGTH])}"


def divide(video: VideoInput, original: Mapping[str, Any], first_job_id: str) -> list[Version]:
    """Returns the requests of all languages of a video, that of the first language first.

    Raises `InvalidArgument` when the fields of the request contradict each other.
    """
    _check(video)
    given = {translation.language: translation for translation in video.translations}
    single = {name: value for name, value in original.items() if name not in ("languages", "translations")}
    found = []
    for language, job_id in zip(video.languages, job_ids(first_job_id, video.languages), strict=True):
        own = given.get(language)
        version = LanguageVersion(
            group_id(first_job_id),
            language,
            video.languages[0],
            video.voice,
            own.title if own else "",
            own.scripts if own else (),
        )
        voice = (own.voice if own else "") if version.is_translated else video.voice
        changed = replace(
            video,
            title=version.title or video.title,
            voice=voice,
            writing=replace(video.writing, language=language),
            languages=(),
            translations=(),
            version=version,
        )
        found.append(Version(job_id, changed, _own_request(single, version, voice)))
    return found


def _own_request(single: Mapping[str, Any], version: LanguageVersion, voice: str) -> dict[str, Any]:
    """The request of one language as JSON, with the texts that the owner gave in it."""
    audio = {name: value for name, value in single.get("audio", {}).items() if name != "voice"}
    writing = {**single.get("writing", {}), "language": version.language}
    own = {**single, "audio": {**audio, **({"voice": voice} if voice else {})}, "writing": writing}
    if version.title:
        own["title"] = version.title
    return put_scripts(own, version.scripts) if version.scripts else own


def put_scripts(request: Mapping[str, Any], scripts: Sequence[str]) -> dict[str, Any]:
    """Returns a request, as JSON, with other scripts in the places of its own."""
    changed = dict(request)
    for name in ("scenes", "clips"):
        entries = request.get(name, [])
        if entries and all(entry.get("script") for entry in entries) and len(entries) == len(scripts):
            pairs = zip(entries, scripts, strict=True)
            return {**changed, name: [{**entry, "script": script} for entry, script in pairs]}
    if "script" in request.get("audio", {}):
        changed["audio"] = {**request["audio"], "script": "\n".join(scripts)}
    return changed


def _check(video: VideoInput) -> None:
    """Raise `InvalidArgument` when the fields of a request for several languages contradict each other."""
    first, *others = video.languages
    if video.voice == NO_VOICE or video.script == "":
        raise invalid_field("languages", "is for narrated videos; choose a voice, or leave it out")
    if video.writing.language not in ("", first):
        raise invalid_field("writing.language", f"is the first of `languages`, {first}; leave it out")
    if video.sounds.narration_asset_id and others:
        raise invalid_field("audio.narration_asset_id", "is a recording in one language; leave it out, or `languages`")
    places = len(video.scenes) or sum(bool(clip.script) for clip in video.clips) or int(video.script is not None)
    seen = set[str]()
    for index, translation in enumerate(video.translations):
        where = f"translations[{index}]"
        if translation.language not in others:
            known = f"; those are {', '.join(others)}" if others else ""
            raise invalid_field(f"{where}.language", f"is none of `languages` after the first{known}")
        if translation.language in seen:
            raise invalid_field(f"{where}.language", "stands twice; give each language once")
        seen.add(translation.language)
        if translation.scripts and len(translation.scripts) != places:
            expected = (
                f"there must be {places}, one for each script of the request"
                if places
                else ("is for requests with a script; leave it out to have the written script translated")
            )
            raise invalid_field(f"{where}.scripts", expected)
        if translation.voice == NO_VOICE:
            raise invalid_field(f"{where}.voice", "must be a voice; leave the language out instead")


def needs_writer(version: LanguageVersion) -> bool:
    """Returns whether a text of a language must be translated."""
    return version.is_translated and not (version.title and version.scripts)
