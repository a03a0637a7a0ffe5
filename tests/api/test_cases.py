"""Cases: requests with expected responses, each sent over REST and gRPC through the gateway of a complete platform."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.api.calls import Answer, Fields, method, over_grpc, over_rest
from tests.api.conftest import Running

ADDRESS = {"url": "https://example.com/a.mp4"}
VIDEO: Fields = {
    "title": "A walk",
    "clips": [ADDRESS],
    "audio": {"script": "We walk."},
    "settings": {"quality": "draft"},
}
USER, NOBODY, PLAIN = "the first account", "no user", "an account without roles"


@dataclass(frozen=True)
class Case:
    """A request and the expected response."""

    name: str
    method: str
    """For example `VideoService/CreateVideo`."""
    fields: Fields
    http: int
    code: str
    reason: str = ""
    broken: tuple[str, ...] = field(default=())
    """The fields that violate a rule."""
    caller: str = USER


def video(**changes: Any) -> Fields:
    return {**VIDEO, **changes}


def wrong(name: str, method: str, fields: Fields, *broken: str) -> Case:
    """A request that violates a rule of its contract."""
    caller = NOBODY if method.startswith("UserService/") else USER
    return Case(name, method, fields, 400, "INVALID_ARGUMENT", "REQUEST_INVALID", broken, caller)


CREATE, REVISE, UPLOAD = "VideoService/CreateVideo", "VideoService/ReviseVideo", "VideoService/UploadAsset"
APPROVE = "VideoService/ApproveVideo"
GET, STATUS, LIST = "VideoService/GetVideo", "VideoService/GetVideoStatus", "VideoService/ListVideos"
DOWNLOAD, PREVIEW = "VideoService/DownloadVideo", "VideoService/DownloadPreview"
WATCH = "VideoService/WatchVideo"
COST_LIMIT = "LibraryService/SetCostLimit"
SET_KEY, CHECK_KEY = "ProviderKeyService/SetProviderKey", "ProviderService/CheckProvider"
ASSETS, DELETE_ASSET, SETTINGS = (
    "LibraryService/ListAssets",
    "LibraryService/DeleteAsset",
    "LibraryService/UpdateSettings",
)
EVENTS, ACKNOWLEDGE = "EventService/WatchEvents", "EventService/AcknowledgeEvents"
HOOK, HOOKS, DELIVERIES = (
    f"WebhookService/{name}" for name in ("CreateWebhook", "ListWebhooks", "ListWebhookDeliveries")
)
SIGN_IN, REFRESH = "UserService/SignIn", "UserService/RefreshToken"
AUDIT, VERIFY = "AuditService/ListAuditRecords", "AuditService/VerifyAuditLog"
NONE = {"job_id": "vid_none"}
SPEAK, TIME, VOICES = "SpeechService/CreateSpeech", "SpeechService/TimeSpeech", "SpeechService/ListVoices"
SAMPLE = "SpeechService/GetVoiceSample"
SCRIPT, CAPTION = "WritingService/CreateScript", "WritingService/CreateCaptions"
FOOTAGE = "FootageSearchService/SearchFootage"
TRANSLATE, METADATA = "WritingService/TranslateScript", "WritingService/CreateMetadata"
PROBE, PROBE_FILE = "ClipService/ProbeClip", "ClipService/ProbeFile"
HI: Fields = {"text": "Hi."}
SPOKEN = {"words": [{"text": "Hi.", "start": 0, "end": 1}]}
RUSSIAN, JAPANESE = "Добрый день, друзья.", "今日は天気がいいので海に行きます。"
SPEAKING = {"title": "A", "clips": [{**ADDRESS, "script": RUSSIAN}], "audio": {"voice": "de"}}
# In the category that the default policy refuses.
BANNED = "ch1ld p0rn"
MISMATCH, UNHEARD = "VOICE_LANGUAGE_MISMATCH", "VOICE_UNINTELLIGIBLE"
# Valid requests of the methods that run one stage of a video.
STAGES: dict[str, Fields] = {
    SPEAK: {**HI, "format": "mp3"},
    TIME: HI,
    SCRIPT: {"topic": "The tides"},
    CAPTION: {"script": "Hi.", "duration": 1},
    TRANSLATE: {"script": "Hi.", "language": "de"},
    METADATA: {"script": "The tide turns."},
    PROBE: {"asset_id": "ast_none"},
    PROBE_FILE: {"data": b"words"},
}

CASES = [
    Case("a video is accepted", CREATE, video(), 202, "OK"),
    wrong("an empty request", CREATE, {}, "title"),
    wrong("no title", CREATE, video(title=""), "title"),
    wrong("a title too long", CREATE, video(title="x" * 201), "title"),
    Case("a title of the maximum length", CREATE, video(title="ü" * 200), 202, "OK"),
    Case("no clips", CREATE, video(clips=[]), 202, "OK"),
    Case("an empty script", CREATE, video(audio={"script": ""}), 202, "OK"),
    Case("no narration", CREATE, video(audio={"voice": "none", "background_music": "calm"}), 202, "OK"),
    Case("a duration without narration", CREATE, video(audio={"voice": "none"}, settings={"duration": 5}), 202, "OK"),
    wrong("a duration together with a narration", CREATE, video(settings={"duration": 5}), "settings.duration"),
    wrong("a script without narration", CREATE, video(audio={"voice": "none", "script": "Hi."}), "audio.voice"),
    wrong("neither narration nor clips", CREATE, video(audio={"voice": "none"}, clips=[]), "settings.duration"),
    wrong("an invalid poster time", CREATE, video(settings={"poster_time": "soon"}), "settings.poster_time"),
    wrong("shots too short", CREATE, video(settings={"max_shot_seconds": 1}), "settings.max_shot_seconds"),
    wrong("too many clips", CREATE, video(clips=[ADDRESS] * 101), "clips"),
    wrong("an empty clip", CREATE, video(clips=[{}]), "clips[0]"),
    wrong("a clip with two sources", CREATE, video(clips=[{**ADDRESS, "asset_id": "ast_1"}]), "clips[0]"),
    wrong("an invalid start time", CREATE, video(clips=[{**ADDRESS, "start_time": "soon"}]), "clips[0].start_time"),
    wrong("a speed out of range", CREATE, video(clips=[{**ADDRESS, "speed": 99}]), "clips[0].speed"),
    wrong("a path as an asset id", CREATE, video(clips=[{"asset_id": "../../etc/passwd"}]), "clips[0].asset_id"),
    wrong("an unknown resolution", CREATE, video(settings={"resolution": "9000p"}), "settings.resolution"),
    wrong("an unknown aspect ratio", CREATE, video(settings={"aspect_ratio": "3:7"}), "settings.aspect_ratio"),
    *(
        Case(name, CREATE, video(audio={"script": "Hi.", name: "ast_none"}), 404, "NOT_FOUND", "ASSET_NOT_FOUND")
        for name in ("narration_asset_id", "music_asset_id")
    ),
    wrong(
        "a recording without a text",
        CREATE,
        video(audio={"narration_asset_id": "ast_1"}),
        "audio.narration_asset_id",
    ),
    wrong(
        "own music and a mood",
        CREATE,
        video(audio={"music_asset_id": "ast_1", "background_music": "calm"}),
        "audio.background_music",
    ),
    wrong("a volume without own music", CREATE, video(audio={"music_volume": 0.5}), "audio.music_volume"),
    wrong("a start that is no time", CREATE, video(audio={"music_start": "5 s"}), "audio.music_start"),
    wrong("unknown music", CREATE, video(audio={"background_music": "polka"}), "audio.background_music"),
    wrong("a script too long", CREATE, video(audio={"script": "x" * 20_001}), "audio.script"),
    wrong("an invalid colour", CREATE, video(captions={"colour": "red"}), "captions.colour"),
    wrong("two violations", CREATE, video(title="", settings={"resolution": "9000p"}), "title", "settings.resolution"),
    *(
        Case(
            f"the clip's address {url}", CREATE, video(clips=[{"url": url}]),
            400, "INVALID_ARGUMENT", "CLIP_ADDRESS_REFUSED", ("clips[0].url",),
        )
        for url in ("http://example.com/a.mp4", "file:///etc/passwd", "words")
    ),
    Case(
        "a clip that was never uploaded", CREATE, video(clips=[{"asset_id": "ast_none"}]),
        404, "NOT_FOUND", "ASSET_NOT_FOUND",
    ),
    Case("an unknown voice", CREATE, video(audio={"voice": "xx-Unknown"}), 400, "INVALID_ARGUMENT", "VOICE_UNKNOWN"),
    *(
        Case(f"a voice that cannot read {what}", called, fields, 400, "INVALID_ARGUMENT", MISMATCH, (place,))
        for what, called, fields, place in (
            ("a script", CREATE, video(audio={"script": RUSSIAN, "voice": "en-US"}), "audio.script"),
            ("a text in Latin letters", CREATE, video(audio={"script": "Good day.", "voice": "ru-RU"}), "audio.script"),
            ("the script of a clip", CREATE, SPEAKING, "clips[0].script"),
            ("a title", CREATE, {"title": RUSSIAN, "clips": [ADDRESS], "audio": {"voice": "de"}}, "title"),
            ("a text", SPEAK, {"text": RUSSIAN, "voice": "en-US"}, "text"),
            ("a text whose times are asked for", TIME, {"text": RUSSIAN, "voice": "en-US-AriaNeural"}, "text"),
        )
    ),
    *(
        Case(f"an unintelligible voice: {called}", called, fields, 400, "INVALID_ARGUMENT", UNHEARD, ("voice",))
        for called, fields in (
            (CREATE, video(audio={"script": JAPANESE})),
            (CREATE, video(audio={"script": JAPANESE, "voice": "ja-JP-NanamiNeural"})),
            (SPEAK, {"text": JAPANESE}),
            (TIME, {"text": JAPANESE}),
        )
    ),
    *(
        Case(f"a refused text in {place}", called, fields, 400, "INVALID_ARGUMENT", "CONTENT_REFUSED", (place,))
        for called, fields, place in (
            (CREATE, video(title=BANNED), "title"),
            (CREATE, video(audio={"script": f"We walk. {BANNED}"}), "audio.script"),
            (CREATE, {"title": "A", "clips": [{**ADDRESS, "script": BANNED}]}, "clips[0].script"),
            (CREATE, video(clips=[{**ADDRESS, "title": BANNED}], audio={"voice": "none"}), "clips[0].title"),
            (CREATE, {"title": "A", "writing": {"prompt": BANNED}}, "writing.prompt"),
            (SCRIPT, {"topic": BANNED}, "topic"),
            (FOOTAGE, {"terms": BANNED}, "terms"),
        )
    ),
    Case("a flagged text", CREATE, video(audio={"script": "Go and k1ll yourself."}), 202, "OK"),
    Case("the same voice by its name", CREATE, video(audio={"script": JAPANESE, "voice": "ja"}), 202, "OK"),
    Case("a script in another writing system without a voice", CREATE, video(audio={"script": RUSSIAN}), 202, "OK"),
    Case("a text in another writing system without a voice", TIME, {"text": RUSSIAN}, 200, "OK"),
    Case("the voice of another provider", CREATE, video(audio={"voice": "en-US-AriaNeural"}), 202, "OK"),
    Case("a fast voice with long pauses", CREATE,
         video(audio={"script": "Hi. Ho.", "speed": 2, "sentence_pause": 5, "scene_pause": 0.1}), 202, "OK"),
    Case("a pronunciation", CREATE, video(audio={"pronunciations": {"walk": "wok"}}), 202, "OK"),
    Case("a speech with a pronunciation", TIME, {**HI, "pronunciations": {"Hi": "High"}}, 200, "OK"),
    wrong("a pronunciation of two words", TIME, {**HI, "pronunciations": {"a b": "c"}}, "pronunciations[a b]"),
    wrong("an empty pronunciation", CREATE, video(audio={"pronunciations": {"a": ""}}), "audio.pronunciations[a]"),
    Case("a refused pronunciation", CREATE, video(audio={"pronunciations": {"walk": BANNED}}),
         400, "INVALID_ARGUMENT", "CONTENT_REFUSED", ("audio.pronunciations[0]",)),
    wrong("a voice too fast", CREATE, video(audio={"speed": 2.1}), "audio.speed"),
    wrong("a pause too short", CREATE, video(audio={"sentence_pause": 0.05}), "audio.sentence_pause"),
    wrong("a pause too long", CREATE, video(audio={"scene_pause": 6}), "audio.scene_pause"),
    wrong("a speech too slow", SPEAK, {**HI, "speed": 0.4}, "speed"),
    wrong("a speech with a pause too long", TIME, {**HI, "sentence_pause": 5.1}, "sentence_pause"),
    Case("a plain script", CREATE, video(audio={"script": "# 1", "script_format": "plain"}), 202, "OK"),
    wrong("an unknown script format", CREATE, video(audio={"script_format": "html"}), "audio.script_format"),
    wrong("an unknown text format", SPEAK, {**HI, "script_format": "html"}, "script_format"),
    *(
        Case(f"no such video: {called}", called, NONE, 404, "NOT_FOUND", "VIDEO_NOT_FOUND")
        for called in (GET, STATUS, DOWNLOAD, PREVIEW, WATCH, REVISE, APPROVE)
    ),
    *(
        wrong(f"an id too long: {called}", called, {"job_id": "x" * 65}, "job_id")
        for called in (GET, STATUS, DOWNLOAD, PREVIEW, WATCH, APPROVE)
    ),
    Case("a review of the script", CREATE, video(review="script"), 202, "OK"),
    Case("no review", CREATE, video(review="none"), 202, "OK"),
    wrong("an unknown review", CREATE, video(review="music"), "review"),
    wrong("a review without a script", CREATE, video(review="script", audio={"voice": "none"}), "review"),
    Case("a topic", CREATE, {"title": "The sea", "writing": {"language": "en", "seconds": 20}}, 202, "OK"),
    Case("footage from uploads", CREATE, {"title": "The sea", "footage": "library", "review": "footage"}, 202, "OK"),
    Case("scenes", CREATE, {"title": "The sea", "scenes": [{"script": "Salt.", "cuts": [ADDRESS]}]}, 202, "OK"),
    wrong("unknown footage", CREATE, {"title": "The sea", "footage": "tape"}, "footage"),
    wrong("footage together with clips", CREATE, video(footage="auto"), "footage"),
    wrong("footage without narration", CREATE,
          {"title": "A", "footage": "auto", "audio": {"voice": "none"}, "settings": {"duration": 5}}, "footage"),
    wrong("a review of the footage of a video with clips", CREATE, video(review="footage"), "review"),
    wrong("scenes together with clips", CREATE, video(scenes=[{"script": "Hi."}], audio={}), "scenes"),
    wrong("scenes together with a script", CREATE, video(clips=[], scenes=[{"script": "Hi."}]), "audio.script"),
    wrong("a scene without a script", CREATE, {"title": "A", "scenes": [{}]}, "scenes[0].script"),
    wrong("a cut with two sources", CREATE,
          {"title": "A", "scenes": [{"script": "A.", "cuts": [{**ADDRESS, "asset_id": "ast_1"}]}]},
          "scenes[0].cuts[0]"),
    wrong("a script of two lengths", CREATE, {"title": "A", "writing": {"seconds": 5, "words": 9}}, "writing"),
    wrong("a script in an invalid language", CREATE, {"title": "A", "writing": {"language": "x"}}, "writing.language"),
    Case("a cut without TLS", CREATE,
         {"title": "A", "scenes": [{"script": "A.", "cuts": [{"url": "http://example.com/a.mp4"}]}]},
         400, "INVALID_ARGUMENT", "CLIP_ADDRESS_REFUSED", ("scenes[0].cuts[0].url",)),
    Case("a cut that was never uploaded", CREATE,
         {"title": "A", "scenes": [{"script": "A.", "cuts": [{"asset_id": "ast_none"}]}]},
         404, "NOT_FOUND", "ASSET_NOT_FOUND"),
    wrong("an approval of an empty scene", APPROVE, {**NONE, "scenes": [{}]}, "scenes[0].script"),
    wrong("an approval of too many scenes", APPROVE, {**NONE, "scenes": [{"script": "Hi."}] * 101}, "scenes"),
    *(
        Case(f"an id that means every job: {job_id}", WATCH, {"job_id": job_id}, 404, "NOT_FOUND", "VIDEO_NOT_FOUND")
        for job_id in (">", "*", "a b", ">\u0093")
    ),
    wrong("an unknown file", DOWNLOAD, {**NONE, "name": "Passwd"}, "name"),
    Case("the videos", LIST, {"page_size": 1}, 200, "OK"),
    wrong("a page too large", LIST, {"page_size": 101}, "page_size"),
    Case("videos by title and time", LIST, {"title": "walk", "from_time": "2025-01-29T10:30:00Z"}, 200, "OK"),
    wrong("an invalid time", LIST, {"from_time": "soon"}, "from_time"),
    wrong("a time without a time zone", LIST, {"to_time": "2025-01-29T10:30:00"}, "to_time"),
    wrong("a negative page size", LIST, {"page_size": -1}, "page_size"),
    Case("an upload", UPLOAD, {"filename": "a.mp4", "data": b"bytes"}, 201, "OK"),
    Case("an empty upload", UPLOAD, {"filename": "a.mp4", "data": b""}, 400, "INVALID_ARGUMENT", "ASSET_EMPTY"),
    wrong("a name too long", UPLOAD, {"filename": "x" * 256, "data": b"bytes"}, "filename"),
    Case("the uploads", ASSETS, {"page_size": 1}, 200, "OK"),
    wrong("a page of uploads too large", ASSETS, {"page_size": 101}, "page_size"),
    Case("no such upload", DELETE_ASSET, {"asset_id": "ast_none"}, 404, "NOT_FOUND", "ASSET_NOT_FOUND"),
    Case("the settings", "LibraryService/GetSettings", {}, 200, "OK"),
    Case("the usage", "LibraryService/GetUsage", {}, 200, "OK"),
    Case("a limit of the cost of an account that does not exist", COST_LIMIT, {"account_id": "user_1", "max_cost": 5},
         404, "NOT_FOUND", "ACCOUNT_NOT_FOUND"),
    wrong("a negative limit of the cost", COST_LIMIT, {"account_id": "user_1", "max_cost": -1}, "max_cost"),
    Case("the providers", "ProviderService/ListProviders", {}, 200, "OK"),
    Case("a check without a key", CHECK_KEY, {"provider": "openai"}, 404, "NOT_FOUND", "PROVIDER_KEY_NOT_FOUND"),
    wrong("a check of an invalid name", CHECK_KEY, {"provider": "A1"}, "provider"),
    wrong("a key of an unknown provider", SET_KEY, {"provider": "unknown", "key": "k"}, "provider"),
    wrong("a key with a line break", SET_KEY, {"provider": "openai", "key": "a\nb"}, "key"),
    Case("no key to delete", "ProviderKeyService/DeleteProviderKey", {"provider": "openai"}, 404, "NOT_FOUND",
         "PROVIDER_KEY_NOT_FOUND"),
    Case("a changed setting", SETTINGS, {"settings": {"retention_days": 0}}, 200, "OK"),
    Case("a pronunciation of the account", SETTINGS,
         {"settings": {"lexicon": {"entries": [{"term": "walk", "pronunciation": "wok"}]}}}, 200, "OK"),
    Case("no pronunciation of the account", SETTINGS, {"settings": {"lexicon": {}}}, 200, "OK"),
    wrong("a pronunciation of two words", SETTINGS,
          {"settings": {"lexicon": {"entries": [{"term": "a b", "pronunciation": "c"}]}}},
          "settings.lexicon.entries[0].term"),
    wrong("a negative retention period", SETTINGS, {"settings": {"retention_days": -1}}, "settings.retention_days"),
    *(
        Case(f"{called} without a token", called, fields, 401, "UNAUTHENTICATED", "TOKEN_INVALID", caller=NOBODY)
        for called, fields in ((ASSETS, {}), (DELETE_ASSET, {"asset_id": "ast_1"}), (SETTINGS, {"settings": {}}))
    ),
    wrong("events after an invalid position", EVENTS, {"after": "soon"}, "after"),
    wrong("a consumer with an invalid name", EVENTS, {"consumer": "../x"}, "consumer"),
    Case("events without a token", EVENTS, {}, 401, "UNAUTHENTICATED", "TOKEN_INVALID", caller=NOBODY),
    Case("an acknowledgement", ACKNOWLEDGE, {"consumer": "cases", "position": "0"}, 200, "OK"),
    wrong("an empty acknowledgement", ACKNOWLEDGE, {}, "consumer", "position"),
    *(
        Case(
            f"a webhook at {url}", HOOK, {"url": url}, 400, "INVALID_ARGUMENT", "WEBHOOK_ADDRESS_REFUSED",
        )
        for url in ("https://127.0.0.1/", "https://169.254.169.254/", "https://[::1]/", "https://2130706433/")
    ),
    Case("a webhook without TLS", HOOK, {"url": "http://example.com/"},
         400, "INVALID_ARGUMENT", "WEBHOOK_ADDRESS_REFUSED"),
    wrong("a webhook with an invalid address", HOOK, {"url": "example.com"}, "url"),
    wrong("a webhook for an unknown event type", HOOK, {"event_types": ["video.lost"]}, "event_types[0]"),
    Case("the webhooks", HOOKS, {}, 200, "OK"),
    Case("the deliveries", DELIVERIES, {"status": "failed"}, 200, "OK"),
    wrong("deliveries with an unknown status", DELIVERIES, {"status": "lost"}, "status"),
    *(
        Case(f"no such webhook: {called}", f"WebhookService/{called}", {"webhook_id": "whk_none"},
             404, "NOT_FOUND", "WEBHOOK_NOT_FOUND")
        for called in ("GetWebhook", "DeleteWebhook", "RotateWebhookSecret")
    ),
    *(
        Case(f"no such delivery: {called}", f"WebhookService/{called}", {"delivery_id": "dlv_none"},
             404, "NOT_FOUND", "DELIVERY_NOT_FOUND")
        for called in ("GetWebhookDelivery", "ReplayWebhookDelivery")
    ),
    Case("a job with a webhook address and no secret", CREATE, video(webhook_url="https://10.0.0.1/"),
         400, "INVALID_ARGUMENT", "WEBHOOK_ADDRESS_REFUSED"),
    Case("the signing keys", "UserService/ListSigningKeys", {}, 200, "OK", caller=NOBODY),
    Case("the health", "MonitoringService/GetHealth", {}, 200, "OK", caller=NOBODY),
    wrong("an empty sign-in", SIGN_IN, {}, "username", "password"),
    Case(
        "sign-in with a wrong password", SIGN_IN, {"username": "admin", "password": "wrong"},
        401, "UNAUTHENTICATED", "CREDENTIALS_WRONG", caller=NOBODY,
    ),
    Case(
        "sign-in with an unknown name", SIGN_IN, {"username": "nobody", "password": "wrong"},
        401, "UNAUTHENTICATED", "CREDENTIALS_WRONG", caller=NOBODY,
    ),
    wrong("an empty refresh", REFRESH, {}, "refresh_token"),
    Case(
        "refresh with garbage", REFRESH, {"refresh_token": "garbage"},
        401, "UNAUTHENTICATED", "REFRESH_TOKEN_INVALID", caller=NOBODY,
    ),
    *(
        Case(f"{called} without a token", called, NONE, 401, "UNAUTHENTICATED", "TOKEN_INVALID", caller=NOBODY)
        for called in (GET, STATUS, DOWNLOAD, PREVIEW, WATCH, REVISE)
    ),
    Case("the audit log", AUDIT, {"page_size": 1}, 200, "OK"),
    Case("audit filters", AUDIT, {"action": "job.", "result": "OK", "from_time": "2025-01-29T10:30:00Z"}, 200, "OK"),
    wrong("a page of the audit log too large", AUDIT, {"page_size": 501}, "page_size"),
    wrong("an invalid time filter", AUDIT, {"to_time": "2025-01-29"}, "to_time"),
    wrong("an invalid actor", AUDIT, {"actor": "'; --"}, "actor"),
    wrong("an invalid page token", AUDIT, {"page_token": "x"}, "page_token"),
    Case("the audit log is intact", VERIFY, {}, 200, "OK"),
    wrong("an invalid hash", VERIFY, {"known_count": 1, "known_hash": "x"}, "known_hash"),
    *(
        Case(f"{called} without a token", called, {}, 401, "UNAUTHENTICATED", "TOKEN_INVALID", caller=NOBODY)
        for called in (AUDIT, VERIFY)
    ),
    Case("a video without a token", CREATE, video(), 401, "UNAUTHENTICATED", "TOKEN_INVALID", caller=NOBODY),
    Case("the voices", VOICES, {}, 200, "OK", caller=PLAIN),
    Case("the voices of men", VOICES, {"gender": "male", "provider": "kokoro"}, 200, "OK", caller=PLAIN),
    wrong("the voices of an invalid language", VOICES, {"language": "x" * 36}, "language"),
    wrong("the voices of an unknown gender", VOICES, {"gender": "men"}, "gender"),
    Case("a sample", SAMPLE, {"voice": "de"}, 200, "OK"),
    Case("a sample of no voice", SAMPLE, {"voice": "xx-Unknown"}, 400, "INVALID_ARGUMENT", "VOICE_UNKNOWN"),
    Case("a sample without roles", SAMPLE, {"voice": "de"}, 403, "PERMISSION_DENIED", "ROLE_MISSING", caller=PLAIN),
    *(Case(f"a good {called}", called, STAGES[called], 200, "OK") for called in (SPEAK, TIME, SCRIPT, CAPTION)),
    *(
        Case(f"without roles: {called}", called, fields, 403, "PERMISSION_DENIED", "ROLE_MISSING", caller=PLAIN)
        for called, fields in STAGES.items()
    ),
    *(
        Case(f"{called} without a token", called, fields, 401, "UNAUTHENTICATED", "TOKEN_INVALID", caller=NOBODY)
        for called, fields in STAGES.items()
    ),
    *(
        case
        for called in (SPEAK, TIME)
        for case in (
            wrong(f"no text: {called}", called, {}, "text"),
            wrong(f"a text too long: {called}", called, {"text": "x" * 20_001}, "text"),
            Case(f"no words: {called}", called, {"text": "?!"}, 400, "INVALID_ARGUMENT", "SCRIPT_EMPTY"),
            Case(f"no voice: {called}", called, {**HI, "voice": "x"}, 400, "INVALID_ARGUMENT", "VOICE_UNKNOWN"),
        )
    ),
    wrong("an unknown audio format", SPEAK, {**HI, "format": "midi"}, "format"),
    wrong("too loud", SPEAK, {**HI, "loudness": -3}, "loudness"),
    Case(
        "a search for footage without a provider", FOOTAGE, {"terms": "sea waves", "orientation": "portrait"},
        400, "FAILED_PRECONDITION", "FOOTAGE_PROVIDER_MISSING",
    ),
    wrong("a search for nothing", FOOTAGE, {"terms": " "}, "terms"),
    wrong("a search with an unknown source", FOOTAGE, {"terms": "sea", "source": "youtube"}, "source"),
    wrong("a search with crossed durations", FOOTAGE, {"terms": "sea", "min_seconds": 9, "max_seconds": 2}, "request"),
    wrong("a script without a topic", SCRIPT, {}, "topic"),
    Case("a topic of one character", SCRIPT, {"topic": "x"}, 200, "OK"),
    wrong("a topic of 10,000 characters", SCRIPT, {"topic": "x" * 10_000}, "topic"),
    wrong("a script too long to write", SCRIPT, {"topic": "x", "length": 10}, "length"),
    wrong("a script with two lengths", SCRIPT, {"topic": "x", "seconds": 20, "words": 50}, "request"),
    wrong("a script with too many scenes", SCRIPT, {"topic": "x", "scene_count": 101}, "scene_count"),
    Case("a script with options", SCRIPT, {"topic": "The tides", "tone": "calm", "seconds": 20}, 200, "OK"),
    Case(
        "a script in an unknown language", SCRIPT, {"topic": "x", "language": "xx"},
        400, "INVALID_ARGUMENT", "LANGUAGE_UNKNOWN",
    ),
    Case("the texts of a video", METADATA, STAGES[METADATA], 200, "OK"),
    Case("texts of nothing", METADATA, {"script": "?!"}, 400, "INVALID_ARGUMENT", "SCRIPT_EMPTY"),
    wrong("texts for an unknown platform", METADATA, {"script": "Hi.", "platforms": ["myspace"]}, "platforms[0]"),
    Case("no writer", TRANSLATE, STAGES[TRANSLATE], 400, "FAILED_PRECONDITION", "WRITER_MISSING"),
    Case("no text to translate", TRANSLATE, {"script": "?", "language": "de"}, 400, "INVALID_ARGUMENT", "SCRIPT_EMPTY"),
    wrong("a translation of two texts", TRANSLATE, {**STAGES[TRANSLATE], "captions": "x"}, "request"),
    wrong("a translation into no language", TRANSLATE, {"script": "Hi."}, "language"),
    wrong("captions without text", CAPTION, {}, "request"),
    wrong("captions without a duration", CAPTION, {"script": "Hi."}, "request"),
    wrong("captions with two sources", CAPTION, {"script": "Hi.", "duration": 1, "sentences": [SPOKEN]}, "request"),
    wrong("captions in an unknown format", CAPTION, {"script": "Hi.", "duration": 1, "format": "doc"}, "format"),
    Case("captions of timed words", CAPTION, {"sentences": [SPOKEN], "format": "ass"}, 200, "OK"),
    Case(
        "captions of overlapping words", CAPTION, {"sentences": [SPOKEN, SPOKEN]},
        400, "INVALID_ARGUMENT", "REQUEST_INVALID",
    ),
    Case(
        "captions in an unknown font", CAPTION, {"script": "Hi.", "duration": 1, "style": {"font": "Nowhere"}},
        400, "INVALID_ARGUMENT", "FONT_UNKNOWN",
    ),
    wrong("an empty probe", PROBE, {}, "request"),
    wrong("a probe with two sources", PROBE, {**ADDRESS, "asset_id": "ast_1"}, "request"),
    wrong("a probe of a path", PROBE, {"asset_id": "../../etc/passwd"}, "asset_id"),
    Case("a probe of an unknown asset", PROBE, STAGES[PROBE], 404, "NOT_FOUND", "ASSET_NOT_FOUND"),
    *(
        Case(f"a probe of {url}", PROBE, {"url": url}, 400, "INVALID_ARGUMENT", "CLIP_ADDRESS_REFUSED")
        for url in ("http://example.com/a.mp4", "file:///etc/passwd", "words", "https://127.0.0.1/", "https://[::1]/a")
    ),
    Case(
        "a probe of a part that ends before it starts", PROBE,
        {**ADDRESS, "start_time": "00:00:05", "end_time": "00:00:02"},
        400, "INVALID_ARGUMENT", "CLIP_RANGE_INVALID",
    ),
    Case("a probe of a text file", PROBE_FILE, STAGES[PROBE_FILE], 400, "INVALID_ARGUMENT", "CLIP_NOT_PLAYABLE"),
    Case("a probe of no bytes", PROBE_FILE, {"data": b""}, 400, "INVALID_ARGUMENT", "CLIP_NOT_PLAYABLE"),
    Case("an unauthorized upload", UPLOAD, {"data": b"bytes"}, 401, "UNAUTHENTICATED", "TOKEN_INVALID", caller=NOBODY),
]  # fmt: skip


@pytest.fixture
def tokens(api: Running, plain: str) -> dict[str, str]:
    """Access tokens by caller."""
    return {USER: api.token, PLAIN: plain}


def bearer(tokens: dict[str, str], caller: str) -> dict[str, str]:
    return {"authorization": f"Bearer {tokens[caller]}"} if caller in tokens else {}


@pytest.mark.parametrize("case", [case for case in CASES if method(case.method).rest], ids=lambda case: case.name)
async def test_over_rest(api: Running, tokens: dict[str, str], case: Case) -> None:
    answer = await over_rest(api.http, method(case.method), case.fields, bearer(tokens, case.caller))
    assert answer == Answer(case.http, case.code, case.reason, case.broken)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_over_grpc(api: Running, tokens: dict[str, str], case: Case) -> None:
    answer = await over_grpc(api.channel, method(case.method), case.fields, bearer(tokens, case.caller))
    assert answer == Answer(None, case.code, case.reason, case.broken)


# Errors that only REST can have: verb, path, body, HTTP status, google.rpc.Code, reason, and a part of the message.
REFUSED: list[tuple[str, str, bytes, int, str, str, str]] = [
    ("GET", "/v1/nothing", b"", 404, "NOT_FOUND", "METHOD_UNKNOWN", "nothing at this path"),
    ("GET", "/", b"", 404, "NOT_FOUND", "METHOD_UNKNOWN", "nothing at this path"),
    ("GET", "/videosx", b"", 404, "NOT_FOUND", "METHOD_UNKNOWN", "nothing at this path"),
    ("GET", "/api/v2/videos", b"", 404, "NOT_FOUND", "METHOD_UNKNOWN", "nothing at this path"),
    ("DELETE", "/v1/videos", b"", 405, "NOT_FOUND", "METHOD_UNKNOWN", "does not support this method"),
    ("PATCH", "/v1/assets", b"", 405, "NOT_FOUND", "METHOD_UNKNOWN", "does not support this method"),
    ("POST", "/openapi.json", b"", 405, "NOT_FOUND", "METHOD_UNKNOWN", "does not support this method"),
    ("GET", "/v1/videos?page_sze=3", b"", 400, "INVALID_ARGUMENT", "REQUEST_INVALID", "did you mean `page_size`?"),
    ("GET", "/v1/videos?page_size=three", b"", 400, "INVALID_ARGUMENT", "REQUEST_INVALID", "is not a whole number"),
    (
        "GET",
        "/v1/videos/..%2f..%2fhealth",
        b"",
        400,
        "INVALID_ARGUMENT",
        "REQUEST_INVALID",
        "not in its canonical form",
    ),
    ("POST", "/v1/assets?title=x", b"bytes", 400, "INVALID_ARGUMENT", "REQUEST_INVALID", "the parameters are filename"),
    ("POST", "/v1/videos", b"{title", 400, "INVALID_ARGUMENT", "REQUEST_INVALID", "a name must be in quotation marks"),
    ("POST", "/v1/videos", b"\xff\xfe", 400, "INVALID_ARGUMENT", "REQUEST_INVALID", "the body is not JSON"),
    ("POST", "/v1/videos", b"[]", 400, "INVALID_ARGUMENT", "REQUEST_INVALID", "it must be an object"),
    ("POST", "/v1/videos", b'{"title": 5}', 400, "INVALID_ARGUMENT", "REQUEST_INVALID", "title: 5 is not text"),
    (
        "POST",
        "/v1/videos",
        b"x" * ((1 << 20) + 1),
        413,
        "RESOURCE_EXHAUSTED",
        "REQUEST_TOO_LARGE",
        "larger than any valid one",
    ),
]


@pytest.mark.parametrize("refused", REFUSED, ids=lambda refused: f"{refused[0]} {refused[1]} {refused[2][:12]!r}")
async def test_errors_of_the_gateway_have_the_same_form(
    api: Running, refused: tuple[str, str, bytes, int, str, str, str]
) -> None:
    verb, path, body, http, code, reason, words = refused
    answer = await api.http.request(verb, path, content=body, headers=bearer({USER: api.token}, USER))
    assert answer.headers["content-type"] == "application/json"
    assert words in answer.json()["message"]
    info, *fields = answer.json()["details"]
    assert (answer.status_code, answer.json()["code"], info["reason"]) == (http, CODES[code], reason)
    assert all(violation["field"] in path for each in fields for violation in each["field_violations"])


CODES = {"INVALID_ARGUMENT": 3, "NOT_FOUND": 5, "RESOURCE_EXHAUSTED": 8}
