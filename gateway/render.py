"""Renders Envoy's configuration from one template, the gateway's settings and the contracts.

`python -m gateway.render FOLDER` writes it for a container, with settings from the environment
(`MONEYPRINTER_GATEWAY_...`); then `envoy -c FOLDER/envoy.yaml` serves it. The laptop platform and the tests write the
same files.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import stat
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from gateway import fields, lua
from gateway.config import Gateway
from gateway.contracts import DESCRIPTORS, FOLDER, KEYS_METHOD, WORKLOAD, load_methods
from gateway.replies import SCRIPT_REPLIES, STOPPING, list_replies, retry_seconds
from gateway.routes import Route, build_routes, list_paths
from gateway.sizes import max_request_size
from services.runtime.config import ConfigError
from services.runtime.layers import load

TEMPLATE = "envoy.yaml.j2"

RATE_LIMITS = "ratelimit"
"""The name of the rate limit service in the mesh, and the domain of its limits."""

DOCS = {
    "/openapi.json": ("openapi.json", "application/json"),
    "/docs": ("docs/index.html", "text/html; charset=utf-8"),
    "/docs/docs.css": ("docs/docs.css", "text/css; charset=utf-8"),
    "/docs/docs.js": ("docs/docs.js", "text/javascript; charset=utf-8"),
}
"""The files that the gateway itself serves, by path, with their content types."""

ROOT = ("docs/root.html", "text/html; charset=utf-8")
"""The page at `/`, for browsers only."""

# The buffer of one stream. It is small, so that a slow client is distinguishable from a stalled one.
BUFFER_BYTES = 128 * 1024
SERVICE_WINDOW_BYTES = 128 * 1024
# The largest message of a service, as JSON.
RESPONSE_BYTES = 8 * 1024 * 1024
# The flow-control window of a client: an upload with a round trip of 100 ms reaches 20 Mbit/s.
CLIENT_WINDOW_BYTES = 256 * 1024
# The streams of one connection.
CLIENT_STREAMS = 100
SERVICE_STREAMS = 256
# The rate limit of one user's bodies, in units of BODY_UNIT_BYTES: 64 MiB at once, and 8 MiB per second.
# A body must arrive within `body_seconds`, so one user holds at most about 300 MiB, a tenth of `max_heap_bytes`; over
# gRPC, which announces no length, four times as much.
# A call without a body counts as one unit, since Envoy refuses a descriptor without hits.
BODY_UNIT_BYTES = 8 * 1024
BODY_BURST = 8 * 1024
BODY_PER_SECOND = 1024
# An address shares its number of connections with those of the same group. Each group takes 6 MB, and 60 ms at the
# start.
ADDRESS_GROUPS = 16
MAX_SOCKET_BYTES = 100
"""The longest path of a Unix socket."""

MAX_PATH_BYTES = 8 << 10
"""The longest path, with its query."""
MAX_HEADERS_BYTES = 32 << 10
"""The largest headers, with the path. Envoy itself accepts more, so that the script can report a long path."""


def render(gateway: Gateway, folder: Path, descriptors: Path = DESCRIPTORS) -> dict[str, str]:
    """Render the configuration: the content of each file for `folder`, by name. `envoy.yaml` refers to the others.

    Raises `ConfigError` when an address is missing or malformed.
    """
    all_methods = load_methods(descriptors)
    public = [method for method in all_methods if method.public]
    served = build_routes(public, gateway.max_body_bytes, descriptors)
    keys = next(method for method in all_methods if method.path == KEYS_METHOD)
    services = sorted({method.service for method in (*public, keys)})
    if missing := [name for name in services if name not in gateway.addresses]:
        raise ConfigError(f"the gateway needs the addresses of {', '.join(missing)}")
    addresses = {name: gateway.addresses[name] for name in services}
    if gateway.rate_limit_service:
        addresses[RATE_LIMITS] = gateway.rate_limit_service
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        undefined=jinja2.StrictUndefined,
        # The output of a macro is inserted unchanged; every other value becomes JSON.
        autoescape=True,
        finalize=_to_json,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    template = environment.get_template(TEMPLATE)
    module = template.make_module(
        {
            "address_groups": list(range(ADDRESS_GROUPS)) if gateway.limits_connections else [],
            # Clients cannot choose addresses of a group, because they do not have the seed.
            "hash_seed": secrets.randbits(32),
            "gateway": gateway,
            "folder": folder,
            "descriptors": descriptors,
            "docs": [
                *((path, FOLDER / file, kind, False) for path, (file, kind) in DOCS.items()),
                ("/", FOLDER / ROOT[0], ROOT[1], True),
            ],
            "public": public,
            "sizes": {method.path: max_request_size(method.path, descriptors) for method in public},
            "admin": admin_socket(gateway, folder),
            "routes": served,
            "paths": list_paths(served, DOCS),
            "keys": keys,
            "rate_limits": RATE_LIMITS,
            "per_user": _token_bucket(gateway.user_per_minute, gateway.user_burst),
            "per_address": _token_bucket(gateway.address_per_minute, gateway.address_burst),
            "per_user_bodies": {
                "bucket": {"max_tokens": BODY_BURST, "tokens_per_fill": BODY_PER_SECOND, "fill_interval": "1s"},
                "retry_after": "1",
            },
            "replies": list_replies(gateway),
            "stopping": STOPPING,
            "clusters": [
                *(_cluster(gateway, name, address, gateway.max_calls) for name, address in addresses.items()),
                *(
                    {**_cluster(gateway, name, addresses[name], gateway.max_streams), "name": pool}
                    for name, pool in sorted({(method.service, method.pool) for method in public if method.streams})
                ),
            ],
            "buffer_bytes": BUFFER_BYTES,
            "response_bytes": RESPONSE_BYTES,
            "client_window_bytes": CLIENT_WINDOW_BYTES,
            "client_streams": CLIENT_STREAMS,
            "service_window_bytes": SERVICE_WINDOW_BYTES,
            "service_streams": SERVICE_STREAMS,
        }
    )
    files = {
        "envoy.yaml": str(module),
        **_render_scripts(served, descriptors),
        **_render_secrets(gateway),
    }
    if gateway.limits_connections:
        kind = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
        routes = str(module.public_routes()).replace("\n", "\n  ")  # type: ignore[attr-defined]
        files["routes.yaml"] = f"resources:\n- '@type': {kind}\n  {routes}\n"
    return files


def write_config(gateway: Gateway, folder: Path, descriptors: Path = DESCRIPTORS) -> Path:
    """Write the configuration into `folder`. Returns the file for `envoy -c`.

    Raises `ConfigError` when an address or a certificate is missing.
    """
    leaves = [gateway.certificates / WORKLOAD, *([gateway.tls] if gateway.tls else [])]
    needed = [gateway.certificates / "ca.pem", *(leaf / name for leaf in leaves for name in ("cert.pem", "key.pem"))]
    if missing := [path for path in needed if not path.is_file()]:
        raise ConfigError(f"the gateway has no {missing[0]}; set MONEYPRINTER_GATEWAY_CERTIFICATES and ..._TLS")
    for name, text in render(gateway, folder, descriptors).items():
        with os.fdopen(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(text)
    return folder / "envoy.yaml"


def admin_socket(gateway: Gateway, folder: Path) -> Path:
    """Return the Unix socket of the admin interface of a gateway whose configuration is in `folder`.

    Raises `ConfigError` as `shorten_socket` does.
    """
    return shorten_socket(gateway.admin or folder / "admin.sock")


def shorten_socket(socket: Path) -> Path:
    """Return the path of a Unix socket, or, when it is longer than `sockaddr_un` allows, a shorter one for it.

    That is in a private folder of the temporary folder. Raises `ConfigError` when that folder belongs to another user
    or is not private.
    """
    if len(os.fsencode(socket)) <= MAX_SOCKET_BYTES:
        return socket
    name = hashlib.sha256(os.fsencode(socket.parent)).hexdigest()[:16]
    private = Path(tempfile.gettempdir()) / f"moneyprinter-{os.getuid()}-{name}"
    private.mkdir(mode=0o700, exist_ok=True)
    info = private.lstat()
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.getuid() or info.st_mode & 0o077:
        raise ConfigError(f"{private} is not a private folder of this user; remove it")
    return private / socket.name


def _render_scripts(served: Sequence[Route], descriptors: Path) -> dict[str, str]:
    """Render the scripts that Envoy runs, each after its constants."""
    script_replies = {
        name: {
            "status": reply.status,
            "code": reply.native_code,
            "message": reply.message,
            "body": reply.body,
            "trailer": reply.trailer,
        }
        for name, reply in SCRIPT_REPLIES.items()
    }
    limits = {"path_bytes": MAX_PATH_BYTES, "headers_bytes": MAX_HEADERS_BYTES, "body_unit_bytes": BODY_UNIT_BYTES}
    rest = [route for route in served if not route.native]
    kinds = {route.body for route in rest if route.body is not None} | {route.method.request for route in rest}
    shapes = fields.message_shapes(kinds, descriptors)
    constants: dict[str, dict[str, object]] = {
        "edge.lua": {"REPLIES": script_replies, "LIMITS": limits},
        "fields.lua": {"REPLIES": {"large": script_replies["large"]}, "SHAPES": shapes},
    }
    return {name: lua.define_constants(values) + (FOLDER / name).read_text() for name, values in constants.items()}


def _to_json(value: object) -> Markup:
    """Return a value as JSON, which is also YAML, and the output of a macro unchanged."""
    if isinstance(value, Markup):
        return value
    return Markup(json.dumps(str(value) if isinstance(value, Path) else value))  # noqa: S704


def _token_bucket(per_minute: int, burst: int) -> dict[str, Any]:
    return {
        "bucket": {"max_tokens": burst, "tokens_per_fill": per_minute, "fill_interval": "60s"},
        "retry_after": str(retry_seconds(per_minute)),
    }


def _render_secrets(gateway: Gateway) -> dict[str, str]:
    """Render the files that refer to the certificates, which Envoy reloads when they are replaced."""

    def leaf(name: str, folder: Path) -> dict[str, Any]:
        chain, key = ({"filename": str(folder / file)} for file in ("cert.pem", "key.pem"))
        watched = {"path": str(folder)}
        return {
            "name": name,
            "tls_certificate": {"certificate_chain": chain, "private_key": key, "watched_directory": watched},
        }

    watched = {"path": str(gateway.certificates)}
    trusted = {"trusted_ca": {"filename": str(gateway.certificates / "ca.pem")}, "watched_directory": watched}
    found: dict[str, Mapping[str, Any]] = {
        "workload": leaf("workload", gateway.certificates / WORKLOAD),
        "authority": {"name": "authority", "validation_context": trusted},
    }
    if gateway.tls is not None:
        found["public"] = leaf("public", gateway.tls)
    kind = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
    return {f"{name}.json": json.dumps({"resources": [{"@type": kind, **secret}]}) for name, secret in found.items()}


def _cluster(gateway: Gateway, service: str, addresses: str, max_requests: int) -> dict[str, Any]:
    return {
        "name": service,
        "max_requests": max_requests,
        "endpoints": [_endpoint(service, address) for address in addresses.split(",")],
        "identity": f"spiffe://{gateway.trust_domain}/ns/{gateway.namespace}/sa/{service}",
        "server_name": f"{service}.{gateway.namespace}.svc",
    }


def _endpoint(service: str, address: str) -> tuple[str, int]:
    host, _, port = address.strip().rpartition(":")
    if not host or not port.isdigit():
        raise ConfigError(f"{address!r} is not an address of {service}: give host:port")
    return host.strip("[]"), int(port)


def main() -> int:
    """Write the configuration into the folder given on the command line."""
    if len(sys.argv) != 2:
        print("usage: python -m gateway.render FOLDER", file=sys.stderr)
        return 2
    try:
        print(write_config(load(Gateway), Path(sys.argv[1]).resolve()))
    except (ConfigError, OSError) as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
