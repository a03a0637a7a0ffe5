"""The process of the neural voice: it starts on demand, ends when idle, and survives its death and damaged files."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import psutil
import pytest

from moneyprinter.audio.v1 import speech_service_pb2 as pb
from moneyprinter.audio.v1 import speech_service_pb2_grpc as pb_grpc
from moneyprinter.errors import Internal
from services.audio.kokoro import provider
from services.runtime import children
from tests.audio.conftest import settings
from tests.audio.kokoro import MODEL, open_kokoro, requires_model
from tests.mesh import Mesh

pytestmark = requires_model

Open = Callable[..., provider.Kokoro]


@pytest.fixture
async def opened(kokoro_cache: Path) -> AsyncIterator[Open]:
    """Opens providers that share a cache, and ends their processes after the test."""
    providers: list[provider.Kokoro] = []

    def open_provider(**changes: Any) -> provider.Kokoro:
        providers.append(open_kokoro(kokoro_cache, **changes))
        return providers[-1]

    yield open_provider
    for each in providers:
        await each.synthesizer.stop()


def speak(kokoro: provider.Kokoro, folder: Path, *sentences: str) -> Coroutine[Any, Any, Any]:
    voice = kokoro.voice("en-US")
    assert voice
    return kokoro.speak(sentences, voice, folder / "speech.wav")


async def wait_for_end(process_id: int) -> None:
    if psutil.pid_exists(process_id):
        _, alive = await asyncio.to_thread(psutil.wait_procs, [psutil.Process(process_id)], 20)
        assert not alive


async def wait_for_start(kokoro: provider.Kokoro) -> int:
    async with asyncio.timeout(20):
        while not kokoro.synthesizer.process_ids:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return kokoro.synthesizer.process_ids[0]


async def test_one_process_speaks_several_requests_and_ends_when_it_is_idle(opened: Open, tmp_path: Path) -> None:
    kokoro = opened(idle_seconds=0.2)
    assert kokoro.synthesizer.process_ids == []
    work = asyncio.create_task(speak(kokoro, tmp_path, "Yes.", "No."))
    process_id = await wait_for_start(kokoro)
    spoken = await work
    assert len(spoken.sentences) == 2
    await wait_for_end(process_id)
    # The next request starts another process.
    assert (await speak(kokoro, tmp_path, "Yes.")).sentences


async def test_a_killed_process_is_replaced_and_the_narration_is_complete(opened: Open, tmp_path: Path) -> None:
    kokoro = opened()
    work = asyncio.create_task(speak(kokoro, tmp_path, "One.", "Two."))
    process_id = await wait_for_start(kokoro)
    os.kill(process_id, signal.SIGKILL)
    assert [sentence[0].text for sentence in (await work).sentences] == ["One.", "Two."]
    assert kokoro.synthesizer.process_ids != [process_id]


async def test_a_process_that_needs_more_memory_than_its_limit_fails_with_a_clear_message(
    opened: Open, tmp_path: Path
) -> None:
    kokoro = opened(memory_bytes=256 << 20)
    with pytest.raises(Internal, match=r"could not be spoken: synthesis .*256 MB of memory") as failure:
        await speak(kokoro, tmp_path, "This is a sentence.")
    assert failure.value.reason in ("SPEECH_FAILED", "CHILD_KILLED")


async def test_a_process_that_hangs_is_ended(opened: Open, tmp_path: Path) -> None:
    kokoro = opened(chunk_seconds=1.0)
    work = asyncio.create_task(kokoro.synthesizer.synthesize("af_heart", [50, 51], 1.0))
    process_id = await wait_for_start(kokoro)
    os.kill(process_id, signal.SIGSTOP)
    with pytest.raises(children.ChildFailed, match="reached 1 s"):
        await work
    await wait_for_end(process_id)


async def test_stop_ends_the_process_and_fails_its_chunks(opened: Open, tmp_path: Path) -> None:
    kokoro = opened()
    work = asyncio.create_task(kokoro.synthesizer.synthesize("af_heart", [50] * 100, 1.0))
    process_id = await wait_for_start(kokoro)
    await kokoro.synthesizer.stop()
    await wait_for_end(process_id)
    with pytest.raises(children.ChildFailed):
        await work


async def test_a_damaged_cache_is_made_again(opened: Open, kokoro_cache: Path, tmp_path: Path) -> None:
    await speak(opened(), tmp_path, "Yes.")
    [stored] = kokoro_cache.iterdir()
    size = stored.stat().st_size
    with stored.open("r+b") as file:
        file.truncate(size // 2)
    assert (await speak(opened(), tmp_path, "Yes.")).sentences
    assert [path.stat().st_size for path in kokoro_cache.iterdir()] == [size]


async def list_voices(mesh: Mesh) -> list[pb.Voice]:
    stub: Any = mesh.stub(pb_grpc.SpeechServiceStub, caller="gateway")
    request = pb.ListVoicesRequest(language="en")
    return list((await stub.ListVoices(request, metadata=mesh.bearer(roles=("audio.generate",)))).voices)


@pytest.mark.parametrize("model", [(), (Path("/nowhere/part.bin"),)])
async def test_without_the_model_the_service_starts_and_lists_only_espeak(mesh: Mesh, model: tuple[Path, ...]) -> None:
    await mesh.start("audio", settings().model_copy(update={"kokoro_model": model}))
    voices = await list_voices(mesh)
    assert {voice.provider for voice in voices} == {"espeak"}


async def test_with_the_model_the_service_lists_the_neural_voices(mesh: Mesh) -> None:
    await mesh.start("audio", settings().model_copy(update={"kokoro_model": MODEL}))
    voices = {voice.name: voice for voice in await list_voices(mesh)}
    assert (voices["en-US-Heart"].provider, voices["en-US-Heart"].quality) == ("kokoro", "neural")
