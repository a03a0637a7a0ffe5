"""A gateway with only the transcoder and the router, to measure the cost of the other filters."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import yaml

from gateway.config import Gateway
from gateway.render import write_config
from services.embedded import binaries, supervisor

KEPT_FILTERS = ("envoy.filters.http.grpc_json_transcoder", "envoy.filters.http.router")


@asynccontextmanager
async def run_gateway(gateway: Gateway, folder: Path) -> AsyncIterator[None]:
    """Run a gateway of these settings without its filters while the context is open. For benchmarks only."""
    folder.mkdir(mode=0o700)
    file = write_config(gateway, folder)
    config = yaml.safe_load(file.read_text())
    [public] = [one for one in config["static_resources"]["listeners"] if one["name"] == "public"]
    http = public["filter_chains"][0]["filters"][0]["typed_config"]
    http["http_filters"] = [one for one in http["http_filters"] if one["name"] in KEPT_FILTERS]
    for route in http["route_config"]["virtual_hosts"][0]["routes"]:
        route.pop("typed_per_filter_config", None)
    file.write_text(yaml.safe_dump(config))
    options = ("--concurrency", "2", "--disable-hot-restart", "--log-level", "warning")
    command = (binaries.envoy_program(), "-c", file, *options)
    server = supervisor.Server("bare Envoy", command, folder / "envoy.log")
    async with supervisor.run_server(server, lambda: supervisor.wait_until_open(gateway.port)):
        yield
