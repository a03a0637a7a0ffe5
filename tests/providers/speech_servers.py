"""Speech servers: providers of speech that check each request against the provider's published protocol.

Their sound is a tone for each word, of a length that the letters of the word give, so that tests know its word times.
"""

from __future__ import annotations

import base64
import io
import re
import wave
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from tests.providers.provider_server import Answer, ProviderServer, Request, json_answer

GAP_SECONDS = 0.15
SECONDS_PER_LETTER = 0.06


def word_times(text: str) -> list[tuple[int, float, float]]:
    """The first character of each word, and the seconds at which it begins and ends."""
    at, times = 0.1, []
    for match in re.finditer(r"\S+", text):
        end = at + max(0.1, SECONDS_PER_LETTER * len(match[0]))
        times.append((match.start(), at, end))
        at = end + GAP_SECONDS
    return times


def speak(text: str, rate: int, *, volume: float = 0.4) -> NDArray[np.int16]:
    """A tone for each word of a text."""
    times = word_times(text)
    sound = np.zeros(round((times[-1][2] + 0.2) * rate))
    for _, begin, end in times:
        first, last = round(begin * rate), round(end * rate)
        sound[first:last] = volume * np.sin(2 * np.pi * 330 * np.arange(last - first) / rate)
    return np.asarray(32767 * sound, np.int16)


def to_wav(pcm: NDArray[np.int16], rate: int) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as written:
        written.setnchannels(1)
        written.setsampwidth(2)
        written.setframerate(rate)
        written.writeframes(pcm.tobytes())
    return file.getvalue()


def to_mp3(pcm: NDArray[np.int16], rate: int) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="mp3") as container:
        stream = container.add_stream("mp3", rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(pcm.reshape(1, -1), format="s16p", layout="mono")
        frame.sample_rate = rate
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


class OpenAiServer(ProviderServer):
    """OpenAI. The schema is `CreateSpeechRequest` of the API reference, page "Create speech"."""

    name = "openai"
    KEYS = ("sk-openai-1", "sk-openai-2")
    SPEECH: Mapping[str, Any] = {
        "type": "object",
        "required": ["model", "input", "voice"],
        "additionalProperties": False,
        "properties": {
            "model": {"enum": ["tts-1", "tts-1-hd", "gpt-4o-mini-tts", "gpt-4o-mini-tts-2025-12-15"]},
            "input": {"type": "string", "minLength": 1, "maxLength": 4096},
            "instructions": {"type": "string", "maxLength": 4096},
            "voice": {
                "enum": [
                    *("alloy", "ash", "ballad", "coral", "echo", "fable", "onyx", "nova", "sage", "shimmer", "verse"),
                    *("marin", "cedar"),
                ]
            },
            "response_format": {"enum": ["mp3", "opus", "aac", "flac", "wav", "pcm"]},
            "speed": {"type": "number", "minimum": 0.25, "maximum": 4.0},
            "stream_format": {"enum": ["sse", "audio"]},
        },
    }

    def handle(self, request: Request) -> Answer:
        if request.headers.get("authorization", "").removeprefix("Bearer ") not in self.KEYS:
            return json_answer({"error": {"type": "invalid_request_error", "code": "invalid_api_key"}}, 401)
        if (request.method, request.path) == ("GET", "/v1/models"):
            return json_answer({"object": "list", "data": [{"id": "gpt-4o-mini-tts", "object": "model"}]})
        if (request.method, request.path) != ("POST", "/v1/audio/speech"):
            return self.refuse(f"{request.method} {request.path}", json_answer({"error": {"code": "unknown_url"}}, 404))
        if problem := self.check(request, self.SPEECH):
            return self.refuse(problem, json_answer({"error": {"type": "invalid_request_error"}}, 400))
        sound = to_wav(speak(request.json()["input"], 24_000), 24_000)
        # OpenAI streams: the sizes in its header are not known.
        sound = sound[:4] + b"\xff\xff\xff\xff" + sound[8:40] + b"\xff\xff\xff\xff" + sound[44:]
        return Answer(200, sound, {"content-type": "audio/wav"})


class GoogleServer(ProviderServer):
    """Google. The schema is that of the REST reference, page "Method: text.synthesize", version v1beta1."""

    name = "google"
    KEYS = ("google-1",)
    VOICES: Mapping[str, str] = {"en-US-Neural2-F": "FEMALE", "en-US-Neural2-D": "MALE", "de-DE-Wavenet-C": "FEMALE"}
    SPEECH: Mapping[str, Any] = {
        "type": "object",
        "required": ["input", "voice", "audioConfig"],
        "additionalProperties": False,
        "properties": {
            "input": {
                "type": "object",
                "minProperties": 1,
                "maxProperties": 1,
                "additionalProperties": False,
                "properties": {"text": {"type": "string"}, "ssml": {"type": "string"}},
            },
            "voice": {
                "type": "object",
                "required": ["languageCode"],
                "additionalProperties": False,
                "properties": {
                    "languageCode": {"type": "string", "minLength": 2},
                    "name": {"type": "string"},
                    "ssmlGender": {"enum": ["SSML_VOICE_GENDER_UNSPECIFIED", "MALE", "FEMALE", "NEUTRAL"]},
                },
            },
            "audioConfig": {
                "type": "object",
                "required": ["audioEncoding"],
                "additionalProperties": False,
                "properties": {
                    "audioEncoding": {"enum": ["LINEAR16", "MP3", "MP3_64_KBPS", "OGG_OPUS", "MULAW", "ALAW"]},
                    "speakingRate": {"type": "number", "minimum": 0.25, "maximum": 2.0},
                    "pitch": {"type": "number"},
                    "volumeGainDb": {"type": "number"},
                    "sampleRateHertz": {"type": "integer"},
                    "effectsProfileId": {"type": "array", "items": {"type": "string"}},
                },
            },
            "enableTimePointing": {"type": "array", "items": {"enum": ["TIMEPOINT_TYPE_UNSPECIFIED", "SSML_MARK"]}},
        },
    }

    def handle(self, request: Request) -> Answer:
        if request.headers.get("x-goog-api-key") not in self.KEYS:
            error = {"code": 400, "status": "INVALID_ARGUMENT", "details": [{"reason": "API_KEY_INVALID"}]}
            return json_answer({"error": error}, 400)
        invalid = json_answer({"error": {"code": 400, "status": "INVALID_ARGUMENT"}}, 400)
        if (request.method, request.path) == ("GET", "/v1beta1/voices"):
            listed = [
                {"languageCodes": [name[:5]], "name": name, "ssmlGender": gender, "naturalSampleRateHertz": 24000}
                for name, gender in self.VOICES.items()
            ]
            return json_answer({"voices": listed})
        if (request.method, request.path) != ("POST", "/v1beta1/text:synthesize"):
            return self.refuse(f"{request.method} {request.path}", json_answer({"error": {"code": 404}}, 404))
        if problem := self.check(request, self.SPEECH):
            return self.refuse(problem, invalid)
        document = request.json()
        source, voice = document["input"].get("ssml", document["input"].get("text", "")), document["voice"]
        if len(source.encode()) > 5000:
            return self.refuse("the input is longer than 5000 bytes", invalid)
        if voice["name"] not in self.VOICES:
            return invalid
        if not voice["name"].startswith(voice["languageCode"]):
            return self.refuse("the voice has another language", invalid)
        text, marks = _read_ssml(source) if "ssml" in document["input"] else (source, {})
        rate = document["audioConfig"]["sampleRateHertz"]
        times = {first: begin for first, begin, _ in word_times(text)}
        points = [{"markName": name, "timeSeconds": times[place]} for name, place in marks.items()]
        content = base64.b64encode(to_wav(speak(text, rate), rate)).decode()
        return json_answer({"audioContent": content, "timepoints": points, "audioConfig": document["audioConfig"]})


class AzureServer(ProviderServer):
    """Azure. The rules are those of the page "Text to speech REST API"; the body is SSML."""

    name = "azure"
    KEYS = ("azure-1",)
    VOICES: Mapping[str, str] = {
        "en-US-AvaNeural": "Female",
        "en-US-AndrewNeural": "Male",
        "de-DE-KatjaNeural": "Female",
    }
    FORMATS = ("riff-24khz-16bit-mono-pcm", "riff-48khz-16bit-mono-pcm", "audio-24khz-96kbitrate-mono-mp3")

    def handle(self, request: Request) -> Answer:
        if request.headers.get("ocp-apim-subscription-key") not in self.KEYS:
            return Answer(401)
        if (request.method, request.path) == ("GET", "/cognitiveservices/voices/list"):
            return json_answer([{"ShortName": n, "Locale": n[:5], "Gender": g} for n, g in self.VOICES.items()])
        if (request.method, request.path) != ("POST", "/cognitiveservices/v1"):
            return self.refuse(f"{request.method} {request.path}", Answer(404))
        if request.headers.get("content-type") != "application/ssml+xml":
            return self.refuse("the content type is not SSML", Answer(415))
        if request.headers.get("x-microsoft-outputformat") not in self.FORMATS or "user-agent" not in request.headers:
            return self.refuse("a required header is missing", Answer(400))
        root = ET.fromstring(request.body)  # noqa: S314
        space = "{http://www.w3.org/2001/10/synthesis}"
        lang = root.get("{http://www.w3.org/XML/1998/namespace}lang")
        voices = root.findall(f"{space}voice")
        if root.tag != f"{space}speak" or root.get("version") != "1.0" or not lang or len(voices) != 1:
            return self.refuse("the SSML is not valid", Answer(400))
        if voices[0].get("name") not in self.VOICES:
            return Answer(400)
        return Answer(200, to_wav(speak(voices[0].text or "", 48_000), 48_000), {"content-type": "audio/x-wav"})


class ElevenLabsServer(ProviderServer):
    """ElevenLabs. The schema is that of the API reference, page "Create speech with timing"."""

    name = "elevenlabs"
    KEYS = ("eleven-1",)
    VOICES: Mapping[str, tuple[str, str]] = {
        "21m00Tcm4TlvDq8ikWAM": ("Rachel", "female"),
        "29vD33N1CtxCmqQRPOHJ": ("Drew", "male"),
    }
    SPEECH: Mapping[str, Any] = {
        "type": "object",
        "required": ["text"],
        "additionalProperties": False,
        "properties": {
            "text": {"type": "string", "minLength": 1, "maxLength": 10000},
            "model_id": {"enum": ["eleven_multilingual_v2", "eleven_turbo_v2_5", "eleven_flash_v2_5"]},
            "language_code": {"type": "string"},
            "voice_settings": {"type": "object"},
            "seed": {"type": "integer"},
            "previous_text": {"type": "string"},
            "next_text": {"type": "string"},
            "apply_text_normalization": {"enum": ["auto", "on", "off"]},
        },
    }

    def handle(self, request: Request) -> Answer:
        if request.headers.get("xi-api-key") not in self.KEYS:
            return json_answer({"detail": {"status": "invalid_api_key", "message": "Invalid API key"}}, 401)
        if (request.method, request.path) == ("GET", "/v1/voices"):
            listed = [
                {
                    "voice_id": key,
                    "name": name,
                    "category": "premade",
                    "labels": {"gender": gender, "descriptive": "calm"},
                }
                for key, (name, gender) in self.VOICES.items()
            ]
            return json_answer({"voices": listed})
        match = re.fullmatch(r"/v1/text-to-speech/([^/]+)/with-timestamps", request.path)
        if request.method != "POST" or not match:
            return self.refuse(f"{request.method} {request.path}", json_answer({"detail": "Not Found"}, 404))
        problem = self.check(request, self.SPEECH)
        if problem or request.query != {"output_format": "mp3_44100_128"}:
            return self.refuse(problem or "the query is not valid", json_answer({"detail": []}, 422))
        if match[1] not in self.VOICES:
            return json_answer({"detail": {"status": "voice_not_found", "message": "A voice was not found"}}, 404)
        text = request.json()["text"]
        starts = np.interp(range(len(text)), *_place_characters(text)).tolist()
        alignment = {
            "characters": list(text),
            "character_start_times_seconds": starts,
            "character_end_times_seconds": [*starts[1:], starts[-1] + 0.05],
        }
        content = base64.b64encode(to_mp3(speak(text, 44_100), 44_100)).decode()
        return json_answer({"audio_base64": content, "alignment": alignment, "normalized_alignment": alignment})


SERVERS = (OpenAiServer, GoogleServer, AzureServer, ElevenLabsServer)


def _place_characters(text: str) -> tuple[list[int], list[float]]:
    times = word_times(text)
    return [first for first, _, _ in times], [begin for _, begin, _ in times]


def _read_ssml(ssml: str) -> tuple[str, dict[str, int]]:
    """The text of SSML, and the places of its marks."""
    root = ET.fromstring(ssml)  # noqa: S314
    assert root.tag == "speak"
    text, marks = root.text or "", {}
    for mark in root:
        assert mark.tag == "mark"
        marks[mark.attrib["name"]] = len(text)
        text += mark.tail or ""
    assert all(first < second for first, second in pairwise(marks.values()))
    return text, marks
