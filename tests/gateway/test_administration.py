"""Envoy's admin interface: only its owner can reach it, and it is read-only."""

from __future__ import annotations

import stat
import tempfile
from pathlib import Path

import httpx
import psutil
import pytest

from gateway.render import admin_socket
from services.embedded import ports
from services.runtime.config import ConfigError
from tests.gateway import proxy
from tests.gateway.platform import Platform
from tests.gateway.proxy import Proxy

CHANGES = (
    "/quitquitquit",
    "/drain_listeners",
    "/logging?level=trace",
    "/reset_counters",
    "/healthcheck/fail",
    "/cpuprofiler",
)
TELLS = ("/config_dump", "/certs", "/memory", "/runtime", "/help", "/", "/contention", "/stats/recentlookups")


async def test_only_the_public_ports_are_open(gateway: Proxy) -> None:
    """The admin interface is a Unix socket for its owner only."""
    listening = {one.laddr.port for one in gateway.process.net_connections("tcp") if one.status == psutil.CONN_LISTEN}
    assert listening == {gateway.gateway.port, gateway.gateway.internal_port}
    log = gateway.gateway.access_log
    assert log is not None
    mode = admin_socket(gateway.gateway, log.parent).stat().st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o600


@pytest.mark.parametrize("path", [*CHANGES, *TELLS])
async def test_the_admin_interface_is_read_only(gateway: Proxy, path: str) -> None:
    for verb in ("GET", "POST"):
        assert (await gateway.admin.request(verb, path)).status_code in (403, 404, 405)
    assert (await gateway.admin.get("/ready")).status_code == 200


async def test_metrics_can_be_served_on_a_port(platform: Platform, tmp_path: Path) -> None:
    [port] = ports.pick_ports()
    settings = platform.gateway().model_copy(update={"stats_port": port})
    async with (
        proxy.run_proxy(settings, tmp_path / "stats"),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http,
    ):
        assert (await http.get("/ready")).status_code == 200
        for path in ("/stats/prometheus", "/stats/prometheus?usedonly"):
            assert "envoy_http_downstream_rq_total" in (await http.get(path)).text
        assert (await http.get("/stats/prometheus?filter=(a*)*")).status_code == 404
        for path in ("/stats", "/clusters", *CHANGES, *TELLS, "/stats/prometheus/../../config_dump", "//quitquitquit"):
            assert (await http.get(path)).status_code == 404
        for path in ("/ready", "/stats/prometheus", "/quitquitquit"):
            assert (await http.post(path)).status_code == 404


def test_a_folder_with_a_long_path_has_its_socket_elsewhere(
    platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / ("ü" * 100)
    # Pytest's own folders are too long for a socket.
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        monkeypatch.setattr("tempfile.tempdir", short)
        path = admin_socket(platform.gateway(), folder)
        assert len(str(path).encode()) <= 107
        assert path.parent.stat().st_mode & 0o077 == 0
        assert admin_socket(platform.gateway(), folder) == path
        path.parent.chmod(0o755)
        with pytest.raises(ConfigError, match="not a private folder"):
            admin_socket(platform.gateway(), folder)


async def test_no_log_holds_a_token(gateway: Proxy, bearer: dict[str, str]) -> None:
    """Wherever a client puts the token, and however the request ends."""
    secret = bearer["authorization"].removeprefix("Bearer ")
    for path in (
        "/v1/videos",
        f"/v1/videos?token={secret}",
        f"/v1/videos?access_token={secret}",
        "/nothing",
        "/v1/videos;x",
    ):
        for headers in (
            bearer,
            {"authorization": secret},
            {"cookie": f"token={secret}"},
            {**bearer, "x-token": secret},
        ):
            answer = await gateway.http.get(path, headers=headers)
            assert secret not in answer.text
    last = await gateway.http.get("/v1/videos", headers=bearer)
    await gateway.wait_for_log(last.headers["x-request-id"])
    log = gateway.gateway.access_log
    assert log is not None
    for file in (log, log.parent / "envoy.log"):
        assert secret not in file.read_text()
        assert secret.split(".")[2] not in file.read_text()
