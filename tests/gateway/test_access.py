"""Access: what needs a token, which tokens are good, and what cannot be reached from outside at all."""

from __future__ import annotations

import hmac
import re
import time
from typing import Any

import grpc
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.utils import base64url_encode

from gateway.render import Method, methods
from moneyprinter.access.v1 import access_pb2
from moneyprinter.contract import rule

# So that their rules are known.
from moneyprinter.user.v1 import account_service_pb2, administration_service_pb2  # noqa: F401
from tests.gateway.platform import Platform
from tests.gateway.proxy import Proxy
from tests.mesh import Mesh

PUBLIC = [method for method in methods() if method.public]
INTERNAL = [method for method in methods() if not method.public]
WITH_TOKEN = [method for method in PUBLIC if method.role]
WITHOUT_TOKEN = [method for method in PUBLIC if not method.role]


async def call(gateway: Proxy, path: str, metadata: Any = ()) -> grpc.StatusCode:
    """The status that a native call with one empty message ends with.

    On the wire every kind of method can be called so. grpc.aio's own way with streams of requests now and
    then answers INTERNAL in place of the status when the server ends the call first.
    """
    async with gateway.channel() as channel:
        start: Any = channel.unary_stream(path)
        code: grpc.StatusCode = await start(b"", metadata=metadata, timeout=10).code()
        return code


@pytest.mark.parametrize("method", INTERNAL, ids=lambda method: method.path)
async def test_what_is_not_public_cannot_be_reached(
    platform: Platform, gateway: Proxy, bearer: dict[str, str], method: Method
) -> None:
    assert await call(gateway, method.path, platform.mesh.bearer()) is grpc.StatusCode.PERMISSION_DENIED
    for verb, path in (*method.rest, ("POST", method.path)):
        answer = await gateway.http.request(verb, re.sub(r"{\w+}", "x", path), json={}, headers=bearer)
        assert answer.status_code in (403, 404)


def test_the_table_covers_every_service_but_the_public_ones() -> None:
    assert {method.service for method in INTERNAL} >= {
        *("audio", "concatenation", "config", "content", "encoder", "orchestrator"),
        *("processing", "rendering", "storage", "validation"),
    }


@pytest.mark.parametrize(
    "path", ["/grpc.health.v1.Health/Check", "/grpc.reflection.v1alpha.ServerReflection/X", "/a/b"]
)
async def test_services_beside_the_contracts_cannot_be_reached(platform: Platform, gateway: Proxy, path: str) -> None:
    assert await call(gateway, path, platform.mesh.bearer()) is grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize("method", WITH_TOKEN, ids=lambda method: method.path)
async def test_a_method_with_a_role_needs_a_token(gateway: Proxy, method: Method) -> None:
    assert await call(gateway, method.path) is grpc.StatusCode.UNAUTHENTICATED
    for verb, path in method.rest:
        for base in ("", "/api"):
            answer = await gateway.http.request(verb, base + re.sub(r"{\w+}", "x", path))
            assert (answer.status_code, answer.json()["code"], answer.json()["details"]) == (401, 16, [])
            assert "authorization: Bearer" in answer.json()["message"]


@pytest.mark.parametrize("method", WITHOUT_TOKEN, ids=lambda method: method.path)
async def test_a_method_without_a_role_needs_none(gateway: Proxy, method: Method) -> None:
    assert await call(gateway, method.path) is not grpc.StatusCode.UNAUTHENTICATED
    for verb, path in method.rest:
        answer = await gateway.http.request(verb, path, content=b"{}" if verb == "POST" else b"")
        assert answer.status_code not in (401, 403, 404)


def test_the_gateway_and_the_servers_read_the_same_rules() -> None:
    for method in PUBLIC:
        found = rule(method.path) or access_pb2.Rule()
        assert (found.role, "gateway" in found.callers) == (method.role, True)


def unsigned(mesh: Mesh) -> str:
    head, body, _ = jwt.encode(
        jwt.decode(mesh.token(), options={"verify_signature": False}), "", algorithm="none"
    ).split(".")
    return f"{head}.{body}."


def symmetric(mesh: Mesh) -> str:
    """Signed with the public key as if it were a shared secret, as an old confusion of libraries allowed."""
    secret = mesh._key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    head = base64url_encode(b'{"alg":"HS256","kid":"test","typ":"JWT"}')
    signed = head + b"." + mesh.token().split(".")[1].encode()
    return (signed + b"." + base64url_encode(hmac.digest(secret, signed, "sha256"))).decode()


def foreign(mesh: Mesh, **headers: Any) -> str:
    claims = jwt.decode(mesh.token(), options={"verify_signature": False})
    key = ec.generate_private_key(ec.SECP256R1())
    return jwt.encode(claims, key, algorithm="ES256", headers={"kid": "test", **headers})


def altered(mesh: Mesh) -> str:
    """Another user in a token whose signature is good for the first."""
    head, _, signature = mesh.token("user_1").split(".")
    return ".".join((head, mesh.token("user_2").split(".")[1], signature))


def without(mesh: Mesh, *names: str) -> str:
    claims = jwt.decode(mesh.token(), options={"verify_signature": False})
    kept = {name: value for name, value in claims.items() if name not in names}
    return jwt.encode(kept, mesh._key, algorithm="ES256", headers={"kid": "test"})


BAD_TOKENS: dict[str, Any] = {
    "garbage": lambda mesh: "garbage",
    "three parts of garbage": lambda mesh: "a.b.c",
    "expired": lambda mesh: mesh.token(exp=int(time.time()) - 31),
    "not yet valid": lambda mesh: mesh.token(nbf=int(time.time()) + 3600),
    "never expires": lambda mesh: without(mesh, "exp"),
    "another issuer": lambda mesh: mesh.token(iss="somebody else"),
    "no issuer": lambda mesh: without(mesh, "iss"),
    "another audience": lambda mesh: mesh.token(aud="something else"),
    "no audience": lambda mesh: without(mesh, "aud"),
    "alg none": unsigned,
    "HS256": symmetric,
    "another key": foreign,
    "unknown key id": lambda mesh: foreign(mesh, kid="other"),
    "altered": altered,
}


@pytest.mark.parametrize("name", BAD_TOKENS)
async def test_a_bad_token_is_refused_by_the_gateway_itself(platform: Platform, gateway: Proxy, name: str) -> None:
    token = BAD_TOKENS[name](platform.mesh)
    answer = await gateway.http.get("/v1/videos", headers={"authorization": f"Bearer {token}"})
    assert answer.status_code == 401
    # A service would have said more.
    assert (answer.json()["code"], answer.json()["details"]) == (16, [])
    watch = next(method for method in PUBLIC if method.path.endswith("/WatchVideo"))
    code = await call(gateway, watch.path, (("authorization", f"Bearer {token}"),))
    assert code is grpc.StatusCode.UNAUTHENTICATED


async def test_a_token_in_the_query_is_no_token(platform: Platform, gateway: Proxy) -> None:
    answer = await gateway.http.get("/v1/videos", params={"access_token": platform.mesh.token()})
    assert answer.status_code == 401


async def test_the_name_of_the_scheme_may_be_written_small(platform: Platform, gateway: Proxy) -> None:
    answer = await gateway.http.get("/v1/videos", headers={"authorization": f"bearer {platform.mesh.token()}"})
    assert answer.status_code == 200


async def test_a_user_without_the_role_is_told_so_by_the_service(platform: Platform, gateway: Proxy) -> None:
    headers = dict(platform.mesh.bearer(roles=["content.manage"]))
    answer = await gateway.http.get("/v1/videos", headers=headers)
    assert answer.status_code == 403
    assert answer.json()["details"][0]["reason"] == "ROLE_MISSING"


async def test_what_a_client_claims_of_itself_is_dropped(
    platform: Platform, gateway: Proxy, bearer: dict[str, str]
) -> None:
    claims = {
        "x-auth-sub": "root",
        "x-user-id": "root",
        "x-envoy-upstream-rq-timeout-ms": "1",
        "x-envoy-original-path": "/health",
        "x-forwarded-client-cert": "URI=spiffe://cluster.local/ns/moneyprinter/sa/orchestrator",
        "x-http-code": "201",
    }
    kept = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    body = {"title": "A walk", "clips": [{"url": "https://example.com/a.mp4"}]}
    answer = await gateway.http.post("/v1/videos", json=body, headers={**bearer, **kept, **claims})
    assert answer.status_code == 202
    arrived = platform.videos.metadata
    assert {"root", "201", "1"} & {str(value) for value in arrived.values()} == set()
    assert "x-forwarded-client-cert" not in arrived
    assert {name: arrived.get(name) for name in (*kept, *bearer)} == {**kept, **bearer}
