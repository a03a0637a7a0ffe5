"""Tokens: the gateway, and a service behind it, refuse every known kind of forgery."""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import grpc
import jwt
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from gateway.contracts import load_methods
from gateway.replies import SIGN_IN
from moneyprinter import errors
from moneyprinter.video.v1 import video_service_pb2 as pb
from moneyprinter.video.v1 import video_service_pb2_grpc as pb_grpc
from tests.gateway.platform import Platform
from tests.gateway.proxy import Proxy
from tests.mesh import Mesh

# A token header with a critical extension; the name of `crit` is filled in, with JSON escapes in some cases.
CRITICAL = b'{"alg":"ES256","kid":"test","typ":"JWT","%s":["x"],"x":1}'
HALF_ESCAPED = rb"\u0063rit"
ESCAPED = b"".join(rb"\u%04x" % letter for letter in b"crit")

FOREIGN = ec.generate_private_key(ec.SECP256R1())


def encoded(data: bytes | dict[str, Any]) -> str:
    raw = json.dumps(data).encode() if isinstance(data, dict) else data
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def claims(mesh: Mesh, **changes: Any) -> dict[str, Any]:
    """Return the claims of a valid token with changes; None removes a claim."""
    found = {**jwt.decode(mesh.token(), options={"verify_signature": False}), **changes}
    return {name: value for name, value in found.items() if value is not None}


def ours(mesh: Mesh, headers: dict[str, Any] | None = None, **changes: Any) -> str:
    """A token signed with the right key, with changed headers or claims."""
    return jwt.encode(claims(mesh, **changes), mesh._key, algorithm="ES256", headers={"kid": "test", **(headers or {})})


def written(mesh: Mesh, header: bytes) -> str:
    """A token signed with the right key over the given raw header."""
    signed = f"{encoded(header)}.{encoded(claims(mesh))}"
    algorithm = jwt.algorithms.ECAlgorithm(jwt.algorithms.ECAlgorithm.SHA256)
    return f"{signed}.{encoded(algorithm.sign(signed.encode(), mesh._key))}"


def foreign(mesh: Mesh, **headers: Any) -> str:
    """A token with valid claims, signed with a foreign key."""
    return jwt.encode(claims(mesh), FOREIGN, algorithm="ES256", headers={"kid": "test", **headers})


def parts(mesh: Mesh, algorithm: str = "ES256") -> str:
    """The signed part of a token: header and claims."""
    return f"{encoded({'alg': algorithm, 'kid': 'test', 'typ': 'JWT'})}.{encoded(claims(mesh))}"


def symmetric(mesh: Mesh, secret: bytes) -> str:
    """A token with an HMAC keyed with a public value (algorithm confusion)."""
    signed = parts(mesh, "HS256")
    return f"{signed}.{encoded(hmac.digest(secret, signed.encode(), 'sha256'))}"


def pem(mesh: Mesh) -> bytes:
    return mesh._key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def jwk(key: ec.EllipticCurvePrivateKey) -> dict[str, Any]:
    return dict(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True))


def replaced(mesh: Mesh, signature: Callable[[str], str]) -> str:
    """A valid token with a replaced signature."""
    head, body, good = mesh.token().split(".")
    return f"{head}.{body}.{signature(good)}"


def altered(mesh: Mesh) -> str:
    """The claims of one user with the signature for another."""
    head, _, signature = mesh.token("user_1").split(".")
    return f"{head}.{mesh.token('user_2').split('.')[1]}.{signature}"


def flipped(signature: str) -> str:
    raw = bytearray(base64.urlsafe_b64decode(f"{signature}=="))
    raw[40] ^= 1
    return encoded(bytes(raw))


def other_form(mesh: Mesh) -> str:
    """A valid signature in the encoding of certificates (DER) instead of that of tokens."""
    signed = parts(mesh)
    return f"{signed}.{encoded(mesh._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))}"


def of_rsa(mesh: Mesh) -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return jwt.encode(claims(mesh), key, algorithm="RS256", headers={"kid": "test"})


def now(seconds: int) -> int:
    return int(time.time()) + seconds


# The values of the `authorization` headers.
ATTACKS: dict[str, Callable[[Mesh], list[str]]] = {
    "garbage": lambda mesh: ["Bearer garbage"],
    "three parts of garbage": lambda mesh: ["Bearer a.b.c"],
    "alg none": lambda mesh: [f"Bearer {parts(mesh, 'none')}."],
    "alg nOnE": lambda mesh: [f"Bearer {parts(mesh, 'nOnE')}.AA"],
    "alg missing": lambda mesh: [f"Bearer {encoded({'kid': 'test'})}.{encoded(claims(mesh))}.AA"],
    "HS256 with the public key": lambda mesh: [f"Bearer {symmetric(mesh, pem(mesh))}"],
    "HS256 with the key as JWK": lambda mesh: [f"Bearer {symmetric(mesh, json.dumps(jwk(mesh._key)).encode())}"],
    "HS256 with nothing": lambda mesh: [f"Bearer {symmetric(mesh, b'')}"],
    "RS256 with our key's id": lambda mesh: [f"Bearer {of_rsa(mesh)}"],
    "a foreign key with our key's id": lambda mesh: [f"Bearer {foreign(mesh)}"],
    "an unknown key id": lambda mesh: [f"Bearer {foreign(mesh, kid='other')}"],
    "a key id that is a path": lambda mesh: [f"Bearer {foreign(mesh, kid='../../../../dev/null')}"],
    "a key id that is SQL": lambda mesh: [f"Bearer {foreign(mesh, kid=chr(39) + ' OR 1=1 --')}"],
    "no key id": lambda mesh: [f"Bearer {jwt.encode(claims(mesh), FOREIGN, algorithm='ES256')}"],
    "its own key in jwk": lambda mesh: [f"Bearer {foreign(mesh, jwk=jwk(FOREIGN))}"],
    "its own keys at jku": lambda mesh: [f"Bearer {foreign(mesh, jku='https://evil.example/jwks.json')}"],
    "its own certificate at x5u": lambda mesh: [f"Bearer {foreign(mesh, x5u='https://evil.example/a.pem')}"],
    "its own certificate in x5c": lambda mesh: [f"Bearer {foreign(mesh, x5c=['MIIB'])}"],
    "an unknown critical extension": lambda mesh: [f"Bearer {ours(mesh, {'crit': ['x'], 'x': 1})}"],
    "crit written with an escape": lambda mesh: [f"Bearer {written(mesh, CRITICAL % HALF_ESCAPED)}"],
    "crit written in escapes": lambda mesh: [f"Bearer {written(mesh, CRITICAL % ESCAPED)}"],
    "a header in UTF-16": lambda mesh: [f"Bearer {written(mesh, (CRITICAL % b'crit').decode().encode('utf-16'))}"],
    "expired": lambda mesh: [f"Bearer {ours(mesh, exp=now(-31))}"],
    "not yet valid": lambda mesh: [f"Bearer {ours(mesh, nbf=now(3600))}"],
    "never expires": lambda mesh: [f"Bearer {ours(mesh, exp=None)}"],
    "another issuer": lambda mesh: [f"Bearer {ours(mesh, iss='someone-else')}"],
    "no issuer": lambda mesh: [f"Bearer {ours(mesh, iss=None)}"],
    "another audience": lambda mesh: [f"Bearer {ours(mesh, aud='something else')}"],
    "no audience": lambda mesh: [f"Bearer {ours(mesh, aud=None)}"],
    "no subject": lambda mesh: [f"Bearer {ours(mesh, sub=None)}"],
    "an empty subject": lambda mesh: [f"Bearer {ours(mesh, sub='')}"],
    "altered claims": lambda mesh: [f"Bearer {altered(mesh)}"],
    "altered signature": lambda mesh: [f"Bearer {replaced(mesh, flipped)}"],
    "signature of zeros": lambda mesh: [f"Bearer {replaced(mesh, lambda _: encoded(bytes(64)))}"],
    "signature of another form": lambda mesh: [f"Bearer {other_form(mesh)}"],
    "signature cut short": lambda mesh: [f"Bearer {replaced(mesh, lambda good: good[:-2])}"],
    "signature emptied": lambda mesh: [f"Bearer {replaced(mesh, lambda _: '')}"],
    "signature left out": lambda mesh: [f"Bearer {mesh.token().rpartition('.')[0]}"],
    "five parts": lambda mesh: [f"Bearer {mesh.token()}.x.y"],
    "overlong": lambda mesh: [f"Bearer {ours(mesh, more='x' * 5000)}"],
    "two headers, good and foreign": lambda mesh: [f"Bearer {mesh.token()}", f"Bearer {foreign(mesh)}"],
    "two headers, foreign and good": lambda mesh: [f"Bearer {foreign(mesh)}", f"Bearer {mesh.token()}"],
    "two headers, both good": lambda mesh: [f"Bearer {mesh.token('user_1')}", f"Bearer {mesh.token('user_2')}"],
    "two in one header": lambda mesh: [f"Bearer {mesh.token()}, Bearer {mesh.token()}"],
    "hidden behind another scheme": lambda mesh: [f"Basic eDp5 Bearer {mesh.token()}"],
    "another scheme": lambda mesh: [f"Token {mesh.token()}"],
    "no scheme": lambda mesh: [mesh.token()],
    "scheme and no token": lambda mesh: ["Bearer"],
    "two blanks": lambda mesh: [f"Bearer  {mesh.token()}"],
    "a blank in the token": lambda mesh: [f"Bearer {mesh.token().replace('.', '. ', 1)}"],
    "text after it": lambda mesh: [f"Bearer {mesh.token()} x"],
    "a character after it": lambda mesh: [f"Bearer {mesh.token()}!"],
    "padded with =": lambda mesh: [f"Bearer {mesh.token()}=="],
}


def test_there_are_enough() -> None:
    assert len(ATTACKS) >= 20


@pytest.mark.parametrize("name", ATTACKS)
async def test_an_attack_is_refused_by_the_gateway(platform: Platform, gateway: Proxy, name: str) -> None:
    sent = [("authorization", value) for value in ATTACKS[name](platform.mesh)]
    answer = await gateway.http.get("/v1/videos", headers=sent)
    assert (answer.status_code, answer.json()["code"]) == (401, 16)
    assert answer.json()["details"][0]["reason"] == "TOKEN_INVALID"
    # This message is the gateway's own: the request has not reached a service.
    assert answer.json()["message"].startswith(SIGN_IN)
    watch = next(method.path for method in load_methods() if method.path.endswith("/WatchVideo"))
    async with gateway.channel() as channel:
        start: Any = channel.unary_stream(watch)
        call = start(b"", metadata=sent, timeout=10)
        assert await call.code() is grpc.StatusCode.UNAUTHENTICATED
        assert (await call.details()).startswith(SIGN_IN)


@pytest.mark.parametrize("name", ATTACKS)
async def test_an_attack_is_refused_by_a_service(platform: Platform, name: str) -> None:
    """Called over mTLS as the gateway: a stolen certificate of the gateway is not enough to act for a user."""
    stub = platform.mesh.stub(pb_grpc.VideoServiceStub, caller="gateway")
    sent = tuple(("authorization", value) for value in ATTACKS[name](platform.mesh))
    with pytest.raises(errors.Unauthenticated) as refused:
        await stub.ListVideos(pb.ListVideosRequest(), metadata=sent)
    assert refused.value.reason == "TOKEN_INVALID"


async def test_a_valid_token_is_accepted_by_both(platform: Platform, gateway: Proxy) -> None:
    for scheme in ("Bearer", "bearer", "BEARER"):
        sent = {"authorization": f"{scheme} {platform.mesh.token()}"}
        assert (await gateway.http.get("/v1/videos", headers=sent)).status_code == 200
    stub = platform.mesh.stub(pb_grpc.VideoServiceStub, caller="gateway")
    await stub.ListVideos(pb.ListVideosRequest(), metadata=platform.mesh.bearer())


@pytest.mark.parametrize("name", ["access_token", "token", "authorization", "jwt"])
async def test_a_token_in_the_query_or_in_a_cookie_is_ignored(platform: Platform, gateway: Proxy, name: str) -> None:
    token = platform.mesh.token()
    assert (await gateway.http.get("/v1/videos", params={name: token})).status_code == 401
    assert (await gateway.http.get("/v1/videos", headers={"cookie": f"{name}={token}"})).status_code == 401


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("authorization: Bearer\t{token}", 401),
        ("authorization:\tBearer \x0b{token}", 400),
        ("authorization: Bearer {token}\n bad", 401),
        ("authorization : Bearer {token}", 400),
        ("authorization: Bearer {token}\0", 400),
        ("authorization_: Bearer {token}", 400),
    ],
)
async def test_malformed_authorization_headers_are_refused(
    platform: Platform, gateway: Proxy, line: str, status: int
) -> None:
    header = line.format(token=platform.mesh.token())
    answer = await gateway.send_raw(f"GET /v1/videos HTTP/1.1\r\nhost: here\r\nconnection: close\r\n{header}\r\n\r\n")
    assert answer.startswith(f"HTTP/1.1 {status} ")
