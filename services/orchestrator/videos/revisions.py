"""Revisions: the request for a video again with changes, in the JSON of the public interface."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from moneyprinter.errors import FailedPrecondition
from services.orchestrator.jobs.model import Job
from services.orchestrator.jobs.scenes import Cut, Scene
from services.orchestrator.videos import languages
from services.orchestrator.videos.violations import invalid_field

# With one of these, the script is written again, or the video gets clips of its own.
_NEW_SCRIPT = ("title", "clips", "writing")

# The authors that write the same again: none, the caller and the template.
_REPEATABLE = ("", "caller", "plain-template")


def merge_changes(job: Job, changes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns the original request of a job with changes, as JSON.

    Groups of settings are merged, every other field is replaced. A finished video whose footage was chosen keeps its
    script and its footage, unless the changes ask for others. Raises `InvalidArgument` for changed languages, and
    `FailedPrecondition` (VIDEO_NOT_READY) for a video that is not translated yet.
    """
    for name in ("languages", "translations"):
        if changes.get(name):
            raise invalid_field(f"changes.{name}", "cannot be changed; make a new video for other languages")
    merged = _keep_choices(_with_translation(job), changes)
    for name, value in changes.items():
        is_group = isinstance(value, Mapping) and isinstance(merged.get(name), Mapping)
        merged[name] = {**merged[name], **value} if is_group else value
    return merged


def _with_translation(job: Job) -> Job:
    """The job with a request in its own language, in place of the language that it was translated from."""
    version = job.request.version
    if version is None or not version.is_translated or (version.title and version.scripts):
        return job
    if job.result is None:
        raise FailedPrecondition(
            "the video is not translated yet; revise it when it is finished, or revise the video of the first language",
            reason="VIDEO_NOT_READY",
        )
    scripts = [scene.script for scene in job.result.scenes]
    original = languages.put_scripts(job.original_request, scripts)
    return replace(job, original_request={**original, "title": job.title})


def _keep_choices(job: Job, changes: Mapping[str, Any]) -> dict[str, Any]:
    original = dict(job.original_request)
    audio = changes.get("audio")
    has_script = isinstance(audio, Mapping) and "script" in audio
    if not job.request.footage:
        return original if has_script else _keep_script(job, original, changes)
    if job.result is None or has_script or any(name in changes for name in _NEW_SCRIPT):
        return original
    kept = {name: value for name, value in original.get("audio", {}).items() if name != "script"}
    # The voice of the script's language: the scenes alone would not tell German from English.
    kept.setdefault("voice", job.result.voice)
    scenes = [_scene_fields(scene, with_cuts="footage" not in changes) for scene in job.result.scenes]
    return {**original, "audio": kept, "scenes": scenes}


def _keep_script(job: Job, original: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The request with the script that a provider wrote for it, since the next one would differ.

    With another title, another voice or scripts of clips there is a new script.
    """
    audio, clips = changes.get("audio"), changes.get("clips")
    has_voice = isinstance(audio, Mapping) and "voice" in audio
    has_scripts = isinstance(clips, list) and any(isinstance(clip, Mapping) and clip.get("script") for clip in clips)
    is_new = has_voice or has_scripts or "title" in changes or "scenes" in changes
    if job.result is None or job.result.script_writer in _REPEATABLE or is_new:
        return original
    sentences = [sentence for scene in job.result.scenes for sentence in scene.sentences]
    kept = {"voice": job.result.voice, **original.get("audio", {})}
    return {**original, "audio": {**kept, "script": "\n".join(sentences), "script_format": "plain"}}


def _scene_fields(scene: Scene, *, with_cuts: bool) -> dict[str, Any]:
    return {
        "script": scene.script,
        "title": scene.title,
        "search_terms": list(scene.search_terms),
        "search_language": scene.search_language,
        "cuts": [_cut_fields(cut) for cut in scene.cuts] if with_cuts else [],
    }


def _cut_fields(cut: Cut) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "id": cut.id,
        "url": cut.url,
        "asset_id": cut.asset_id,
        "start": cut.start_seconds,
        "duration": cut.seconds,
        "query": cut.query,
    }
    if cut.background is not None:
        fields["background"] = {"seed": cut.background.seed, "colours": list(cut.background.colours)}
    if cut.credit is not None:
        fields["credit"] = asdict(cut.credit)
    return fields
