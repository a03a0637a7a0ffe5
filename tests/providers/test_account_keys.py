"""Keys of accounts: they are used for the calls of their account alone, and cost the deployment nothing."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from moneyprinter import errors
from moneyprinter.audio.v1 import audio_service_pb2 as pb
from moneyprinter.audio.v1 import audio_service_pb2_grpc as pb_grpc
from moneyprinter.audio.v1 import speech_service_pb2 as speech_pb
from moneyprinter.audio.v1 import speech_service_pb2_grpc as speech_grpc
from moneyprinter.user.v1 import authority_service_pb2_grpc as authority_grpc
from services.config.config import Config as SecretsConfig
from services.content.config import Config as ContentConfig
from services.storage.config import Config as StorageConfig
from tests.audio.conftest import settings
from tests.mesh import Mesh
from tests.providers.accounts import Authority, Costs, start_costs
from tests.providers.provider_server import Answer
from tests.providers.speech_servers import OpenAiServer
from tests.runtime.auditing import wiring

OWNER, OTHER = "user_owner", "user_other"
WRONG = "sk-wrong"


@pytest.fixture
async def costs(mesh: Mesh) -> Costs:
    return await start_costs(mesh)


@pytest.fixture
async def authority(mesh: Mesh) -> Authority:
    authority = Authority()  # type: ignore[abstract]
    await mesh.start("user", None, wiring(authority_grpc.add_AuthorityServiceServicer_to_server, authority))
    return authority


@pytest.fixture
async def server(mesh: Mesh, authority: Authority, costs: Costs, tmp_path: Path) -> AsyncIterator[OpenAiServer]:
    """A provider for which the deployment has one key, and a mesh with the audio service."""
    async with OpenAiServer() as server:
        file = tmp_path / "providers.json"
        file.write_text(json.dumps({"openai": {"keys": [OpenAiServer.KEYS[0]], "base_url": f"{server.url}/v1"}}))
        (tmp_path / "master-key").write_bytes(bytes(range(32)))
        await mesh.start("config", SecretsConfig(store=tmp_path / "secrets", master_key_file=tmp_path / "master-key"))
        await mesh.start("storage", StorageConfig(root=tmp_path / "blobs"))
        await mesh.start("content", ContentConfig())
        prices = {"openai": 15.0}
        await mesh.start("audio", settings().model_copy(update={"providers_file": file, "provider_prices": prices}))
        yield server
        assert server.violations == []


async def speak(mesh: Mesh, account_id: str, text: str, max_cost: float | None = None) -> pb.Speech:
    request = pb.SynthesizeRequest(sentences=[text], voice="nova", account_id=account_id, max_cost=max_cost)
    *_, last = [update async for update in mesh.stub(pb_grpc.AudioServiceStub).Synthesize(request)]
    return last.speech


async def describe(mesh: Mesh, account_id: str, check: str = "") -> dict[str, tuple[str, str, str]]:
    request = pb.DescribeSpeechProvidersRequest(account_id=account_id, check=check)
    states = (await mesh.stub(pb_grpc.AudioServiceStub).DescribeSpeechProviders(request)).providers
    return {state.provider: (state.key, state.breaker, state.last_error) for state in states}


def used_keys(server: OpenAiServer) -> list[str]:
    """The keys of the calls that speak."""
    posts = [request for request in server.requests if request.method == "POST"]
    return [request.headers["authorization"].removeprefix("Bearer ") for request in posts]


async def test_the_key_of_an_account_speaks_for_it_alone_and_costs_the_deployment_nothing(
    mesh: Mesh, authority: Authority, server: OpenAiServer
) -> None:
    shared, own = OpenAiServer.KEYS[:2]
    authority.give(OWNER, own)
    mine = await speak(mesh, OWNER, "The first sentence.", max_cost=0)
    other = await speak(mesh, OTHER, "The second sentence.")
    assert (mine.provider, other.provider) == ("openai", "openai")
    assert used_keys(server) == [own, shared]
    assert (mine.usage[0].amount, mine.usage[0].cost) == (19, 0)
    assert other.usage[0].cost > 0
    assert (await speak(mesh, OTHER, "The third sentence.", max_cost=0)).provider == "espeak"
    assert authority.reads == [OWNER, OTHER], "for a while the keys are not read again"


async def test_a_wrong_key_of_an_account_stops_no_other(mesh: Mesh, authority: Authority, server: OpenAiServer) -> None:
    authority.give(OWNER, WRONG)
    spoken = await speak(mesh, OWNER, "The first sentence.")
    assert (spoken.provider, WRONG in str(spoken)) == ("espeak", False)
    assert "refuses the key" in spoken.notices[0].message
    assert (await speak(mesh, OTHER, "The second sentence.")).provider == "openai"

    key, breaker, error = (await describe(mesh, OWNER))["openai"]
    assert (key, breaker, "refuses" in error, WRONG in error) == ("account", "open", True, False)
    assert (await describe(mesh, OTHER))["openai"] == ("deployment", "closed", "")
    assert (await describe(mesh, ""))["google"] == ("", "", "")
    assert (await describe(mesh, ""))["espeak"] == ("unneeded", "", "")

    authority.give(OWNER, OpenAiServer.KEYS[1])
    assert (await describe(mesh, OWNER, "openai"))["openai"] == ("account", "closed", "")
    assert (await speak(mesh, OWNER, "The third sentence.")).provider == "openai"
    authority.give(OWNER)
    assert (await describe(mesh, OWNER, "openai"))["openai"] == ("deployment", "closed", "")


async def test_a_check_calls_with_the_key_of_the_account_only(
    mesh: Mesh, authority: Authority, server: OpenAiServer
) -> None:
    await describe(mesh, OTHER)
    server.requests.clear()
    await describe(mesh, OTHER, "openai")
    assert server.requests == []
    authority.give(OTHER, OpenAiServer.KEYS[1])
    server.default = Answer(500)
    assert "500" in (await describe(mesh, OTHER, "openai"))["openai"][2]


async def test_public_speech_and_samples_count_for_the_limit_of_the_account(
    mesh: Mesh, authority: Authority, costs: Costs, server: OpenAiServer
) -> None:
    speech = mesh.stub(speech_grpc.SpeechServiceStub, caller="gateway")

    async def time_text(user: str = OTHER) -> str:
        request = speech_pb.TimeSpeechRequest(text="The tide turns.", voice="nova")
        return str((await speech.TimeSpeech(request, metadata=mesh.bearer(user, ("audio.generate",)))).provider)

    async def sample(voice: str) -> None:
        request = speech_pb.GetVoiceSampleRequest(voice=voice)
        metadata = mesh.bearer(OTHER, ("audio.generate",))
        assert [part async for part in speech.GetVoiceSample(request, metadata=metadata)]

    assert await time_text() == "openai"
    assert costs.reserved == costs.recorded == [pytest.approx(15 * 15 / 1e6)]
    costs.max_cost = 0.0
    assert (await time_text(), costs.recorded[-1]) == ("espeak", 0)
    with pytest.raises(errors.FailedPrecondition) as refused:
        await sample("nova")
    assert refused.value.reason == "COST_LIMIT_REACHED"
    costs.max_cost = None
    for _ in range(2):
        await sample("nova")
    assert (len(costs.recorded), costs.recorded[-1] > 0) == (4, True), "a stored sample costs nothing"
    costs.max_cost = -1.0
    with pytest.raises(errors.ResourceExhausted):
        await time_text()
    authority.give(OWNER, OpenAiServer.KEYS[1])
    assert (await time_text(OWNER), len(costs.reserved)) == ("openai", 5)
