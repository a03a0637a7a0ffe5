"""Client: make videos with a MoneyPrinter platform, from Python.

    async with Client("127.0.0.1:8080") as client:
        await client.sign_in("admin", password)
        asset = await client.upload(Path("clip.mp4"))
        job = await client.videos.CreateVideo(pb.CreateVideoRequest(title="A walk", clips=[pb.Clip(asset_id=asset)]))
        async for update in client.watch(job.job_id):
            print(update.status.progress, "%")
        await client.download(job.job_id, Path("walk.mp4"))

A program that tracks all its videos follows their events, and resumes at its last position after a restart:

        async for event in client.events("billing"):
            await book(event.event_id, event.job_id)  # at least once: the id identifies duplicates

A machine signs in with an API key, `Client(address, api_key=...)`, which the client exchanges for tokens.

The parts of a video are available separately: `client.say("Hello.", Path("hello.mp3"))`, `client.word_times`,
`client.write_script`, `client.make_captions` and `client.probe`.

Every call raises `moneyprinter.errors.Error`, or the exception of the file or callback in its arguments. Tokens are
renewed before calls and streams begin, also for the generated stubs: `client.videos`, `client.clips`, `client.speech`,
`client.writing`, `client.footage`, `client.library`, `client.webhooks`, `client.users`, `client.account`,
`client.administration` and `client.audit`. They serve everything that has no method here.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import grpc
from google.api import httpbody_pb2

from moneyprinter import calls, errors
from moneyprinter.audio.v1 import speech_service_pb2 as speech_pb
from moneyprinter.audio.v1 import speech_service_pb2_grpc as speech_grpc
from moneyprinter.config.v1 import secret_administration_service_pb2_grpc as secrets_grpc
from moneyprinter.content.v1 import footage_search_service_pb2_grpc as footage_grpc
from moneyprinter.content.v1 import writing_service_pb2 as writing_pb
from moneyprinter.content.v1 import writing_service_pb2_grpc as writing_grpc
from moneyprinter.user.v1 import account_service_pb2 as account_pb
from moneyprinter.user.v1 import account_service_pb2_grpc as account_grpc
from moneyprinter.user.v1 import administration_service_pb2_grpc as administration_grpc
from moneyprinter.user.v1 import audit_service_pb2_grpc as audit_grpc
from moneyprinter.user.v1 import provider_key_service_pb2_grpc as provider_keys_grpc
from moneyprinter.user.v1 import user_service_pb2 as users_pb
from moneyprinter.user.v1 import user_service_pb2_grpc as users_grpc
from moneyprinter.video.v1 import clip_service_pb2 as clips_pb
from moneyprinter.video.v1 import clip_service_pb2_grpc as clips_grpc
from moneyprinter.video.v1 import event_service_pb2 as events_pb
from moneyprinter.video.v1 import event_service_pb2_grpc as events_grpc
from moneyprinter.video.v1 import library_service_pb2_grpc as library_grpc
from moneyprinter.video.v1 import provider_service_pb2_grpc as providers_grpc
from moneyprinter.video.v1 import video_service_pb2 as pb
from moneyprinter.video.v1 import video_service_pb2_grpc as pb_grpc
from moneyprinter.video.v1 import webhook_service_pb2_grpc as webhooks_grpc

CHUNK_BYTES = 256 * 1024

# An access token is renewed when it expires within this time.
RENEW_SECONDS = 60.0
# The shortest time between renewals, also for a platform whose tokens expire within RENEW_SECONDS.
MIN_TOKEN_SECONDS = 1.0
WATCH_PAUSE_SECONDS = 1.0

_OPTIONS = (("grpc.max_receive_message_length", 4 * 1024 * 1024),)


class Client:
    """A client of a platform's gateway at `address` (`host:port`).

    `credentials` are those of the gRPC channel, `grpc.ssl_channel_credentials()` for a gateway with TLS. None uses
    plain text, which is safe only for a gateway on the same machine.

    A client signs in by `sign_in` or with an `api_key`, or continues with the `token` and `refresh_token` of another
    client; `expires_in` is the remaining lifetime of that token in seconds. Without a refresh token, a token is used
    until it expires.
    """

    def __init__(
        self,
        address: str,
        *,
        token: str = "",
        api_key: str = "",
        refresh_token: str = "",
        expires_in: float = 0.0,
        credentials: grpc.ChannelCredentials | None = None,
    ) -> None:
        channel = (
            grpc.aio.secure_channel(address, credentials, _OPTIONS)
            if credentials
            else grpc.aio.insecure_channel(address, _OPTIONS)
        )
        self._channel = calls.TypedChannel(channel, self._metadata, prepare=self.renew, recover=self._recover)
        # Calls that fetch tokens carry no token, and trigger no renewal.
        self._tokens = users_grpc.UserServiceStub(calls.TypedChannel(channel))
        self._token, self._refresh_token, self._api_key = token, refresh_token, api_key
        self._expires_at = time.monotonic() + expires_in
        self._renew_at = self._expires_at - RENEW_SECONDS
        self._renewed_at = float("-inf")
        self._renewing = asyncio.Lock()
        self._refused: errors.Unauthenticated | None = None
        self._refused_token = ""
        self.videos = pb_grpc.VideoServiceStub(self._channel)
        self.clips = clips_grpc.ClipServiceStub(self._channel)
        self.speech = speech_grpc.SpeechServiceStub(self._channel)
        self.writing = writing_grpc.WritingServiceStub(self._channel)
        self.footage = footage_grpc.FootageSearchServiceStub(self._channel)
        self.library = library_grpc.LibraryServiceStub(self._channel)
        self.providers = providers_grpc.ProviderServiceStub(self._channel)
        self.provider_keys = provider_keys_grpc.ProviderKeyServiceStub(self._channel)
        self.webhooks = webhooks_grpc.WebhookServiceStub(self._channel)
        self._events = events_grpc.EventServiceStub(self._channel)
        self.users = users_grpc.UserServiceStub(self._channel)
        self.account = account_grpc.AccountServiceStub(self._channel)
        self.administration = administration_grpc.AdministrationServiceStub(self._channel)
        self.secrets = secrets_grpc.SecretAdministrationServiceStub(self._channel)
        self.audit = audit_grpc.AuditServiceStub(self._channel)

    async def __aenter__(self) -> Client:
        try:
            await self.renew()
        except errors.Error:
            await self._channel.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._channel.close()

    @property
    def token(self) -> str:
        """The access token of calls; empty before `sign_in`, unless the client has an API key."""
        return self._token

    @property
    def refresh_token(self) -> str:
        """The token for the next renewal; empty for a client with an API key."""
        return self._refresh_token

    @property
    def expires_in(self) -> float:
        """The remaining lifetime of the access token, in seconds."""
        return self._expires_at - time.monotonic()

    async def sign_in(self, username: str, password: str, *, totp_code: str = "", recovery_code: str = "") -> None:
        """Sign in. An account with multi-factor authentication needs a code of either kind (MFA_REQUIRED).

        The client renews the token while it is in use. Raises `Unauthenticated` when name, password or code are wrong,
        and `ResourceExhausted` after too many attempts.
        """
        request = users_pb.SignInRequest(
            username=username, password=password, totp_code=totp_code, recovery_code=recovery_code
        )
        response = await self._tokens.SignIn(request)
        self.set_tokens(response.access_token, response.refresh_token, response.expires_in)

    @property
    def can_renew(self) -> bool:
        """Whether this client can fetch another token."""
        return bool(self._refresh_token or self._api_key)

    async def renew(self) -> None:
        """Renew the token when it is about to expire. Calls and streams do so before they begin.

        Raises `Unauthenticated` when the session has ended or the key was revoked.
        """
        if time.monotonic() < self._renew_at or not self.can_renew:
            return
        async with self._renewing:
            if time.monotonic() < self._renew_at:
                return
            if self._refused is not None:
                raise self._refused
            try:
                await self.fetch_tokens()
            except errors.Unauthenticated as refused:
                # The session has ended or the key was revoked, so further attempts are pointless.
                self._refused = refused
                raise

    async def fetch_tokens(self) -> None:
        """Exchange the refresh token or the API key for new tokens. A subclass may call `set_tokens` with other ones.

        Raises `Unauthenticated` when the session has ended or the key was revoked.
        """
        if self._refresh_token:
            renewed = await self._tokens.RefreshToken(users_pb.RefreshTokenRequest(refresh_token=self._refresh_token))
            self.set_tokens(renewed.access_token, renewed.refresh_token, renewed.expires_in)
        else:
            exchange = users_pb.ExchangeApiKeyRequest(api_key=self._api_key)
            response = await self._tokens.ExchangeApiKey(exchange)
            self.set_tokens(response.access_token, "", response.expires_in, api_key=self._api_key)

    def set_tokens(self, token: str, refresh_token: str, expires_in: float, *, api_key: str = "") -> None:
        """Use other tokens; the access token is valid for `expires_in` seconds."""
        self._token, self._refresh_token, self._api_key = token, refresh_token, api_key
        self._refused = None
        self._renewed_at = time.monotonic()
        self._expires_at = self._renewed_at + expires_in
        self._renew_at = max(self._renewed_at + MIN_TOKEN_SECONDS, self._expires_at - RENEW_SECONDS)

    async def close(self) -> None:
        """Close the connection, as the context manager does at its end."""
        await self._channel.close()

    async def _recover(self, failure: errors.Error) -> bool:
        """Return whether to repeat a failed call: its token was refused, and the client can fetch another one."""
        return isinstance(failure, errors.Unauthenticated) and self._expire(self._token)

    def _expire(self, token: str) -> bool:
        """Schedule the renewal of a refused token before the next call; returns whether this client can renew it."""
        if self._refused is not None or not self.can_renew:
            return False
        if token == self._token:
            self._refused_token, self._renew_at = token, float("-inf")
        return True

    async def _resume(self, failure: errors.Error) -> None:
        """Wait until a stream that ended with `failure` can be opened again, or raise `failure`.

        Streams end when the platform restarts, at their longest duration, and when their token expires.
        """
        if isinstance(failure, errors.Unavailable | errors.DeadlineExceeded):
            await asyncio.sleep(failure.retry_after_seconds or WATCH_PAUSE_SECONDS)
        elif not isinstance(failure, errors.Unauthenticated) or not self._expire(self._token):
            raise failure
        elif time.monotonic() < self._renewed_at + WATCH_PAUSE_SECONDS:
            # A new token was refused: do not renew it in a tight loop.
            await asyncio.sleep(WATCH_PAUSE_SECONDS)

    def _prefer_new_token(self) -> None:
        """Renew a token older than RENEW_SECONDS before the next call, which ends when its token expires."""
        if self.can_renew and time.monotonic() > self._renewed_at + RENEW_SECONDS:
            self._renew_at = float("-inf")

    async def upload(self, path: Path | str, on_progress: Callable[[int], None] = lambda _: None) -> str:
        """Upload a file and return its asset id, which clips refer to. `on_progress` receives the number of sent bytes.

        Raises `OSError` when the file cannot be read, `ResourceExhausted` when it is too large or a quota is used up,
        and what `on_progress` raises.
        """
        path = Path(path)
        self._prefer_new_token()

        async def requests(file: BinaryIO) -> AsyncIterator[pb.UploadAssetRequest]:
            name = path.name[-255:]
            async for data in _chunks(file, on_progress):
                yield pb.UploadAssetRequest(filename=name, data=data)
                name = ""

        with path.open("rb") as file:  # noqa: ASYNC230  opening a local file does not stall the loop
            return (await self.videos.UploadAsset(requests(file))).asset_id

    async def events(
        self, consumer: str = "", *, after: str = ""
    ) -> AsyncGenerator[events_pb.WatchEventsResponse, None]:
        """Yield the events of all videos of the account, from the oldest stored one on, without end.

        `consumer` is a name for this program. The platform stores the position of a consumer: requesting the next event
        acknowledges the previous one, and a program with the same name resumes there. When the program ended before the
        acknowledgement, an event is delivered again, with the same `event_id`, and the same `sequence` within its job.
        `after` starts after another position, or at `now`. The stream resumes when the platform restarts. Raises
        `FailedPrecondition` (CURSOR_EXPIRED) when the platform was restored from a backup without the position; a
        consumer resumes at its position in the backup.
        """
        done = ""
        while True:
            try:
                if done and consumer:
                    await self._acknowledge(consumer, done)
                request = events_pb.WatchEventsRequest(consumer=consumer, after=done or after)
                stream = self._events.WatchEvents(request)
                try:
                    async for event in stream:
                        if not event.event_type:
                            continue  # A keep-alive message.
                        yield event
                        done = event.position
                        if consumer:
                            await self._acknowledge(consumer, done)
                finally:
                    stream.cancel()
            except errors.FailedPrecondition as failure:
                if failure.reason != "CURSOR_EXPIRED" or not (consumer and done):
                    raise
                done = after = ""
            except errors.Error as failure:
                await self._resume(failure)

    async def _acknowledge(self, consumer: str, position: str) -> None:
        request = events_pb.AcknowledgeEventsRequest(consumer=consumer, position=position)
        await self._events.AcknowledgeEvents(request)

    async def watch(self, job_id: str) -> AsyncIterator[pb.WatchVideoResponse]:
        """Yield the status of a job now and at every change, until it has ended. Resumes when the platform restarts.

        Raises `NotFound` when the account has no such job.
        """
        while True:
            stream = self.videos.WatchVideo(pb.WatchVideoRequest(job_id=job_id))
            try:
                async for update in stream:
                    yield update
                return
            except errors.Error as failure:
                await self._resume(failure)
            finally:
                stream.cancel()

    async def download(
        self,
        job_id: str,
        path: Path | str,
        name: str = "video.mp4",
        on_progress: Callable[[int, int], None] = lambda *_: None,
    ) -> int:
        """Write a file of a finished video to `path`, whole or not at all, and return its size in bytes.

        `name` is `video.mp4`, `poster.jpg`, `captions.srt` or `captions.ass`. `on_progress` receives the number of
        received bytes and the total. The download resumes when the platform restarts or the token expires. Raises
        `NotFound` when there is no such file, and `DataLoss` when it arrived damaged.
        """
        request, resumed_at = pb.DownloadVideoRequest(job_id=job_id, name=name), 0

        async def resume(failure: errors.Error, size: int) -> Any:
            nonlocal resumed_at
            if size == resumed_at:
                raise failure
            resumed_at = size
            if failure.reason != "CLIENT_TOO_SLOW":
                await self._resume(failure)
            return self.videos.DownloadVideo(request, metadata=(("range", f"bytes={size}-"),))

        return await _save(self.videos.DownloadVideo(request), path, on_progress, resume)

    async def step_up(self, *, password: str = "", totp_code: str = "", recovery_code: str = "") -> None:
        """Authenticate again, for calls that otherwise fail with STEP_UP_REQUIRED, such as for a new API key.

        An account with multi-factor authentication needs a code of either kind, any other the password. It is valid for
        5 minutes, as a sign-in is. Raises `Unauthenticated` when the code or password is wrong.
        """
        proof = account_pb.StepUpRequest(password=password, totp_code=totp_code, recovery_code=recovery_code)
        await self.account.StepUp(proof)

    async def say(
        self,
        text: str,
        path: Path | str,
        *,
        voice: str = "",
        format: str = "",
        loudness: float = 0.0,
        speed: float = 0.0,
        sentence_pause: float = 0.0,
        pronunciations: Mapping[str, str] | None = None,
    ) -> int:
        """Write the speech of a text to `path`, whole or not at all, and return its size in bytes.

        `format` is `wav`, `mp3`, `opus` or `flac`; `loudness` is in LUFS, `sentence_pause` in seconds. The empty value
        or 0 is the default of each. `pronunciations` has what is spoken for a word.
        """
        request = speech_pb.CreateSpeechRequest(
            text=text,
            voice=voice,
            format=format,
            loudness=loudness,
            speed=speed,
            sentence_pause=sentence_pause,
            pronunciations=pronunciations,
        )
        return await _save(self.speech.CreateSpeech(request), path)

    async def save_sample(self, voice: str, path: Path | str) -> int:
        """Write a short sample of a voice, an MP3 file, to `path`, and return its size in bytes."""
        return await _save(self.speech.GetVoiceSample(speech_pb.GetVoiceSampleRequest(voice=voice)), path)

    async def word_times(
        self,
        text: str,
        *,
        voice: str = "",
        speed: float = 0.0,
        sentence_pause: float = 0.0,
        pronunciations: Mapping[str, str] | None = None,
    ) -> speech_pb.TimeSpeechResponse:
        """Return the times of all words in the speech that `say` writes, and its duration."""
        return await self.speech.TimeSpeech(
            speech_pb.TimeSpeechRequest(
                text=text,
                voice=voice,
                speed=speed,
                sentence_pause=sentence_pause,
                pronunciations=pronunciations,
            )
        )

    async def write_script(self, topic: str, *, language: str = "", length: int = 0) -> writing_pb.CreateScriptResponse:
        """Return a script on a topic, `length` sentences long."""
        request = writing_pb.CreateScriptRequest(topic=topic, language=language, length=length)
        return await self.writing.CreateScript(request)

    async def make_captions(self, request: writing_pb.CreateCaptionsRequest, path: Path | str) -> int:
        """Write a caption file to `path`, whole or not at all, and return its size in bytes."""
        return await _save(self.writing.CreateCaptions(request), path)

    async def probe(self, clip: Path | str, on_progress: Callable[[int], None] = lambda _: None) -> clips_pb.ClipFacts:
        """Return the facts of a clip: a file, an `https://` address, or the id of an asset. Files are not stored.

        `on_progress` receives the number of sent bytes. Raises `InvalidArgument`, whose reason states the cause, when
        the clip is not usable in a video.
        """
        if isinstance(clip, Path):
            with clip.open("rb") as file:
                requests = (clips_pb.ProbeFileRequest(data=data) async for data in _chunks(file, on_progress))
                return (await self.clips.ProbeFile(requests)).clip
        source = {"asset_id" if clip.startswith("ast_") else "url": clip}
        return (await self.clips.ProbeClip(clips_pb.ProbeClipRequest(**source))).clip

    def _metadata(self) -> calls.Metadata:
        return (("authorization", f"Bearer {self._token}"),) if self._token else ()


async def _chunks(file: BinaryIO, on_progress: Callable[[int], None]) -> AsyncIterator[httpbody_pb2.HttpBody]:
    """Yield the bytes of a file in chunks. `on_progress` receives the number of bytes after each chunk is sent."""
    sent = 0
    while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
        yield httpbody_pb2.HttpBody(data=chunk)
        sent += len(chunk)
        on_progress(sent)


async def _save(
    response: Any,
    path: Path | str,
    on_progress: Callable[[int, int], None] = lambda *_: None,
    resume: Callable[[errors.Error, int], Awaitable[Any]] | None = None,
) -> int:
    """Write a streamed file to `path`, whole or not at all, and return its size in bytes.

    `resume` receives the error that ended the stream and the number of received bytes. It returns a stream of the rest,
    or raises. Raises `DataLoss` when the file arrived damaged.
    """
    path = Path(path)
    part = path.with_name(f".{path.name[:50]}.part")
    try:
        metadata = await response.initial_metadata()
        digest, size = hashlib.sha256(), 0
        with part.open("wb") as file:
            while True:
                try:
                    async for message in response:
                        digest.update(message.data.data)
                        size += len(message.data.data)
                        on_progress(size, int(metadata.get("x-content-length", 0)))
                        await asyncio.to_thread(file.write, message.data.data)
                    break
                except errors.Error as failure:
                    if resume is None:
                        raise
                    response.cancel()
                    response = await resume(failure, size)
        if digest.hexdigest() != metadata.get("x-content-sha256"):
            raise errors.DataLoss(f"{path.name} arrived damaged; ask for it again", reason="CHECKSUM_MISMATCH")
        part.replace(path)
    finally:
        response.cancel()
        part.unlink(missing_ok=True)
    return size
