"""Render: the gateway's configuration, made from one template, its settings and the contracts.

`python -m gateway.render FOLDER` writes it for a container, whose settings are in its environment
(`MONEYPRINTER_GATEWAY_...`); then `envoy -c FOLDER/envoy.yaml` serves it. The laptop platform and the tests
write the same files.
"""

from __future__ import annotations

import hashlib
import json
import os
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
from gateway.contracts import DESCRIPTORS, FOLDER, KEYS_METHOD, WORKLOAD, methods
from gateway.replies import BY_THE_SCRIPT, STOPPING, pause, replies
from gateway.routes import Route, paths, routes
from gateway.sizes import largest
from services.runtime.config import ConfigError, load

TEMPLATE = "envoy.yaml.j2"

RATE_LIMITS = "ratelimit"
"""The rate limit service's own name in the mesh, and the domain of the limits that it is asked about."""

DOCS = {
    "/openapi.json": ("openapi.json", "application/json"),
    "/docs": ("docs/index.html", "text/html; charset=utf-8"),
    "/docs/docs.css": ("docs/docs.css", "text/css; charset=utf-8"),
    "/docs/docs.js": ("docs/docs.js", "text/javascript; charset=utf-8"),
}
"""What the gateway serves by itself: paths to files of this folder, and their types."""

ROOT = ("docs/root.html", "text/html; charset=utf-8")
"""What browsers get at `/`; for programs there is nothing."""

MINUTES_PER_HOUR = 60

# What is held for one stream, at most. Small, so that a client that reads slowly is seen to read, and to stop.
BUFFER_BYTES = 128 * 1024
SERVICE_WINDOW_BYTES = 128 * 1024
# The most that a service takes of a message, as JSON.
ANSWER_BYTES = 8 * 1024 * 1024
# What a client sends ahead: an upload over a line of 100 ms has 20 Mbit/s.
CLIENT_WINDOW_BYTES = 256 * 1024
# How many streams share a connection.
CLIENT_STREAMS = 100
SERVICE_STREAMS = 256
# What the bodies of one user may be together, in units of BODY_UNIT_BYTES: 64 MiB at once, and 8 MiB a second.
# They have `body_seconds` to arrive, so that one user holds about 300 MiB at most, a tenth of `max_heap_bytes`; and
# four times as much over gRPC, which announces no length.
# A call without a body is one unit, since Envoy refuses a descriptor of no hits.
BODY_UNIT_BYTES = 8 * 1024
BODY_BURST = 8 * 1024
BODY_PER_SECOND = 1024
MAX_SOCKET_BYTES = 100
"""The longest path of a Unix socket."""

MAX_PATH_BYTES = 8 << 10
"""The longest path, with its query."""
MAX_HEADERS_BYTES = 32 << 10
"""The largest headers, with the path. Envoy itself takes more, so that a path that is too long is seen as such."""


def render(gateway: Gateway, folder: Path, descriptors: Path = DESCRIPTORS) -> dict[str, str]:
    """Envoy's configuration: the files of `folder`, by name. `envoy.yaml` names the others.

    Raises ConfigError when an address is missing or malformed.
    """
    every = methods(descriptors)
    public = [method for method in every if method.public]
    served = routes(public, gateway.max_body_bytes, descriptors)
    keys = next(method for method in every if method.path == KEYS_METHOD)
    services = sorted({method.service for method in (*public, keys)})
    if missing := [name for name in services if name not in gateway.addresses]:
        raise ConfigError(f"the gateway needs the addresses of {', '.join(missing)}")
    addresses = {name: gateway.addresses[name] for name in services}
    if gateway.rate_limit_service:
        addresses[RATE_LIMITS] = gateway.rate_limit_service
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        undefined=jinja2.StrictUndefined,
        # Macros pass as they are; every other value becomes JSON, whatever is in it.
        autoescape=True,
        finalize=_json,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    files = {
        "envoy.yaml": environment.get_template(TEMPLATE).render(
            gateway=gateway,
            folder=folder,
            descriptors=descriptors,
            docs=[
                *((path, FOLDER / file, kind, False) for path, (file, kind) in DOCS.items()),
                ("/", FOLDER / ROOT[0], ROOT[1], True),
            ],
            public=public,
            sizes={method.path: largest(method.path, descriptors) for method in public},
            admin=admin_socket(gateway, folder),
            routes=served,
            paths=paths(served, DOCS),
            keys=keys,
            rate_limits=RATE_LIMITS,
            per_user=_bucket(gateway.user_per_minute, gateway.user_burst),
            per_address=_bucket(gateway.address_per_minute, gateway.address_burst),
            per_user_bodies={
                "bucket": {"max_tokens": BODY_BURST, "tokens_per_fill": BODY_PER_SECOND, "fill_interval": "1s"},
                "retry_after": "1",
            },
            replies=replies(gateway),
            stopping=STOPPING,
            clusters=[
                *(_cluster(gateway, name, address, gateway.max_calls) for name, address in addresses.items()),
                *(
                    {**_cluster(gateway, name, addresses[name], gateway.max_streams), "name": pool}
                    for name, pool in sorted({(method.service, method.pool) for method in public if method.streams})
                ),
            ],
            buffer_bytes=BUFFER_BYTES,
            answer_bytes=ANSWER_BYTES,
            client_window_bytes=CLIENT_WINDOW_BYTES,
            client_streams=CLIENT_STREAMS,
            service_window_bytes=SERVICE_WINDOW_BYTES,
            service_streams=SERVICE_STREAMS,
        ),
        **_scripts(served, descriptors),
        **_secrets(gateway),
    }
    if gateway.rate_limit_service:
        files["ratelimit.yaml"] = json.dumps(limits(gateway), indent=2)
    return files


def write(gateway: Gateway, folder: Path, descriptors: Path = DESCRIPTORS) -> Path:
    """Write the files into `folder`; returns the one that Envoy is started with.

    Raises ConfigError when a certificate is missing too.
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
    """The Unix socket of the administration of a gateway whose configuration is in `folder`.

    The path of a socket is short (`sockaddr_un`): beside a folder with a long name it is in a private one of the
    temporary folder. Raises ConfigError when that one is somebody else's.
    """
    socket = gateway.admin or folder / "admin.sock"
    if len(os.fsencode(socket)) <= MAX_SOCKET_BYTES:
        return socket
    name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    private = Path(tempfile.gettempdir()) / f"moneyprinter-{os.getuid()}-{name}"
    private.mkdir(mode=0o700, exist_ok=True)
    found = private.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise ConfigError(f"{private} is no private folder of this user; remove it")
    return private / "admin.sock"


def limits(gateway: Gateway) -> dict[str, Any]:
    """What Envoy's rate limit service is configured with (`ratelimit.yaml`): the same figures.

    It counts calls in whole minutes and hours, and knows no buckets. So it is told what a bucket lets through at
    most in a minute, and in an hour; each gateway's own buckets smooth what is in between.
    """

    def within(per_minute: int, burst: int) -> dict[str, int]:
        return {"minute": burst + per_minute, "hour": burst + per_minute * MINUTES_PER_HOUR}

    def of(unit: str, figure: int) -> dict[str, Any]:
        return {"rate_limit": {"unit": unit, "requests_per_unit": figure}}

    users = within(gateway.user_per_minute, gateway.user_burst)
    addresses = within(gateway.address_per_minute, gateway.address_burst)
    return {
        "domain": RATE_LIMITS,
        "descriptors": [
            *({"key": f"user_{unit}", **of(unit, figure)} for unit, figure in users.items()),
            *(
                {
                    "key": "trades_secrets",
                    "value": unit,
                    "descriptors": [{"key": "masked_remote_address", **of(unit, figure)}],
                }
                for unit, figure in addresses.items()
            ),
        ],
    }


def _scripts(served: Sequence[Route], descriptors: Path) -> dict[str, str]:
    """The scripts that Envoy runs, with the constants that they need before them."""
    replied = {
        name: {
            "status": reply.status,
            "code": reply.native_code,
            "message": reply.message,
            "body": reply.body,
            "trailer": reply.trailer,
        }
        for name, reply in BY_THE_SCRIPT.items()
    }
    limits = {"path_bytes": MAX_PATH_BYTES, "headers_bytes": MAX_HEADERS_BYTES, "body_unit_bytes": BODY_UNIT_BYTES}
    shapes = fields.shapes({route.body for route in served if route.body is not None}, descriptors)
    constants: dict[str, dict[str, object]] = {
        "edge.lua": {"REPLIES": replied, "LIMITS": limits},
        "fields.lua": {"REPLIES": {"large": replied["large"]}, "SHAPES": shapes},
    }
    return {name: lua.constants(values) + (FOLDER / name).read_text() for name, values in constants.items()}


def _json(value: object) -> Markup:
    """A value as JSON, which is YAML too; what a macro of the template wrote, as it is."""
    if isinstance(value, Markup):
        return value
    return Markup(json.dumps(str(value) if isinstance(value, Path) else value))  # noqa: S704


def _bucket(per_minute: int, burst: int) -> dict[str, Any]:
    return {
        "bucket": {"max_tokens": burst, "tokens_per_fill": per_minute, "fill_interval": "60s"},
        "retry_after": str(pause(per_minute)),
    }


def _secrets(gateway: Gateway) -> dict[str, str]:
    """The files that name the certificates. Envoy reads those again when they are replaced in their folders."""

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
        raise ConfigError(f"{address!r} is no address of {service}: give host:port")
    return host.strip("[]"), int(port)


def main() -> int:
    """Write the configuration into the folder that the command line names."""
    if len(sys.argv) != 2:
        print("usage: python -m gateway.render FOLDER", file=sys.stderr)
        return 2
    try:
        print(write(load(Gateway), Path(sys.argv[1]).resolve()))
    except (ConfigError, OSError) as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
